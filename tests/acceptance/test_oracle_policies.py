"""The oracle's policies (§3) against cases computed by hand from the contract."""

from __future__ import annotations

import json
from typing import Any

import pytest

from . import oracle
from .examples import ID, NOW, NOW_MS, arrival, batch, entry_line, listed, person, scan
from .oracle import DEFAULT, POLICIES, SECOND, Policies, Policy, Record
from .rendering import rfc3339

LI: dict[str, Any] = {
    "policy": "winter",
    "version": 1,
    "author": "li",
    "legal_basis": "JN-17",
    "fever_c": 37.0,
    "plausible_c": [30, 45],
    "max_list_age_s": 300,
    "outcomes": {},
    "home": "site",
    "exempt_origins": [],
}


def use(begins: int, ends: int | None = None, status: str = "active", by: str = "wang") -> dict[str, Any]:
    """Returns a use whose times are seconds after NOW."""
    times = {"effective_from": rfc3339(NOW + begins * SECOND), "effective_to": ends and rfc3339(NOW + ends * SECOND)}
    return {"status": status, **times, "approved_by": by}


class Topic:
    """The topic `policies`; times are seconds after NOW."""

    def __init__(self, replay: bool = False) -> None:
        self.model = Policies(replay=replay)
        self.offset = 0

    def write(self, key: str, value: dict[str, Any] | None, second: float = 0) -> str | None:
        raw = b"" if value is None else json.dumps(value).encode()
        self.offset += 1
        return self.model.process(Record(POLICIES, 0, self.offset, NOW_MS + int(second * 1000), key.encode(), raw))

    def active(self, second: float) -> str:
        return self.model.active(NOW + int(second * SECOND)).label

    def shadows(self, second: float) -> list[str]:
        return [policy.label for policy in self.model.shadows(NOW + int(second * SECOND))]


@pytest.fixture
def topic() -> Topic:
    topic = Topic()
    assert topic.write("winter|1", LI) is None
    assert topic.write("winter|2", LI | {"version": 2, "author": "zhou"}) is None
    return topic


def test_the_built_in_policy_holds_until_the_millisecond_at_which_another_one_begins(topic: Topic) -> None:
    assert topic.write("winter|1|use", use(60)) is None
    assert topic.active(59.999) == "default@1"
    assert topic.active(60) == "winter@1"


def test_the_latest_beginning_holds_and_then_the_one_before(topic: Topic) -> None:
    assert topic.write("winter|1|use", use(60)) is None
    assert topic.write("winter|2|use", use(100, 200)) is None
    assert [topic.active(second) for second in (60, 99.999, 100, 199.999, 200)] == [
        "winter@1",
        "winter@1",
        "winter@2",
        "winter@2",
        "winter@1",
    ]


@pytest.mark.parametrize(
    ("key", "value", "second", "why"),
    [
        ("winter|1", LI | {"fever_c": 37.1}, 0, "policy_changed"),
        ("winter|1", LI, 0, None),
        ("winter|1|use", use(59), 0, "too_soon"),
        ("winter|1|use", use(60), 0.001, "too_soon"),
        ("winter|1|use", use(60), 0, None),
        ("winter|1|use", use(0, status="shadow"), 0, None),
        ("winter|1|use", use(60, by="li"), 0, "self_approved"),
        ("winter|3|use", use(60), 0, "policy_unknown"),
        ("spring|1", LI | {"policy": "spring", "fever_c": 35.9}, 0, "policy_out_of_bounds"),
        ("spring|1", LI | {"policy": "spring", "outcomes": {"fever": "clear"}}, 0, "policy_out_of_bounds"),
        ("spring|1", LI | {"policy": "spring", "outcomes": {"confirmed_case": "turn_back"}}, 0, "policy_out_of_bounds"),
        ("spring|1", LI | {"policy": "spring", "outcomes": {"fever": "hold", "no_identity": "refer"}}, 0, None),
        ("winter|1", None, 0, "deleted"),
    ],
)
def test_what_is_refused_is_a_closed_list(
    topic: Topic, key: str, value: dict[str, Any] | None, second: float, why: str | None
) -> None:
    assert topic.write(key, value, second) == why


def test_equal_beginnings_are_refused_unless_one_is_a_shadow(topic: Topic) -> None:
    assert topic.write("winter|1|use", use(90)) is None
    assert topic.write("winter|2|use", use(90)) == "same_start"
    assert topic.write("winter|2|use", use(90, status="shadow")) is None
    assert (topic.active(90), topic.shadows(90)) == ("winter@1", ["winter@2"])


def test_an_interval_that_has_begun_is_only_ended(topic: Topic) -> None:
    assert topic.write("winter|1|use", use(60)) is None
    assert topic.write("winter|1|use", use(300), 60) == "interval_begun"
    assert topic.write("winter|1|use", use(60, status="shadow"), 60) == "interval_begun"
    assert topic.write("winter|1|use", use(60, 150), 70) is None
    assert (topic.active(149.999), topic.active(150)) == ("winter@1", "default@1")


def test_one_that_has_not_begun_is_moved_unless_workers_may_apply_it_before_they_know(topic: Topic) -> None:
    assert topic.write("winter|1|use", use(300)) is None
    assert topic.write("winter|1|use", use(400), 240) is None
    assert (topic.active(300), topic.active(400)) == ("default@1", "winter@1")
    assert topic.write("winter|1|use", use(500), 340.001) == "too_soon"
    assert topic.active(400) == "winter@1"


