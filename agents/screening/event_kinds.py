"""The two kinds of events that are screened, and what differs between them: topic, wire type, people and plate, counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, get_args

import numpy as np

from ninezero.agents.logic.policy.decision import Decision
from ninezero.agents.logic.policy.evaluator import Shape
from ninezero.agents.logic.policy.event_reader import EventReader
from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.reference import decide_arrival, decide_scan
from ninezero.agents.logic.watchlist.columns import Array, flags
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.screening.decision_groups import EventGroup
from ninezero.schemas.events import Arrival, Scan
from ninezero.schemas.events.passages import Mode, Stage
from ninezero.streams.kafka.topics import ARRIVALS, SCANS, Topic

GROUPS = 1024
"""Upper limit of the numbers of `EventKind.groups`."""


@dataclass(frozen=True)
class EventKind:
    """One kind of event that is screened."""

    topic: Topic
    event: Any
    """Wire type."""
    decide: Callable[[Any, int, WatchlistIndex, str, bool, Policy], Decision]
    """Decides one event by the reference: see `decide_scan`."""
    reader: EventReader
    shape: Shape
    """How the evaluators read the people and plates of the events."""
    group: Callable[[Any], EventGroup]
    """Returns what an event has in common with its group."""
    groups: Callable[[Sequence[Any], Array], Array]
    """Returns a number for each event, below GROUPS, given the number of its people. Events of one group have the same."""
    has_transfers: bool
    """Whether an event may be part of a transfer (agents/screening/transfers.py)."""


def _scan_group(scan: Scan) -> EventGroup:
    return EventGroup(scan.kind, scan.direction, "", len(scan.people))


def _scan_groups(scans: Sequence[Scan], people: Array) -> Array:
    vehicles = flags([scan.kind == "vehicle" for scan in scans])
    inbound = flags([scan.direction == "in" for scan in scans])
    return np.asarray(people * 4 + vehicles * 2 + inbound)


def _arrival_group(arrival: Arrival) -> EventGroup:
    return EventGroup(arrival.mode, "in", arrival.stage, 1)


_ARRIVAL_GROUPS = {pair: n for n, pair in enumerate(product(get_args(Mode), get_args(Stage)))}


def _arrival_groups(arrivals: Sequence[Arrival], _: Array) -> Array:
    return np.array([_ARRIVAL_GROUPS[arrival.mode, arrival.stage] for arrival in arrivals], np.int64)


PASSAGES = Shape(
    people=lambda scans: [scan.people for scan in scans],
    inbound=lambda scans: [scan.direction == "in" for scan in scans],
    plates=lambda scans: [scan.plate for scan in scans],
    checkpoint=True,
)
TRAVELLERS = Shape(
    people=lambda arrivals: [(arrival.person,) for arrival in arrivals],
    inbound=lambda arrivals: [True] * len(arrivals),
    plates=lambda arrivals: [None] * len(arrivals),
    checkpoint=False,
)

CHECKPOINTS = EventKind(
    SCANS,
    Scan,
    decide_scan,
    EventReader(Scan),
    PASSAGES,
    _scan_group,
    _scan_groups,
    has_transfers=False,
)
"""Scans at checkpoints: one passage, its people and its plate."""

STATIONS = EventKind(
    ARRIVALS,
    Arrival,
    decide_arrival,
    EventReader(Arrival),
    TRAVELLERS,
    _arrival_group,
    _arrival_groups,
    has_transfers=True,
)
"""Arrivals at stations: one traveller at one stage of the journey. It is decided like a passage into the district."""
