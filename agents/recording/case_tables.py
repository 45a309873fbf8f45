"""Cases in ClickHouse: their rows after an insert, their departure after closing, and what the report says of them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Set
from datetime import date
from typing import Any

import msgspec

from ninezero.agents.logic.cases import followups, quarantine
from ninezero.agents.logic.days import Days
from ninezero.schemas.case_facts import FollowupFact, QuarantineFact
from ninezero.schemas.rows import FollowupCase, QuarantineCase
from ninezero.streams.clickhouse.engines import ClickHouseError, Engine, Row
from ninezero.streams.clickhouse.sink import Rows

CASES_A_QUERY = 2000

_KINDS: tuple[tuple[str, Any, Any, Any], ...] = (
    ("quarantine", QuarantineFact, QuarantineCase, quarantine.summarise),
    ("followup", FollowupFact, FollowupCase, followups.summarise),
)


def roll_up_cases(engine: Engine, written: Rows, days: Days) -> None:
    """Recomputes the row of every case that has new facts, from all its facts."""
    for kind in _KINDS:
        if new := written.get(f"{kind[0]}_facts"):
            _recompute(engine, kind, set(new["case_id"]), days)


def mend_cases(engine: Engine, days: Days) -> None:
    """Computes the rows of cases that have facts and no row: the table of cases was lost."""
    for kind in _KINDS:
        missing = engine.query(
            f"SELECT DISTINCT case_id FROM ninezero_data.{kind[0]}_facts "
            f"WHERE case_id NOT IN (SELECT case_id FROM ninezero_data.{kind[0]}_cases) "
            f"AND case_id NOT IN (SELECT case_id FROM ninezero_data.{kind[0]}_departing)"
        )
        _recompute(engine, kind, {row["case_id"] for row in missing}, days)


def _recompute(engine: Engine, kind: tuple[str, Any, Any, Any], cases: Set[str], days: Days) -> None:
    name, fact, row, summarise = kind
    touched = sorted(cases)
    for first in range(0, len(touched), CASES_A_QUERY):
        some = touched[first : first + CASES_A_QUERY]
        found = [summarise(case, facts, days) for case, facts in _facts(engine, name, fact, some)]
        if found:
            engine.insert(f"ninezero_data.{name}_cases", row._fields, found)


def _facts(engine: Engine, name: str, fact: Any, cases: list[str]) -> Iterator[tuple[str, list[Any]]]:
    listed = ", ".join(f"'{case}'" for case in cases)  # the pattern of a case number leaves no room for a quote
    by_case: dict[str, list[Any]] = defaultdict(list)
    columns = ", ".join(fact.__struct_fields__)
    for found in engine.query(f"SELECT {columns} FROM ninezero_data.{name}_facts FINAL WHERE case_id IN ({listed})"):
        by_case[found["case_id"]].append(
            msgspec.convert(found, fact, strict=False)
        )  # ClickHouse returns integers of 64 bits as strings
    return iter(by_case.items())


# -- departure -------------------------------------------------------------------------------------------------------

FOREVER = date(2100, 1, 1)

_SUMS = {
    "quarantine": [
        (
            "quarantine_kept (fold, day, site_id, n_admitted, n_released, n_in, n_out, n_present, n_due_am, n_due_pm, n_done_am, n_done_pm, n_misplaced, n_anomalies)",
            "day, site, sum(a), sum(b), sum(c), sum(d), sum(e), sum(f), sum(g), sum(h), sum(i), sum(j), sum(k) FROM ninezero_data.quarantine_live "
            "ARRAY JOIN days AS day, sites AS site, admitted AS a, released AS b, transferred_in AS c, transferred_out AS d, present AS e, "
            "due_am AS f, due_pm AS g, done_am AS h, done_pm AS i, misplaced AS j, anomalies AS k",
            "GROUP BY day, site",
        )
    ],
    "followup": [
        (
            "followup_kept (fold, day, district, n_opened, n_visits, n_reached, n_closed, n_overdue, n_open, n_anomalies)",
            "day, place, sum(a), sum(b), sum(c), sum(d), sum(e), sum(f), sum(g) FROM ninezero_data.followup_live "
            "ARRAY JOIN days AS day, districts AS place, opened AS a, visits AS b, reached AS c, closed AS d, overdue AS e, open_at_end AS f, anomalies AS g",
            "GROUP BY day, place",
        ),
        (
            "followup_closings_kept (fold, day, district, closed, n)",
            "closed_on, district, closed_as, count() FROM ninezero_data.followup_live",
            "AND opened_on > toDate(0) GROUP BY closed_on, district, closed_as",
        ),
        (
            "followup_delays_kept (fold, day, district, seconds)",
            "day, district, seconds FROM ninezero_data.followup_delays",
            "",
        ),
    ],
}


def close_cases(engine: Engine, before: date) -> int:
    """Lets go of the cases that were closed on a local day before `before`; how many of them.

    Their sums stay, their rows and facts go, and with them the case numbers. May be stopped anywhere and run again: sums
    count, and rows cease to count, with the one row that ends the first step; whatever is left of the second is done by
    the next run. Two runs at once count once. A case that was closed before `before` and turns up again counts no more.

    Raises:
        ClickHouseError: a step failed.
    """
    leaving = 0
    for name, _, _, _ in _KINDS:
        _fold(engine, name, before)
        leaving += _depart(engine, name, before)
    return leaving


def end_cases(engine: Engine) -> int:
    """Lets go of every case, open ones as they stand today, before a deployment is erased; how many of them.

    Like `close_cases` it may be stopped anywhere and run again. No case counts afterwards.

    Raises:
        ClickHouseError: a step failed.
    """
    leaving = 0
    for name, _, _, _ in _KINDS:
        _fold(engine, name, FOREVER)
        leaving += _depart(engine, name, FOREVER)
    return leaving


def _fold(engine: Engine, name: str, before: date) -> None:
    fold = time.time_ns()
    ends = engine.query(f"SELECT max(ends) AS ends FROM ninezero_data.case_folds FINAL WHERE cases = '{name}'")
    begins = date.fromisoformat(ends[0]["ends"]) if ends and ends[0]["ends"] > "1970-01-01" else date(1970, 1, 1)
    if before <= begins:
        return
    sums = _SUMS[name]
    if before == FOREVER:
        into, _, _ = sums[0]
        columns = into[into.index("(fold, ") + 7 : -1]
        engine.execute(f"INSERT INTO ninezero_data.{into} SELECT {fold}, {columns} FROM ninezero_data.{name}_live_days")
        sums = sums[1:]
    for into, what, then in sums:
        ready = f"open = 0 AND closed_on < '{before}'"
        if before == FOREVER and "delays" in into:
            ready = "1 = 1"
        engine.execute(f"INSERT INTO ninezero_data.{into} SELECT {fold}, {what} WHERE {ready} {then}")
    engine.insert("ninezero_data.case_folds", ("cases", "begins", "ends", "fold"), [(name, begins, before, fold)])


def _depart(engine: Engine, name: str, before: date) -> int:
    # The list is a table of its own: a mutation goes part by part, and must not read what it deletes; and the numbers
    # must not stand in its text, which the server keeps.
    engine.execute(
        f"INSERT INTO ninezero_data.{name}_departing SELECT case_id FROM ninezero_data.{name}_cases FINAL "
        + ("" if before == FOREVER else f"WHERE open = 0 AND closed_on < '{before}'")
    )
    counted = engine.query(
        f"SELECT count() AS n FROM ninezero_data.{name}_cases FINAL "
        f"WHERE case_id IN (SELECT case_id FROM ninezero_data.{name}_departing)"
    )
    listed = engine.query(f"SELECT count() AS n FROM ninezero_data.{name}_departing")
    if int(listed[0]["n"]):
        for table in (f"{name}_facts", f"{name}_cases"):
            engine.execute(
                f"ALTER TABLE ninezero_data.{table} DELETE WHERE case_id IN (SELECT case_id FROM ninezero_data.{name}_departing)"
            )
        for table in (f"{name}_facts", f"{name}_cases"):
            _wait(engine, table)
        engine.execute(f"TRUNCATE TABLE ninezero_data.{name}_departing")
    return int(counted[0]["n"])


def _wait(engine: Engine, table: str) -> None:
    """Waits until nothing is left to be deleted from a table."""
    deadline = time.monotonic() + 600
    while engine.query(
        f"SELECT 1 FROM system.mutations WHERE database = 'ninezero_data' AND table = '{table}' AND is_done = 0 LIMIT 1"
    ):
        if time.monotonic() > deadline:
            raise ClickHouseError(f"the deletion from {table} does not end: see system.mutations, then run it again")
        time.sleep(0.1)


# -- the report ------------------------------------------------------------------------------------------------------


def warnings(query: Callable[[str], list[Row]]) -> list[str]:
    """Lines for the report: sites with more people than room, and days on which the quarantine balance fails."""
    found = [
        f"{row['site_id']} holds {int(row['present']):,} people and has room for {int(row['capacity']):,}"
        for row in query(
            "SELECT site_id, capacity, present FROM ninezero.quarantine_occupancy WHERE free < 0 ORDER BY site_id"
        )
    ]
    wrong = query("SELECT count() AS n, min(day) AS first FROM ninezero.quarantine_balance")
    if int(wrong[0]["n"]):
        found.append(
            f"the quarantine balance fails on {int(wrong[0]['n']):,} days of sites, from {wrong[0]['first']} on: see quarantine_balance"
        )
    return found
