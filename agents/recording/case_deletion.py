"""Deletion of cases: 14 days after a case closed, its counts are kept and its rows are deleted, and with them its number.

The tables of the database call a step of this a *fold*: it adds the counts of the closed cases to `…_kept` and records
the period it covers in `case_folds`.
"""

from __future__ import annotations

import time
from datetime import date
from typing import NamedTuple

from ninezero.agents.recording.case_tables import CASE_KINDS
from ninezero.streams.clickhouse import ClickHouseError, Engine

FOREVER = date(2100, 1, 1)
"""The end of the last fold, which includes open cases."""

_NEVER = date(1970, 1, 1)

_DELETION_SECONDS = 600
_POLL_SECONDS = 0.1


class KeptCounts(NamedTuple):
    """A table that keeps counts of deleted cases, and the query that fills it.

    The statement is `INSERT INTO table (fold, columns) SELECT fold, select FROM source WHERE … group_by`.
    """

    table: str
    columns: str
    select: str
    source: str
    group_by: str = ""
    and_where: str = ""
    last_fold_takes_all: bool = False
    """True if the last fold also includes the rows of open cases."""


_KEPT: dict[str, tuple[KeptCounts, ...]] = {
    "quarantine": (
        KeptCounts(
            table="quarantine_kept",
            columns="day, site_id, n_admitted, n_released, n_in, n_out, n_present, n_due_am, n_due_pm, n_done_am, n_done_pm, "
            "n_misplaced, n_anomalies",
            select="day, site, sum(a), sum(b), sum(c), sum(d), sum(e), sum(f), sum(g), sum(h), sum(i), sum(j), sum(k)",
            source="ninezero_data.quarantine_live ARRAY JOIN days AS day, sites AS site, admitted AS a, released AS b, "
            "transferred_in AS c, transferred_out AS d, present AS e, due_am AS f, due_pm AS g, done_am AS h, done_pm AS i, "
            "misplaced AS j, anomalies AS k",
            group_by="GROUP BY day, site",
        ),
    ),
    "followup": (
        KeptCounts(
            table="followup_kept",
            columns="day, district, n_opened, n_visits, n_reached, n_closed, n_overdue, n_open, n_anomalies",
            select="day, place, sum(a), sum(b), sum(c), sum(d), sum(e), sum(f), sum(g)",
            source="ninezero_data.followup_live ARRAY JOIN days AS day, districts AS place, opened AS a, visits AS b, "
            "reached AS c, closed AS d, overdue AS e, open_at_end AS f, anomalies AS g",
            group_by="GROUP BY day, place",
        ),
        KeptCounts(
            table="followup_closings_kept",
            columns="day, district, closed, n",
            select="closed_on, district, closed_as, count()",
            source="ninezero_data.followup_live",
            group_by="GROUP BY closed_on, district, closed_as",
            and_where="AND opened_on > toDate(0)",
        ),
        KeptCounts(
            table="followup_delays_kept",
            columns="day, district, seconds",
            select="day, district, seconds",
            source="ninezero_data.followup_delays",
            last_fold_takes_all=True,
        ),
    ),
}
"""The tables by kind of case. The first table of each kind keeps the counts by day."""


def delete_closed_cases(engine: Engine, before: date) -> int:
    """Deletes the cases that were closed on a local day before `before`, and keeps their counts.

    The call may be interrupted anywhere and repeated. One row in `case_folds` switches the views from the rows of the
    cases to the kept counts, and the next call finishes the deletion. Of two calls that run at the same time, one has an
    effect.
    A deleted case whose events arrive again does not count again.

    Returns:
        The number of cases that were deleted.

    Raises:
        ClickHouseError: a step failed.
    """
    return sum(_fold_and_delete(engine, kind.name, before) for kind in CASE_KINDS)


def delete_all_cases(engine: Engine) -> int:
    """Deletes every case, including open ones, before a deployment is erased. Their counts remain as they are today.

    Like `delete_closed_cases` it may be interrupted and repeated. No case counts afterwards.

    Returns:
        The number of cases that were deleted.

    Raises:
        ClickHouseError: a step failed.
    """
    return sum(_fold_and_delete(engine, kind.name, FOREVER) for kind in CASE_KINDS)


def _fold_and_delete(engine: Engine, kind: str, before: date) -> int:
    _fold(engine, kind, before)
    return _delete(engine, kind, before)


def _fold(engine: Engine, kind: str, before: date) -> None:
    """Adds the counts of the closed cases to the kept ones, under a number of its own; the row in `case_folds` comes last."""
    fold = time.time_ns()
    ends = engine.query(f"SELECT max(ends) AS ends FROM ninezero_data.case_folds FINAL WHERE cases = '{kind}'")
    begins = date.fromisoformat(ends[0]["ends"]) if ends and ends[0]["ends"] > _NEVER.isoformat() else _NEVER
    if before <= begins:
        return
    last = before == FOREVER
    by_day, *others = _KEPT[kind]
    if last:  # open cases count to today, as in the view
        engine.execute(
            f"INSERT INTO ninezero_data.{by_day.table} (fold, {by_day.columns}) "
            f"SELECT {fold}, {by_day.columns} FROM ninezero_data.{kind}_live_days"
        )
    for kept in others if last else (by_day, *others):
        closed = "1 = 1" if last and kept.last_fold_takes_all else f"open = 0 AND closed_on < '{before}'"
        engine.execute(
            f"INSERT INTO ninezero_data.{kept.table} (fold, {kept.columns}) "
            f"SELECT {fold}, {kept.select} FROM {kept.source} WHERE {closed} {kept.and_where} {kept.group_by}"
        )
    engine.insert("ninezero_data.case_folds", ("cases", "begins", "ends", "fold"), [(kind, begins, before, fold)])


def _delete(engine: Engine, kind: str, before: date) -> int:
    """Deletes the facts and rows of the cases that are folded. Returns the number of cases.

    The case numbers to delete are listed in a table of their own. A mutation rewrites one part after the other, so it must
    not read the table that it changes; and the server keeps the text of a mutation, so no case number may stand in it.
    """
    departing = f"ninezero_data.{kind}_departing"
    engine.execute(
        f"INSERT INTO {departing} SELECT case_id FROM ninezero_data.{kind}_cases FINAL "
        + ("" if before == FOREVER else f"WHERE open = 0 AND closed_on < '{before}'")
    )
    cases = engine.query(
        f"SELECT count() AS n FROM ninezero_data.{kind}_cases FINAL WHERE case_id IN (SELECT case_id FROM {departing})"
    )
    listed = engine.query(f"SELECT count() AS n FROM {departing}")
    if int(listed[0]["n"]):
        tables = (f"{kind}_facts", f"{kind}_cases")
        for table in tables:
            engine.execute(
                f"ALTER TABLE ninezero_data.{table} DELETE WHERE case_id IN (SELECT case_id FROM {departing})"
            )
        for table in tables:
            _wait_for_deletion(engine, table)
        engine.execute(f"TRUNCATE TABLE {departing}")
    return int(cases[0]["n"])


def _wait_for_deletion(engine: Engine, table: str) -> None:
    deadline = time.monotonic() + _DELETION_SECONDS
    while engine.query(
        f"SELECT 1 FROM system.mutations WHERE database = 'ninezero_data' AND table = '{table}' AND is_done = 0 LIMIT 1"
    ):
        if time.monotonic() > deadline:
            raise ClickHouseError(
                f"the deletion from {table} did not end within {_DELETION_SECONDS} s: check system.mutations, then repeat it"
            )
        time.sleep(_POLL_SECONDS)
