"""Unix times in whole microseconds: how times are compared and stored everywhere in the product."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

FOREVER_US = 253_370_764_800 * 1_000_000
"""1 January 9999, in µs: the latest time that a watchlist entry can hold."""

NO_START_US = -(2**63)
"""Start of a window that has none, in µs: it is before every time, so the window holds whenever something was observed."""

MAX_AHEAD_SECONDS = 60.0
"""A heartbeat of the watchlist that is further in the future shows that a clock is wrong, so nobody knows how old the lists are."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def unix_micros(time: datetime) -> int:
    """Returns the Unix time of `time` in µs.

    The result is exact: `datetime.timestamp()` loses precision from the year 2106 on. It is also faster than a division by a
    timedelta of one microsecond.
    """
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def all_unix_micros(times: Iterable[datetime | None], missing: int) -> Iterator[int]:
    """Yields the Unix time of each of many times in µs, and `missing` for None. Fast where a time is that of the element before."""
    last, micros = None, missing
    for time in times:
        if time is not last and time != last:
            last, micros = time, missing if time is None else unix_micros(time)
        yield micros
