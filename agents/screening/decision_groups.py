"""Decision groups: events of one partition with the same outcomes and rules are written as one group of columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

from ninezero.agents.logic.policy.verdicts import Verdict
from ninezero.agents.screening.output_records import encode_within_limit
from ninezero.schemas import formats
from ninezero.schemas.events import DecisionGroup, Decisions
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.records import OutgoingRecord

GROUP_EVENTS = 1000
"""Most events of one group in a record. Groups of a limited size let a record that is too large be halved."""

EventRow = tuple[int, str, int, int, int]
"""One event of a group: position of its site, device id, sequence number, `observed_at` in ms, CRC-32 of its value.

A plain tuple, because there is one for each event and `zip` transposes tuples to columns in C.
"""


class EventGroup(NamedTuple):
    """What the events of a group have in common, besides their verdict."""

    kind: str
    direction: str
    stage: str
    people: int
    """Number of people in the event."""


class Group(NamedTuple):
    """What the events of a group have in common."""

    events: EventGroup
    late: bool
    verdict: Verdict


class Labels(NamedTuple):
    """The policies by which events were decided, as `NAME@VERSION`."""

    policy: str
    shadows: tuple[str, ...]


class PartitionDecisions:
    """The decisions about the events of one partition by the same policies: its sites, and its events by group."""

    __slots__ = ("groups", "sites")

    def __init__(self) -> None:
        self.sites: list[str] = []
        self.groups: defaultdict[int, list[EventRow]] = defaultdict(list)
        """The events by the number of their group."""

    def add_site(self, site_id: str) -> int:
        """Adds a site and returns its position."""
        self.sites.append(site_id)
        return len(self.sites) - 1

    def records(
        self, groups: Mapping[int, Group], labels: Labels, decided_ms: int, watchlist_version: int
    ) -> Iterator[OutgoingRecord]:
        """Yields the records to write: one, or more where it would be too large. Each has the key of the first site.

        All sites of one partition of the scans belong to one partition of the decisions, so any of their ids would do as key.

        Args:
            groups: the groups by number.
            labels: the policies.
            decided_ms: Unix time in ms at which the events were decided.
            watchlist_version: offset of the watchlist that was applied.
        """
        decided = [
            _group(groups[number], rows[first : first + GROUP_EVENTS])
            for number, rows in self.groups.items()
            for first in range(0, len(rows), GROUP_EVENTS)
        ]
        if decided:
            make = partial(Decisions, labels.policy, list(labels.shadows), decided_ms, watchlist_version, self.sites)
            for value in encode_within_limit(formats.DECISIONS.encode, make, decided):
                yield OutgoingRecord(topics.DECISIONS, self.sites[0].encode(), value, formats.DECISIONS.headers)


def _group(group: Group, rows: list[EventRow]) -> DecisionGroup:
    events, late, verdict = group
    sites, device_ids, seqs, observed_ms, digests = map(list, zip(*rows, strict=True))
    return DecisionGroup(
        kind=events.kind,
        direction=events.direction,
        stage=events.stage,
        people=events.people,
        outcome=verdict.outcome,
        late=late,
        reasons=list(verdict.rules),
        shadow_outcomes=list(verdict.shadow_outcomes),
        sites=sites,
        device_ids=device_ids,
        seqs=seqs,
        observed_ms=observed_ms,
        digests=digests,
    )
