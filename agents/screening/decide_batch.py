"""Decides a batch: valid events together, by columns; whatever is not certainly valid one by one, by the reference."""

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

MIN_COLUMNAR_EVENTS = 16
"""A smaller batch is decided by the reference only: columns cost at least a tenth of a millisecond."""

EVENTS_TOGETHER = 800
"""Events that are decided together. Their columns fit into the cache of one core (1 MiB)."""


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
    if len(batch) >= MIN_COLUMNAR_EVENTS and not conditions.ended:
        for first in range(0, len(batch), EVENTS_TOGETHER):
            undecided[_decide_together(kind, batch, first, conditions, result)] = False
    _decide_one_by_one(kind, batch, conditions, undecided, result)
    return result


def _decide_together(kind: EventKind, batch: Batch, first: int, conditions: Conditions, result: BatchResult) -> Array:
    """Decides by columns the events that are certainly valid, from position `first` on, and returns their positions."""
    events = kind.reader.read(batch.values[first : first + EVENTS_TOGETHER])
    events = events._replace(positions=events.positions + first)
    events = events.where(clock_in_range(events.observed_us, batch.kafka_ms[events.positions], conditions.replay))
    if not events.events:
        return events.positions
    judged = kind.evaluator.judge(events, conditions.index, conditions.home, conditions.stale)
    late = is_late(events.observed_us, batch.kafka_ms[events.positions], conditions.replay)
    result.add_judged(events, judged, late)
    return events.positions[~judged.undecided]


def _decide_one_by_one(
    kind: EventKind, batch: Batch, conditions: Conditions, undecided: Array, result: BatchResult
) -> None:
    """Decodes the events that are still undecided, and decides them by the reference."""
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
