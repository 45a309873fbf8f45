"""Decides a batch: valid events together, by columns; whatever is not certainly valid one by one, by the reference.

Each event is decided by the policies in force at its own time, so a batch is divided where others come into force.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np

from ninezero.agents.logic.policy.decision import Decision
from ninezero.agents.logic.policy.event_reader import Events
from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.timeline import InForce, Timeline, time_of
from ninezero.agents.logic.watchlist.columns import Array
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.screening.batch import Batch
from ninezero.agents.screening.batch_result import NOBODY, BatchResult
from ninezero.agents.screening.evaluators import Evaluators
from ninezero.agents.screening.event_kinds import EventKind
from ninezero.streams.kafka.decoding import DecodedEvent, Rejected, clock_in_range, decode_event, is_late

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
    timeline: Timeline
    """Which policies are in force at each time. It knows every policy of the events, unless the order has ended."""
    evaluators: Evaluators
    home_of_site: Callable[[str], str]
    """site_id → six-digit division code of its district."""
    list_age_s: float
    """Seconds since the last heartbeat of the watchlist. If it is too old for a policy, nobody can be cleared."""
    ended: bool
    """True if the emergency order has ended, so that nothing is matched any more."""
    replay: bool
    """True if the events are a replay: `observed_at` may have any age, and no event is late."""


def decide_batch(kind: EventKind, batch: Batch, conditions: Conditions) -> BatchResult:
    """Decides every record of a batch. It never waits, so all are matched against the same state of the watchlist."""
    result = BatchResult(kind, batch, conditions.now, conditions.watchlist_version)
    undecided = np.ones(len(batch), bool)
    if len(batch) >= MIN_COLUMNAR_EVENTS and not conditions.ended and not _order_matters(batch, conditions, result):
        for first in range(0, len(batch), EVENTS_TOGETHER):
            for decided in _decide_together(kind, batch, first, conditions, result):
                undecided[decided] = False
    _decide_one_by_one(kind, batch, conditions, undecided, result)
    return result


def _order_matters(batch: Batch, conditions: Conditions, result: BatchResult) -> bool:
    """Returns whether an event may be in the batch twice, with different policies. The first decision counts, so they are added in
    their order. In a replay, both have the same policies."""
    if conditions.replay or not result.may_repeat:
        return False
    boundaries = conditions.timeline.boundaries
    return bisect_right(boundaries, int(batch.kafka_ms.min())) < bisect_right(boundaries, int(batch.kafka_ms.max()))


def _decide_together(
    kind: EventKind, batch: Batch, first: int, conditions: Conditions, result: BatchResult
) -> Iterator[Array]:
    """Decides by columns the events that are certainly valid, from position `first` on, and yields their positions."""
    events = kind.reader.read(batch.values[first : first + EVENTS_TOGETHER])
    events = events._replace(positions=events.positions + first)
    events = events.where(clock_in_range(events.observed_us, batch.kafka_ms[events.positions], conditions.replay))
    if not events.events:
        return
    times = time_of(batch.kafka_ms[events.positions], events.observed_us, conditions.replay)
    for in_force, some in divide(events, times, conditions.timeline):
        evaluator = conditions.evaluators.of(kind, in_force)
        judged = evaluator.judge(some, conditions.index, conditions.home_of_site, conditions.list_age_s)
        late = is_late(some.observed_us, batch.kafka_ms[some.positions], conditions.replay)
        result.add_judged(evaluator, some, judged, late)
        yield some.positions[~judged.undecided]


def divide(events: Events, times: Array, timeline: Timeline) -> Iterator[tuple[InForce, Events]]:
    """Divides events by the policies in force at their times. Usually one part has all of them.

    Events follow each other in time, so each part is a run of them. Runs of a few events are left out: the reference decides them.

    Args:
        events: at least one event.
        times: the time of each, Unix time in ms.
        timeline: which policies are in force at each time.
    """
    boundaries, intervals = timeline.boundaries, timeline.intervals
    begin, end = bisect_right(boundaries, int(times.min())), bisect_right(boundaries, int(times.max()))
    if begin == end:
        yield intervals[begin], events
        return
    numbers = np.searchsorted(boundaries, times, side="right")
    ends = np.flatnonzero(np.diff(numbers)) + 1
    for first, after in pairwise((0, *ends.tolist(), len(numbers))):
        if after - first >= MIN_COLUMNAR_EVENTS:
            run = slice(first, after)
            part = Events(events.positions[run], events.events[run], events.observed_us[run])
            yield intervals[numbers[first]], part


def _decide_one_by_one(
    kind: EventKind, batch: Batch, conditions: Conditions, undecided: Array, result: BatchResult
) -> None:
    """Decodes the events that are still undecided, and decides them by the reference."""
    for position in np.flatnonzero(undecided).tolist():
        record = batch.records[position]
        try:
            decoded = decode_event(kind.event, record.value, record.timestamp, replay=conditions.replay)
        except Rejected as rejected:
            # The traceback refers to this frame and the frame to the exception. Without it, no cycle keeps the batch in memory.
            result.add_dead_letter(position, rejected.with_traceback(None))
            continue
        if conditions.ended:
            result.add_outcome(position, decoded.event, "order_ended", NOBODY)
            continue
        in_force = conditions.timeline.at(time_of(record.timestamp, decoded.observed_us, conditions.replay))
        decide = _by_reference(kind, decoded, conditions)
        decision = decide(in_force.active)
        shadow_outcomes = [decide(shadow).outcome for shadow in in_force.shadows]
        evaluator = conditions.evaluators.of(kind, in_force)
        result.add_decided(evaluator, position, decoded, decision, shadow_outcomes)


def _by_reference(kind: EventKind, decoded: DecodedEvent, conditions: Conditions) -> Callable[[Policy], Decision]:
    """Returns a function that decides an event by a policy."""
    home_of_site = conditions.home_of_site(decoded.event.site_id)

    def decide(policy: Policy) -> Decision:
        stale = conditions.list_age_s > policy.max_list_age_s
        home = policy.home_at(home_of_site)
        return kind.decide(decoded.event, decoded.observed_us, conditions.index, home, stale, policy)

    return decide
