"""The differences of two policies are named, and nothing else is."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ninezero.agents.logic.policy.differences import differences
from ninezero.agents.logic.policy.origins import place_of
from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.rules import OUTCOMES, RULES

OLD = Policy(home="370115")


def outcomes(**of_rules: str) -> Any:
    return MappingProxyType(of_rules)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fever_c": 37.0}, "fever from 37.3 °C to 37.0 °C: more people are referred, or held until the second reading"),
        ({"fever_c": 37.55}, "fever from 37.3 °C to 37.55 °C: fewer people are referred, or held until the second reading"),
        ({"plausible_min_c": 32.0}, "lowest plausible reading from 30.0 °C to 32.0 °C: more low readings count as faults, and the people are held"),
        ({"plausible_max_c": 44.0}, "highest plausible reading from 45.0 °C to 44.0 °C: more high readings count as faults, and the people are held"),
        ({"max_list_age_s": 60.0}, "lists are too old after 60 s instead of 300 s without a heartbeat: in an outage everyone is held sooner"),
        ({"outcomes": outcomes(fever="hold")}, "fever from refer to hold: less severe; people are held instead of referred"),
        ({"outcomes": outcomes(weak_match="quarantine")}, "weak_match from hold to quarantine: more severe; people are sent to quarantine instead of held"),
        ({"outcomes": outcomes(outside_district_without_pass="clear")}, "outside_district_without_pass from turn_back to clear: the rule does not apply any more"),
        ({"home": "site"}, "home from 370115 to the division of each site: other people count as coming from elsewhere and need a pass"),
        ({"exempt_origins": ("37", "HK")}, "exempt origins with 37, HK: people from there need no pass"),
    ],
)  # fmt: skip
def test_each_change_is_one_sentence(change: dict[str, Any], sentence: str) -> None:
    new = replace(OLD, name="winter", version=2, **change)
    assert differences(OLD, new) == [sentence]
    assert len(differences(new, OLD)) == 1


def test_a_rule_that_applies_again_is_named() -> None:
    old = replace(OLD, outcomes=outcomes(outside_district_without_pass="clear"))
    assert differences(old, OLD) == [
        "outside_district_without_pass from clear to turn_back: the rule applies, and more people are turned back"
    ]


def test_an_exemption_that_a_shorter_one_covers_is_no_difference() -> None:
    assert (
        differences(replace(OLD, exempt_origins=("37",)), replace(OLD, exempt_origins=("3702", "37", "370203"))) == []
    )
    many = tuple(f"{number}" for number in range(11, 31))
    assert differences(OLD, replace(OLD, exempt_origins=many))[0].count("and 8 more") == 1


def some_policies() -> st.SearchStrategy[Policy]:
    return st.builds(
        Policy,
        fever_c=st.sampled_from([37.0, 37.3]),
        plausible_min_c=st.sampled_from([30.0, 31.0]),
        plausible_max_c=st.sampled_from([45.0, 44.0]),
        max_list_age_s=st.sampled_from([300.0, 60.0]),
        home=st.sampled_from(["site", "370115"]),
        exempt_origins=st.lists(st.sampled_from(["37", "3701", "370115", "HK"]), max_size=3).map(tuple),
        outcomes=st.dictionaries(st.sampled_from(list(RULES)), st.sampled_from(OUTCOMES), max_size=2).map(MappingProxyType),
    )  # fmt: skip


ORIGINS = ("370115", "370116", "370199", "370203", "110101", "HK", "US", None)


def decisions(policy: Policy) -> Any:
    """Returns everything of a policy on which a decision depends."""
    rules = [policy.outcome(rule) for rule in RULES.values()]
    places = [place_of(one, "410100", policy.exempt_origins) for one in ORIGINS]
    return (
        policy.fever_c,
        policy.plausible_min_c,
        policy.plausible_max_c,
        policy.max_list_age_s,
        policy.home,
        rules,
        places,
    )


def test_policies_without_a_difference_decide_alike_and_others_do_not() -> None:
    alike = different = 0

    @settings(max_examples=400, deadline=None)
    @given(some_policies(), some_policies(), st.booleans())
    def check(old: Policy, new: Policy, same: bool) -> None:
        nonlocal alike, different
        if same:
            new = replace(old, name="other", exempt_origins=tuple(reversed(old.exempt_origins)))
        found = differences(old, new)
        assert bool(found) == (decisions(old) != decisions(new))
        alike, different = alike + (not found), different + bool(found)

    check()
    assert min(alike, different) > 50
