"""Decides which failures of one kind are worth a log line. Pure: the caller passes the time.

An outage begins with its first failure and ends after a quiet period. One notice is given when it begins, one when it ends,
and one reminder a minute in between.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

REMINDER_SECONDS = 60.0
"""Least time between two notices of an ongoing outage."""

NoticeKind = Literal["began", "continues", "ended"]


class Notice(NamedTuple):
    """A notice about an outage, to be logged.

    Attributes:
        kind: `began` for its beginning, `continues` for a reminder, `ended` after its last failure.
        seconds: the time from the first failure to the latest one.
        failures: the number of failures up to now.
    """

    kind: NoticeKind
    seconds: float
    failures: int


class Outage:
    """Failures of one kind. Times are in seconds, on a clock that never goes back.

    Args:
        quiet_seconds: how long no failure may occur before the outage counts as ended.
        tolerated_seconds: how long failures may go on before the outage is noticed. A shorter one gives no notice.
    """

    def __init__(self, quiet_seconds: float, tolerated_seconds: float = 0.0) -> None:
        self._quiet_seconds, self._tolerated_seconds = quiet_seconds, tolerated_seconds
        self._first: float | None = None
        self._latest = 0.0
        self._failures = 0
        self._noticed_at: float | None = None
        self._noticed_failures = 0

    @property
    def unnoticed(self) -> int:
        """Number of failures since the last notice."""
        return self._failures - self._noticed_failures

    def failed(self, now: float) -> Notice | None:
        """Counts a failure. Returns the notice to log, or None."""
        if self._first is None:
            self._first, self._failures, self._noticed_failures, self._noticed_at = now, 0, 0, None
        self._latest = now
        self._failures += 1
        if self._noticed_at is None:
            return self._notice("began", now) if now - self._first >= self._tolerated_seconds else None
        return self._notice("continues", now) if now - self._noticed_at >= REMINDER_SECONDS else None

    def succeeded(self, now: float) -> Notice | None:
        """Ends the outage if its latest failure is `quiet_seconds` ago. Returns a notice if it ended and its beginning was noticed."""
        if self._first is None or now - self._latest < self._quiet_seconds:
            return None
        notice = self._notice("ended", now) if self._noticed_at is not None else None
        self._first, self._failures, self._noticed_failures, self._noticed_at = None, 0, 0, None
        return notice

    @property
    def ongoing(self) -> bool:
        """True if a failure has occurred and the outage has not ended."""
        return self._first is not None

    def _notice(self, kind: NoticeKind, now: float) -> Notice:
        assert self._first is not None
        self._noticed_at, self._noticed_failures = now, self._failures
        return Notice(kind, self._latest - self._first, self._failures)
