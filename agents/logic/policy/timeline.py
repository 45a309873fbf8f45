"""When each policy holds: a fold over the records of the topic `policies`.

It depends on nothing but the records, their order and their Kafka timestamps, so every worker comes to the same result.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from ninezero.agents.logic.policy.policy import Policy, faults_of, policy_of, unknown_to_this_release
from ninezero.schemas.policies import PoliciesRecord, PolicyKey, PolicyRecord, PolicyUse, parse_key
from ninezero.schemas.times import NO_START_US, unix_micros

if TYPE_CHECKING:  # commands that need no numpy read the policies, too
    from ninezero.agents.logic.watchlist.columns import Array

NOTICE_SECONDS = 60
"""What is active is changed at least this long before the change takes effect, so that every worker knows it by then."""

_NOTICE_US = NOTICE_SECONDS * 1_000_000

Time = TypeVar("Time", int, "Array")
"""The time of an event, or an array with those of several."""

Status = Literal["shadow", "active"]
Reason = Literal[
    "deleted",
    "policy_changed",
    "policy_out_of_bounds",
    "policy_unknown",
    "self_approved",
    "interval_begun",
    "too_soon",
    "same_start",
]
"""Why a record has no effect. The list is closed."""


class Refusal(Struct, frozen=True):
    """A record that has no effect."""

    key: str
    """Its key; `(not a key)` if it has not the form of one."""
    kafka_ms: int
    reason: Reason
    sentence: str
    """What is wrong and what to do. It begins with the policy."""


class Use(Struct, frozen=True, kw_only=True):
    """An interval in which a policy is used."""

    policy: Policy
    author: str
    """The author of the policy; empty for the built-in one."""
    status: Status
    from_us: int
    """Unix time in µs at which it begins."""
    to_us: int | None
    """Unix time in µs before which it ends. An interval that does not end after it begins is empty: it was cancelled."""
    approved_by: str
    """Who approved the use when it was first written."""


class InForce(Struct, frozen=True):
    """The policies that hold during an interval."""

    active: Policy
    """The policy that decides. It must not be applied if `unknown` is set."""
    shadows: tuple[Policy, ...] = ()
    """The policies that are evaluated beside it, each once and without those that this release does not know, by their beginning."""
    unknown: str | None = None
    """The active policy as `NAME@VERSION`, if it names something that this release does not know. Then nothing can be decided."""


class Timeline:
    """The policies, their uses, and what holds at each time.

    Args:
        default: the policy that holds where no other one is active. Its key belongs to it.
        replay: whether events of a scenario are decided. Their times have nothing to do with the time at which records are written.

    Attributes:
        policies: the accepted policies as `NAME@VERSION`, without the default.
        uses: the accepted intervals, in the order in which they were first written.
        refused: the records that have no effect, in order.
    """

    def __init__(self, default: Policy, replay: bool) -> None:
        self._default, self._replay = default, replay
        self.policies: dict[str, PolicyRecord] = {}
        self.uses: list[Use] = []
        self.refused: list[Refusal] = []
        self._first: dict[str, PolicyRecord] = {}
        """The first record of each policy, refused ones too. It cannot be changed."""
        self._known: dict[str, Policy] = {default.label: default}
        self._unknown: set[str] = set()
        """Policies that name something that this release does not know."""
        self._last_use: dict[str, int] = {}
        """The position in `uses` of the last interval of each policy."""
        self._boundaries: list[int] = []
        self._intervals: list[InForce] | None = None
        """None after a change, until it is needed."""

    @property
    def boundaries(self) -> list[int]:
        """Unix times in ms at which another interval begins, ascending."""
        self._divide()
        return self._boundaries

    @property
    def intervals(self) -> list[InForce]:
        """What holds before the first boundary, and from each boundary on."""
        return self._divide()

    def at(self, ms: int) -> InForce:
        """Returns what holds at a Unix time in ms."""
        intervals = self._divide()
        return intervals[bisect_right(self._boundaries, ms)]

    def next_change(self, ms: int) -> int | None:
        """Returns the first Unix time in ms after `ms` at which something else holds; None if nothing changes."""
        following = bisect_right(self.boundaries, ms)
        return self._boundaries[following] if following < len(self._boundaries) else None

    def policy(self, label: str) -> Policy | None:
        """Returns the policy `NAME@VERSION`; None if there is no accepted record of it. The default is always known."""
        return self._known.get(label)

    def apply(self, key: bytes, value: PoliciesRecord | None, kafka_ms: int) -> Refusal | None:
        """Applies the next record. Returns why it has no effect, or None if it was accepted.

        Args:
            key: its key.
            value: its decoded value; None for a tombstone.
            kafka_ms: its Kafka timestamp, Unix time in ms.

        Raises:
            ValueError: the key of a value is not a key of the topic.
        """
        refusal = _refused_tombstone(key, kafka_ms) if value is None else self._refusal(key, value, kafka_ms)
        if refusal is not None:
            self.refused.append(refusal)
        return refusal

    def _refusal(self, key: bytes, value: PoliciesRecord, kafka_ms: int) -> Refusal | None:
        """Applies a value. Returns why it has no effect."""
        of = parse_key(key)
        reason = self._apply_use(of, value, kafka_ms) if isinstance(value, PolicyUse) else self._add(of, value)
        return None if reason is None else Refusal(key.decode(), kafka_ms, reason, _sentence(of, reason, value))

    def _add(self, of: PolicyKey, record: PolicyRecord) -> Reason | None:
        if of.label == self._default.label or self._first.setdefault(of.label, record) != record:
            return "policy_changed"
        if faults_of(record):
            return "policy_out_of_bounds"
        self.policies[of.label] = record
        self._known[of.label] = policy_of(record)
        if unknown_to_this_release(record):
            self._unknown.add(of.label)
        return None

    def _apply_use(self, of: PolicyKey, record: PolicyUse, kafka_ms: int) -> Reason | None:
        policy, written_us = self._known.get(of.label), kafka_ms * 1000
        if policy is None:
            return "policy_unknown"
        author = self.policies[of.label].author if of.label in self.policies else ""
        if record.approved_by.casefold() == author.casefold():
            return "self_approved"
        new = Use(
            policy=policy,
            author=author,
            status=record.status,
            from_us=unix_micros(record.effective_from),
            to_us=None if record.effective_to is None else unix_micros(record.effective_to),
            approved_by=record.approved_by,
        )
        number = self._last_use.get(of.label)
        old = None if number is None else self.uses[number]
        if old is None or (old.to_us is not None and old.to_us <= written_us):
            number = None  # it begins another interval
        else:
            if (old.status, old.from_us) == (new.status, new.from_us):
                return self._set_end(of.label, number, old, new.to_us, written_us)
            if old.from_us <= written_us:
                return "interval_begun"
            if old.from_us < self._settled_us(old.status, written_us):
                return "too_soon"
        if new.status == "active":
            if new.from_us < self._settled_us("active", written_us):
                return "too_soon"
            if any(use.status == "active" and use.from_us == new.from_us for use in self.uses):
                return "same_start"
        self._put(of.label, new, number)
        return None

    def _set_end(self, label: str, number: int | None, old: Use, to_us: int | None, written_us: int) -> Reason | None:
        """Changes the end of an interval. An end that comes too early takes effect as soon as it may."""
        settled_us = self._settled_us(old.status, written_us)
        if to_us == old.to_us:
            return None
        if old.to_us is not None and old.to_us < settled_us:
            return "too_soon"
        if to_us is not None and old.from_us < settled_us:
            to_us = max(to_us, settled_us)
        self._put(label, replace(old, to_us=to_us), number)
        return None

    def _settled_us(self, status: Status, written_us: int) -> int:
        """Returns the time in µs before which a record that is written now changes nothing.

        Workers may have decided about events of that time before they read it. The outcome of a shadow decides nothing.
        """
        if self._replay:
            return NO_START_US
        return written_us + _NOTICE_US if status == "active" else written_us

    def _put(self, label: str, use: Use, number: int | None) -> None:
        """Stores a use, in place of the one with a number."""
        if number is None:
            self._last_use[label] = len(self.uses)
            self.uses.append(use)
        else:
            self.uses[number] = use
        self._intervals = None

    def _divide(self) -> list[InForce]:
        """Returns the intervals, after it divided the time by the uses if these have changed."""
        if self._intervals is not None:
            return self._intervals
        changes: dict[int, list[tuple[int, bool]]] = {}
        for number, use in enumerate(self.uses):
            begin, end = _first_ms(use.from_us), None if use.to_us is None else _first_ms(use.to_us)
            if end is None or begin < end:
                changes.setdefault(begin, []).append((number, True))
                if end is not None:
                    changes.setdefault(end, []).append((number, False))
        holding: dict[int, Use] = {}
        self._boundaries, self._intervals = [], [InForce(self._default)]
        for ms, some in sorted(changes.items()):
            for number, begins in some:
                if begins:
                    holding[number] = self.uses[number]
                else:
                    del holding[number]
            in_force = self._in_force(holding.values())
            if in_force != self._intervals[-1]:
                self._boundaries.append(ms)
                self._intervals.append(in_force)
        return self._intervals

    def _in_force(self, holding: Iterable[Use]) -> InForce:
        """Returns what holds while these uses do."""
        by_start = sorted(holding, key=lambda use: (use.from_us, use.policy.label))
        active = next((use.policy for use in reversed(by_start) if use.status == "active"), self._default)
        shadows = {use.policy.label: use.policy for use in by_start if use.status == "shadow"}
        evaluated = [shadows[one] for one in shadows if one != active.label and one not in self._unknown]
        return InForce(active, tuple(evaluated), active.label if active.label in self._unknown else None)


def time_of(kafka_ms: Time, observed_us: Time, replay: bool) -> Time:
    """Returns the time that decides which policies an event is judged by, Unix time in ms.

    Args:
        kafka_ms: the Kafka timestamp of the event, or of several, Unix time in ms. It decides.
        observed_us: when the event was observed, Unix time in µs. It decides in a replay.
        replay: whether events of a scenario are decided.
    """
    return observed_us // 1000 if replay else kafka_ms


def _first_ms(us: int) -> int:
    """Returns the first whole ms that is not before a time in µs."""
    return -(-us // 1000)


def _refused_tombstone(key: bytes, kafka_ms: int) -> Refusal:
    try:
        of = parse_key(key)
    except ValueError:
        return Refusal("(not a key)", kafka_ms, "deleted", "a record without a value has no effect")
    return Refusal(key.decode(), kafka_ms, "deleted", f"{of.label}: nothing can be deleted; end its use instead")


def _sentence(of: PolicyKey, reason: Reason, value: PoliciesRecord) -> str:
    """Returns what is wrong with a record and what to do."""
    if reason == "policy_out_of_bounds":
        assert isinstance(value, PolicyRecord)
        return f"{of.label}: {'; '.join(faults_of(value))}"
    return f"{of.label}: {_SENTENCES[reason]}"


_SENTENCES: dict[Reason, str] = {
    "policy_changed": "another policy has this name and version, and it cannot be changed; give the policy the next version",
    "policy_unknown": "no accepted policy has this name and version; write the policy before its use",
    "self_approved": "its author cannot approve its use; somebody else must",
    "interval_begun": "its use has begun, so only its end can be changed; end it, then begin another use",
    "too_soon": f"what is active can be changed {NOTICE_SECONDS} seconds after the change is written; choose a later time",
    "same_start": "another policy becomes active at exactly the same time; choose another time",
}
