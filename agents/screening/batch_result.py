"""Collects the results of a batch: outcomes for the devices, alerts, transfer events, decisions for the recorder, and dead letters."""

from __future__ import annotations

from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from isal.isal_zlib import crc32

from ninezero.agents.logic.policy.decision import Decision
from ninezero.agents.logic.policy.evaluator import Evaluator, JudgedEvents
from ninezero.agents.logic.policy.event_reader import Events
from ninezero.agents.logic.watchlist.columns import Array
from ninezero.agents.screening.alerts import build_alert
from ninezero.agents.screening.batch import Batch
from ninezero.agents.screening.decision_groups import Group, Labels, PartitionDecisions
from ninezero.agents.screening.event_kinds import GROUPS, EventKind
from ninezero.agents.screening.output_records import encode_within_limit
from ninezero.agents.screening.transfers import transfer_records
from ninezero.schemas.events import Outcomes, encode
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.dead_letters import dead_letter
from ninezero.streams.kafka.decoding import DecodedEvent, Rejected
from ninezero.streams.kafka.records import OutgoingRecord

NOBODY: list[int] = []
"""The list of people for an outcome that concerns none of them."""


class SiteOutcomes(NamedTuple):
    """The outcomes that are sent to the devices of one site."""

    outcomes: list[tuple[str, int, str, list[int]]]
    """The outcomes in the form of `Outcomes`, in the order of the records."""
    positions: list[int]
    """Position of each outcome's record in the batch."""


class SiteResults(NamedTuple):
    """The outcomes of one site, and the place for the decisions about the site's events by some policies."""

    outcomes: list[tuple[str, int, str, list[int]]]
    positions: list[int]
    """The two of `SiteOutcomes`. They are the same under all policies."""
    decisions: PartitionDecisions
    """The decisions about the partition of the site."""
    number: int
    """Position of the site among the sites of these decisions."""


class BatchOutput(NamedTuple):
    """The work that remains for a decided batch."""

    records: list[OutgoingRecord]
    """The records to write: alerts, transfer events and dead letters, then outcomes by site, then decisions by partition."""
    alert_kafka_ms: list[int]
    """Kafka timestamp of each event that raised an alert, Unix time in ms."""


