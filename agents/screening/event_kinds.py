"""The two kinds of events that are screened, and what differs between them: topic, wire type, rules, fast path, counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from ninezero.agents.logic.policy.fast_path import FastPath
from ninezero.agents.logic.policy.rules import Decision, decide_arrival, decide_scan
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.screening.decision_groups import GroupKey
from ninezero.schemas.events import Arrival, Scan
from ninezero.streams.kafka.topics import ARRIVALS, SCANS, Topic


@dataclass(frozen=True)
class EventKind:
    """One kind of event that is screened."""

    topic: Topic
    event: Any
    """Wire type."""
    decide: Callable[[Any, int, WatchlistIndex, str, bool], Decision]
    """Decides one event: see `decide_scan`."""
    fast_path: FastPath
    group_keys: Callable[[Sequence[Any], str, Sequence[bool], tuple[str, ...]], list[GroupKey]]
    """Returns the decision group of each event, given their common outcome, whether each is late, and the rules that apply."""
    has_transfers: bool
    """Whether an event may be part of a transfer (agents/screening/transfers.py)."""


def _scan_groups(scans: Sequence[Scan], outcome: str, late: Sequence[bool], rules: tuple[str, ...]) -> list[GroupKey]:
    return [
        GroupKey(scan.kind, scan.direction, "", len(scan.people), outcome, is_late, rules)
        for scan, is_late in zip(scans, late, strict=True)
    ]


def _arrival_groups(
    arrivals: Sequence[Arrival], outcome: str, late: Sequence[bool], rules: tuple[str, ...]
) -> list[GroupKey]:
    return [
        GroupKey(arrival.mode, "in", arrival.stage, 1, outcome, is_late, rules)
        for arrival, is_late in zip(arrivals, late, strict=True)
    ]


CHECKPOINTS = EventKind(
    SCANS,
    Scan,
    decide_scan,
    FastPath(Scan, attrgetter("people"), attrgetter("direction"), attrgetter("plate"), needs_temperature=True),
    _scan_groups,
    has_transfers=False,
)
"""Scans at checkpoints: one passage, its people and its plate."""

STATIONS = EventKind(
    ARRIVALS,
    Arrival,
    decide_arrival,
    FastPath(Arrival, lambda arrival: (arrival.person,), lambda _: "in", lambda _: None, needs_temperature=False),
    _arrival_groups,
    has_transfers=True,
)
"""Arrivals at stations: one traveller at one stage of the journey. It is decided like a passage into the district."""
