"""What a policy may state: floors of outcomes, ranges of numbers, and names that only a newer release knows."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from ninezero.agents.logic.policy.origins import place_of
from ninezero.agents.logic.policy.policy import DEFAULT, Policy, faults_of, policy_of, unknown_to_this_release
from ninezero.agents.logic.policy.rules import OUTCOMES, RULES
from ninezero.schemas.events import encode
from ninezero.schemas.policies import MAX_POLICY_BYTES, PolicyRecord

SECRET = "li_xiaoming"

RECORD = PolicyRecord(
    policy="winter", version=3, author="anna", legal_basis="JN-17", fever_c=37.3, plausible_c=[30.0, 45.0], max_list_age_s=300.0,
    outcomes={}, home="site", exempt_origins=[],
)  # fmt: skip

FLOORS = {
    "no_identity": "hold", "unknown_key": "hold", "list_stale": "hold", "confirmed_case": "quarantine", "suspected_case": "quarantine",
    "quarantine_order": "quarantine", "close_contact": "hold", "risk_region_arrival": "hold", "weak_match": "hold",
    "health_code_red": "hold", "health_code_yellow": "hold", "no_temperature": "hold", "temperature_implausible": "hold", "fever": "hold",
    "fever_unconfirmed": "hold", "outside_province_without_pass": "clear", "outside_district_without_pass": "clear",
}  # fmt: skip
"""The least severe outcome of each rule, as the contract states it."""
SEVERITY = {"refer": 5, "quarantine": 4, "turn_back": 3, "hold": 2, "clear": 1}


def test_each_outcome_of_each_rule_is_allowed_from_its_floor_on() -> None:
    assert FLOORS.keys() == RULES.keys() and SEVERITY.keys() == set(OUTCOMES)
    refused = Counter[str]()
    for rule, outcome in product(RULES, OUTCOMES):
        found = faults_of(replace(RECORD, outcomes={rule: outcome}))
        if SEVERITY[outcome] >= SEVERITY[FLOORS[rule]]:
            assert found == [], (rule, outcome)
        else:
            assert len(found) == 1 and found[0].startswith(
                f"outcomes.{rule}: {outcome} is below the floor of the rule; write refer"
            )
            refused[outcome] += 1
    assert refused == {"clear": 15, "hold": 3, "turn_back": 3}


@pytest.mark.parametrize(
    ("path", "low", "high", "change"),
    [
        ("fever_c", 36.0, 39.0, lambda value: {"fever_c": value}),
        ("plausible_c[0]", 25.0, 35.0, lambda value: {"plausible_c": [value, 45.0]}),
        ("plausible_c[1]", 42.0, 50.0, lambda value: {"plausible_c": [30.0, value]}),
        ("max_list_age_s", 30.0, 900.0, lambda value: {"max_list_age_s": value}),
    ],
)  # fmt: skip
def test_a_number_is_allowed_within_its_range_only(path: str, low: float, high: float, change: Any) -> None:
    for allowed in (low, (low + high) / 2, high, int(low)):
        assert faults_of(replace(RECORD, **change(allowed))) == []
    for wrong in (
        math.nextafter(low, 0),
        math.nextafter(high, 1e9),
        math.nan,
        math.inf,
        -math.inf,
        0.0,
        -0.0,
        1e308,
        -low,
    ):
        found = faults_of(replace(RECORD, **change(wrong)))
        assert [one.split(":")[0] for one in found] == [path]
        assert found[0].split(": ")[1].startswith(f"write a number from {low:g} to {high:g} ")


def test_plausible_bounds_in_the_wrong_order_are_two_faults() -> None:
    found = faults_of(replace(RECORD, plausible_c=[45.0, 30.0]))
    assert [one.split(":")[0] for one in found] == ["plausible_c[0]", "plausible_c[1]"]


def test_all_faults_are_named_together() -> None:
    wrong = replace(
        RECORD, fever_c=40.0, max_list_age_s=1.0, outcomes={"fever": "clear", "confirmed_case": "hold", SECRET: "hold"}
    )
    assert [one.split(":")[0] for one in faults_of(wrong)] == [
        "fever_c",
        "max_list_age_s",
        "outcomes.fever",
        "outcomes.confirmed_case",
    ]


def test_names_that_only_a_newer_release_knows_are_no_faults_and_are_not_quoted() -> None:
    for outcomes, expected in [
        ({}, []),
        ({"fever": "hold"}, []),
        ({SECRET: "hold"}, ["outcomes: rule 1 is not known to this release"]),
        ({"fever": "hold", "fevr": "hold"}, ["outcomes: rule 2 is not known to this release; did you mean fever?"]),
        ({"fever": SECRET}, ["outcomes.fever: the outcome is not known to this release; it knows refer, quarantine, turn_back, hold, clear"]),
        ({SECRET: SECRET}, ["outcomes: rule 1 is not known to this release", "outcomes: rule 1: the outcome is not known to this release; it knows refer, quarantine, turn_back, hold, clear"]),
    ]:  # fmt: skip
        record = replace(RECORD, outcomes=outcomes)
        assert faults_of(record) == [] and unknown_to_this_release(record) == expected
        assert SECRET not in "".join(unknown_to_this_release(record))
        if expected:
            with pytest.raises(ValueError, match="this release cannot apply the policy winter@3"):
                policy_of(record).rules()
        else:
            assert policy_of(record).rules()


def test_a_record_becomes_the_policy_that_it_states() -> None:
    record = PolicyRecord(
        "winter", 3, "anna", "JN-17", 37.0, [31.0, 44.0], 60.0, {"fever": "hold"}, "370115", ["37", "HK"]
    )
    policy = policy_of(record)
    assert policy == Policy(
        name="winter", version=3, fever_c=37.0, plausible_min_c=31.0, plausible_max_c=44.0, max_list_age_s=60.0, outcomes={"fever": "hold"},
        home="370115", exempt_origins=("37", "HK"),
    )  # fmt: skip
    assert policy.label == "winter@3" and DEFAULT.label == "default@1"
    record.outcomes["fever"] = "clear"
    assert policy.outcomes == {"fever": "hold"}
    assert replace(policy_of(replace(RECORD, policy="default", version=1)), home=DEFAULT.home) == DEFAULT


def test_the_largest_record_is_within_64_kib() -> None:
    name = "z" * 62
    largest = replace(
        RECORD, policy="a" * 64, version=2**31 - 1, author="b" * 64, legal_basis="c" * 64, fever_c=-1.2345678901234567e-300,
        outcomes={f"{name}{a}{b}": "y" * 64 for a in "abcdefgh" for b in "abcdefgh"}, exempt_origins=["110101"] * 4096,
    )  # fmt: skip
    assert len(largest.outcomes) == 64
    decoded = msgspec.json.decode(encode(largest), type=PolicyRecord)
    assert decoded == largest and len(encode(largest)) <= MAX_POLICY_BYTES
    for change in ({"outcomes": largest.outcomes | {"more": "hold"}}, {"exempt_origins": ["11"] * 4097}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(encode(replace(largest, **change)), type=PolicyRecord)


@pytest.mark.parametrize(
    ("origin", "exempt", "place"),
    [
        ("370102", (), "other district"),
        ("110101", (), "other province"),
        ("HK", (), "other province"),
        ("370102", ("37",), None),
        ("370102", ("3701",), None),
        ("370102", ("370102",), None),
        ("370102", ("3702", "370101", "11", "370"), "other district"),
        ("110101", ("37", "1102", "110102"), "other province"),
        ("110101", ("1101",), None),
        ("HK", ("HK",), None),
        ("HK", ("MO", "44", "H"), "other province"),
        ("TW", frozenset({"TW", "35"}), None),
        ("CN", (), None),
        (None, ("37",), None),
        ("370115", (), None),
        ("999999", ("99",), None),
    ],
)
def test_an_exempt_origin_is_no_other_place(origin: str | None, exempt: Any, place: str | None) -> None:
    assert place_of(origin, "370115", exempt) == place
