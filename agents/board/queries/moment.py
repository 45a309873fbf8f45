"""The moment for which the board asks, and the type of a query."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from ninezero.streams.clickhouse import Row

Ask = Callable[[str], Awaitable[list[Row]]]
"""Runs a SELECT and returns its rows."""


@dataclass(frozen=True)
class Moment:
    """The Unix time in seconds that counts as "now": the clock's, or in a replay the end of the last minute that was counted."""

    now: int
    timezone: str

    @property
    def day(self) -> date:
        """The local day."""
        return datetime.fromtimestamp(self.now, UTC).astimezone(ZoneInfo(self.timezone)).date()

    @property
    def yesterday(self) -> date:
        """The local day before."""
        return self.day - timedelta(days=1)

    @property
    def midnight(self) -> int:
        """The beginning of the local day."""
        return int(datetime.combine(self.day, datetime.min.time(), ZoneInfo(self.timezone)).timestamp())

    @property
    def minute(self) -> int:
        """The beginning of the current minute."""
        return self.now // 60 * 60

    @property
    def hour_ago(self) -> int:
        """The beginning of the first of the last sixty minutes."""
        return self.minute - 59 * 60
