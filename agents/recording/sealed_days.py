"""Sealed days: retention seals a local day before it drops the day's facts, and nothing of it is recorded any more.

The alerts about cases are dropped earlier than the other facts, so their days are sealed in a table of their own.
"""

from __future__ import annotations

from datetime import date

from ninezero.streams.clickhouse import Engine

SEALED_TABLES = frozenset({"screening_facts", "device_events", "disposition_facts", "transfer_facts"})
"""The tables of events whose facts retention drops by day."""

CARE_ALERTS = "care_alert_facts"
"""The table of the alerts about cases."""


def sealed_by(table: str) -> str:
    """Returns the table with the sealed days of a table of facts."""
    return "sealed_alert_days" if table == CARE_ALERTS else "sealed_days"


def read_sealed_days(engine: Engine, sealed: str = "sealed_days") -> frozenset[date]:
    """Returns the days that are sealed now, from one of the tables of sealed days.

    Raises:
        ClickHouseError: the query failed.
    """
    rows = engine.query(f"SELECT DISTINCT day FROM ninezero_data.{sealed}")
    return frozenset(date.fromisoformat(row["day"]) for row in rows)
