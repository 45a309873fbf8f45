"""Local days: when a day begins and ends, when its noon is, and which day an instant belongs to. Times are Unix time in µs."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

ONE_DAY = timedelta(days=1)

MORNING_HOUR = 8
"""The hour of the local day at which staff are told which terms end on it, or have ended."""


class Days:
    """The local days of a time zone. A day on which the clocks change has 23 or 25 hours.

    Attributes:
        of_second: returns the local day of a Unix time in s. Results are cached, so pass whole minutes.
        start: returns the instant at which a day begins.
        noon: returns the instant of a day's local noon.
        morning: returns the instant of 08:00 of a day, when staff are told what is to be done on it.
    """

    def __init__(self, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)
        self.of_second = lru_cache(maxsize=100_000)(self._of_second)
        self.start = lru_cache(maxsize=10_000)(self._start)
        self.noon = lru_cache(maxsize=10_000)(self._noon)
        self.morning = lru_cache(maxsize=10_000)(self._morning)

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

    def _morning(self, day: date) -> int:
        """Returns the first instant at which the clocks of a day show 08:00 or later.

        If the clocks skip 08:00, that is when they are put forward: the offsets before and after the change then give two
        instants, and the change lies between them. If they show 08:00 twice, the first time counts.
        """
        local = datetime(day.year, day.month, day.day, MORNING_HOUR, tzinfo=self._zone)
        before, after = (int(local.replace(fold=fold).timestamp()) for fold in (0, 1))
        while after < before:  # skipped: find the second of the change
            middle = (before + after) // 2
            if datetime.fromtimestamp(middle, self._zone).replace(tzinfo=None) < local.replace(tzinfo=None):
                after = middle + 1
            else:
                before = middle
        return before * 1_000_000


def date_range(first: date, last: date) -> list[date]:
    """Returns the days from `first` to `last`, both included."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
