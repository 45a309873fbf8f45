"""Retention of facts: a day is sealed, its counts are frozen, then its facts are dropped. Each step can be resumed.

Screening facts, device events, dispositions and transfers are stored in one partition per day. A day is due `KEPT_DAYS` after its
end: no valid event of it can arrive any more (`observed_at` is at most 13 days before the Kafka timestamp), unless the
recorder is days behind. The counts remain. The alerts about cases that were sent are facts too: their day is due when no alert of
it is in Kafka any more, 72 hours after its end.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ninezero.agents.recording.case_deletion import delete_closed_cases
from ninezero.agents.recording.sealed_days import CARE_ALERTS, SEALED_TABLES, read_sealed_days, sealed_by
from ninezero.schemas.rows import FIRST_WINS
from ninezero.streams.clickhouse import Engine

KEPT_DAYS = 14

ALERT_HOURS = 72
"""Time after the end of a day for which alerts of the day count, and for which their rows are kept, in hours."""

SETTLE_SECONDS = 3.0
"""Least time between seal and freeze. A flush that read the sealed days before the seal has ended by then, in every process."""

READ_SECONDS = 10.0
"""Least time between freeze and drop. A query that began before the freeze has chosen the parts that it reads by then."""

FACT_TABLES = (*sorted(SEALED_TABLES), "sealed_kinds", "sealed_contents", "sealed_transfers", "device_rolled")
"""The tables of facts, with one partition per day, in the order in which their partitions are dropped."""

FROZEN_TABLES = {
    "screening_days": "screening_live",
    "reason_days": "reasons_live",
    "shadow_days": "shadows_live",
    "arrival_days": "arrivals_live",
    "disposition_days": "dispositions_live",
    "device_days": "devices_live",
    "transfer_days": "transfers_live",
}
"""Each table of frozen counts, and the view that computes its rows from the facts. The table has the columns of the view,
then `version`."""


@dataclass(frozen=True, eq=False)
class FactGroup:
    """Tables of facts that are sealed, frozen and dropped together."""

    sealed: str
    """The table of their sealed days."""
    tables: tuple[str, ...]
    """The tables, in the order in which their partitions are dropped."""
    frozen: Mapping[str, str]
    """Each table of frozen counts, and the view that computes its rows."""


PASSAGES = FactGroup("sealed_days", FACT_TABLES, FROZEN_TABLES)
ALERTS_SENT = FactGroup(sealed_by(CARE_ALERTS), (CARE_ALERTS,), {"care_alert_days": "care_alerts_live"})


class Dropped(NamedTuple):
    """A day whose facts were dropped, and the number of rows by table."""

    day: date
    rows: dict[str, int]

    def __str__(self) -> str:
        return f"{self.day}: dropped " + ", ".join(f"{n} {table}" for table, n in self.rows.items())


def first_kept_day(now: datetime, timezone: str) -> date:
    """Returns the first local day whose facts are kept."""
    return now.astimezone(ZoneInfo(timezone)).date() - timedelta(days=KEPT_DAYS)


def first_counted_alert_day(now: datetime, timezone: str) -> date:
    """Returns the first local day of which an alert counts that is sent now, and whose alerts are kept."""
    return (now - timedelta(hours=ALERT_HOURS)).astimezone(ZoneInfo(timezone)).date()


def seal(engine: Engine, before: date, group: FactGroup = PASSAGES) -> int:
    """Seals every day before `before` that has facts: nothing of it is recorded any more. Returns the number of days."""
    days = sorted(_days_with_facts(engine, group, before) - read_sealed_days(engine, group.sealed))
    if days:
        engine.insert(f"ninezero_data.{group.sealed}", ("day", "frozen"), [(day, 0) for day in days])
    return len(days)


def freeze(engine: Engine, before: date, group: FactGroup = PASSAGES) -> int:
    """Freezes the counts of the days before `before` that were sealed `SETTLE_SECONDS` ago. Returns the number of days.

    A call that was interrupted is repeated, and two calls may run at the same time: both freeze the same counts.
    """
    settled = _days(engine, group, frozen=False, seconds=SETTLE_SECONDS) - _days(engine, group, frozen=True)
    days = sorted(_days_with_facts(engine, group, before) & settled)
    for day in days:
        _freeze_counts(engine, group, day)
        if group is PASSAGES:
            _freeze_links(engine, day)
        engine.insert(f"ninezero_data.{group.sealed}", ("day", "frozen"), [(day, 1)])
    return len(days)


def drop(engine: Engine, before: date) -> list[Dropped]:
    """Drops the facts of the days before `before` that were frozen `READ_SECONDS` ago, and the cases that closed before it.

    Returns:
        The dropped days.
    """
    dropped = drop_facts(engine, before)
    delete_closed_cases(engine, before)
    return dropped


def drop_facts(engine: Engine, before: date, group: FactGroup = PASSAGES) -> list[Dropped]:
    """Drops the facts of the days before `before` that were frozen `READ_SECONDS` ago. Returns the dropped days."""
    frozen = _days(engine, group, frozen=True, seconds=READ_SECONDS)
    rows_by_table = {table: _rows_by_day(engine, table, before) for table in group.tables}
    dropped = []
    for day in sorted({day for rows_by_day in rows_by_table.values() for day in rows_by_day} & frozen):
        rows = {table: rows_by_day[day] for table, rows_by_day in rows_by_table.items() if day in rows_by_day}
        for table in rows:
            engine.execute(f"ALTER TABLE ninezero_data.{table} DROP PARTITION '{day}'")
        dropped.append(Dropped(day, rows))
    return dropped


def retain(engine: Engine, before: date, alerts_before: date) -> list[Dropped]:
    """Seals, freezes and drops, with the pauses that flushes and queries need. Returns the dropped days.

    Args:
        engine: the database.
        before: the first day whose facts and cases are kept.
        alerts_before: the first day whose alerts are kept.
    """
    due = {PASSAGES: before, ALERTS_SENT: alerts_before}
    if sum([seal(engine, until, group) for group, until in due.items()]):
        time.sleep(SETTLE_SECONDS)
    if sum([freeze(engine, until, group) for group, until in due.items()]):
        time.sleep(READ_SECONDS)
    return drop(engine, before) + drop_facts(engine, alerts_before, ALERTS_SENT)


def _freeze_counts(engine: Engine, group: FactGroup, day: date) -> None:
    for table, view in group.frozen.items():
        engine.execute(
            f"INSERT INTO ninezero_data.{table} "
            f"SELECT *, {FIRST_WINS} - toUnixTimestamp64Milli(now64(3)) FROM ninezero_data.{view} WHERE day = '{day}'"
        )


def _freeze_links(engine: Engine, day: date) -> None:
    """Keeps what other days need of the facts of a day."""
    # Dispositions of later days need the kind of their scan. Duplicate rows do no harm.
    engine.execute(
        "INSERT INTO ninezero_data.sealed_kinds "
        "SELECT disposition.day, scan.device_id, scan.seq, scan.kind, scan.version "
        f"FROM (SELECT day, of_device, of_seq FROM ninezero_data.disposition_facts WHERE day != '{day}' "
        "AND day NOT IN (SELECT day FROM ninezero_data.sealed_days WHERE frozen = 1)) AS disposition "
        f"INNER JOIN (SELECT device_id, seq, kind, version FROM ninezero_data.screening_facts WHERE day = '{day}') AS scan "
        "ON disposition.of_device = scan.device_id AND disposition.of_seq = scan.seq"
    )
    # Other days need the contents of their sequence numbers on this day, and on days that were frozen before.
    frozen = "SELECT day FROM ninezero_data.sealed_days WHERE frozen = 1"
    events = "SELECT * FROM ninezero_data.overlapping_events"
    engine.execute(
        "INSERT INTO ninezero_data.sealed_contents SELECT other.day, known.* "
        f"FROM ({events} WHERE day = '{day}' OR day IN ({frozen})) AS known INNER JOIN ("
        "SELECT DISTINCT day, device_id, seq FROM ninezero_data.overlapping_events "
        f"WHERE day != '{day}' AND day NOT IN ({frozen})) AS other "
        "ON known.device_id = other.device_id AND known.seq = other.seq"
    )
    # A transfer of this day counts on no later day, although it may have facts there.
    engine.execute(
        "INSERT INTO ninezero_data.sealed_transfers SELECT DISTINCT day, transfer_id FROM ninezero_data.transfer_facts "
        f"WHERE day > '{day}' AND transfer_id IN (SELECT transfer_id FROM ninezero_data.transfers WHERE day = '{day}')"
    )


def _days(engine: Engine, group: FactGroup, *, frozen: bool, seconds: float = 0) -> set[date]:
    """Returns the days that were sealed, or frozen, at least some seconds ago by the clock of ClickHouse."""
    rows = engine.query(
        f"SELECT day FROM ninezero_data.{group.sealed} WHERE frozen = {int(frozen)} GROUP BY day "
        f"HAVING toUnixTimestamp64Milli(min(at)) <= toUnixTimestamp64Milli(now64(3)) - {round(seconds * 1000)}"
    )
    return {date.fromisoformat(row["day"]) for row in rows}


def _days_with_facts(engine: Engine, group: FactGroup, before: date) -> set[date]:
    return {day for table in group.tables for day in _rows_by_day(engine, table, before)}


def _rows_by_day(engine: Engine, table: str, before: date) -> dict[date, int]:
    rows = engine.query(f"SELECT day, count() AS n FROM ninezero_data.{table} WHERE day < '{before}' GROUP BY day")
    return {date.fromisoformat(row["day"]): int(row["n"]) for row in rows}
