"""The records of the topic `policies` as they are, and what would follow if more were written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.timeline import Refusal, Status, Timeline, Use
from ninezero.schemas.policies import PoliciesRecord, PolicyRecord, PolicyUse, label, policy_key, use_key
from ninezero.schemas.times import unix_micros


class WrittenRecord(NamedTuple):
    """A record of the topic."""

    key: bytes
    value: PoliciesRecord | None
    kafka_ms: int


class NewRecord(NamedTuple):
    """A record to write."""

    key: bytes
    value: PoliciesRecord


class Outlook(NamedTuple):
    """What follows if records are written."""

    timeline: Timeline
    refusal: Refusal | None
    """Why workers would refuse the first of them that they refuse; None if they accept all."""


class History:
    """What was written.

    Args:
        default: the policy that holds where no other one is active.
        replay: whether events of a scenario are decided.
        records: every record of the topic, in order.
    """

    def __init__(self, default: Policy, replay: bool, records: Sequence[WrittenRecord]) -> None:
        self._default, self._records, self.replay = default, records, replay
        self.timeline = self._fold(())

    def after(self, records: Iterable[NewRecord], kafka_ms: int) -> Outlook:
        """Returns what follows if records are written.

        Args:
            records: the records, in order.
            kafka_ms: the time at which they are written, Unix time in ms. One before the last record of the topic counts as the time of
                that record.
        """
        kafka_ms = max([kafka_ms, *(one.kafka_ms for one in self._records[-1:])])
        known = len(self.timeline.refused)
        timeline = self._fold(WrittenRecord(*one, kafka_ms) for one in records)
        return Outlook(timeline, next(iter(timeline.refused[known:]), None))

    def _fold(self, more: Iterable[WrittenRecord]) -> Timeline:
        timeline = Timeline(self._default, self.replay)
        for one in (*self._records, *more):
            timeline.apply(*one)
        return timeline


def last_use(timeline: Timeline, name: str) -> Use | None:
    """Returns the last interval of the policy `NAME@VERSION`; None if it was never used."""
    return next((use for use in reversed(timeline.uses) if use.policy.label == name), None)


def has_use(timeline: Timeline, policy: str, version: int) -> bool:
    """Returns whether the topic has the use of a policy, accepted or not."""
    key = use_key(policy, version).decode()
    return last_use(timeline, label(policy, version)) is not None or any(one.key == key for one in timeline.refused)


def records_to_use(
    history: History, record: PolicyRecord | None, policy: Policy, use: PolicyUse, now_ms: int
) -> list[NewRecord]:
    """Returns the records that are still to be written so that a policy is used in an interval.

    After an interruption it returns the rest. A shadow that becomes active ends as a shadow first.

    Args:
        history: what was written.
        record: the policy as its author states it; None if it is in the topic, or built in.
        policy: the policy.
        use: its use.
        now_ms: the present time, Unix time in ms.
    """
    found: list[NewRecord] = []
    if record is not None and history.timeline.policies.get(policy.label) != record:
        found.append(NewRecord(policy_key(policy.name, policy.version), record))
    last, key = last_use(history.timeline, policy.label), use_key(policy.name, policy.version)
    if last is not None and is_open(last, now_ms):
        if stated(last) == (use.status, use.effective_from, use.effective_to):
            return found
        if last.status == "shadow" and use.status == "active" and last.from_us <= now_ms * 1000:
            # A shadow ends when this record is written: an end in the past counts as that time, except in a replay.
            end = from_micros(now_ms * 1000) if history.replay else from_micros(last.from_us)
            found.append(NewRecord(key, PolicyUse("shadow", from_micros(last.from_us), end, use.approved_by)))
    return [*found, NewRecord(key, use)]


def is_open(use: Use, now_ms: int) -> bool:
    """Returns whether an interval has not ended yet. One that was cancelled has ended."""
    return use.to_us is None or (use.to_us > now_ms * 1000 and use.to_us > use.from_us)


def stated(use: Use) -> tuple[Status, datetime, datetime | None]:
    """Returns the status and the times of a use, as a record states them."""
    return use.status, from_micros(use.from_us), None if use.to_us is None else from_micros(use.to_us)


def from_micros(micros: int) -> datetime:
    """Returns a Unix time in µs as a time. It is exact, unlike `datetime.fromtimestamp()` of a division."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def first_ms(time: datetime) -> int:
    """Returns the first whole ms, Unix time, that is not before a time."""
    return -(-unix_micros(time) // 1000)
