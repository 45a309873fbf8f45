"""Verdicts: the outcome of an event with the rules that apply to each person, and the outcomes under shadow policies.

Events with equal ones share one object.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

from msgspec import Struct

from ninezero.agents.logic.policy.decision import RuleHit, sort_hits
from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.rules import RULES

PersonRule = tuple[int | None, str]
"""Index of the person, None for the plate, and the name of a rule that applies."""

LIMIT = 1 << 14
"""Number of verdicts that are remembered before all are forgotten."""


_numbers = count()


class Verdict(Struct, frozen=True, gc=False, eq=False):
    """What is advised about an event, and why, and what shadow policies would advise. Verdicts are compared by identity."""

    outcome: str
    hits: list[RuleHit]
    """The rules that apply, sorted by person (plate last) and rule, without the entries behind them."""
    reads_lists: bool
    """Whether there are entries behind one of them."""
    rules: tuple[str, ...]
    """The rule of each of them."""
    people: list[int]
    """Indices of the people with a rule, ascending."""
    shadow_outcomes: tuple[str, ...]
    """The outcome under each shadow policy."""
    number: int
    """A number that no other verdict of the process has."""


class Verdicts:
    """The verdicts under one policy, beside some shadow policies.

    Args:
        policy: the policy that decides.
        shadows: the number of shadow policies.

    Attributes:
        clear: the verdict on an event that is clear under every one of them.
    """

    def __init__(self, policy: Policy, shadows: int = 0) -> None:
        self._policy = policy
        self._known: dict[tuple[frozenset[PersonRule], tuple[str, ...]], Verdict] = {}
        self.clear = self.of((), ("clear",) * shadows)

    def of(self, hits: Iterable[PersonRule], shadow_outcomes: Sequence[str] = ()) -> Verdict:
        """Returns the verdict on an event to which these rules apply, with its outcome under each shadow policy."""
        rules_of_people = frozenset(hits)
        key = rules_of_people, tuple(shadow_outcomes)
        verdict = self._known.get(key)
        if verdict is None:
            ordered = sort_hits([RuleHit(person, rule) for person, rule in rules_of_people])
            rules = [RULES[hit.rule] for hit in ordered]
            verdict = Verdict(
                outcome=self._policy.most_severe(rules),
                hits=ordered,
                reads_lists=any(rule.person_entries or rule.plate_entries for rule in rules),
                rules=tuple(rule.name for rule in rules),
                people=sorted({hit.person for hit in ordered if hit.person is not None}),
                shadow_outcomes=key[1],
                number=next(_numbers),
            )
            if len(self._known) >= LIMIT:
                self._known.clear()
            self._known[key] = verdict
        return verdict
