"""Deletion of cases: 14 days after a case closed, its counts are kept and its row is deleted, and with it its number."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from ninezero.agents.logic.cases import followups, quarantine
from ninezero.agents.logic.cases.followups import Delay
from ninezero.agents.recording import loss_check
from ninezero.agents.recording.case_tables import FOLLOWUP, QUARANTINE, CaseKind
from ninezero.streams.clickhouse import ClickHouseError, Engine, inserts, tallies

FOREVER = date(2100, 1, 1)
"""The end of the last period whose counts are kept. It includes open cases."""


def delete_closed_cases(engine: Engine, before: date) -> int:
    """Deletes the cases that were closed on a local day before `before`, and keeps their counts.

    The call may be interrupted anywhere and repeated. One row of the kept counts switches the views from the rows of the
    cases to these counts; the deletion follows. A deleted case whose events arrive again does not count again.

    Returns:
        The number of cases that were deleted.

    Raises:
        ClickHouseError: a step failed; the next call resumes.
    """
    return sum(_keep_and_delete(engine, kind, before, today=before) for kind in (QUARANTINE, FOLLOWUP))


def delete_all_cases(engine: Engine, today: date) -> int:
    """Deletes every case, including open ones, before a deployment is erased. Their counts remain as they are on the local day `today`.

    Like `delete_closed_cases` it may be interrupted and repeated. No case counts afterwards.

    Returns:
        The number of cases that were deleted.

    Raises:
        ClickHouseError: a step failed; the next call resumes.
    """
    return sum(_keep_and_delete(engine, kind, FOREVER, today) for kind in (QUARANTINE, FOLLOWUP))


def _keep_and_delete(engine: Engine, kind: CaseKind, before: date, today: date) -> int:
    _keep_counts(engine, kind, before, today)
    return _delete(engine, kind, before)


def _keep_counts(engine: Engine, kind: CaseKind, before: date, today: date) -> None:
    """Adds the counts of the cases that closed since the last call to the kept ones, in one row."""
    begins = _kept_until(engine, kind)
    if before <= begins:
        return
    columns = ", ".join(kind.case._fields)
    cases = [
        # Not strict: ClickHouse writes integers of 64 bits as strings.
        msgspec.convert([row[name] for name in kind.case._fields], kind.case, strict=False)
        for row in engine.query(f"SELECT {columns} FROM ninezero_data.{kind.name}_live WHERE closed_on < '{before}'")
    ]
    kept: Any
    if kind is QUARANTINE:
        kept = quarantine.keep(cases, begins, before, today)
    else:
        kept = followups.keep(cases, _delays(engine, before), begins, before, today)
    if _kept_until(engine, kind) != begins:
        raise ClickHouseError(f"another process deletes {kind.name} cases: try again later")
    inserts.insert(engine, f"{kind.name}_kept", [kept])


def _kept_until(engine: Engine, kind: CaseKind) -> date:
    (row,) = engine.query(f"SELECT max(ends) AS until FROM ninezero_data.{kind.name}_kept")
    return date.fromisoformat(row["until"])


def _delays(engine: Engine, before: date) -> list[Delay]:
    rows = engine.query(
        f"SELECT day, district, seconds FROM ninezero_data.followup_delays WHERE closed_on < '{before}'"
    )
    return [msgspec.convert([row[name] for name in Delay._fields], Delay, strict=False) for row in rows]


def _delete(engine: Engine, kind: CaseKind, before: date) -> int:
    """Deletes the rows of the cases whose counts are kept. Returns the number of cases.

    The statement names no case, because the server keeps its text, and it gives the same result on every replica. It
    compares with the row's own `closed_on`. Therefore the older rows of these cases, which say that they are open, are
    merged away before.
    """
    table, facts = f"ninezero_data.{kind.name}_cases", f"{kind.name}_facts"
    closed = f"closed_on < '{before}'"
    (found,) = engine.query(f"SELECT count() AS n FROM {table} FINAL WHERE {closed}")
    state = tallies.read_epochs(engine).get(facts)
    interrupted = state is not None and state.cause == "deletion"
    if int(found["n"]):
        loss_check.begin_deletion(engine, [facts])
        _merge(engine, table, before)
        engine.execute(f"ALTER TABLE {table} DELETE WHERE {closed} SETTINGS mutations_sync = 2")
    if int(found["n"]) or interrupted:
        tallies.end_deletion(engine, [facts])
    return int(found["n"])


def _merge(engine: Engine, table: str, before: date) -> None:
    """Merges the rows of each case that is about to be deleted into its latest one."""
    engine.execute(f"OPTIMIZE TABLE {table} FINAL")
    (older,) = engine.query(
        f"SELECT count() AS n FROM (SELECT case_id FROM {table} GROUP BY case_id "
        f"HAVING count() > 1 AND argMax(closed_on, version) < '{before}')"
    )
    if int(older["n"]):
        raise ClickHouseError(
            f"{table} could not be merged: check the free space of the disk; the next call tries again"
        )
