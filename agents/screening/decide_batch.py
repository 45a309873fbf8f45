"""Decides a batch: the fast path clears most events together, the slow path decodes and decides the rest one by one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ninezero.agents.logic.watchlist.columns import Array
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.screening.batch import Batch
from ninezero.agents.screening.batch_result import NOBODY, BatchResult
from ninezero.agents.screening.event_kinds import EventKind
from ninezero.streams.kafka.decoding import Rejected, clock_in_range, decode_event, is_late

MIN_FAST_PATH_EVENTS = 16
"""A smaller batch takes the slow path only: the fast path costs at least a tenth of a millisecond."""

FAST_PATH_EVENTS = 800
"""Events that the fast path checks together. Their columns fit into the cache of one core (1 MiB)."""


@dataclass(frozen=True)
class Conditions:
    """The conditions under which a batch is decided. They hold for all of its events."""

    now: datetime
    index: WatchlistIndex
    watchlist_version: int
    """Offset of the watchlist that is applied."""
    home: str
    """Six-digit division code of the deployment's district."""
    stale: bool
    """True if the last heartbeat of the watchlist is too old, so that nobody can be cleared."""
    ended: bool
    """True if the emergency order has ended, so that nothing is matched any more."""
    replay: bool
    """True if the events are a replay: `observed_at` may have any age, and no event is late."""


def decide_batch(kind: EventKind, batch: Batch, conditions: Conditions) -> BatchResult:
    """Decides every record of a batch. It never waits, so all are matched against the same state of the watchlist."""
    result = BatchResult(kind, batch, conditions.now, conditions.watchlist_version)
    undecided = np.ones(len(batch), bool)
    if len(batch) >= MIN_FAST_PATH_EVENTS and not (conditions.stale or conditions.ended):
        _take_fast_path(kind, batch, conditions, undecided, result)
    _take_slow_path(kind, batch, conditions, undecided, result)
    return result


def _take_fast_path(
    kind: EventKind, batch: Batch, conditions: Conditions, undecided: Array, result: BatchResult
) -> None:
    """Adds the events that are certainly valid and clear to the result, and marks them as decided."""
    for first in range(0, len(batch), FAST_PATH_EVENTS):
        values = batch.values[first : first + FAST_PATH_EVENTS]
        cleared = kind.fast_path.clear(values, conditions.index, conditions.home)
        cleared = cleared._replace(positions=cleared.positions + first)
        kafka_ms = batch.kafka_ms[cleared.positions]
        cleared = cleared.where(clock_in_range(cleared.observed_us, kafka_ms, conditions.replay))
        kafka_ms = batch.kafka_ms[cleared.positions]
        result.add_cleared(cleared, is_late(cleared.observed_us, kafka_ms, conditions.replay))
        undecided[cleared.positions] = False


def _take_slow_path(
    kind: EventKind, batch: Batch, conditions: Conditions, undecided: Array, result: BatchResult
) -> None:
    """Decodes and decides the events that are still undecided, one by one."""
    index, home, stale, ended = conditions.index, conditions.home, conditions.stale, conditions.ended
    for position in np.flatnonzero(undecided).tolist():
        record = batch.records[position]
        try:
            decoded = decode_event(kind.event, record.value, record.timestamp, replay=conditions.replay)
        except Rejected as rejected:
            # The traceback refers to this frame and the frame to the exception. Without it, no cycle keeps the batch in memory.
            result.add_dead_letter(position, rejected.with_traceback(None))
            continue
        if ended:
            result.add_outcome(position, decoded.event, "order_ended", NOBODY)
            continue
        decision = kind.decide(decoded.event, decoded.observed_us, index, home, stale)
        result.add_decided(position, decoded, decision)
