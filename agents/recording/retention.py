"""Retention of facts: a day is sealed, its counts are frozen, then its facts are dropped. Each step can be resumed.

Screening facts, device events and dispositions are stored in one partition per day. A day is due `KEPT_DAYS` after its
end: no valid event of it can arrive any more (`observed_at` is at most 13 days before the Kafka timestamp), unless the
recorder is days behind. The counts remain.
"""

from __future__ import annotations

import time
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ninezero.agents.recording.case_deletion import delete_closed_cases
from ninezero.agents.recording.sealed_days import SEALED_TABLES, read_sealed_days
from ninezero.streams.clickhouse import Engine

KEPT_DAYS = 14

SETTLE_SECONDS = 3.0
"""Pause between seal and freeze. A flush that read the sealed days before the seal has ended by then, in every process."""

READ_SECONDS = 10.0
"""Pause between freeze and drop. A query that began before the freeze has ended by then; the slowest view takes 4 s."""

FACT_TABLES = (*sorted(SEALED_TABLES), "sealed_kinds", "device_rolled")
"""The tables in the order in which their partitions are dropped: dispositions before the scans that determine their kind."""

_COLUMNS = ("day", "attempt", "at")
"""Columns of `sealed_days`: attempt 0 seals a day, a higher number freezes it; `at` is Unix time in ms."""


class Dropped(NamedTuple):
    """A day whose facts were dropped, and the number of rows by table."""

    day: date
    rows: dict[str, int]

    def __str__(self) -> str:
        return f"{self.day}: dropped " + ", ".join(f"{n} {table}" for table, n in self.rows.items())


def first_kept_day(now: datetime, timezone: str) -> date:
    """Returns the first local day whose facts are kept."""
    return now.astimezone(ZoneInfo(timezone)).date() - timedelta(days=KEPT_DAYS)


def seal(engine: Engine, before: date) -> int:
    """Seals every day before `before` that has facts: nothing of it is recorded any more. Returns the number of days."""
    days = sorted(_days_with_facts(engine, before) - read_sealed_days(engine))
    if days:
        now = _now_ms()
        engine.insert("ninezero_data.sealed_days", _COLUMNS, [(day, 0, now) for day in days])
    return len(days)


def freeze(engine: Engine, before: date) -> int:
    """Freezes the counts of the sealed days before `before` that have facts. Returns the number of days.

    The counts are stored under the number of this attempt. One row in `sealed_days` then makes them the counts of the day,
    so an interrupted call, or two calls at the same time, leave correct counts. Of several attempts the first one counts.
    """
    days = sorted((_days_with_facts(engine, before) & read_sealed_days(engine)) - _frozen_days(engine))
    for day in days:
        _freeze(engine, day)
    return len(days)


def drop(engine: Engine, before: date) -> list[Dropped]:
    """Drops the facts of the frozen days before `before`, and the cases that closed before it. Returns the dropped days."""
    frozen = _frozen_days(engine)
    rows_by_table = {table: _rows_by_day(engine, table, before) for table in FACT_TABLES}
    dropped = []
    for day in sorted({day for rows_by_day in rows_by_table.values() for day in rows_by_day} & frozen):
        rows = {table: rows_by_day[day] for table, rows_by_day in rows_by_table.items() if day in rows_by_day}
        for table in rows:
            _drop_partition(engine, table, day)
        dropped.append(Dropped(day, rows))
    delete_closed_cases(engine, before)
    return dropped


def retain(engine: Engine, before: date) -> list[Dropped]:
    """Seals, freezes and drops, with the pauses that flushes and queries need. Returns the dropped days."""
    if seal(engine, before):
        time.sleep(SETTLE_SECONDS)
    if freeze(engine, before):
        time.sleep(READ_SECONDS)
    return drop(engine, before)


def _drop_partition(engine: Engine, table: str, day: date) -> None:
    """Replaces a partition by an empty one.

    `DROP PARTITION` can deadlock on ClickHouse 18.16: it waits for every query that reads the table, and new reads wait
    for it, including the second read of a query that is running already.
    """
    engine.execute(f"CREATE TABLE IF NOT EXISTS ninezero_data.no_{table} AS ninezero_data.{table}")
    engine.execute(f"ALTER TABLE ninezero_data.{table} REPLACE PARTITION '{day}' FROM ninezero_data.no_{table}")
    engine.execute(f"DROP TABLE IF EXISTS ninezero_data.no_{table}")


def _freeze(engine: Engine, day: date) -> None:
    attempt = time.time_ns()
    engine.execute(
        "INSERT INTO ninezero_data.disposition_days (day, attempt, site_id, kind, action, overrides, count) "
        f"SELECT day, {attempt} AS attempt, site_id, kind, action, overrides, count FROM ninezero_data.dispositions_live WHERE day = '{day}'"
    )
    engine.execute(
        "INSERT INTO ninezero_data.device_days (day, attempt, device_id, site_id, conflicts, late, starts, ends) "
        f"SELECT day, {attempt} AS attempt, device_id, site_id, conflicts, late, starts, ends FROM ninezero_data.devices_live WHERE day = '{day}'"
    )
    # Dispositions of later days need the kind of their scan. Duplicate rows do no harm.
    engine.execute(
        "INSERT INTO ninezero_data.sealed_kinds (day, device_id, seq, kind, version) "
        "SELECT disposition.day, device_id, seq, kind, version "
        "FROM (SELECT day, of_device AS device_id, of_seq AS seq FROM ninezero_data.disposition_facts "
        f"WHERE day != '{day}' AND day NOT IN (SELECT day FROM ninezero_data.frozen_days)) AS disposition "
        f"ALL INNER JOIN (SELECT device_id, seq, kind, version FROM ninezero_data.screening_facts WHERE day = '{day}') AS scan "
        "USING (device_id, seq)"
    )
    engine.insert("ninezero_data.sealed_days", _COLUMNS, [(day, attempt, _now_ms())])


def _frozen_days(engine: Engine) -> set[date]:
    return {date.fromisoformat(row["day"]) for row in engine.query("SELECT day FROM ninezero_data.frozen_days")}


def _days_with_facts(engine: Engine, before: date) -> set[date]:
    return {day for table in FACT_TABLES for day in _rows_by_day(engine, table, before)}


def _rows_by_day(engine: Engine, table: str, before: date) -> dict[date, int]:
    rows = engine.query(f"SELECT day, count() AS n FROM ninezero_data.{table} WHERE day < '{before}' GROUP BY day")
    return {date.fromisoformat(row["day"]): int(row["n"]) for row in rows}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
