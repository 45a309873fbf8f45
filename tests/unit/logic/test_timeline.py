"""When each policy holds: every refusal, every kind of overlap, and agreement with a model that is written differently."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, get_args

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from ninezero.agents.logic.policy.policy import DEFAULT, policy_of
from ninezero.agents.logic.policy.timeline import InForce, Reason, Timeline
from ninezero.schemas.policies import PoliciesRecord, PolicyRecord, PolicyUse, label, policy_key, use_key
from tests.unit.logic.test_policy import RECORD

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
DAY = timedelta(days=1)
NEW_RULE = {"hypothermia": "hold"}
"""Outcomes of a policy that a newer release wrote."""


def policy(name: str = "winter", version: int = 1, **change: Any) -> PolicyRecord:
    return replace(RECORD, policy=name, version=version, **change)


def active(start: datetime, end: datetime | None = None, by: str = "ben") -> PolicyUse:
    return PolicyUse("active", start, end, by)


def shadow(start: datetime, end: datetime | None = None, by: str = "ben") -> PolicyUse:
    return PolicyUse("shadow", start, end, by)


def ms(time: datetime) -> int:
    return round((time - NOW) / timedelta(milliseconds=1)) + NOW_MS


class Fold:
    """A timeline that is written to at some time, usually NOW."""

    def __init__(self, *records: PolicyRecord, replay: bool = False) -> None:
        self.timeline = Timeline(DEFAULT, replay)
        for record in records:
            assert self.put(record) is None

    def put(self, record: PolicyRecord, at: datetime = NOW) -> Reason | None:
        return self._apply(policy_key(record.policy, record.version), record, at)

    def use(self, use: PolicyUse | None, name: str = "winter", version: int = 1, at: datetime = NOW) -> Reason | None:
        return self._apply(use_key(name, version), use, at)

    def _apply(self, key: bytes, value: PoliciesRecord | None, at: datetime) -> Reason | None:
        before = len(self.timeline.refused)
        refusal = self.timeline.apply(key, value, ms(at))
        assert self.timeline.refused[before:] == ([] if refusal is None else [refusal])
        if refusal is None:
            return None
        assert refusal.key == key.decode() and refusal.kafka_ms == ms(at) and "\n" not in refusal.sentence
        assert refusal.sentence.startswith(f"{label(*key.decode().split('|')[:2])}: ")  # type: ignore[arg-type]
        return refusal.reason

    def active(self, at: datetime) -> str:
        return self.timeline.at(ms(at)).active.label

    def shadows(self, at: datetime) -> list[str]:
        return [one.label for one in self.timeline.at(ms(at)).shadows]


MINUTE = timedelta(minutes=1)


def test_without_a_use_the_default_holds_at_every_time() -> None:
    fold = Fold(policy())
    assert fold.timeline.intervals == [InForce(DEFAULT)] and fold.timeline.boundaries == []
    assert fold.timeline.next_change(NOW_MS) is None and list(fold.timeline.policies) == ["winter@1"]


def test_a_policy_holds_from_its_beginning_to_before_its_end() -> None:
    fold = Fold(policy())
    assert fold.use(active(NOW + MINUTE, NOW + DAY)) is None
    millisecond = timedelta(milliseconds=1)
    for at, expected in [
        (NOW, "default@1"), (NOW + MINUTE - millisecond, "default@1"), (NOW + MINUTE, "winter@1"), (NOW + DAY - millisecond, "winter@1"),
        (NOW + DAY, "default@1"),
    ]:  # fmt: skip
        assert fold.active(at) == expected
    timeline = fold.timeline
    assert timeline.boundaries == [ms(NOW + MINUTE), ms(NOW + DAY)]
    assert [one.active.label for one in timeline.intervals] == ["default@1", "winter@1", "default@1"]
    changes = [timeline.next_change(at) for at in (0, ms(NOW + MINUTE) - 1, ms(NOW + MINUTE), ms(NOW + DAY))]
    assert changes == [ms(NOW + MINUTE), ms(NOW + MINUTE), ms(NOW + DAY), None]
    assert timeline.at(ms(NOW + MINUTE)).active == policy_of(policy())


def test_of_several_active_policies_the_one_that_began_last_holds() -> None:
    fold = Fold(policy(), policy("spring", 7), policy("late", 1))
    assert fold.use(active(NOW + 3 * MINUTE, NOW + 4 * MINUTE), "spring", 7) is None
    assert fold.use(active(NOW + MINUTE)) is None
    assert fold.use(active(NOW + 2 * MINUTE, NOW + 5 * MINUTE), "late", 1) is None
    held = [fold.active(NOW + n * MINUTE) for n in range(6)]
    assert held == ["default@1", "winter@1", "late@1", "spring@7", "late@1", "winter@1"]


def test_several_shadows_hold_together_beside_the_active_policy() -> None:
    fold = Fold(policy(), policy("b"), policy("a"))
    assert fold.use(shadow(NOW), "b") is None and fold.use(shadow(NOW, NOW + MINUTE), "a") is None
    assert fold.use(shadow(NOW - DAY, NOW + 2 * MINUTE)) is None
    assert fold.shadows(NOW - DAY) == ["winter@1"] and fold.shadows(NOW) == ["winter@1", "a@1", "b@1"]
    assert fold.shadows(NOW + MINUTE) == ["winter@1", "b@1"] and fold.shadows(NOW + 2 * MINUTE) == ["b@1"]
    assert fold.active(NOW) == "default@1"


def test_the_built_in_policy_can_be_activated_and_cannot_be_replaced() -> None:
    fold = Fold(policy())
    assert fold.use(active(NOW + MINUTE)) is None
    assert fold.use(active(NOW + 2 * MINUTE), "default", 1) is None
    assert [fold.active(NOW + n * MINUTE) for n in (1, 2)] == ["winter@1", "default@1"]
    assert fold.put(policy("default", 1)) == "policy_changed" and fold.timeline.policy("default@1") == DEFAULT
    assert [use.author for use in fold.timeline.uses] == ["anna", ""]


def test_a_second_policy_under_one_key_is_refused_unless_it_is_the_same() -> None:
    fold = Fold(policy())
    assert fold.put(policy()) is None
    assert fold.put(policy(fever_c=37.0)) == "policy_changed"
    assert fold.put(policy(author="ben")) == "policy_changed"
    assert fold.put(policy(version=2, fever_c=37.0)) is None
    assert fold.timeline.policies == {"winter@1": policy(), "winter@2": policy(version=2, fever_c=37.0)}
    known = fold.timeline.policy("winter@1")
    assert known is not None and known.fever_c == RECORD.fever_c


def test_a_policy_below_a_floor_is_refused_and_its_key_cannot_be_used_again() -> None:
    fold = Fold()
    assert fold.put(policy(outcomes={"fever": "clear"})) == "policy_out_of_bounds"
    assert fold.put(policy(outcomes={"fever": "clear"})) == "policy_out_of_bounds"
    assert fold.put(policy()) == "policy_changed" and fold.timeline.policies == {}
    assert fold.use(active(NOW + DAY)) == "policy_unknown" and fold.timeline.policy("winter@1") is None
    assert "outcomes.fever: clear is below the floor" in fold.timeline.refused[0].sentence


def test_a_use_of_an_unknown_policy_is_refused_even_if_the_policy_follows() -> None:
    fold = Fold()
    assert fold.use(active(NOW + DAY)) == "policy_unknown"
    assert fold.put(policy()) is None and fold.active(NOW + DAY) == "default@1"
    assert fold.use(active(NOW + DAY)) is None and fold.active(NOW + DAY) == "winter@1"


def test_an_author_cannot_approve_a_use_of_any_kind_or_end_it() -> None:
    fold = Fold(policy())
    assert fold.use(active(NOW + DAY, by="anna")) == "self_approved"
    assert fold.use(active(NOW + DAY, by="Anna")) == "self_approved"
    assert fold.use(shadow(NOW, by="anna")) == "self_approved"
    assert fold.use(active(NOW + DAY)) is None
    assert fold.use(active(NOW + DAY, NOW + 2 * DAY, by="anna")) == "self_approved"
    assert fold.timeline.uses[0].to_us is None


def test_an_activation_is_written_a_minute_before_it_takes_effect() -> None:
    microsecond = timedelta(microseconds=1)
    fold = Fold(policy())
    assert fold.use(active(NOW + MINUTE - microsecond)) == "too_soon"
    assert fold.use(active(NOW - DAY)) == "too_soon"
    assert fold.use(active(NOW + MINUTE)) is None
    fold = Fold(policy(), replay=True)
    assert fold.use(active(NOW - DAY)) is None and fold.active(NOW - DAY) == "winter@1"
    assert Fold(policy()).use(shadow(NOW - DAY)) is None


def test_two_policies_cannot_become_active_at_the_same_time() -> None:
    fold = Fold(policy(), policy("spring"))
    assert fold.use(active(NOW + DAY)) is None
    assert fold.use(active(NOW + DAY, NOW + 2 * DAY), "spring") == "same_start"
    assert fold.use(active(NOW + DAY, NOW + 2 * DAY), "default") == "same_start"
    assert fold.use(shadow(NOW + 3 * DAY), "spring") is None and fold.use(active(NOW + 3 * DAY), "default") is None
    assert fold.use(active(NOW + DAY + timedelta(microseconds=1)), "spring") is None
    assert fold.active(NOW + DAY) == "winter@1" and fold.active(NOW + DAY + timedelta(milliseconds=1)) == "spring@1"
    assert fold.use(active(NOW + 2 * DAY), "winter") is None  # it has not begun, and leaves its time to another
    assert fold.use(active(NOW + DAY), "default") is None


def test_a_use_that_changes_nothing_is_no_boundary() -> None:
    fold = Fold(policy(), policy("spring"))
    assert fold.use(active(NOW + DAY)) is None and fold.use(active(NOW + MINUTE, NOW + 2 * DAY), "spring") is None
    assert fold.timeline.boundaries == [ms(NOW + MINUTE), ms(NOW + DAY)]


def test_a_use_that_has_not_begun_can_be_changed_or_cancelled() -> None:
    fold = Fold(policy())
    assert fold.use(active(NOW + DAY)) is None
    assert fold.use(active(NOW + 2 * DAY, by="cora")) is None
    assert fold.timeline.boundaries == [ms(NOW + 2 * DAY)] and len(fold.timeline.uses) == 1
    assert fold.timeline.uses[0].approved_by == "cora"
    assert fold.use(shadow(NOW + DAY)) is None and fold.shadows(NOW + DAY) == ["winter@1"]
    assert fold.use(active(NOW + DAY)) is None and fold.shadows(NOW + DAY) == []
    assert fold.use(active(NOW + DAY, NOW), at=NOW + DAY - MINUTE) is None
    assert fold.timeline.intervals == [InForce(DEFAULT)]


def test_a_use_that_begins_within_a_minute_is_neither_moved_nor_cancelled() -> None:
    fold, late = Fold(policy()), NOW + DAY - MINUTE / 2
    assert fold.use(active(NOW + DAY)) is None
    assert fold.use(active(NOW + 2 * DAY), at=late) == "too_soon" == fold.use(shadow(NOW + 2 * DAY), at=late)
    assert fold.use(active(NOW + DAY, NOW), at=late) is None  # the earliest end: a minute after it was written
    assert [fold.active(NOW + DAY + n * MINUTE / 2) for n in (-1, 0, 1)] == ["default@1", "winter@1", "default@1"]
    fold = Fold(policy(), replay=True)
    assert fold.use(active(NOW + DAY)) is None and fold.use(active(NOW + DAY, NOW), at=late) is None
    assert fold.timeline.intervals == [InForce(DEFAULT)]


def test_an_end_within_a_minute_is_not_changed_any_more() -> None:
    fold = Fold(policy())
    end = NOW + DAY
    assert fold.use(active(NOW + MINUTE, end)) is None
    for other in (None, end + DAY, NOW):
        assert fold.use(active(NOW + MINUTE, other), at=end - MINUTE / 2) == "too_soon"
    assert fold.use(active(NOW + MINUTE, end), at=end - MINUTE / 2) is None and fold.active(end) == "default@1"
    assert fold.use(active(NOW + MINUTE, end + DAY), at=end - MINUTE) is None and fold.active(end) == "winter@1"


def test_only_the_end_of_a_use_that_has_begun_can_be_changed() -> None:
    fold = Fold(policy())
    start = NOW + MINUTE
    assert fold.use(active(start)) is None
    assert fold.use(active(start + DAY), at=start) == "interval_begun"
    assert fold.use(shadow(start), at=start) == "interval_begun"
    assert fold.use(active(start, start + DAY, by="cora"), at=start) is None
    assert fold.active(start + DAY) == "default@1" and fold.timeline.uses[0].approved_by == "ben"
    assert fold.use(active(start, start + 2 * DAY), at=start) is None and fold.active(start + DAY) == "winter@1"
    assert fold.use(active(start), at=start + 2 * DAY - MINUTE) is None and fold.active(start + 3 * DAY) == "winter@1"


def test_an_end_takes_effect_a_minute_after_it_was_written_at_the_earliest_and_that_of_a_shadow_immediately() -> None:
    fold = Fold(policy())
    start, written = NOW + MINUTE, NOW + DAY
    assert fold.use(active(start)) is None
    assert fold.use(active(start, start), at=written) is None
    end = written + MINUTE
    assert fold.active(end - timedelta(milliseconds=1)) == "winter@1" and fold.active(end) == "default@1"
    fold = Fold(policy())
    assert fold.use(shadow(start)) is None and fold.use(shadow(start, start), at=written) is None
    assert fold.shadows(written - timedelta(milliseconds=1)) == ["winter@1"] and fold.shadows(written) == []
    fold = Fold(policy(), replay=True)
    assert fold.use(active(start)) is None and fold.use(active(start, start + MINUTE), at=written) is None
    assert fold.active(start) == "winter@1" and fold.active(start + MINUTE) == "default@1"


def test_after_its_end_a_policy_can_be_used_again_so_a_shadow_becomes_active() -> None:
    fold = Fold(policy())
    assert fold.use(shadow(NOW)) is None
    assert fold.use(active(NOW + DAY), at=NOW + MINUTE) == "interval_begun"
    end = NOW + 2 * MINUTE
    assert fold.use(shadow(NOW, NOW), at=end) is None
    assert fold.use(active(end + MINUTE), at=end) is None
    assert [fold.shadows(at) for at in (NOW, end)] == [["winter@1"], []]
    assert [fold.active(at) for at in (end, end + MINUTE)] == ["default@1", "winter@1"]
    assert [use.status for use in fold.timeline.uses] == ["shadow", "active"]


def test_a_policy_is_not_evaluated_beside_itself() -> None:
    fold = Fold(policy())
    assert fold.use(active(NOW + MINUTE, NOW + 2 * MINUTE)) is None
    assert fold.use(shadow(NOW, NOW + 3 * MINUTE), at=NOW + 2 * MINUTE) is None
    assert [fold.shadows(NOW + n * MINUTE) for n in range(4)] == [["winter@1"], [], ["winter@1"], []]
    assert fold.use(shadow(NOW, NOW + 5 * MINUTE), at=NOW + 4 * MINUTE) is None
    assert fold.shadows(NOW) == ["winter@1"]


def test_a_policy_of_a_newer_release_makes_its_interval_unknown() -> None:
    fold = Fold(policy(outcomes=NEW_RULE), policy("spring"))
    assert fold.use(active(NOW + MINUTE)) is None and fold.use(active(NOW + DAY), "spring") is None
    unknown = [one.unknown for one in fold.timeline.intervals]
    assert unknown == [None, "winter@1", None]
    with pytest.raises(ValueError, match="cannot apply the policy winter@1"):
        fold.timeline.at(ms(NOW + MINUTE)).active.rules()
    fold = Fold(policy(outcomes=NEW_RULE), policy("spring"))
    assert fold.use(shadow(NOW)) is None and fold.use(shadow(NOW), "spring") is None
    assert fold.shadows(NOW) == ["spring@1"] and fold.timeline.at(NOW_MS).unknown is None


@pytest.mark.parametrize("key", [b"winter|1", b"winter|1|use", b"default|1", b"spring|9|use"])
def test_a_tombstone_deletes_nothing(key: bytes) -> None:
    fold = Fold(policy())
    assert fold.use(active(NOW + MINUTE)) is None
    refusal = fold.timeline.apply(key, None, NOW_MS)
    assert refusal is not None and refusal.reason == "deleted" and fold.timeline.refused == [refusal]
    assert fold.active(NOW + MINUTE) == "winter@1" and fold.put(policy()) is None


def test_a_tombstone_of_another_key_is_refused_without_its_text() -> None:
    for key in (b"", b"13800138000", b"\xff|1", b"a|0", b"a|1|use|x"):
        refusal = Timeline(DEFAULT, False).apply(key, None, NOW_MS)
        assert refusal is not None and (refusal.key, refusal.reason) == ("(not a key)", "deleted")


def test_times_of_all_years_can_be_compared() -> None:
    fold = Fold(policy(), policy("spring"))
    assert fold.use(shadow(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))) is None
    assert fold.use(active(datetime.max.replace(tzinfo=UTC)), "spring") is None
    boundaries = np.array(fold.timeline.boundaries)
    assert boundaries.dtype == np.int64 and len(boundaries) == 2
    assert fold.shadows(NOW) == ["winter@1"]


def test_numbers_of_intervals_are_those_of_a_search_in_the_boundaries() -> None:
    fold = Fold(policy(), policy("spring"))
    assert fold.use(active(NOW + MINUTE)) is None and fold.use(active(NOW + 2 * MINUTE, NOW + DAY), "spring") is None
    times = [ms(NOW + MINUTE) + delta for delta in (-1, 0, 1, 59_999, 60_000, 10**9)]
    found = np.searchsorted(fold.timeline.boundaries, times, side="right")
    assert [fold.timeline.intervals[n] for n in found] == [fold.timeline.at(time) for time in times]


class Interval(NamedTuple):
    """What the model knows of an interval."""

    status: str
    start: datetime
    end: datetime | None
    approved_by: str

    def holds(self, at: datetime) -> bool:
        return self.start <= at and (self.end is None or at < self.end)


class Model:
    """Answers each question from the list of accepted records, by going through all of them. It keeps nothing else."""

    def __init__(self, replay: bool) -> None:
        self.replay = replay
        self.policies: list[PolicyRecord] = []
        """Every policy that was the first under its key, refused ones too."""
        self.accepted: list[tuple[str, PolicyUse, datetime]] = []

    def first(self, of: str) -> PolicyRecord | None:
        return next((one for one in self.policies if label(one.policy, one.version) == of), None)

    def is_known(self, of: str) -> bool:
        record = self.first(of)
        return of == "default@1" or (record is not None and not wrong(record))

    def intervals(self, of: str) -> list[Interval]:
        found: list[Interval] = []
        for other, use, at in self.accepted:
            if other != of:
                continue
            stated = Interval(use.status, use.effective_from, use.effective_to, use.approved_by)
            if found and not ended(found[-1], at):
                previous = found.pop()
                if previous[:2] == stated[:2]:
                    end, soonest = stated.end, at + notice(previous.status)
                    if end != previous.end and end is not None and not self.replay and previous.start < soonest:
                        end = max(end, soonest)
                    stated = Interval(previous.status, previous.start, end, previous.approved_by)
            found.append(stated)
        return found

    def everything(self) -> list[tuple[str, Interval]]:
        labels = dict.fromkeys(of for of, _, _ in self.accepted)
        return [(of, one) for of in labels for one in self.intervals(of)]

    def refuses_policy(self, of: str, record: PolicyRecord) -> str | None:
        first = self.first(of) or record
        if of == "default@1" or first != record:
            return "policy_changed"
        return "policy_out_of_bounds" if wrong(record) else None

    def refuses_use(self, of: str, use: PolicyUse, at: datetime) -> str | None:
        if not self.is_known(of):
            return "policy_unknown"
        record = self.first(of)
        if record is not None and record.author == use.approved_by:
            return "self_approved"
        pending = [one for one in self.intervals(of)[-1:] if not ended(one, at)]
        for one in pending:
            fixed_before = datetime.min.replace(tzinfo=UTC) if self.replay else at + notice(one.status)
            if (one.status, one.start) == (use.status, use.effective_from):
                fixed = one.end is not None and one.end < fixed_before and one.end != use.effective_to
                return "too_soon" if fixed else None
            if one.start <= at:
                return "interval_begun"
            if one.start < fixed_before:
                return "too_soon"
        if use.status == "shadow":
            return None
        if use.effective_from - at < timedelta(seconds=60) and not self.replay:
            return "too_soon"
        starts = [one.start for _, one in self.everything() if one.status == "active"]
        return "same_start" if use.effective_from in starts else None

    def at(self, at: datetime) -> tuple[str, list[str], str | None]:
        holding = [(one.start, of, one.status) for of, one in self.everything() if one.holds(at)]
        decides = max((one for one in holding if one[2] == "active"), default=(None, "default@1", ""))[1]
        beside = dict.fromkeys(of for _, of, status in sorted(holding) if status == "shadow" and of != decides)
        return decides, [of for of in beside if not self.is_new(of)], decides if self.is_new(decides) else None

    def is_new(self, of: str) -> bool:
        record = self.first(of)
        return record is not None and record.outcomes == NEW_RULE


def notice(status: str) -> timedelta:
    return timedelta(seconds=60 if status == "active" else 0)


def wrong(record: PolicyRecord) -> bool:
    return record.fever_c == 40.0


def ended(interval: Interval, at: datetime) -> bool:
    return interval.end is not None and at >= interval.end


SEEN: Counter[str] = Counter()
"""How often each refusal and each kind of overlap occurred."""

POLICIES = [("winter", 1), ("winter", 2), ("spring", 1), ("default", 1)]
KEYS = st.sampled_from(POLICIES)
TIMES = st.builds(
    lambda half_minutes, microseconds: NOW + half_minutes * MINUTE / 2 + timedelta(microseconds=microseconds),
    st.integers(0, 24),
    st.sampled_from([0, 0, 0, 0, 1, 999]),
)


class Histories(RuleBasedStateMachine):
    """Applies records of every kind in any order to the timeline and to the model."""

    @initialize(
        replay=st.sampled_from([False, False, True]),
        missing=st.sets(st.sampled_from(POLICIES[:3]), max_size=2),
        new=st.sampled_from(POLICIES),
    )
    def begin(self, replay: bool, missing: set[tuple[str, int]], new: tuple[str, int]) -> None:
        self.now = NOW
        self.records: list[tuple[bytes, PoliciesRecord | None, int]] = []
        self.timeline, self.model = Timeline(DEFAULT, replay), Model(replay)
        for key in POLICIES[:3]:
            if key not in missing:
                self.write_policy(key, {"outcomes": NEW_RULE} if key == new else {})

    @rule(seconds=st.sampled_from([0.001, 30, 60, 60, 90, -30]))
    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: len(self.records) % 3 != 0)
    @rule(key=KEYS, change=st.sampled_from([{}, {"outcomes": NEW_RULE}, {"fever_c": 40.0}, {"fever_c": 40.0}]))
    def write_policy(self, key: tuple[str, int], change: dict[str, Any]) -> None:
        of, record = label(*key), policy(*key, **change)
        expected = self.model.refuses_policy(of, record)
        if of != "default@1" and self.model.first(of) is None:
            self.model.policies.append(record)
        self.apply(policy_key(*key), record, expected)

    @rule(key=KEYS, status=st.sampled_from(["shadow", "shadow", "active"]), start=TIMES, end=st.none() | TIMES, by=st.sampled_from(["anna", "ben", "ben", "cora", "cora"]))  # fmt: skip
    def write_use(self, key: tuple[str, int], status: Any, start: datetime, end: datetime | None, by: str) -> None:
        self.use(key, PolicyUse(status, start, end, by))

    @precondition(lambda self: self.model.accepted)
    @rule(data=st.data(), end=st.none() | TIMES | TIMES, by=st.sampled_from(["ben", "cora", "cora"]))
    def write_end(self, data: st.DataObject, end: datetime | None, by: str) -> None:
        """Changes the end of an interval, or writes a use once more."""
        of, use, _ = data.draw(st.sampled_from(self.model.accepted))
        name, version = of.split("@")
        self.use((name, int(version)), replace(use, effective_to=end, approved_by=by))

    @precondition(lambda self: self.begun())
    @rule(data=st.data(), ago=st.sampled_from([-30, 0, 0.001, 30, 600]))
    def end_what_has_begun(self, data: st.DataObject, ago: float) -> None:
        of, one = data.draw(st.sampled_from(self.begun()))
        name, version = of.split("@")
        self.use((name, int(version)), PolicyUse(one.status, one.start, self.now - timedelta(seconds=ago), "cora"))  # type: ignore[arg-type]

    def begun(self) -> list[tuple[str, Interval]]:
        return [(of, one) for of, one in self.model.everything() if one.start <= self.now and not ended(one, self.now)]

    @rule(key=KEYS, notice=st.sampled_from([60, 90, 120]), seconds=st.sampled_from([None, 30, 60]))
    def activate_for_a_while(self, key: tuple[str, int], notice: int, seconds: int | None) -> None:
        start = self.now + timedelta(seconds=notice)
        self.use(key, PolicyUse("active", start, start + timedelta(seconds=seconds) if seconds else None, "ben"))

    @precondition(lambda self: any(use.status == "shadow" for _, use, _ in self.model.accepted))
    @rule(data=st.data(), notice=st.sampled_from([30, 60, 90]))
    def activate_a_shadow(self, data: st.DataObject, notice: int) -> None:
        of, use, _ = data.draw(st.sampled_from([one for one in self.model.accepted if one[1].status == "shadow"]))
        name, version = of.split("@")
        self.use((name, int(version)), replace(use, effective_to=use.effective_from))
        start = self.now + timedelta(seconds=notice)
        self.use((name, int(version)), PolicyUse("active", start, None, use.approved_by))

    @precondition(lambda self: self.model.accepted)
    @rule(data=st.data(), key=KEYS, by=st.sampled_from(["ben", "cora"]))
    def write_use_with_equal_start(self, data: st.DataObject, key: tuple[str, int], by: str) -> None:
        _, use, _ = data.draw(st.sampled_from(self.model.accepted))
        self.use(key, replace(use, approved_by=by))

    @precondition(lambda self: len(self.records) % 4 == 0)
    @rule(key=KEYS, of_use=st.booleans())
    def write_tombstone(self, key: tuple[str, int], of_use: bool) -> None:
        self.apply(use_key(*key) if of_use else policy_key(*key), None, "deleted")

    def use(self, key: tuple[str, int], use: PolicyUse) -> None:
        of = label(*key)
        expected = self.model.refuses_use(of, use, self.now)
        if expected is None:
            before = self.model.intervals(of)
            self.model.accepted.append((of, use, self.now))
            after = self.model.intervals(of)
            changed = bool(before) and len(after) == len(before)
            SEEN["a use was changed before it began"] += changed and before[-1].start > self.now
            SEEN["a use that had begun got another end"] += changed and before[-1] != after[-1] and before[-1].start <= self.now  # fmt: skip
            SEEN["what begins within a minute was ended"] += changed and self.now < before[-1].start < self.now + notice(before[-1].status) and before[-1] != after[-1]  # fmt: skip
            SEEN["an end that came too early was moved"] += changed and use.effective_to != after[-1].end
            SEEN["a shadow became active"] += len(after) > len(before) > 0 and [one.status for one in after[-2:]] == ["shadow", "active"]  # fmt: skip
            SEEN["replay: active without notice"] += self.model.replay and use.status == "active" and use.effective_from < self.now  # fmt: skip
        self.apply(use_key(*key), use, expected)

    def apply(self, key: bytes, value: PoliciesRecord | None, expected: str | None) -> None:
        self.records.append((key, value, ms(self.now)))
        refusal = self.timeline.apply(*self.records[-1])
        assert (refusal and refusal.reason) == expected
        SEEN[expected or "accepted"] += 1

    @invariant()
    def each_time_has_the_same_policies(self) -> None:
        if not hasattr(self, "model"):
            return
        timeline, model = self.timeline, self.model
        assert len(timeline.intervals) == len(timeline.boundaries) + 1
        assert timeline.boundaries == sorted(set(timeline.boundaries))
        assert all(a != b for a, b in zip(timeline.intervals, timeline.intervals[1:], strict=False))
        stated = sorted((use.policy.label, use.status, use.from_us, use.to_us or 0, use.approved_by) for use in timeline.uses)  # fmt: skip
        assert stated == sorted((of, one.status, micros(one.start), micros(one.end) if one.end else 0, one.approved_by) for of, one in model.everything())  # fmt: skip
        assert timeline.policies.keys() == {label(one.policy, one.version) for one in model.policies if not wrong(one)}
        for boundary in [NOW_MS, *timeline.boundaries]:
            for at in (boundary - 1, boundary, boundary + 1):
                in_force = timeline.at(at)
                found = (in_force.active.label, [one.label for one in in_force.shadows], in_force.unknown)
                assert found == model.at(NOW + timedelta(milliseconds=at - NOW_MS)), at
                assert in_force.active == timeline.policy(in_force.active.label)
        for use in timeline.uses:  # no edge of a use is a change that the boundaries lack
            for us in (use.from_us, use.to_us or 0):
                at = -(-us // 1000)
                assert timeline.at(at).active.label == model.at(NOW + timedelta(milliseconds=at - NOW_MS))[0]

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        count_overlaps(self.model)
        for part in (len(self.records) // 3, len(self.records) // 2):
            again = Timeline(DEFAULT, self.model.replay)
            refused = [again.apply(*one) for one in self.records[:part]]
            again.at(NOW_MS)  # the intervals are needed between the two portions
            refused += [again.apply(*one) for one in self.records[part:]]
            for name in ("boundaries", "intervals", "policies", "uses", "refused"):
                assert getattr(again, name) == getattr(self.timeline, name), name
            assert [one for one in refused if one] == again.refused


def micros(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def count_overlaps(model: Model) -> None:
    every = model.everything()
    for at in {one.start for _, one in every} | {one.end for _, one in every if one.end}:
        holding = [(of, one) for of, one in every if one.holds(at)]
        actives = [of for of, one in holding if one.status == "active"]
        shadows = [of for of, one in holding if one.status == "shadow"]
        SEEN["two active policies"] += len(actives) > 1
        SEEN["two shadows"] += len(set(shadows)) > 1
        SEEN["a shadow beside an active policy"] += bool(shadows and actives)
        SEEN["a shadow of the active policy itself"] += model.at(at)[0] in shadows
        SEEN["the default after the end of a policy"] += not actives and any(
            one.end == at and one.status == "active" for _, one in every
        )
        SEEN["an earlier policy after the end of a later one"] += any(
            one.end == at and one.status == "active" and one.start < at and actives and max(o.start for _, o in holding if o.status == "active") < one.start
            for _, one in every
        )  # fmt: skip
        SEEN["an active policy of a newer release"] += model.at(at)[2] is not None
        SEEN["a shadow of a newer release"] += any(model.is_new(of) for of in shadows)
    SEEN["an empty interval"] += any(one.end is not None and one.end <= one.start for _, one in every)


KINDS = {
    "accepted", "what begins within a minute was ended", "a use was changed before it began", "a use that had begun got another end", "an end that came too early was moved",
    "a shadow became active", "replay: active without notice", "two active policies", "two shadows", "a shadow beside an active policy",
    "a shadow of the active policy itself", "the default after the end of a policy", "an earlier policy after the end of a later one",
    "an active policy of a newer release", "a shadow of a newer release", "an empty interval", *get_args(Reason),
}  # fmt: skip


def test_any_history_of_records_gives_the_same_policies_as_the_model() -> None:
    SEEN.clear()
    run_state_machine_as_test(Histories, settings=settings(max_examples=300, stateful_step_count=30, derandomize=True))  # type: ignore[no-untyped-call]
    rare = {kind: SEEN[kind] for kind in KINDS if SEEN[kind] < 5}
    assert not rare and SEEN.keys() == KINDS, SEEN
