"""Local days: when a day begins and ends, when its noon is, and which day an instant belongs to. Times are Unix time in µs."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

ONE_DAY = timedelta(days=1)


class Days:
    """The local days of a time zone. A day on which the clocks change has 23 or 25 hours.

    Attributes:
        of_second: returns the local day of a Unix time in s. Results are cached, so pass whole minutes.
        start: returns the instant at which a day begins.
        noon: returns the instant of a day's local noon.
    """

    def __init__(self, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)
        self.of_second = lru_cache(maxsize=100_000)(self._of_second)
        self.start = lru_cache(maxsize=10_000)(self._start)
        self.noon = lru_cache(maxsize=10_000)(self._noon)

    def of(self, at_us: int) -> date:
        """Returns the local day of an instant."""
        return self.of_second(at_us // 60_000_000 * 60)

    def end(self, day: date) -> int:
        """Returns the instant at which a day ends, which is the start of the next day."""
        return self.start(day + ONE_DAY)

    def slot(self, at_us: int) -> str:
        """Returns the slot of an instant: `am` until the local noon, then `pm`."""
        return "am" if at_us < self.noon(self.of(at_us)) else "pm"

    def slot_end(self, day: date, slot: str) -> int:
        """Returns the instant at which a slot ends: `am` at the local noon, `pm` at the end of the day."""
        return self.noon(day) if slot == "am" else self.end(day)

    def _of_second(self, second: int) -> date:
        return datetime.fromtimestamp(second, UTC).astimezone(self._zone).date()

    def _start(self, day: date) -> int:
        # If the clocks skip midnight, it is read with the offset before the change, which gives the instant the day begins.
        return int(datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp()) * 1_000_000

    def _noon(self, day: date) -> int:
        return int(datetime(day.year, day.month, day.day, 12, tzinfo=self._zone).timestamp()) * 1_000_000


def date_range(first: date, last: date) -> list[date]:
    """Returns the days from `first` to `last`, both included."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
