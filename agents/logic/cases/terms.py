"""The term of a case: how long quarantine or follow-up lasts, and until when something is due.

The last day is the local day of the admission or opening plus the term in days. Each valid extension states the new total, and the
last one by (observed_at, device_id, seq) counts for the whole case. An extension without a total, or with one whose last day has
passed when it is stated, is an anomaly. Nothing is due after the last day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from ninezero.agents.logic.cases.alarms import Alarm
from ninezero.agents.logic.days import ONE_DAY, Days, date_range


@dataclass
class Term:
    """The term of a case that began on the local day `begins`. It lasts until the end of `last_day`."""

    begins: date
    last_day: date

    @classmethod
    def of(cls, begins: date, term_days: int) -> Term:
        """Returns the term of a case that began on a day and lasts for `term_days` days after it."""
        return cls(begins, begins + timedelta(days=term_days))

    def extend(self, stated_on: date, term_days: int) -> bool:
        """Sets the total that an extension states on a day. Returns False, and changes nothing, if it is an anomaly.

        Args:
            stated_on: the local day of the extension.
            term_days: the new total in days; 0 if the extension states none.
        """
        last_day = self.begins + timedelta(days=term_days)
        if not term_days or last_day < stated_on:
            return False
        self.last_day = last_day
        return True


def term_alarms(term: Term, days: Days, now_us: int, place_at: Callable[[int], str | None]) -> Iterator[Alarm]:
    """Yields the alarms of a term up to `now_us`: `release_due` on the last day, `term_exceeded` on each later day.

    Both begin at 08:00 of their day and arise only if the case is open then.

    Args:
        term: the term of an open case.
        days: the local days.
        now_us: the present, Unix time in µs.
        place_at: returns where the case is at an instant, or None if it is not open then.
    """
    for day in date_range(term.last_day, days.of(now_us)):
        morning = days.morning(day)
        place = place_at(morning) if morning <= now_us else None
        if place is not None:
            rule = "release_due" if day == term.last_day else "term_exceeded"
            yield Alarm(rule, day, None, place, morning)


def next_morning(term: Term, days: Days, now_us: int) -> int:
    """Returns the next 08:00 after `now_us` at which the term of an open case gives an alarm (Unix time in µs)."""
    today = days.of(now_us)
    first = max(term.last_day, today)
    morning = days.morning(first)
    return morning if morning > now_us else days.morning(first + ONE_DAY)
