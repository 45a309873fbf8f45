"""The time that transfers are judged by: the clock, or in replay mode the times of the events themselves."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ninezero.agents.cases.acceptance import AcceptedEvent


class EventClock:
    """The clock of a worker. In replay mode it shows the latest `observed_at` of the events that the worker has accepted.

    A transfer that nobody delivers has no event of its own at the end of its time. So in replay mode the events of other cases and
    transfers show that the time has passed.
    """

    def __init__(self, replay: bool) -> None:
        self._replay, self._latest_us = replay, 0

    def observe(self, accepted: Iterable[AcceptedEvent]) -> None:
        """Takes note of the times of accepted events."""
        if self._replay:
            self.reach(max((one.observed_us for one in accepted), default=0))

    def reach(self, observed_us: int) -> None:
        """Takes note of the time of an event (Unix time in µs), such as one that a ledger holds since before a restart."""
        self._latest_us = max(self._latest_us, observed_us)

    def now_us(self) -> int:
        """Returns the time, Unix time in µs."""
        return self._latest_us if self._replay else time.time_ns() // 1000
