"""Each event is decided by the policies in force at its own time, also in a batch during which others come into force."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import groupby
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import msgspec
import pytest

from ninezero.agents.logic.policy.decision import alert_id
from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.reference import decide_scan
from ninezero.agents.logic.policy.timeline import Timeline
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.screening import decide_batch
from ninezero.agents.screening.batch import Batch
from ninezero.agents.screening.event_kinds import CHECKPOINTS
from ninezero.schemas.events import Scan
from ninezero.schemas.policies import PolicyRecord, PolicyUse, policy_key, use_key
from ninezero.schemas.times import unix_micros
from ninezero.streams.kafka import topics
from tests.screened import HOME, chunks_of, conditions_of, decided_in

BEGIN = datetime(2026, 3, 1, 8, tzinfo=UTC)
BEGIN_MS = unix_micros(BEGIN) // 1000
DEFAULT = Policy(home=HOME)
HOMES = {"s0": "370115", "s1": "370102", "s2": "110101"}


def record(name: str, **changes: Any) -> PolicyRecord:
    fields: dict[str, Any] = {
        "policy": name, "version": 1, "author": "mei", "legal_basis": "order-1", "fever_c": 37.3, "plausible_c": [30.0, 45.0],
        "max_list_age_s": 300.0, "outcomes": {}, "home": HOME, "exempt_origins": [],
    }  # fmt: skip
    return msgspec.convert(fields | changes, PolicyRecord)


STRICT = record("strict", fever_c=36.5, max_list_age_s=100.0, outcomes={"fever_unconfirmed": "refer"})
LENIENT = record("lenient", fever_c=38.5, home="site", exempt_origins=["3701"])


def timeline_of(rng: random.Random, replay: bool) -> tuple[Timeline, list[tuple[int, str, list[str]]]]:
    """Returns a timeline, and what is in force from each time on, in ms after BEGIN: the active policy and the shadows."""
    timeline = Timeline(DEFAULT, replay)
    first, second, third = sorted(rng.sample(range(1, 60), 3))
    shadow = rng.choice([None, (0, 70), (second, 70)])
    writes: list[tuple[bytes, Any]] = [(policy_key(one.policy, 1), one) for one in (STRICT, LENIENT)]

    def use(status: str, begin: int, end: int | None) -> PolicyUse:
        at = [None if ms is None else BEGIN + timedelta(milliseconds=ms) for ms in (begin, end)]
        return msgspec.convert(
            {"status": status, "effective_from": at[0], "effective_to": at[1], "approved_by": "jun"}, PolicyUse
        )

    writes.append((use_key("strict", 1), use("active", first, third)))
    if shadow is None:
        writes.append((use_key("lenient", 1), use("active", second, None)))
    else:
        writes.append((use_key("lenient", 1), use("shadow", *shadow)))
    for key, value in writes:
        assert timeline.apply(key, value, BEGIN_MS - 100_000) is None
    holds = []
    for ms in sorted({-100, 0, first, second, third, 70}):
        active = "strict@1" if first <= ms < third else "default@1"
        if shadow is None and ms >= second:
            active = "lenient@1"
        shadows = ["lenient@1"] if shadow is not None and shadow[0] <= ms < shadow[1] else []
        holds.append((ms, active, shadows))
    return timeline, holds


def scan(rng: random.Random, seq: int, observed: datetime) -> bytes:
    person = {"role": "driver", "tokens": {"id": f"k1.{99:032x}"}, "temperature_c": rng.choice([36.0, 36.8, 37.5, 39.0]),
              "origin": rng.choice([None, HOME, "370102", "110101"])}  # fmt: skip
    site = rng.choice(list(HOMES))
    fields = {
        "device_id": f"d-{site}",
        "seq": seq,
        "site_id": site,
        "observed_at": observed.isoformat(),
        "kind": "vehicle",
        "people": [person],
    }
    return json.dumps(fields).encode() if rng.random() < 0.95 else b"{}"


def expected(
    values: list[bytes], times: list[int], holds: list[tuple[int, str, list[str]]], list_age_s: float = 0.0
) -> tuple[list[Any], list[Any], list[Any]]:
    """Returns outcomes, alerts and decided events as the reference decides each event alone."""
    known = {"default@1": DEFAULT, "strict@1": policy_of(STRICT), "lenient@1": policy_of(LENIENT)}
    outcomes, alerts, events = [], [], []
    for value, ms in zip(values, times, strict=True):
        if value == b"{}":
            continue
        event = msgspec.json.decode(value, type=Scan)
        active, shadows = next((a, s) for begin, a, s in reversed(holds) if begin <= ms - BEGIN_MS)

        def decide(label: str, event: Scan = event) -> Any:
            policy = known[label]
            home = HOMES[event.site_id] if policy.home == "site" else policy.home
            stale = list_age_s > policy.max_list_age_s
            return decide_scan(event, unix_micros(event.observed_at), WatchlistIndex(), home, stale, policy)

        decision = decide(active)
        outcomes.append((event.site_id.encode(), event.device_id, event.seq, decision.outcome, decision.people))
        rules = [hit.rule for hit in decision.hits]
        if rules:
            reasons = [{"person": hit.person, "rule": hit.rule, "entries": []} for hit in decision.hits]
            alerts.append((alert_id(event.device_id, event.seq, decision.hits), active, False, json.dumps(reasons)))
        would = [decide(shadow).outcome for shadow in shadows]
        events.append((active, str(shadows), "vehicle", "in", "", "1", decision.outcome, "False", str(rules), str(would),
                       event.site_id, event.device_id, event.seq, unix_micros(event.observed_at) // 1000, crc32(value)))  # fmt: skip
    return sorted(outcomes, key=lambda one: one[0]), sorted(alerts), sorted(events)


def policy_of(one: PolicyRecord) -> Policy:
    return Policy(
        name=one.policy,
        fever_c=one.fever_c,
        max_list_age_s=one.max_list_age_s,
        home=one.home,
        exempt_origins=tuple(one.exempt_origins),
        outcomes=one.outcomes,
    )


def decided(
    values: list[bytes], kafka_ms: list[int], timeline: Timeline, *, replay: bool = False, list_age_s: float = 0.0
) -> tuple[tuple[Any, ...], list[Any]]:
    under = conditions_of(
        BEGIN, WatchlistIndex(), timeline=timeline, home_of_site=HOMES.__getitem__, list_age_s=list_age_s, replay=replay
    )
    batch = Batch(chunks_of(values, kafka_ms))
    records = decide_batch.decide_batch(CHECKPOINTS, batch, under).output().records
    return decided_in(records), records


@pytest.mark.parametrize("replay", [False, True], ids=["live", "replay"])
def test_a_batch_across_switches_is_decided_as_its_events_one_by_one(
    replay: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Counter[str]()
    for seed in range(40):
        rng = random.Random(seed)
        timeline, holds = timeline_of(rng, replay)
        count, list_age_s = rng.randrange(100, 600), rng.choice([0.0, 0.0, 200.0])
        around = rng.choice(timeline.boundaries)
        window = rng.choice([[-5, *range(75)], [around - 1 - BEGIN_MS, around - BEGIN_MS]])
        times = sorted(BEGIN_MS + rng.choice(window) for _ in range(count))
        if replay and rng.random() < 0.5:
            rng.shuffle(times)  # the devices of a scenario may be behind each other
        values = [
            scan(rng, n, BEGIN + timedelta(milliseconds=ms - BEGIN_MS) if replay else BEGIN)
            for n, ms in enumerate(times)
        ]
        kafka_ms = [BEGIN_MS + 10_000] * count if replay else times
        monkeypatch.setattr(decide_batch, "EVENTS_TOGETHER", rng.choice([64, 800]))
        monkeypatch.setattr(decide_batch, "MIN_COLUMNAR_EVENTS", rng.choice([1, 16, 10_000]))
        (*found, letters), records = decided(values, kafka_ms, timeline, replay=replay, list_age_s=list_age_s)
        assert found == list(expected(values, times, holds, list_age_s)), seed
        assert letters == values.count(b"{}")
        assert [one[2] for one in found[0]] == [one[2] for one in sorted(found[0], key=lambda o: (o[0], o[2]))]
        stated = [json.loads(value)["policy"] for topic, _, value, _ in records if topic is topics.DECISIONS]
        seen.update(stated)
        seen["several"] += len({one[:2] for one in found[2]}) > 1
        seen["shadow"] += any(shadows for _, _, shadows in holds)
        runs = [len(list(run)) for _, run in groupby(times, key=lambda ms: timeline.at(ms))]
        seen["short run"] += min(runs) < 16
        seen["at a boundary"] += sum(ms in timeline.boundaries for ms in times)
        seen["just before a boundary"] += sum(ms + 1 in timeline.boundaries for ms in times)
        seen["stale for one policy only"] += bool(list_age_s) and "strict@1" in stated
        seen["would differ"] += sum(one[6] not in one[9] for one in found[2] if one[1] != "[]")
    assert seen["several"] > 35 and seen["shadow"] > 20 and seen["short run"] > 3, seen
    assert seen["stale for one policy only"] > 5, seen
    assert min(seen[name] for name in ("default@1", "strict@1", "lenient@1")) > 5, seen
    assert seen["at a boundary"] > 200 and seen["just before a boundary"] > 200 and seen["would differ"] > 500, seen


@pytest.mark.parametrize("off", [-1, 1])
def test_a_boundary_that_is_off_by_one_millisecond_is_found(off: int) -> None:
    rng = random.Random(3)
    timeline, holds = timeline_of(rng, replay=False)
    times = sorted(BEGIN_MS + rng.randrange(75) for _ in range(600))
    values = [scan(rng, n, BEGIN) for n in range(600)]
    assert list(decided(values, times, timeline)[0][:3]) == list(expected(values, times, holds))
    moved = [(begin + off, active, shadows) for begin, active, shadows in holds]
    assert list(decided(values, times, timeline)[0][:3]) != list(expected(values, times, moved))


def test_an_event_that_is_sent_twice_across_a_switch_counts_once_and_by_its_first_policy() -> None:
    timeline, _ = timeline_of(random.Random(0), replay=False)
    first = next(
        b for b, one in zip(timeline.boundaries, timeline.intervals[1:], strict=True) if one.active.name == "strict"
    )
    values = [scan(random.Random(n + 100), n, BEGIN) for n in range(40)]
    values = [value for value in values if value != b"{}"]
    count = len(values)
    (outcomes, _, events, _), _ = decided(values * 2, [first - 1] * count + [first] * count, timeline)
    assert len(outcomes) == 2 * count and len(events) == count
    assert {one[0] for one in events} == {"default@1"}


def test_after_the_order_no_policy_is_needed() -> None:
    rng, nothing_known = random.Random(5), SimpleNamespace()
    values = [scan(rng, n, BEGIN) for n in range(30)]
    timeline: Any = nothing_known
    under = conditions_of(BEGIN, WatchlistIndex(), timeline=timeline, ended=True)
    records = decide_batch.decide_batch(CHECKPOINTS, Batch(chunks_of(values, [BEGIN_MS] * 30)), under).output().records
    outcomes, alerts, events, _ = decided_in(records)
    assert {one[3] for one in outcomes} == {"order_ended"} and not alerts and not events