def test_an_end_takes_effect_a_minute_after_it_was_written(topic: Topic) -> None:
    assert topic.write("winter|1|use", use(60)) is None
    assert topic.write("winter|1|use", use(60, 61), 100) is None
    assert (topic.active(159.999), topic.active(160)) == ("winter@1", "default@1")
    assert topic.write("winter|1|use", use(60), 100.001) == "too_soon"


def test_a_shadow_is_activated_after_its_end(topic: Topic) -> None:
    assert topic.write("winter|1|use", use(0, status="shadow")) is None
    assert topic.write("winter|1|use", use(200), 10) == "interval_begun"
    assert topic.write("winter|1|use", use(0, 20, status="shadow"), 10) is None
    assert topic.write("winter|1|use", use(200), 20) is None
    assert (topic.shadows(19), topic.shadows(20), topic.active(200)) == (["winter@1"], [], "winter@1")


def test_in_replay_activations_lie_in_the_past() -> None:
    topic = Topic(replay=True)
    topic.write("winter|1", LI)
    assert topic.write("winter|1|use", use(-600)) is None
    late = Record(oracle.SCANS, 0, 0, NOW_MS, None, b"")
    event = scan(observed_at=rfc3339(NOW - 600 * SECOND - 1))
    assert topic.model.active(topic.model.moment_of(late, event)).label == "default@1"
    assert topic.model.active(topic.model.moment_of(late, scan())).label == "winter@1"


def rules(event: dict[str, Any], policy: Policy, **more: Any) -> list[tuple[str, str]]:
    return [(r.rule, r.outcome) for r in oracle.decide(event, listed(), NOW, policy, **more)]


@pytest.mark.parametrize(
    ("policy", "event", "expected"),
    [
        (Policy(fever_c=37.0), scan(person(temperature_c=37.0)), [("fever_unconfirmed", "hold")]),
        (Policy(fever_c=38.0), scan(person(temperature_confirmed_c=37.9)), []),
        (Policy(plausible_c=(35, 42)), scan(person(temperature_c=35)), []),
        (Policy(plausible_c=(35, 42)), scan(person(temperature_c=34.9)), [("temperature_implausible", "hold")]),
        (Policy(plausible_c=(25, 50)), scan(person(temperature_c=50)), [("fever_unconfirmed", "hold")]),
        (Policy(outcomes={"fever": "hold"}), scan(person(temperature_confirmed_c=38)), [("fever", "hold")]),
        (Policy(outcomes={"outside_district_without_pass": "clear"}), scan(person(origin="370102")), []),
        (Policy(exempt=("37",)), scan(person(origin="370102")), []),
        (Policy(exempt=("3702", "370103")), scan(person(origin="370102")), [("outside_district_without_pass", "turn_back")]),
        (Policy(exempt=("HK",)), arrival(person(origin="HK")), []),
        (Policy(exempt=("HK",)), arrival(person(origin="US")), [("outside_province_without_pass", "quarantine")]),
        (Policy(home="420106"), scan(person(origin="370115")), [("outside_province_without_pass", "quarantine")]),
    ],
)  # fmt: skip
def test_a_policy_changes_thresholds_outcomes_and_homes(
    policy: Policy, event: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert rules(event, policy) == expected


def test_a_list_is_stale_when_it_is_older_than_the_policy_allows() -> None:
    assert rules(scan(), Policy(max_list_age_s=30), list_age_s=30) == []
    assert rules(scan(), Policy(max_list_age_s=30), list_age_s=30.1) == [("list_stale", "hold")]


def test_a_home_of_the_site_is_that_of_the_register_or_else_of_the_setting() -> None:
    policies = Policies(sites={"cp1": "370102003001", "cp2": ""})
    homes = [policies.home_of(Policy(home="site"), site) for site in ("cp1", "cp2", "cp3")]
    assert homes == ["370102", DEFAULT.home, DEFAULT.home]


def test_shadows_stand_beside_the_decision_and_are_counted_by_the_first_one(topic: Topic) -> None:
    topic.write("winter|1|use", use(60, status="shadow"))
    topic.write("winter|2|use", use(120))
    event = scan(person(temperature_c=37.1, temperature_confirmed_c=37.1))
    raw = json.dumps(event).encode()
    records = [Record(oracle.SCANS, 0, n, NOW_MS + second * 1000, b"cp1", raw) for n, second in enumerate((60, 130))]
    (decided,) = oracle.expect(records, topic.model).events.values()
    assert (decided.policy, decided.outcome, decided.shadows) == ("default@1", "clear", {"winter@1": "refer"})
    assert {label: oracle.outcome_of(reasons) for label, reasons in decided.by_policy.items()} == {
        "default@1": "clear",
        "winter@2": "refer",
    }
    assert oracle.policy_shadow_by_day([decided]) == {("2026-11-24", "winter", 1, "clear", "refer"): 1}


def test_a_rule_of_a_list_gets_the_outcome_of_the_policy() -> None:
    lists = listed(batch(entry_line()))
    (reason,) = oracle.decide(
        scan(person(tokens={"id": ID})), lists, NOW, Policy(outcomes={"confirmed_case": "quarantine"})
    )
    assert (reason.rule, reason.outcome) == ("confirmed_case", "quarantine")
