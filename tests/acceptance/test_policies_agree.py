"""The policies of the pipeline against the oracle: which records are refused, what holds at each time, and each decision by it."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, get_args

import msgspec
import orjson
import pytest

from ninezero.agents.logic.policy.evaluator import Evaluator
from ninezero.agents.logic.policy.policy import DEFAULT, Policy, policy_of
from ninezero.agents.logic.policy.reference import decide_arrival, decide_scan
from ninezero.agents.logic.policy.rules import RULES
from ninezero.agents.logic.policy.timeline import InForce, Reason, Timeline
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.screening.event_kinds import CHECKPOINTS, PASSAGES, STATIONS, TRAVELLERS
from ninezero.schemas.events import PushBatch
from ninezero.schemas.formats import POLICIES
from ninezero.schemas.policies import PolicyRecord
from ninezero.schemas.times import unix_micros
from ninezero.streams.kafka.decoding import decode
from tests.acceptance import oracle
from tests.acceptance.operators import STEPS, Operators, policy
from tests.acceptance.oracle import Policies, Record
from tests.acceptance.test_oracle_agrees import NOW, NOW_MS, batch, scan
from tests.support import decide_batch, entry_fields

BEGIN_MS = 1_795_478_400_000
HISTORIES = 200

WHY = {None, *get_args(Reason)}


def apply(timeline: Timeline, record: Record) -> str | None:
    """Applies a record of the topic. Returns why it is refused."""
    assert record.key is not None
    value = POLICIES.decode(POLICIES.headers, record.key, record.value) if record.value else None
    refusal = timeline.apply(record.key, value, record.timestamp_ms)
    return None if refusal is None else refusal.reason


def labels(policies: tuple[Policy, ...] | list[oracle.Policy]) -> list[str]:
    return sorted(policy.label for policy in policies)


def held(model: Policies, moment: int) -> tuple[str, list[str]]:
    """Returns what holds by the model."""
    return model.active(moment).label, labels(model.shadows(moment))


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


ORIGINS = ("370115", "370102", "370999", "371302", "420106", "420107", "990000", "US", "HK", "TW", "CN", None)


def lists_of(rng: random.Random) -> tuple[oracle.Lists, WatchlistIndex]:
    """Returns the same random watchlist twice."""
    theirs, ours = oracle.Lists(), WatchlistIndex()
    for n in range(1, 5):
        pushed = batch(rng, n) | {"sequence": n}
        theirs.push(oracle.Record(oracle.PUSHES, 0, n, NOW_MS, None, b""), pushed)
        change = decide_batch(msgspec.convert(pushed, PushBatch, strict=False), unix_micros(NOW), ours, n - 1)
        if change.status == "applied":
            ours.apply(("a", pushed["list"]), change.put.values(), change.remove)
    return theirs, ours


def near(rng: random.Random, stated: oracle.Policy) -> float | None:
    """Returns a temperature, mostly at a threshold of a policy or next to one."""
    bound = rng.choice((stated.fever_c, *stated.plausible_c, 36.5))
    return rng.choice((None, 36.5, 36.5, bound, bound, bound - 0.1, bound + 0.1, bound + 1e-9, bound - 1e-9))


def event_of(rng: random.Random, n: int, stated: oracle.Policy) -> dict[str, Any]:
    event = scan(rng, n)
    for someone in event["people"]:
        someone |= {"temperature_c": near(rng, stated), "origin": rng.choice(ORIGINS), "health_code": "green"}
        if rng.random() < 0.4:
            someone["temperature_confirmed_c"] = near(rng, stated)
        if rng.random() < 0.1:
            someone["health_code"] = rng.choice(("red", "yellow"))
    if rng.random() < 0.7:
        return event
    common = {name: event[name] for name in ("device_id", "seq", "site_id", "observed_at")}
    journey = {"mode": "rail", "service": "G12", "stage": "boarded", "transfer_id": None, "destination": None}
    return common | journey | {"person": event["people"][0]}


@pytest.mark.parametrize("part", range(2))
def test_every_decision_by_a_random_policy_is_that_of_the_oracle(part: int) -> None:
    applied: Counter[str] = Counter()
    differ = 0
    for seed in range(part * 40, part * 40 + 40):
        rng = random.Random(seed)
        value = policy(rng, "winter", 1)
        stated, ours = oracle.read_policy(value), policy_of(msgspec.convert(value, PolicyRecord))
        theirs, index = lists_of(rng)
        home = rng.choice(ORIGINS[:5]) if stated.home == "site" else stated.home
        age = stated.max_list_age_s + rng.choice((0, 0, 0, 0.001))
        stale = age > ours.max_list_age_s
        assert home is not None
        events = [event_of(rng, n, stated) for n in range(120)]
        for kind, shape, name in ((CHECKPOINTS, PASSAGES, "people"), (STATIONS, TRAVELLERS, "person")):
            some = [event for event in events if name in event]
            events_read = kind.reader.read([orjson.dumps(e) for e in some])
            judged = Evaluator(ours, shape).judge(events_read, index, lambda site, home=home: home, age)
            assert not judged.undecided.any()
            for n, event in enumerate(some):
                try:
                    reasons = oracle.decide(event, theirs, NOW_MS * 1000, stated, home, age)
                except oracle.Ambiguous:
                    continue
                wanted = oracle.outcome_of(reasons), [(r.person, r.rule, r.entries) for r in reasons]
                decoded = decode(kind.event, orjson.dumps(event))
                by_reference = (decide_scan if name == "people" else decide_arrival)(
                    decoded, unix_micros(decoded.observed_at), index, home, stale, ours
                )
                assert (by_reference.outcome, content(by_reference.hits)) == wanted, (seed, event, value)
                assert (judged.verdicts[n].outcome, content(judged.hits(n))) == wanted, (seed, event, value)
                applied.update(r.rule for r in reasons)
                usual = oracle.decide(event, theirs, NOW_MS * 1000, oracle.DEFAULT, home, 0)
                differ += oracle.outcome_of(usual) != wanted[0]
    print(differ, dict(applied))
    assert differ > 500
    assert all(applied[rule] > 20 for rule in RULES), applied


def content(hits: Any) -> list[tuple[Any, ...]]:
    return [(hit.person, hit.rule, tuple((m.domain, *entry_fields(m.entry)) for m in hit.matches)) for hit in hits]
