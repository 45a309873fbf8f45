"""A policy: the thresholds and outcomes with which the rules are applied, and which of them are allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from msgspec import Struct, field

from ninezero.agents.logic.policy.conditions import Bound
from ninezero.agents.logic.policy.rules import OUTCOMES, RULES, Rule
from ninezero.schemas.policies import HOME_OF_SITE, PolicyRecord, label

FEVER_C = (36.0, 39.0)
"""The lowest and the highest threshold of fever that a policy may state, in °C."""
PLAUSIBLE_MIN_C, PLAUSIBLE_MAX_C = (25.0, 35.0), (42.0, 50.0)
"""The same for the lowest and the highest plausible reading."""
MAX_LIST_AGE_S = (30.0, 900.0)
"""The same for the age at which the watchlist is stale, in seconds."""


class Policy(Struct, frozen=True, kw_only=True):
    """Thresholds, and the outcomes that differ from those of the rules. The rest of a record does not change a decision."""

    name: str = "default"
    version: int = 1
    fever_c: float = 37.3
    """Lowest temperature that counts as fever, in °C. Source: China's COVID-19 control guidance of 2020."""
    plausible_min_c: float = 30.0
    """Lowest reading that a living person can have, in °C. Anything else is a fault of the measurement."""
    plausible_max_c: float = 45.0
    """Highest reading that a living person can have, in °C."""
    max_list_age_s: float = 300.0
    """Age of the last heartbeat of the watchlist at which nobody can be checked any more, in seconds."""
    home: str = HOME_OF_SITE
    """Six-digit division code of the district, or `site`: that of each site."""
    exempt_origins: tuple[str, ...] = ()
    """Origins from which nobody needs a pass: the first 2, 4 or all 6 digits of a division code, or a country code."""
    outcomes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Outcome by rule. A rule whose outcome is `clear` does not apply."""

    @property
    def label(self) -> str:
        """The policy, as `NAME@VERSION`."""
        return label(self.name, self.version)

    def home_at(self, home_of_site: str) -> str:
        """Returns the home of an event, given that of its site."""
        return home_of_site if self.home == HOME_OF_SITE else self.home

    def outcome(self, rule: Rule) -> str:
        """Returns the outcome of a rule under this policy."""
        return self.outcomes.get(rule.name, rule.outcome)

    def rules(self) -> list[Rule]:
        """Returns the rules that apply under this policy.

        Raises:
            ValueError: the policy names a rule or an outcome that this release does not know, so it cannot be applied.
        """
        if any(_unknown_names(self.outcomes)):
            raise ValueError(f"this release cannot apply the policy {self.label}")
        return [rule for rule in RULES.values() if self.outcome(rule) != "clear"]

    def threshold(self, bound: Bound) -> float:
        """Returns a bound of a condition as a number."""
        return float(getattr(self, bound)) if isinstance(bound, str) else bound

    def most_severe(self, rules: list[Rule]) -> str:
        """Returns the outcome of an event to which these rules apply."""
        return min((self.outcome(rule) for rule in rules), key=OUTCOMES.index, default="clear")


DEFAULT = Policy()
"""The policy that holds as long as no other one was activated."""


def policy_of(record: PolicyRecord) -> Policy:
    """Returns the policy that a record states."""
    low, high = record.plausible_c
    return Policy(
        name=record.policy,
        version=record.version,
        fever_c=record.fever_c,
        plausible_min_c=low,
        plausible_max_c=high,
        max_list_age_s=record.max_list_age_s,
        home=record.home,
        exempt_origins=tuple(record.exempt_origins),
        outcomes=MappingProxyType(dict(record.outcomes)),
    )


def faults_of(record: PolicyRecord) -> list[str]:
    """Returns what is not allowed in a policy, one sentence each with the path of the field. No sentence contains a value of it."""
    low, high = record.plausible_c
    numbers = (
        ("fever_c", record.fever_c, FEVER_C, "°C"),
        ("plausible_c[0]", low, PLAUSIBLE_MIN_C, "°C"),
        ("plausible_c[1]", high, PLAUSIBLE_MAX_C, "°C"),
        ("max_list_age_s", record.max_list_age_s, MAX_LIST_AGE_S, "seconds"),
    )
    faults = [
        f"{path}: write a number from {lowest:g} to {highest:g} {unit}"
        for path, value, (lowest, highest), unit in numbers
        if not lowest <= value <= highest  # true for NaN, too
    ]
    for name, outcome in record.outcomes.items():
        rule = RULES.get(name)
        if rule is None or outcome not in OUTCOMES:
            continue
        allowed = OUTCOMES[: OUTCOMES.index(rule.floor) + 1]
        if outcome not in allowed:
            faults.append(f"outcomes.{name}: {outcome} is below the floor of the rule; write {' or '.join(allowed)}")
    return faults


def unknown_to_this_release(record: PolicyRecord) -> list[str]:
    """Returns which rules and outcomes of a policy only a newer release may know, one sentence each. No sentence contains their names."""
    return list(_unknown_names(record.outcomes))


def _unknown_names(outcomes: Mapping[str, str]) -> Iterator[str]:
    for number, (name, outcome) in enumerate(outcomes.items(), 1):
        if name not in RULES:
            yield f"outcomes: rule {number} is not known to this release{_hint(name, RULES)}"
        if outcome not in OUTCOMES:
            where = f"outcomes.{name}" if name in RULES else f"outcomes: rule {number}"
            yield f"{where}: the outcome is not known to this release; it knows {', '.join(OUTCOMES)}"


def _hint(name: str, known: Mapping[str, Rule]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
