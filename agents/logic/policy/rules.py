"""The rules: when each applies to a person or a plate, and what follows. Everything that concerns one rule is here, once.

The evaluators, counters, reference pages and names on the board are derived from this table. To add a rule, add a `Rule`.
"""

from __future__ import annotations

from typing import get_args

from msgspec import Struct

from ninezero.agents.logic.policy.conditions import (
    SECOND_TEMPERATURE,
    TEMPERATURE,
    ComesFrom,
    Condition,
    Given,
    Has,
    Listed,
    Shows,
    causes,
)
from ninezero.schemas.events import Category

OUTCOMES = ("refer", "quarantine", "turn_back", "hold", "clear")
"""Every outcome, most severe first."""

EXEMPTION: Category = "health_pass"
"""Entries of this category exempt a person from the rules of origin. They are never a reason."""

CONCERNING: tuple[Category, ...] = tuple(category for category in get_args(Category) if category != EXEMPTION)
"""Categories of entries that are a reason."""


class Rule(Struct, frozen=True):
    """One rule of the policy."""

    name: str
    outcome: str
    """The outcome, unless the policy states another."""
    floor: str
    """The least severe outcome that a policy may state."""
    meaning: str
    """When it applies, for the reference page. Thresholds of the policy are in braces."""
    person: Condition | None = None
    """When it applies to a person; None if it never does."""
    plate: Condition | None = None
    """When it applies to a plate; None if it never does."""

    @property
    def person_entries(self) -> tuple[Listed, ...]:
        """The entries that an alert shows as the cause, for a person."""
        return causes(self.person)

    @property
    def plate_entries(self) -> tuple[Listed, ...]:
        """The same for a plate."""
        return causes(self.plate)


def _on_list(category: Category, outcome: str, floor: str) -> Rule:
    listed = Listed(("id", "passport"), (category,))
    return Rule(category, outcome, floor, "The identity card or passport is on a list of this category.", listed)


_DOCUMENT_LISTED = Listed(("id", "passport"), CONCERNING)
_PLAUSIBLE = TEMPERATURE.within("plausible_min_c", "plausible_max_c")
_SECOND_PLAUSIBLE = SECOND_TEMPERATURE.within("plausible_min_c", "plausible_max_c")
_NEEDS_PASS = Given("inbound") & ~Listed(("pass", "id"), (EXEMPTION,))

_ALL = (
    Rule(
        "no_identity", "hold", "hold",
        "The person has neither an identity card nor a passport that could be turned into a token.",
        ~Has("id") & ~Has("passport"),
    ),
    Rule(
        "unknown_key", "hold", "hold",
        "A token was made with a key for which the lists have no tokens, so the person or plate could not be checked.",
        Given("unknown key"), Given("unknown key"),
    ),
    Rule(
        "list_stale", "hold", "hold",
        "No heartbeat of the watchlist has arrived for {max_list_age_s:g} seconds, or the last one is over 60 seconds in the future.",
        Given("stale list"),
    ),
    _on_list("confirmed_case", "refer", "quarantine"),
    _on_list("suspected_case", "refer", "quarantine"),
    _on_list("quarantine_order", "refer", "quarantine"),
    _on_list("close_contact", "quarantine", "hold"),
    _on_list("risk_region_arrival", "quarantine", "hold"),
    Rule(
        "weak_match", "hold", "hold",
        "Only the phone or the plate is on a list, of any category but `health_pass`. Others may use them, too.",
        Listed(("phone",), CONCERNING) & ~_DOCUMENT_LISTED, Listed(("plate",), CONCERNING),
    ),
    Rule("health_code_red", "refer", "hold", "The health code is red.", Shows("red")),
    Rule("health_code_yellow", "quarantine", "hold", "The health code is yellow.", Shows("yellow")),
    Rule(
        "no_temperature", "hold", "hold",
        "A passage states no temperature for the person. Arrivals need none.",
        Given("checkpoint") & ~TEMPERATURE.known & ~SECOND_TEMPERATURE.known,
    ),
    Rule(
        "temperature_implausible", "hold", "hold",
        "A reading is below {plausible_min_c:g} °C or above {plausible_max_c:g} °C. It is not used otherwise.",
        (TEMPERATURE.known & ~_PLAUSIBLE) | (SECOND_TEMPERATURE.known & ~_SECOND_PLAUSIBLE),
    ),
    Rule(
        "fever", "refer", "hold",
        "The second reading is {fever_c:g} °C or more.",
        _SECOND_PLAUSIBLE & (SECOND_TEMPERATURE >= "fever_c"),
    ),
    Rule(
        "fever_unconfirmed", "hold", "hold",
        "The first reading is {fever_c:g} °C or more, and there is no second reading.",
        _PLAUSIBLE & (TEMPERATURE >= "fever_c") & ~_SECOND_PLAUSIBLE,
    ),
    Rule(
        "outside_province_without_pass", "quarantine", "clear",
        "An inbound person comes from another province or country and has no valid health pass.",
        ComesFrom("other province") & _NEEDS_PASS,
    ),
    Rule(
        "outside_district_without_pass", "turn_back", "clear",
        "An inbound person comes from another district of the province and has no valid health pass.",
        ComesFrom("other district") & _NEEDS_PASS,
    ),
)  # fmt: skip

RULES: dict[str, Rule] = {rule.name: rule for rule in _ALL}
"""Every rule by name."""
