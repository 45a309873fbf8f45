"""The two evaluators of the rules agree on events of every class, and a fault planted in either of them is found."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import msgspec
import pytest

from ninezero.agents.logic.policy.columnar import at_most
from ninezero.agents.logic.policy.conditions import (
    SECOND_TEMPERATURE,
    TEMPERATURE,
    Both,
    Compared,
    Condition,
    Listed,
    Not,
    PersonIs,
)
from ninezero.agents.logic.policy.evaluator import Evaluator
from ninezero.agents.logic.policy.policy import DEFAULT, Policy
from ninezero.agents.logic.policy.reference import decide_scan
from ninezero.agents.logic.policy.rules import CONCERNING, RULES, Rule
from ninezero.agents.logic.watchlist.entries import Entry
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.screening.event_kinds import CHECKPOINTS, PASSAGES
from ninezero.schemas.events import Scan
from ninezero.schemas.times import unix_micros

HOME = "370115"
NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
NOW_US = unix_micros(NOW)

EVENTS = 6_000
SHARE = 0.3
"""Least share of the events that are clear, that have one rule, and that have two."""


def token(n: int, key: str = "k1") -> str:
    return f"{key}.{n:032x}"


LISTED = {category: n for n, category in enumerate(CONCERNING, 1)}
"""For each category the number of a token that is on a list of it."""
PASS, ANYONE = 50, 1000


def watchlist() -> WatchlistIndex:
    """Lists one number of each category in every domain but that of passes, and one number with a health pass."""
    index = WatchlistIndex()
    domains = ("id", "passport", "phone", "plate")
    put = [
        Entry("a", "l", f"b:{n}", category, NOW_US - 10**9, NOW_US + 10**9, {domain: (token(n),) for domain in domains}, 1, "b", 1)
        for category, n in LISTED.items()
    ]  # fmt: skip
    put.append(Entry("a", "l", "b:50", "health_pass", NOW_US - 10**9, NOW_US + 10**9, {"pass": (token(PASS),), "id": (token(PASS),)}, 1, "b", 1))  # fmt: skip
    index.apply(("a", "l"), put, ())
    return index


Change = dict[str, Any]
"""What a person has instead of the usual."""


def _on_list(n: int, rng: random.Random) -> Change:
    tokens = {rng.choice(["id", "passport"]): token(n)}
    if rng.random() < 0.5:  # then the phone is no reason
        tokens["phone"] = token(rng.choice(list(LISTED.values())))
    return {"tokens": tokens}


APPLYING: dict[str, Callable[[random.Random], Change]] = {
    "no_identity": lambda rng: {"tokens": {"phone": token(ANYONE)}},
    "unknown_key": lambda rng: {"tokens": {rng.choice(["id", "passport"]): token(ANYONE, "k2")}},
    **{category: partial(_on_list, n) for category, n in LISTED.items()},
    "weak_match": lambda rng: {"tokens": {"id": token(ANYONE), "phone": token(rng.choice(list(LISTED.values())))}},
    "health_code_red": lambda rng: {"health_code": "red"},
    "health_code_yellow": lambda rng: {"health_code": "yellow"},
    "no_temperature": lambda rng: {"temperature_c": None},
    "temperature_implausible": lambda rng: {
        rng.choice(["temperature_c", "temperature_confirmed_c"]): rng.choice(
            [-0.0, 29.95, 29.999, 45.001, 45.05, 1e308]
        )
    },
    "fever": lambda rng: {"temperature_confirmed_c": rng.choice([37.3, 37.35, 38.5, 45.0])},
    "fever_unconfirmed": lambda rng: {"temperature_c": rng.choice([37.3, 37.35, 38.5, 45.0])},
    "outside_province_without_pass": lambda rng: {"origin": rng.choice(["110101", "US", "HK"])},
    "outside_district_without_pass": lambda rng: {"origin": rng.choice(["370102", "370999"])},
}
"""For each rule but `list_stale` a change that makes it apply, alone."""

CLEAR: list[Change] = [
    {}, {"temperature_c": 30.0}, {"temperature_c": 37.29}, {"temperature_c": 37.25, "temperature_confirmed_c": 30.0},
    {"temperature_c": 39.0, "temperature_confirmed_c": 37.25}, {"temperature_c": None, "temperature_confirmed_c": 36.5},
    {"origin": "CN"}, {"origin": None}, {"health_code": "none"}, {"tokens": {"passport": token(ANYONE)}},
    {"origin": "110101", "tokens": {"id": token(PASS)}}, {"origin": "370102", "tokens": {"id": token(ANYONE), "pass": token(PASS)}},
    {"tokens": {"id": token(ANYONE), "pass": token(1)}},
]  # fmt: skip


USUAL = Evaluator(DEFAULT, PASSAGES)


class Sample(NamedTuple):
    """Events with what the reference says of them."""

    values: list[bytes]
    stale: bool
    hits: list[list[Any]]


def person(change: Change) -> dict[str, Any]:
    usual = {
        "role": "driver",
        "tokens": {"id": token(ANYONE)},
        "temperature_c": 36.5,
        "health_code": "green",
        "origin": HOME,
    }
    return usual | change


def event(rng: random.Random, seq: int, rules: tuple[str, ...]) -> dict[str, Any]:
    """Returns an event to which some rules apply: each to another person, to the same one where that is possible, or to the plate."""
    changes = [APPLYING[rule](rng) for rule in rules if rule != "list_stale"]
    if len(changes) == 2 and rng.random() < 0.5 and changes[0].keys().isdisjoint(changes[1]):
        changes = [changes[0] | changes[1]]
    people = [person(change) for change in changes] or [person(rng.choice(CLEAR))]
    people += [person(rng.choice(CLEAR)) for _ in range(rng.choice([0, 0, 0, 1, 3]))]
    rng.shuffle(people)
    direction = "in" if any(rule.startswith("outside") for rule in rules) or rng.random() < 0.7 else "out"
    if direction == "out" and rng.random() < 0.5:
        people[0] |= {"origin": "110101"}
    plate = token(ANYONE) if rng.random() < 0.6 else None
    if rules in (("weak_match",), ("unknown_key",)) and rng.random() < 0.5:
        people, plate = (
            [person({})],
            token(rng.choice([*LISTED.values()])) if rules == ("weak_match",) else token(ANYONE, "k2"),
        )
    return {"device_id": "d", "seq": seq, "site_id": "s", "observed_at": NOW.isoformat(), "kind": "vehicle", "people": people,
            "direction": direction, "plate": plate}  # fmt: skip


def samples(rng: random.Random, index: WatchlistIndex, events: int) -> Iterator[Sample]:
    """Yields the events in batches. One batch in fifteen is decided with a stale list."""
    fresh = list(APPLYING)
    pairs, alone = list(combinations(fresh, 2)), [(rule,) for rule in fresh]
    seq = 0
    while seq < events:
        stale = seq // 200 % 15 == 9
        values = []
        for n in range(seq, seq + 200):
            kinds: list[tuple[str, ...]]
            if stale:
                kinds = [("list_stale",), ("list_stale", rng.choice(fresh)), ("list_stale", rng.choice(fresh))]
            else:
                kinds = [(), rng.choice(alone), pairs[n % len(pairs)]]
            values.append(json.dumps(event(rng, n, rng.choice(kinds))).encode())
        yield Sample(values, stale, [by_reference(value, index, stale) for value in values])
        seq += 200


def by_reference(value: bytes, index: WatchlistIndex, stale: bool, policy: Policy = DEFAULT) -> list[Any]:
    decision = decide_scan(msgspec.json.decode(value, type=Scan), NOW_US, index, HOME, stale, policy)
    return [decision.outcome, *decision.hits]


def by_columns(sample: Sample, index: WatchlistIndex, evaluator: Evaluator) -> list[list[Any] | None]:
    """Returns outcome and rule hits of each event; None for one that is left to the reference."""
    age = 301.0 if sample.stale else 0.0
    found = evaluator.judge(CHECKPOINTS.reader.read(sample.values), index, lambda site: HOME, age)
    return [
        None if found.undecided[n] else [verdict.outcome, *found.hits(n)] for n, verdict in enumerate(found.verdicts)
    ]


def test_the_evaluators_agree_on_clear_events_each_rule_and_each_pair_of_rules() -> None:
    index, classes = watchlist(), Counter[frozenset[str]]()
    for sample in samples(random.Random(21), index, EVENTS):
        assert by_columns(sample, index, USUAL) == sample.hits
        classes.update(frozenset(hit.rule for hit in hits[1:]) for hits in sample.hits)
    for size in (0, 1, 2):
        assert sum(count for rules, count in classes.items() if len(rules) == size) > SHARE * EVENTS, size
    missing = [rule for rule in RULES if classes[frozenset({rule})] < 40]
    assert not missing, "rules that hardly ever applied alone"
    rare = [pair for pair in combinations(RULES, 2) if classes[frozenset(pair)] < 3]
    assert not rare, "pairs that hardly ever applied together"


def replace_leaf(condition: Condition, old: Condition, new: Condition) -> Condition:
    match condition:
        case Both(left, right):
            return Both(replace_leaf(left, old, new), replace_leaf(right, old, new))
        case Not(inner):
            return Not(replace_leaf(inner, old, new))
    return new if condition == old else condition


def leaves(condition: Condition | None) -> Iterator[Condition]:
    match condition:
        case Both(left, right):
            yield from leaves(left)
            yield from leaves(right)
        case Not(inner):
            yield from leaves(inner)
        case Condition():
            yield condition


def faults_of(leaf: Condition) -> Iterator[Condition]:
    """Yields a leaf with a fault: inverted, with a wrong bound, or with a domain or category missing."""
    yield Not(leaf)
    if isinstance(leaf, Compared):
        bound = DEFAULT.threshold(leaf.bound)
        yield Compared(leaf.reading, "at most" if leaf.comparison == "at least" else "at least", bound)
        yield Compared(leaf.reading, leaf.comparison, bound + 0.1)
        yield Compared(leaf.reading, leaf.comparison, bound - 0.1)
    if isinstance(leaf, Listed):
        yield from (Listed(tuple(d for d in leaf.domains if d != out), leaf.categories) for out in leaf.domains)
        yield from (Listed(leaf.domains, tuple(c for c in leaf.categories if c != out)) for out in leaf.categories)


class Faulty(Policy, frozen=True):
    """A policy whose rules have a fault."""

    faulty: tuple[Rule, ...] = ()

    def rules(self) -> list[Rule]:
        return list(self.faulty)


def mutants() -> Iterator[tuple[str, Faulty]]:
    """Yields policies with one fault each: a rule is missing, or a condition is wrong wherever it is used."""
    every = tuple(RULES.values())
    for rule in every:
        yield f"without {rule.name}", Faulty(faulty=tuple(other for other in every if other is not rule))
    used = dict.fromkeys(
        leaf for rule in every for condition in (rule.person, rule.plate) for leaf in leaves(condition)
    )
    for leaf in used:
        for fault in faults_of(leaf):
            changed = [
                msgspec.structs.replace(
                    rule,
                    person=rule.person and replace_leaf(rule.person, leaf, fault),
                    plate=rule.plate and replace_leaf(rule.plate, leaf, fault),
                )
                for rule in every
            ]
            yield f"{fault} for {leaf}", Faulty(faulty=tuple(changed))


def test_a_fault_in_either_evaluator_is_found() -> None:
    index = watchlist()
    given = list(samples(random.Random(22), index, 2_000))
    planted = list(mutants())
    assert len(planted) >= 90
    unnoticed = [
        f"{evaluator}: {name}"
        for name, policy in planted
        for evaluator, differs in (
            ("columns", lambda sample, policy=policy: by_columns(sample, index, Evaluator(policy, PASSAGES)) != sample.hits),
            ("reference", lambda sample, policy=policy: [by_reference(v, index, sample.stale, policy) for v in sample.values] != by_columns(sample, index, USUAL)),
        )
        if not any(differs(sample) for sample in given)
    ]  # fmt: skip
    assert not unnoticed


def test_a_rule_that_columns_cannot_express_is_left_to_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    is_driver = PersonIs(lambda person: bool(person.role == "driver"))
    warm = SECOND_TEMPERATURE >= 36.0
    monkeypatch.setitem(RULES, "warm_driver", Rule("warm_driver", "hold", "hold", "A warm driver.", warm & is_driver))
    index, undecided = watchlist(), 0
    evaluator = Evaluator(DEFAULT, PASSAGES)
    for sample in samples(random.Random(23), index, 1_000):
        for value, found in zip(sample.values, by_columns(sample, index, evaluator), strict=True):
            expected = by_reference(value, index, sample.stale)
            assert found in (None, expected)
            assert found is None or not any(hit.rule == "warm_driver" for hit in expected[1:])
            undecided += found is None
    assert 50 < undecided < 500


@pytest.mark.parametrize("negated", [False, True])
def test_an_unknown_part_of_a_condition_is_assumed_where_it_could_make_the_rule_apply(negated: bool) -> None:
    unknown: Condition = PersonIs(lambda person: False)
    condition = TEMPERATURE.known & (~unknown if negated else unknown)
    assert at_most(condition) != condition
    assert at_most(TEMPERATURE.known) == TEMPERATURE.known


def test_one_new_rule_works_in_both_evaluators(monkeypatch: pytest.MonkeyPatch) -> None:
    cold = TEMPERATURE.within("plausible_min_c", "plausible_max_c") & ~(TEMPERATURE >= 35.0)
    monkeypatch.setitem(RULES, "hypothermia", Rule("hypothermia", "hold", "hold", "Below 35 °C.", cold))
    index = watchlist()
    values = [
        json.dumps(event(random.Random(n), n, ()) | {"people": [person({"temperature_c": 34.9})]}).encode()
        for n in range(20)
    ]
    sample = Sample(values, False, [by_reference(value, index, False) for value in values])
    assert all([hit.rule for hit in hits[1:]] == ["hypothermia"] for hits in sample.hits)
    assert by_columns(sample, index, Evaluator(DEFAULT, PASSAGES)) == sample.hits


def test_a_rule_whose_outcome_is_clear_does_not_apply() -> None:
    policy = Policy(outcomes={"outside_province_without_pass": "clear", "fever_unconfirmed": "refer"})
    index, seen = watchlist(), Counter[str]()
    for sample in samples(random.Random(24), index, 1_000):
        expected = [by_reference(value, index, sample.stale, policy) for value in sample.values]
        assert by_columns(sample, index, Evaluator(policy, PASSAGES)) == expected
        for hits in expected:
            seen.update(hit.rule for hit in hits[1:])
            assert hits[0] == "refer" or all(hit.rule != "fever_unconfirmed" for hit in hits[1:])
    assert not seen["outside_province_without_pass"] and seen["fever_unconfirmed"] > 20


def test_both_evaluators_exempt_the_origins_of_their_policy() -> None:
    index, rules = watchlist(), Counter[str]()
    for exempt, origin, expected in [
        ((), "370102", "outside_district_without_pass"), (("3702", "11"), "370102", "outside_district_without_pass"),
        (("37",), "370102", ""), (("3701",), "370102", ""), (("370102", "HK"), "370102", ""),
        (("37", "MO"), "HK", "outside_province_without_pass"), (("HK",), "HK", ""), (("11",), "110101", ""),
    ]:  # fmt: skip
        policy = Policy(exempt_origins=exempt)
        passage = event(random.Random(1), 0, ()) | {
            "direction": "in",
            "plate": None,
            "people": [person({"origin": origin})],
        }
        value = json.dumps(passage).encode()
        hits = by_reference(value, index, False, policy)
        assert [hit.rule for hit in hits[1:]] == ([expected] if expected else [])
        assert by_columns(Sample([value], False, [hits]), index, Evaluator(policy, PASSAGES)) == [hits]
        rules[expected] += 1
    assert rules == {"": 5, "outside_district_without_pass": 2, "outside_province_without_pass": 1}
