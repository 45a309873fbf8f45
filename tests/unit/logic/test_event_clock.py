"""The clock by which transfers are judged."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from ninezero.agents.cases.acceptance import AcceptedEvent
from ninezero.agents.cases.event_clock import EventClock
from ninezero.schemas.times import unix_micros

FIRST, SECOND = datetime(2020, 1, 24, 8, tzinfo=UTC), datetime(2020, 1, 25, 8, tzinfo=UTC)


def accepted(at: datetime) -> AcceptedEvent:
    event: Any = SimpleNamespace(observed_at=at)
    return AcceptedEvent(event, None)


def test_in_replay_mode_the_latest_event_shows_the_time() -> None:
    clock = EventClock(replay=True)
    assert clock.now_us() == 0
    clock.observe([accepted(SECOND), accepted(FIRST)])
    clock.observe([])
    clock.observe([accepted(FIRST)])
    assert clock.now_us() == unix_micros(SECOND)


def test_in_replay_mode_a_ledger_shows_the_time_after_a_restart() -> None:
    clock = EventClock(replay=True)
    clock.reach(unix_micros(SECOND))
    clock.observe([accepted(FIRST)])
    assert clock.now_us() == unix_micros(SECOND)


def test_otherwise_the_clock_of_the_machine_shows_the_time() -> None:
    clock = EventClock(replay=False)
    clock.observe([accepted(FIRST)])
    assert abs(clock.now_us() - time.time() * 1_000_000) < 60_000_000
