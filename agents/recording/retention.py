"""Retention of facts: a day is sealed, its sums are frozen, its facts are dropped. What was killed in between is finished later.

Passage facts, device events and dispositions lie in a partition a day. A day whose end is 14 days past goes: by then no event of
it can come any more (`observed_at` may be 13 days before the Kafka timestamp), unless the recorder is days behind. Counts stay.
"""

from __future__ import annotations

import time
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ninezero.agents.recording.case_tables import close_cases
from ninezero.agents.recording.recorder import SEALED
from ninezero.streams.clickhouse.engines import Engine

KEPT_DAYS = 14

SETTLE_SECONDS = 3.0
"""Between the seal and the first freeze: a flush that read the seals before it is over by then, in whatever process."""

READ_SECONDS = 10.0
"""Between the freeze and the first drop: a query that began before it is over by then. The dearest view takes 4 s (README)."""

FACTS = (*sorted(SEALED.tables), "sealed_kinds", "device_rolled")
"""In the order in which they are dropped: dispositions before the scans that tell their kind."""


class Dropped(NamedTuple):
    """A day whose facts were dropped, and how many rows of each table."""

    day: date
    rows: dict[str, int]

    def __str__(self) -> str:
        return f"{self.day}: dropped " + ", ".join(f"{n} {table}" for table, n in self.rows.items())


def due(now: datetime, timezone: str) -> date:
    """The first local day whose facts are kept."""
    return now.astimezone(ZoneInfo(timezone)).date() - timedelta(days=KEPT_DAYS)


def seal(engine: Engine, before: date) -> int:
    """Seals every day before `before` that has facts: nothing of it is recorded any more. How many it sealed."""
    sealed = {row["day"] for row in engine.query(SEALED.sql)}
    days = sorted({day.isoformat() for table in FACTS for day in _days(engine, table, before)} - sealed)
    if days:
        now = _now_ms()
        engine.insert(
            "ninezero_data.sealed_days", ("day", "attempt", "at"), [(date.fromisoformat(d), 0, now) for d in days]
        )
    return len(days)


def freeze(engine: Engine, before: date) -> int:
    """Freezes the sums of sealed days that have facts: these become the sums of the day with one row in `sealed_days`. How many it froze.

    So whoever is killed, or runs beside another, leaves counts that hold.
    """
    frozen = _frozen(engine)
    sealed = {row["day"] for row in engine.query(SEALED.sql)}
    found = {day.isoformat() for table in FACTS for day in _days(engine, table, before)}
    days = sorted((found & sealed) - frozen)
    for day in days:
        _freeze(engine, day)
    return len(days)


def drop(engine: Engine, before: date) -> list[Dropped]:
    """Drops the facts of frozen days."""
    frozen = _frozen(engine)
    counts = {table: _days(engine, table, before) for table in FACTS}
    found = []
    for day in sorted({day for table in FACTS for day in counts[table] if day.isoformat() in frozen}):
        for table in FACTS:
            if day in counts[table]:
                _drop(engine, table, day)
        found.append(Dropped(day, {table: counts[table][day] for table in FACTS if day in counts[table]}))
    close_cases(engine, before)  # by a rule of its own: 14 days after closure
    return found


def retain(engine: Engine, before: date) -> list[Dropped]:
    """Seals, freezes and drops, and waits in between for what is under way; what it dropped."""
    if seal(engine, before):
        time.sleep(SETTLE_SECONDS)
    if freeze(engine, before):
        time.sleep(READ_SECONDS)
    return drop(engine, before)


def _drop(engine: Engine, table: str, day: date) -> None:
    """Puts nothing in the place of a partition.

    `DROP PARTITION` makes 18.16 wait for every query of the table, and every later one wait for it: also the second look of a query
    that is under way already, and then both wait until the server is started again.
    """
    engine.execute(f"CREATE TABLE IF NOT EXISTS ninezero_data.no_{table} AS ninezero_data.{table}")
    engine.execute(f"ALTER TABLE ninezero_data.{table} REPLACE PARTITION '{day}' FROM ninezero_data.no_{table}")
    engine.execute(f"DROP TABLE IF EXISTS ninezero_data.no_{table}")


def _frozen(engine: Engine) -> set[str]:
    return {row["day"] for row in engine.query("SELECT day FROM ninezero_data.frozen_days")}


def _freeze(engine: Engine, day: str) -> None:
    attempt = time.time_ns()
    engine.execute(
        "INSERT INTO ninezero_data.disposition_days (day, attempt, site_id, kind, action, overrides, count) "  # a day and a number
        f"SELECT day, {attempt} AS attempt, site_id, kind, action, overrides, count FROM ninezero_data.dispositions_live WHERE day = '{day}'"
    )
    engine.execute(
        "INSERT INTO ninezero_data.device_days (day, attempt, device_id, site_id, conflicts, late, starts, ends) "
        f"SELECT day, {attempt} AS attempt, device_id, site_id, conflicts, late, starts, ends FROM ninezero_data.devices_live WHERE day = '{day}'"
    )
    # Dispositions of later days still ask what kind the scan was; a copy too many does no harm.
    engine.execute(
        "INSERT INTO ninezero_data.sealed_kinds (day, device_id, seq, kind, version) "
        "SELECT told.day, device_id, seq, kind, version "
        "FROM (SELECT day, of_device AS device_id, of_seq AS seq FROM ninezero_data.disposition_facts "
        f"WHERE day != '{day}' AND day NOT IN (SELECT day FROM ninezero_data.frozen_days)) AS told "
        f"ALL INNER JOIN (SELECT device_id, seq, kind, version FROM ninezero_data.screening_facts WHERE day = '{day}') AS scanned "
        "USING (device_id, seq)"
    )
    engine.insert(
        "ninezero_data.sealed_days", ("day", "attempt", "at"), [(date.fromisoformat(day), attempt, _now_ms())]
    )


def _days(engine: Engine, table: str, before: date) -> dict[date, int]:
    rows = engine.query(
        f"SELECT day, count() AS n FROM ninezero_data.{table} WHERE day < '{before}' GROUP BY day"  # names of our own
    )
    return {date.fromisoformat(row["day"]): int(row["n"]) for row in rows}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