class BatchResult:
    """Collects the results of a batch. Each record of the batch is added once, as an outcome or as a dead letter.

    Args:
        kind: the kind of the events.
        batch: the records.
        decided_at: when they are decided.
        watchlist_version: offset of the watchlist that is applied.
    """

    def __init__(self, kind: EventKind, batch: Batch, decided_at: datetime, watchlist_version: int) -> None:
        self.outcome_counts: Counter[str] = Counter()
        self.dead_letter_counts: Counter[str] = Counter()
        """Number of dead letters by reason."""
        self.late = 0
        """Number of late events."""
        self.duplicates = 0
        """Number of events that the batch holds more than once."""
        self._kind, self._batch, self._decided_at, self._version = kind, batch, decided_at, watchlist_version
        self._outcomes: defaultdict[str, SiteOutcomes] = defaultdict(lambda: SiteOutcomes([], []))
        self._sites: defaultdict[Labels, dict[str, SiteResults]] = defaultdict(dict)
        self._decisions: defaultdict[tuple[Labels, int], PartitionDecisions] = defaultdict(PartitionDecisions)
        """The decisions by policies and partition."""
        self._groups: dict[int, Group] = {}
        """The decision groups by number."""
        self._records: list[OutgoingRecord] = []
        """Alerts, transfer events and dead letters."""
        self._alert_kafka_ms: list[int] = []
        self._digests = list(map(crc32, batch.values))
        self.may_repeat = len(set(self._digests)) < len(self._digests)
        """False if no two values can be equal."""
        self._seen: set[tuple[str, int, int]] | None = set() if self.may_repeat else None
        """(device, seq, digest) of the events so far; None if no two values can be equal."""

    def add_judged(self, evaluator: Evaluator, events: Events, judged: JudgedEvents, late: Array) -> None:
        """Adds the decided ones among events that were judged together.

        Args:
            evaluator: the evaluator that judged them.
            events: the events, in the order of their positions in the batch. None before them may be added later.
            judged: the verdicts on them.
            late: whether each of them was late.
        """
        decided = ~judged.undecided
        events, verdicts, numbers, people, late = (
            events.where(decided),
            list(compress(judged.verdicts, decided)),
            judged.numbers[decided],
            judged.sizes[decided],
            late[decided],
        )
        labels = _labels(evaluator)
        digests, seen, sites = self._digests, self._seen, self._sites[labels]
        groups = (numbers * 2 + late) * GROUPS + self._kind.groups(events.events, people)
        observed_ms = (events.observed_us // 1000).tolist()
        columns = zip(events.positions.tolist(), events.events, observed_ms, verdicts, groups.tolist(), strict=True)
        for position, event, ms, verdict, group in columns:
            device, seq, digest = event.device_id, event.seq, digests[position]
            outcomes, positions, decisions, number = sites.get(event.site_id) or self._site(
                labels, event.site_id, position
            )
            outcomes.append((device, seq, verdict.outcome, verdict.people))
            positions.append(position)
            if seen is None or self._is_new(device, seq, digest):
                decisions.groups[group].append((number, device, seq, ms, digest))
        distinct, firsts, counts = np.unique(groups, return_index=True, return_counts=True)
        for group, first, count in zip(distinct.tolist(), firsts.tolist(), counts.tolist(), strict=True):
            self._groups[group] = Group(self._kind.group(events.events[first]), bool(late[first]), verdicts[first])
            self.outcome_counts[verdicts[first].outcome] += count
        hit = np.flatnonzero(judged.with_hits[decided])
        judged_as, places = np.flatnonzero(decided)[hit].tolist(), events.positions[hit].tolist()
        for n, number, place, was_late in zip(hit.tolist(), judged_as, places, late[hit].tolist(), strict=True):
            decision = Decision(verdicts[n].outcome, judged.hits(number))
            self._add_alert(place, events.events[n], decision, was_late, labels.policy)
        if self._kind.has_transfers:
            self._records += transfer_records(events.events, events.observed_us)
        self.late += int(late.sum())

    def add_decided(
        self,
        evaluator: Evaluator,
        position: int,
        decoded: DecodedEvent,
        decision: Decision,
        shadow_outcomes: Sequence[str],
    ) -> None:
        """Adds one event that the reference decided.

        Args:
            evaluator: the evaluator of the same policies.
            position: its position in the batch.
            decoded: the event.
            decision: its decision.
            shadow_outcomes: its outcome under each shadow policy.
        """
        event, labels = decoded.event, _labels(evaluator)
        verdict = evaluator.verdicts.of(((hit.person, hit.rule) for hit in decision.hits), shadow_outcomes)
        self.add_outcome(position, event, verdict.outcome, verdict.people)
        self.late += decoded.late
        if verdict.hits:
            self._add_alert(position, event, decision, decoded.late, labels.policy)
        if self._kind.has_transfers:
            self._records += transfer_records([event], [decoded.observed_us])
        device, seq, digest = event.device_id, event.seq, self._digests[position]
        if self._seen is None or self._is_new(device, seq, digest):
            of_events = self._kind.group(event)
            number = self._kind.groups([event], np.array([of_events.people]))[0]
            group = int((verdict.number * 2 + decoded.late) * GROUPS + number)
            site = self._sites[labels].get(event.site_id) or self._site(labels, event.site_id, position)
            self._groups[group] = Group(of_events, decoded.late, verdict)
            site.decisions.groups[group].append((site.number, device, seq, decoded.observed_us // 1000, digest))

    def add_outcome(self, position: int, event: Any, outcome: str, people: list[int]) -> None:
        """Adds the outcome that is sent to the event's device, in the order of the records."""
        site = self._outcomes[event.site_id]
        at = bisect(site.positions, position)
        site.positions.insert(at, position)
        site.outcomes.insert(at, (event.device_id, event.seq, outcome, people))
        self.outcome_counts[outcome] += 1

    def add_dead_letter(self, position: int, rejected: Rejected) -> None:
        """Adds the dead letter of a record that was rejected."""
        topic = self._kind.topic.name
        letter = dead_letter(topic, int(self._batch.partitions[position]), self._batch.records[position], rejected)
        self._records.append(OutgoingRecord(topics.DEAD_LETTERS, topic.encode(), letter))
        self.dead_letter_counts[rejected.reason] += 1

    def output(self) -> BatchOutput:
        """Returns the records to write. They do not keep the batch in memory."""
        records = self._records.copy()
        for site_id, site in self._outcomes.items():
            make = partial(Outcomes, site_id, self._decided_at, self._version)
            for value in encode_within_limit(encode, make, site.outcomes):
                records.append(OutgoingRecord(topics.OUTCOMES, site_id.encode(), value))
        decided_ms = int(self._decided_at.timestamp() * 1000)
        for (labels, _), decisions in self._decisions.items():
            records += decisions.records(self._groups, labels, decided_ms, self._version)
        return BatchOutput(records, self._alert_kafka_ms)

    def _add_alert(self, position: int, event: Any, decision: Decision, late: bool, policy: str) -> None:
        alert = build_alert(event, decision, late, self._decided_at, self._version, policy)
        self._records.append(OutgoingRecord(topics.ALERTS, event.site_id.encode(), encode(alert)))
        self._alert_kafka_ms.append(int(self._batch.kafka_ms[position]))

    def _site(self, labels: Labels, site_id: str, position: int) -> SiteResults:
        """Adds a site of which the batch has had no event under these policies before."""
        decisions = self._decisions[labels, int(self._batch.partitions[position])]
        site = SiteResults(*self._outcomes[site_id], decisions, decisions.add_site(site_id))
        self._sites[labels][site_id] = site
        return site

    def _is_new(self, device: str, seq: int, digest: int) -> bool:
        """Returns whether the batch has not had the same event before."""
        assert self._seen is not None
        event = (device, seq, digest)
        if event in self._seen:
            self.duplicates += 1
            return False
        self._seen.add(event)
        return True


def _labels(evaluator: Evaluator) -> Labels:
    """Returns the policies of an evaluator as decisions state them."""
    return Labels(evaluator.policy.label, tuple(shadow.label for shadow in evaluator.shadows))
