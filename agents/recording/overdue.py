"""Work that should have been done: facts to drop, cases to delete, days to publish. It is read from the data itself, so a
failure is seen in every process, and after every restart."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from ninezero.agents.recording.publishing import last_publishable_day
from ninezero.agents.recording.retention import FACT_TABLES, first_counted_alert_day, first_kept_day
from ninezero.agents.recording.sealed_days import CARE_ALERTS
from ninezero.streams.clickhouse import Engine

OverdueTask = Literal["retention", "case_deletion", "publishing"]

_CLOSED = ("1970-01-01", "2099-01-01")
"""`closed_on` of an open case is outside of these."""


def overdue_days(engine: Engine, now: datetime, timezone: str) -> dict[OverdueTask, int]:
    """Returns for each task the number of days since work on the oldest data was due; 0 if none is due.

    A deployment that has published no day yet does not publish.

    Raises:
        ClickHouseError: a query failed.
    """
    kept, publishable = first_kept_day(now, timezone), last_publishable_day(now, timezone)
    facts = " UNION ALL ".join(f"SELECT min(day) AS first FROM ninezero_data.{table}" for table in FACT_TABLES)
    alerts = f"SELECT min(day) AS first FROM ninezero_data.{CARE_ALERTS}"
    closed = " UNION ALL ".join(
        f"SELECT min(closed_on) AS first FROM ninezero_data.{kind}_cases FINAL WHERE closed_on > '{_CLOSED[0]}' AND closed_on < '{_CLOSED[1]}'"
        for kind in ("quarantine", "followup")
    )
    published = "SELECT max(day) FROM ninezero_data.publications"
    days = f"SELECT min(day) AS first FROM ninezero_data.screening_facts WHERE day > ({published}) AND day <= '{publishable}'"
    used = engine.query("SELECT count() AS n FROM ninezero_data.publications")
    return {
        "retention": max(
            _days_before(engine, facts, kept),
            _days_before(engine, alerts, first_counted_alert_day(now, timezone)),
        ),
        "case_deletion": _days_before(engine, closed, kept),
        "publishing": _days_before(engine, days, publishable) + 1 if int(used[0]["n"]) and _oldest(engine, days) else 0,
    }


def _days_before(engine: Engine, days: str, due: date) -> int:
    oldest = _oldest(engine, days)
    return max((due - oldest).days, 0) if oldest else 0


def _oldest(engine: Engine, days: str) -> date | None:
    """Returns the earliest day of a query with the column `first`; None if there is none (ClickHouse then returns 1970-01-01)."""
    rows = engine.query(f"SELECT min(first) AS oldest FROM ({days}) WHERE first > '1970-01-01'")
    oldest = date.fromisoformat(rows[0]["oldest"]) if rows else date(1970, 1, 1)
    return oldest if oldest > date(1970, 1, 1) else None
