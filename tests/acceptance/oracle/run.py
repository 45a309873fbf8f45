"""Everything that must follow from the records of a whole run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .decisions import Reason, decide, outcome_of
from .lists import Lists
from .policies import POLICIES, REGISTER, Policies, Policy
from .records import Fault, read
from .terms import MINUTE, PUSHES, Ambiguous, Record, at


@dataclass
class Decided:
    """A screened event: the expected outcome, alert and facts."""

    topic: str
    event: dict[str, Any]
    value: bytes
    reasons: tuple[Reason, ...]
    late: set[bool]
    """One value for each of its records: a resend may be late although the first was not."""
    policy: str = "default@1"
    """The policy that decided about its first record."""
    shadows: dict[str, str] = field(default_factory=dict)
    """The outcome of each shadow policy for its first record."""
    by_policy: dict[str, tuple[Reason, ...]] = field(default_factory=dict)
    """The reasons by each policy that decided about one of its records: a resend may come after a change."""

    @property
    def outcome(self) -> str:
        return outcome_of(self.reasons)

    def answer(self, policy: str) -> tuple[str, tuple[int, ...]]:
        """Returns the outcome by a policy, and everyone with a reason."""
        reasons = self.by_policy[policy]
        return outcome_of(reasons), tuple(sorted({r.person for r in reasons if r.person is not None}))

    @property
    def site_id(self) -> str:
        return str(self.event["site_id"])


@dataclass(frozen=True)
class Dead:
    fault: Fault
    size: int
    sha256: str


@dataclass
class Expected:
    """All results that must follow from the records that were sent."""

    lists: Lists = field(default_factory=Lists)
    policies: Policies = field(default_factory=Policies)
    events: dict[tuple[str, int], Decided] = field(default_factory=dict)
    dead: dict[tuple[str, int, int], Dead] = field(default_factory=dict)
    receipts: list[dict[str, Any]] = field(default_factory=list)

    def process(self, record: Record) -> None:
        """Processes one record, in the order of sending. When scans are sent, neither lists, sites nor anything about
        policies that holds for them may change any more."""
        if record.topic == POLICIES:
            self.policies.process(record)
            return
        if record.topic == REGISTER:
            self.policies.register(record)
            return
        event = read(record)
        if isinstance(event, Fault):
            where = (record.topic, record.partition, record.offset)
            self.dead[where] = Dead(event, len(record.value), hashlib.sha256(record.value).hexdigest())
            return
        if record.topic == PUSHES:
            receipt = self.lists.process(record, event)
            if receipt is not None:
                self.receipts.append(receipt)
            return
        late = not self.policies.replay and record.at - at(event["observed_at"]) > 10 * MINUTE
        moment = self.policies.moment_of(record, event)
        policy = self.policies.active(moment)
        identity = (event["device_id"], event["seq"])
        known = self.events.get(identity)
        if known is None:
            reasons = self._decide(event, record, policy)
            shadows = {
                shadow.label: outcome_of(self._decide(event, record, shadow))
                for shadow in self.policies.shadows(moment)
            }
            by_policy = {policy.label: reasons}
            self.events[identity] = Decided(
                record.topic, event, record.value, reasons, {late}, policy.label, shadows, by_policy
            )
        elif known.value != record.value or known.topic != record.topic:
            raise Ambiguous("one identity with two contents")
        else:
            known.late.add(late)
            if policy.label not in known.by_policy:
                known.by_policy[policy.label] = self._decide(event, record, policy)

    def _decide(self, event: dict[str, Any], record: Record, policy: Policy) -> tuple[Reason, ...]:
        home = self.policies.home_of(policy, event["site_id"])
        return decide(event, self.lists, record.at, policy, home)


def expect(records: Iterable[Record], policies: Policies | None = None) -> Expected:
    """Returns the results that must follow from these records, sent in this order."""
    expected = Expected(policies=policies or Policies())
    for record in records:
        expected.process(record)
    return expected
