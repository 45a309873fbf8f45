"""The local day: when it begins, when its noon is, and which one an instant belongs to. Times are Unix time in µs."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

ONE_DAY = timedelta(days=1)


class Days:
    """The days of a time zone. One that changes its clocks has days of 23 and 25 hours."""

    def __init__(self, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)
        self.of_second = lru_cache(maxsize=100_000)(self._of_second)
        self.start = lru_cache(maxsize=10_000)(self._start)
        self.noon = lru_cache(maxsize=10_000)(self._noon)

    def of(self, at_us: int) -> date:
        """The local day of an instant."""
        return self.of_second(at_us // 60_000_000 * 60)

    def end(self, day: date) -> int:
        """The instant at which a day has ended: the start of the next."""
        return self.start(day + ONE_DAY)

    def slot(self, at_us: int) -> str:
        """`am` until the local noon, then `pm`."""
        return "am" if at_us < self.noon(self.of(at_us)) else "pm"

    def slot_end(self, day: date, slot: str) -> int:
        """When a slot closes: `am` at the local noon, `pm` at the day's end."""
        return self.noon(day) if slot == "am" else self.end(day)

    def _of_second(self, second: int) -> date:
        return datetime.fromtimestamp(second, UTC).astimezone(self._zone).date()

    def _start(self, day: date) -> int:
        # A midnight that the clocks skip is read with the offset before it: the very instant at which the day begins.
        return int(datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp()) * 1_000_000

    def _noon(self, day: date) -> int:
        return int(datetime(day.year, day.month, day.day, 12, tzinfo=self._zone).timestamp()) * 1_000_000


def each(first: date, last: date) -> list[date]:
    """The days from `first` to `last`, both included."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
