"""Sealed days: retention seals a local day before it drops the day's facts, and nothing of it is recorded any more."""

from __future__ import annotations

from datetime import date

from ninezero.streams.clickhouse import Engine

SEALED_DAYS = "SELECT DISTINCT day FROM ninezero_data.sealed_days"
"""Query for the sealed days, column `day`."""

SEALED_TABLES = frozenset({"screening_facts", "device_events", "disposition_facts", "transfer_facts"})
"""The tables whose facts retention drops by day."""


def read_sealed_days(engine: Engine) -> frozenset[date]:
    """Returns the days that are sealed now.

    Raises:
        ClickHouseError: the query failed.
    """
    return frozenset(date.fromisoformat(row["day"]) for row in engine.query(SEALED_DAYS))
