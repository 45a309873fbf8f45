"""Verdicts: the outcome of an event with the rules that apply to each person. Events with equal ones share one object."""

from __future__ import annotations

from collections.abc import Iterable
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
    """What is advised about an event, and why. Verdicts are compared by identity."""

    outcome: str
    hits: list[RuleHit]
    """The rules that apply, sorted by person (plate last) and rule, without the entries behind them."""
    reads_lists: bool
    """Whether there are entries behind one of them."""
    rules: tuple[str, ...]
    """The rule of each of them."""
    people: list[int]
    """Indices of the people with a rule, ascending."""
    number: int
    """A number that no other verdict of the process has."""


class Verdicts:
    """The verdicts under one policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._known: dict[frozenset[PersonRule], Verdict] = {}
        self.clear = self.of(())

    def of(self, hits: Iterable[PersonRule]) -> Verdict:
        """Returns the verdict on an event to which these rules apply."""
        key = frozenset(hits)
        verdict = self._known.get(key)
        if verdict is None:
            ordered = sort_hits([RuleHit(person, rule) for person, rule in key])
            rules = [RULES[hit.rule] for hit in ordered]
            verdict = Verdict(
                outcome=self._policy.most_severe(rules),
                hits=ordered,
                reads_lists=any(rule.person_entries or rule.plate_entries for rule in rules),
                rules=tuple(rule.name for rule in rules),
                people=sorted({hit.person for hit in ordered if hit.person is not None}),
                number=next(_numbers),
            )
            if len(self._known) >= LIMIT:
                self._known.clear()
            self._known[key] = verdict
        return verdict
