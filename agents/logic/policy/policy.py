"""A policy: the thresholds and outcomes with which the rules are applied."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct, field

from ninezero.agents.logic.policy.conditions import Bound
from ninezero.agents.logic.policy.rules import OUTCOMES, RULES, Rule

TABLE_VERSION = 1
"""Version of the policy table, as alerts and decisions state it."""


class Policy(Struct, frozen=True, kw_only=True):
    """Thresholds, in °C, and the outcomes that differ from those of the rules."""

    fever_c: float = 37.3
    """Lowest temperature that counts as fever. Source: China's COVID-19 control guidance of 2020."""
    plausible_min_c: float = 30.0
    """Lowest reading that a living person can have. Anything else is a fault of the measurement."""
    plausible_max_c: float = 45.0
    """Highest reading that a living person can have."""
    outcomes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Outcome by rule. A rule whose outcome is `clear` does not apply."""

    def outcome(self, rule: Rule) -> str:
        """Returns the outcome of a rule under this policy."""
        return self.outcomes.get(rule.name, rule.outcome)

    def rules(self) -> list[Rule]:
        """Returns the rules that apply under this policy."""
        return [rule for rule in RULES.values() if self.outcome(rule) != "clear"]

    def threshold(self, bound: Bound) -> float:
        """Returns a bound of a condition as a number."""
        return float(getattr(self, bound)) if isinstance(bound, str) else bound

    def most_severe(self, rules: list[Rule]) -> str:
        """Returns the outcome of an event to which these rules apply."""
        return min((self.outcome(rule) for rule in rules), key=OUTCOMES.index, default="clear")


DEFAULT = Policy()
"""The policy that holds as long as no other one was activated."""
