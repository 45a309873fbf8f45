"""The two evaluators agree under random policies: thresholds, outcomes, homes, exempt origins, and shadow policies beside them."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from ninezero.agents.logic.policy.columnar import Program
from ninezero.agents.logic.policy.evaluator import Evaluator
from ninezero.agents.logic.policy.policy import DEFAULT, Policy
from ninezero.agents.logic.policy.reference import decide_scan
from ninezero.agents.logic.policy.rules import OUTCOMES, RULES
from ninezero.agents.logic.watchlist.entries import Entry
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.screening.event_kinds import CHECKPOINTS, PASSAGES
from ninezero.schemas.events import Scan
from ninezero.schemas.policies import HOME_OF_SITE
from ninezero.schemas.times import unix_micros

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
NOW_US = unix_micros(NOW)
HOMES = {"s0": "370115", "s1": "370102", "s2": "110101", "s3": "370115"}
"""Sites with their homes."""
ORIGINS = ("370115", "370102", "370999", "110101", "110105", "420106", "US", "HK", "CN", None)
EXEMPT: tuple[tuple[str, ...], ...] = ((), ("11",), ("3701",), ("370102", "US"), ("HK", "42"))
AGES = (0.0, 150.0, 400.0, 1_000.0)
TEMPERATURES = (36.5, 36.5, 36.5, 36.8, 37.0, 37.3, 37.5, 38.0, 31.0, 33.0, 43.0, 46.0, None)
EVENTS, ROUNDS = 60, 60


def token(n: int) -> str:
    return f"k1.{n:032x}"


def watchlist() -> WatchlistIndex:
    """Lists one number of three categories, and one with a health pass."""
    index = WatchlistIndex()
    put = [
        Entry("a", "l", f"b:{n}", category, NOW_US - 10**9, NOW_US + 10**9, {"id": (token(n),), "plate": (token(n),)}, 1, "b", 1)
        for n, category in enumerate(("close_contact", "confirmed_case", "health_pass"))
    ]  # fmt: skip
    index.apply(("a", "l"), put, ())
    return index


def random_policy(rng: random.Random, name: str) -> Policy:
    outcomes = {}
    for rule in rng.sample(list(RULES.values()), 6):
        outcomes[rule.name] = rng.choice(OUTCOMES[: OUTCOMES.index(rule.floor) + 1])
    return Policy(
        name=name,
        fever_c=rng.choice([36.8, 37.0, 37.3, 37.5, 38.0]),
        plausible_min_c=rng.choice([30.0, 32.0, 34.0]),
        plausible_max_c=rng.choice([42.0, 45.0, 47.0]),
        max_list_age_s=rng.choice([100.0, 300.0, 300.0, 600.0]),
        home=rng.choice([HOME_OF_SITE, HOME_OF_SITE, "370115", "110101"]),
        exempt_origins=rng.choice(EXEMPT),
        outcomes=outcomes,
    )


def event(rng: random.Random, seq: int) -> dict[str, Any]:
    """Returns an event. Often everyone in it is as usual."""

    def person() -> dict[str, Any]:
        changes: dict[str, Any] = {"origin": rng.choice(ORIGINS)}
        if rng.random() < 0.4:
            changes["temperature_c"] = rng.choice(TEMPERATURES)
            changes["temperature_confirmed_c"] = rng.choice((None, None, *TEMPERATURES))
        if rng.random() < 0.3:
            changes["tokens"] = {"id": token(rng.randrange(3))} if rng.random() < 0.7 else {}
        if rng.random() < 0.1:
            changes["health_code"] = rng.choice(["red", "yellow"])
        usual = {"role": "driver", "tokens": {"id": token(99)}, "temperature_c": 36.5, "health_code": "green"}
        return usual | {name: value for name, value in changes.items() if rng.random() < 0.6}

    plate = token(rng.choice([0, 99, 99])) if rng.random() < 0.5 else None
    return {"device_id": "d", "seq": seq, "site_id": rng.choice(list(HOMES)), "observed_at": NOW.isoformat(), "kind": "vehicle",
            "people": [person() for _ in range(rng.choice([1, 1, 2, 3]))], "direction": rng.choice(["in", "in", "out"]),
            "plate": plate}  # fmt: skip


class Sample(NamedTuple):
    """Events, the policies under which they are decided, and what the reference says of them."""

    values: list[bytes]
    active: Policy
    shadows: list[Policy]
    age: float
    expected: list[tuple[Any, ...]]


def samples(rng: random.Random, index: WatchlistIndex, rounds: int) -> Iterator[Sample]:
    for number in range(rounds):
        active = DEFAULT if number % 7 == 0 else random_policy(rng, "active")
        shadows = [random_policy(rng, f"shadow-{n}") for n in range(rng.choice([0, 1, 1, 2, 3]))]
        if shadows and rng.random() < 0.3:
            shadows[0] = replace(active, name="same", outcomes={"fever": "hold", "no_identity": "refer"})
        values = [json.dumps(event(rng, n)).encode() for n in range(EVENTS)]
        age = rng.choice(AGES) if rng.random() < 0.5 else 0.0
        expected = [by_reference(value, index, active, shadows, age) for value in values]
        yield Sample(values, active, shadows, age, expected)


def by_reference(
    value: bytes, index: WatchlistIndex, active: Policy, shadows: list[Policy], age: float
) -> tuple[Any, ...]:
    """Returns the rule hits and the outcome of an event, then the outcome under each shadow policy."""
    scan = msgspec.json.decode(value, type=Scan)

    def decide(policy: Policy) -> Any:
        home = HOMES[scan.site_id] if policy.home == "site" else policy.home
        return decide_scan(scan, NOW_US, index, home, age > policy.max_list_age_s, policy)

    decision = decide(active)
    return (decision.hits, decision.outcome, *(decide(shadow).outcome for shadow in shadows))


def by_columns(
    sample: Sample, index: WatchlistIndex, evaluator: Evaluator, homes: Callable[[str], str] = HOMES.__getitem__
) -> list[tuple[Any, ...]]:
    found = evaluator.judge(CHECKPOINTS.reader.read(sample.values), index, homes, sample.age)
    assert not found.undecided.any()
    assert found.with_hits.tolist() == [bool(verdict.hits) for verdict in found.verdicts]
    assert found.numbers.tolist() == [verdict.number for verdict in found.verdicts]
    return [(found.hits(n), verdict.outcome, *verdict.shadow_outcomes) for n, verdict in enumerate(found.verdicts)]


def test_the_evaluators_agree_under_random_policies_and_their_shadows() -> None:
    index, seen = watchlist(), Counter[str]()
    for sample in samples(random.Random(31), index, ROUNDS):
        evaluator = Evaluator(sample.active, PASSAGES, sample.shadows)
        assert by_columns(sample, index, evaluator) == sample.expected, (sample.active, sample.shadows)
        for hits, outcome, *would in sample.expected:
            seen.update({hit.rule for hit in hits})
            seen["clear"] += not hits
            seen["a shadow differs"] += any(one != outcome for one in would)
            seen["clear, but not for a shadow"] += outcome == "clear" and set(would) > {"clear"}
            seen["several shadows"] += len(would) > 1
        with_shadows = sample.shadows and sample.active.home == HOME_OF_SITE
        seen["other home beside that of the site"] += bool(with_shadows) and any(
            shadow.home != HOME_OF_SITE for shadow in sample.shadows
        )
        seen["stale for one policy only"] += (
            0 < sum(sample.age > p.max_list_age_s for p in sample.shadows) < len(sample.shadows)
        )
        seen["rule that does not apply"] += "clear" in sample.active.outcomes.values()
    missing = [
        rule
        for rule in RULES
        if rule not in ("unknown_key", "quarantine_order", "suspected_case", "risk_region_arrival") and seen[rule] < 10
    ]
    assert not missing, seen
    assert seen["clear"] > EVENTS * ROUNDS / 10 and seen["a shadow differs"] > EVENTS * ROUNDS / 10
    assert seen["clear, but not for a shadow"] > 50 and seen["several shadows"] > EVENTS * ROUNDS / 5
    for case in ("other home beside that of the site", "stale for one policy only", "rule that does not apply"):
        assert seen[case] >= 3, (case, seen)


FAULTS: dict[str, Callable[[Sample], tuple[Policy, list[Policy]]]] = {
    "thresholds of the active policy for a shadow": lambda s: (
        s.active,
        [replace(shadow, fever_c=s.active.fever_c) for shadow in s.shadows],
    ),
    "plausible readings of the active policy for a shadow": lambda s: (
        s.active,
        [replace(one, plausible_min_c=s.active.plausible_min_c, plausible_max_c=s.active.plausible_max_c) for one in s.shadows],
    ),
    "outcomes of the active policy for a shadow": lambda s: (
        s.active,
        [replace(shadow, outcomes=s.active.outcomes) for shadow in s.shadows],
    ),
    "age of lists of the active policy for a shadow": lambda s: (
        s.active,
        [replace(shadow, max_list_age_s=s.active.max_list_age_s) for shadow in s.shadows],
    ),
    "home of the active policy for a shadow": lambda s: (
        s.active,
        [replace(shadow, home=s.active.home) for shadow in s.shadows],
    ),
    "exempt origins of the active policy for a shadow": lambda s: (
        s.active,
        [replace(shadow, exempt_origins=s.active.exempt_origins) for shadow in s.shadows],
    ),
    "exempt origins ignored": lambda s: (replace(s.active, exempt_origins=()), s.shadows),
    "home of a shadow for the active policy": lambda s: (
        replace(s.active, home=s.shadows[0].home if s.shadows else s.active.home),
        s.shadows,
    ),
    "outcomes of the rules in place of the policy's": lambda s: (replace(s.active, outcomes={}), s.shadows),
    "shadows in another order": lambda s: (s.active, s.shadows[::-1]),
    "a rule that is clear applies": lambda s: (
        replace(s.active, outcomes={rule: "hold" if of == "clear" else of for rule, of in s.active.outcomes.items()}),
        s.shadows,
    ),
}  # fmt: skip
"""What an evaluator might do wrong: the policies that it would apply."""

WRONG_HOMES: dict[str, Callable[[str], str]] = {
    "home of the first site for all": lambda site: HOMES["s0"],
    "homes of two sites exchanged": lambda site: HOMES[{"s0": "s1", "s1": "s0"}.get(site, site)],
    "province of the home ignored": lambda site: HOMES[site].replace("11", "37", 1),
}


def test_a_fault_in_the_use_of_policies_is_found() -> None:
    index = watchlist()
    given = list(samples(random.Random(32), index, ROUNDS))
    unnoticed = [
        name
        for name, policies in FAULTS.items()
        if all(
            by_columns(sample, index, Evaluator(active, PASSAGES, shadows)) == sample.expected
            for sample in given
            for active, shadows in (policies(sample),)
        )
    ]
    unnoticed += [
        name
        for name, homes in WRONG_HOMES.items()
        if all(
            by_columns(sample, index, Evaluator(sample.active, PASSAGES, sample.shadows), homes) == sample.expected
            for sample in given
        )
    ]
    assert not unnoticed


def test_homes_of_sites_are_asked_for_only_if_somebody_may_come_from_elsewhere() -> None:
    index, evaluator = watchlist(), Evaluator(Policy(exempt_origins=("11",)), PASSAGES)
    usual = {"role": "driver", "tokens": {"id": token(99)}, "temperature_c": 36.5}
    asked: list[str] = []

    def home_of_site(site: str) -> str:
        asked.append(site)
        return HOMES[site]

    for origin, sites in ((None, []), ("CN", []), ("110105", []), ("370115", ["s1"])):
        scan = event(random.Random(1), 1) | {"people": [usual | {"origin": origin}] * 2, "site_id": "s1"}
        evaluator.judge(CHECKPOINTS.reader.read([json.dumps(scan).encode()]), index, home_of_site, 0.0)
        assert asked == sites


def test_a_shadow_with_the_conditions_of_the_active_policy_costs_no_step() -> None:
    strict = replace(DEFAULT, name="strict", outcomes={"fever": "hold"})
    warmer = replace(DEFAULT, name="warmer", fever_c=37.5)
    alone, beside, other = (
        len(Program([DEFAULT, *shadows], lambda rule: rule.person).steps) for shadows in ([], [strict], [warmer])
    )
    assert alone == beside < other < 2 * alone
