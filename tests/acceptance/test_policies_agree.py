"""The policies of the pipeline against the oracle: which records are refused, and what holds at each time."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from ninezero.agents.logic.policy.policy import DEFAULT, Policy
from ninezero.agents.logic.policy.timeline import InForce, Timeline
from ninezero.schemas.formats import POLICIES
from tests.acceptance import oracle
from tests.acceptance.operators import STEPS, Operators
from tests.acceptance.oracle import Policies, Record

BEGIN_MS = 1_795_478_400_000
HISTORIES = 300


def apply(timeline: Timeline, record: Record) -> str | None:
    """Applies a record of the topic. Returns why it is refused."""
    assert record.key is not None
    value = POLICIES.decode(POLICIES.headers, record.key, record.value) if record.value else None
    refusal = timeline.apply(record.key, value, record.timestamp_ms)
    return None if refusal is None else refusal.reason


def labels(policies: tuple[Policy, ...] | list[oracle.Policy]) -> list[str]:
    return sorted(policy.label for policy in policies)


def held(model: Policies, moment: int) -> tuple[str, list[str]]:
    """Returns what holds by the model. A policy that is active is no shadow of itself."""
    active = model.active(moment)
    return active.label, labels([shadow for shadow in model.shadows(moment) if shadow is not active])


def holding(found: InForce) -> tuple[str, list[str]]:
    assert found.unknown is None
    return found.active.label, labels(found.shadows)


@pytest.mark.parametrize("replay", [False, True], ids=["live", "replay"])
def test_random_histories_of_policies_are_accepted_and_hold_as_in_the_oracle(replay: bool) -> None:
    seen: Counter[str | None] = Counter()
    moments: Counter[str] = Counter()
    for seed in range(HISTORIES):
        rng = random.Random(seed)
        operators = Operators(rng, Policies(replay=replay), BEGIN_MS)
        timeline = Timeline(DEFAULT, replay)
        for _ in range(40):
            record = operators.act()
            wanted = operators.reasons[-1]
            assert apply(timeline, record) == wanted, (seed, record, operators.model.uses)
            seen[wanted] += 1
        model, bounds = operators.model, set[int]()
        for use in model.uses:
            bounds |= {use.begins, use.begins if use.ends is None else use.ends}
        for bound in bounds:
            for ms in (-(-bound // 1000) - 1, -(-bound // 1000), bound // 1000 + rng.choice(STEPS)):
                assert holding(timeline.at(ms)) == held(model, ms * 1000), (seed, ms, model.uses)
                active, shadows = held(model, ms * 1000)
                moments["default" if active == "default@1" else "active"] += 1
                moments["shadows"] += bool(shadows)
                moments["several"] += sum(u.status == "active" and u.holds(ms * 1000) for u in model.uses) > 1
    print(replay, dict(seen), dict(moments))
    assert all(seen[why] > HISTORIES / 10 for why in WHY - ({"too_soon"} if replay else set())), seen
    assert all(count > HISTORIES for count in moments.values()), moments


WHY = {
    None,
    "deleted",
    "policy_changed",
    "policy_out_of_bounds",
    "policy_unknown",
    "self_approved",
    "interval_begun",
    "too_soon",
    "same_start",
}


def test_no_record_changes_what_workers_may_have_decided() -> None:
    """A worker knows every record of the last 20 seconds, and brokers' clocks may differ by some more: a minute is enough for both."""
    changes = 0
    for seed in range(HISTORIES):
        rng = random.Random(seed)
        operators = Operators(rng, Policies(), BEGIN_MS)
        timeline = Timeline(DEFAULT, False)
        for _ in range(40):
            now_ms = operators.now_ms
            watched = [BEGIN_MS - 1, now_ms, now_ms + 1, *(now_ms + rng.randrange(60_000) for _ in range(3))]
            watched += [ms for ms in timeline.boundaries if ms < now_ms + 60_000]
            before = list(timeline.boundaries)
            active = {ms: timeline.at(ms).active.label for ms in watched}
            record = operators.act()
            apply(timeline, record)
            changes += timeline.boundaries != before
            settled = [ms for ms in watched if ms < record.timestamp_ms + 60_000]
            assert [timeline.at(ms).active.label for ms in settled] == [active[ms] for ms in settled], (seed, record)
    assert changes > HISTORIES
