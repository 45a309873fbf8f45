"""Cases in ClickHouse: one row a case, with its events and the counts that are computed from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from types import GenericAlias
from typing import Any, NamedTuple

import msgspec

from ninezero.agents.logic.cases import followups, quarantine
from ninezero.agents.logic.days import Days
from ninezero.schemas.case_facts import FollowupFact, QuarantineFact
from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import FollowupCase, QuarantineCase
from ninezero.streams.clickhouse import Engine, Row, inserts
from ninezero.streams.clickhouse.topic_buffer import RowsByTable

CASES_PER_QUERY = 2000


class CaseKind(NamedTuple):
    """A kind of case: the prefix of its tables, its fact, its row, and the function that computes the row from the facts."""

    name: str
    fact: Any
    case: Any
    summarise: Callable[[str, list[Any], Days], Any]


QUARANTINE = CaseKind("quarantine", QuarantineFact, QuarantineCase, quarantine.summarise)
FOLLOWUP = CaseKind("followup", FollowupFact, FollowupCase, followups.summarise)


def record_cases(engine: Engine, written: RowsByTable, days: Days) -> None:
    """Adds new facts to the rows of their cases, and computes the counts of these cases again.

    It may be repeated, and facts may arrive in any order: a fact that a case has already changes nothing.

    Args:
        engine: the database.
        written: rows by table; those of `CASE_FACTS` are recorded here.
        days: the local days.

    Raises:
        ClickHouseError: a statement failed.
    """
    for kind in (QUARANTINE, FOLLOWUP):
        by_case: dict[str, list[Any]] = defaultdict(list)
        block = written.get(f"{kind.name}_facts", Block(f"{kind.name}_facts"))
        for row in block:
            fact = kind.fact(**dict(zip(block.names, row, strict=True)))
            by_case[fact.case_id].append(fact)
        ordered = sorted(by_case)
        for first in range(0, len(ordered), CASES_PER_QUERY):
            part = ordered[first : first + CASES_PER_QUERY]
            known = _known_facts(engine, kind, part)
            rows = [kind.summarise(case_id, known[case_id] + by_case[case_id], days) for case_id in part]
            inserts.insert(engine, f"{kind.name}_cases", rows)


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


def _known_facts(engine: Engine, kind: CaseKind, case_ids: Sequence[str]) -> defaultdict[str, list[Any]]:
    """Returns the stored facts of cases by case number."""
    known: defaultdict[str, list[Any]] = defaultdict(list)
    sql = f"SELECT case_id, facts FROM ninezero_data.{kind.name}_cases FINAL WHERE case_id IN (SELECT key FROM keys)"
    for row in engine.lookup(sql, case_ids):
        known[row["case_id"]] = msgspec.json.decode(row["facts"], type=GenericAlias(list, (kind.fact,)))
    return known
