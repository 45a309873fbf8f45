"""Batches in which policies take effect, decided as by a worker, against the oracle: each record by its own time, counted once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
import pytest

from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.timeline import Timeline
from ninezero.agents.screening.batch import Batch
from ninezero.agents.screening.decide_batch import decide_batch
from ninezero.agents.screening.event_kinds import CHECKPOINTS
from ninezero.schemas import formats
from ninezero.schemas.events import Decisions
from ninezero.streams.kafka.topics import ALERTS, DECISIONS, OUTCOMES
from tests.acceptance import oracle
from tests.acceptance.operators import Operators
from tests.acceptance.oracle import SCANS, Expected, Policies, Record
from tests.acceptance.rendering import rfc3339
from tests.acceptance.test_acceptance import check_alerts, check_outcomes
from tests.acceptance.test_oracle_agrees import NOW_MS, scan
from tests.acceptance.test_policies_agree import ORIGINS, apply, lists_of
from tests.screened import HOME, chunks_of, conditions_of

SITES = {"s1": "370102", "s2": "420106001", "s3": ""}


class Counted(NamedTuple):
    """The first decision about an event, as it is counted."""

    policy: str
    outcome: str
    reasons: tuple[str, ...]
    shadows: dict[str, str]


def history(rng: random.Random, replay: bool) -> tuple[Policies, Timeline]:
    """Returns a random history of policies, twice."""
    operators = Operators(rng, Policies(replay=replay, sites=SITES), NOW_MS)
    timeline = Timeline(Policy(home=HOME), replay)
    for _ in range(60):
        apply(timeline, operators.act())
    return operators.model, timeline


def scans(rng: random.Random, policies: Policies, times: list[int]) -> Iterator[tuple[bytes, int]]:
    """Yields values with their Kafka timestamps. Some are sent again."""
    sent: list[bytes] = []
    for n, ms in enumerate(times):
        if sent and rng.random() < 0.3:
            yield rng.choice(sent[-60:]), ms
            continue
        event = scan(rng, n) | {"site_id": rng.choice(["s1", "s2", "s3", "s4"])}
        event["observed_at"] = rfc3339((ms + rng.randrange(-90_000, 90_000)) * 1000)
        for someone in event["people"]:
            someone |= {"origin": rng.choice(ORIGINS), "temperature_c": rng.choice((36.2, 36.9, 37.2, 38.0))}
            someone["temperature_confirmed_c"] = rng.choice((None, 37.0, 37.3))
            someone["tokens"]["id"] = f"k1.{rng.randrange(12):032x}"
        sent.append(orjson.dumps(event))
        yield sent[-1], ms


def counted(records: list[Any]) -> dict[tuple[str, int], list[Counted]]:
    """Returns what decision records state about each event, in their order."""
    found: dict[tuple[str, int], list[Counted]] = {}
    for record in records:
        if record.topic is not DECISIONS:
            continue
        decisions: Decisions = formats.DECISIONS.decode(record.headers, record.key, record.value)
        for group in decisions.decisions:
            shadows = dict(zip(decisions.shadows, group.shadow_outcomes, strict=True))
            one = Counted(decisions.policy, group.outcome, tuple(sorted(group.reasons)), shadows)
            for event in zip(group.device_ids, group.seqs, strict=True):
                found.setdefault(event, []).append(one)
    return found


@pytest.mark.parametrize("replay", [False, True], ids=["live", "replay"])
def test_a_batch_in_which_policies_take_effect_is_decided_and_counted_as_in_the_oracle(replay: bool) -> None:
    cases: Counter[str] = Counter()
    for seed in range(30):
        rng = random.Random(seed)
        policies, timeline = history(rng, replay)
        theirs, index = lists_of(rng)
        active = [use for use in policies.uses if use.status == "active"]
        ends = [end // 1000 for use in active for end in (use.begins, use.ends) if end is not None]
        middle = rng.choice(ends)
        span = rng.choice([5, 50, 20_000])
        times = sorted(middle + rng.randrange(-span, span) for _ in range(rng.choice([10, 60, 60, 300])))
        expected = Expected(theirs, policies)
        values, stamps = zip(*scans(rng, policies, times), strict=True)
        sent = [Record(SCANS, 0, n, ms, b"", value) for n, (value, ms) in enumerate(zip(values, stamps, strict=True))]
        for record in sent:
            expected.process(record)
        now = datetime.fromtimestamp(times[-1] / 1000, UTC)
        homes = {site: division[:6] or HOME for site, division in SITES.items()}
        conditions = conditions_of(
            now, index, timeline=timeline, home_of_site=lambda site, homes=homes: homes.get(site, HOME), replay=replay
        )
        records = decide_batch(CHECKPOINTS, Batch(chunks_of(values, stamps)), conditions).output().records
        written = {
            topic: [
                Record(topic.name, 0, n, times[-1], r.key, r.value) for n, r in enumerate(records) if r.topic is topic
            ]
            for topic in (OUTCOMES, ALERTS)
        }
        often = Counter((e.event["device_id"], e.event["seq"]) for e in expected.events.values())
        for record in sent:
            event = orjson.loads(record.value)
            often[event["device_id"], event["seq"]] += 1
        assert check_outcomes(expected, written[OUTCOMES], often) == [], seed
        assert check_alerts(expected, written[ALERTS], often) == [], seed
        found = counted(records)
        for who, one in expected.events.items():
            rules = tuple(sorted(r.rule for r in one.reasons))
            assert found[who] == [Counted(one.policy, one.outcome, rules, one.shadows)], (seed, who)
            cases["policies of one event"] += len(one.by_policy) > 1
            cases["outcomes of one event"] += len({oracle.outcome_of(r) for r in one.by_policy.values()}) > 1
            cases["shadows"] += bool(one.shadows)
        cases["policies of one batch"] += len({one.policy for one in expected.events.values()}) > 1
    print(cases)
    assert cases["policies of one batch"] > 10
    assert cases["shadows"] > 300
    assert replay or (cases["policies of one event"] > 100 and cases["outcomes of one event"] > 20)
