"""Cases in ClickHouse: the row of a case is recomputed from all its facts whenever facts are added."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Set
from typing import Any, NamedTuple

import msgspec

from ninezero.agents.logic.cases import followups, quarantine
from ninezero.agents.logic.days import Days
from ninezero.schemas.case_facts import FollowupFact, QuarantineFact
from ninezero.schemas.rows import FollowupCase, QuarantineCase
from ninezero.streams.clickhouse import Engine, Row
from ninezero.streams.clickhouse.topic_buffer import RowsByTable

CASES_PER_QUERY = 2000


class CaseKind(NamedTuple):
    """A kind of case: the prefix of its tables, its fact, its row, and the function that computes the row from the facts."""

    name: str
    fact: Any
    case: Any
    summarise: Callable[[str, list[Any], Days], Any]


CASE_KINDS = (
    CaseKind("quarantine", QuarantineFact, QuarantineCase, quarantine.summarise),
    CaseKind("followup", FollowupFact, FollowupCase, followups.summarise),
)


def roll_up_cases(engine: Engine, written: RowsByTable, days: Days) -> None:
    """Recomputes the row of every case that has new facts.

    Args:
        engine: the database.
        written: the rows that were inserted, by table.
        days: the local days.
    """
    for kind in CASE_KINDS:
        if new := written.get(f"{kind.name}_facts"):
            _recompute(engine, kind, set(new["case_id"]), days)


def repair_cases(engine: Engine, days: Days) -> None:
    """Computes the rows of cases that have facts but no row, because rows of the case table were lost."""
    for kind in CASE_KINDS:
        missing = engine.query(
            f"SELECT DISTINCT case_id FROM ninezero_data.{kind.name}_facts "
            f"WHERE case_id NOT IN (SELECT case_id FROM ninezero_data.{kind.name}_cases) "
            f"AND case_id NOT IN (SELECT case_id FROM ninezero_data.{kind.name}_departing)"
        )
        _recompute(engine, kind, {row["case_id"] for row in missing}, days)


def quarantine_warnings(query: Callable[[str], list[Row]]) -> list[str]:
    """Returns lines for the report: sites above their capacity, and days on which the quarantine balance is wrong."""
    found = [
        f"{row['site_id']} holds {int(row['present']):,} people and has room for {int(row['capacity']):,}"
        for row in query(
            "SELECT site_id, capacity, present FROM ninezero.quarantine_occupancy WHERE free < 0 ORDER BY site_id"
        )
    ]
    wrong = query("SELECT count() AS n, min(day) AS first FROM ninezero.quarantine_balance")
    if int(wrong[0]["n"]):
        found.append(
            f"the quarantine balance is wrong on {int(wrong[0]['n']):,} days of sites, the first on {wrong[0]['first']}:"
            " query ninezero.quarantine_balance"
        )
    return found


def _recompute(engine: Engine, kind: CaseKind, case_ids: Set[str], days: Days) -> None:
    ordered = sorted(case_ids)
    for first in range(0, len(ordered), CASES_PER_QUERY):
        part = ordered[first : first + CASES_PER_QUERY]
        rows = [kind.summarise(case_id, facts, days) for case_id, facts in _facts_by_case(engine, kind, part)]
        if rows:
            engine.insert(f"ninezero_data.{kind.name}_cases", kind.case._fields, rows)


def _facts_by_case(engine: Engine, kind: CaseKind, case_ids: list[str]) -> Iterator[tuple[str, list[Any]]]:
    """Yields (case number, facts) of the cases that have facts."""
    quoted = ", ".join(f"'{case_id}'" for case_id in case_ids)  # the pattern of a case number excludes quotes
    by_case: dict[str, list[Any]] = defaultdict(list)
    columns = ", ".join(kind.fact.__struct_fields__)
    for row in engine.query(f"SELECT {columns} FROM ninezero_data.{kind.name}_facts FINAL WHERE case_id IN ({quoted})"):
        # Not strict: ClickHouse writes integers of 64 bits as strings.
        by_case[row["case_id"]].append(msgspec.convert(row, kind.fact, strict=False))
    return iter(by_case.items())
