"""The columnar evaluator: evaluates the rules for all people and plates of a batch together.

A policy is compiled to a program with one step for each distinct condition of its rules. A step makes a boolean column with one value
for each subject. The rules that apply to a subject are the bits of a mask. A condition that columns cannot express is assumed to
be true where that makes a rule apply, and the events that it may concern are left to the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ninezero.agents.logic.policy.conditions import (
    Both,
    ComesFrom,
    Compared,
    Condition,
    Constant,
    Given,
    Has,
    Known,
    Listed,
    Not,
    Shows,
)
from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.rules import Rule
from ninezero.agents.logic.policy.subjects import Subjects
from ninezero.agents.logic.watchlist.columns import Array

Column = Any
"""A boolean array with one value for each subject, or one numpy boolean that holds for all of them."""

Step = Callable[[Subjects, Mapping[str, Column], Sequence[Column]], Column]
"""Returns the column of a condition, given the subjects, the circumstances by name, and the columns of the steps before."""

_LEAVES = (Constant, Has, Listed, Known, Compared, Shows, ComesFrom, Given)
"""The conditions that columns can express, besides `Both` and `Not`."""


class Applies(NamedTuple):
    """Which rules apply to each subject."""

    masks: Array
    """For each subject the bits of the rules that apply."""
    undecided: Column
    """Whether only the reference can say which rules apply."""


class Program:
    """The conditions of some rules, compiled.

    Args:
        rules: each rule with its condition for this kind of subject. The bit of a rule is its position.
        policy: the policy that states the thresholds.
    """

    def __init__(self, rules: Sequence[tuple[Rule, Condition]], policy: Policy) -> None:
        self._rules = [rule for rule, _ in rules]
        self._policy = policy
        self._steps: list[Step] = []
        self._numbers: dict[Condition, int] = {}
        """The step of each condition."""
        self._apply: list[tuple[Any, int]] = []
        """For each rule its bit and the step that says where it applies."""
        self._may_apply: list[int] = []
        """Steps that say where a rule may apply that only the reference can evaluate."""
        for number, (_, condition) in enumerate(rules):
            if (bound := at_most(condition)) == condition:
                self._apply.append((np.uint64(1 << number), self._add(condition)))
            else:
                self._may_apply.append(self._add(bound))

    def rules_of(self, mask: int) -> list[Rule]:
        """Returns the rules of a mask."""
        return [rule for number, rule in enumerate(self._rules) if mask >> number & 1]

    def evaluate(self, subjects: Subjects, given: Mapping[str, Column]) -> Applies:
        """Evaluates all rules for all subjects. `given` holds the circumstances by name."""
        columns: list[Column] = []
        for step in self._steps:
            columns.append(step(subjects, given, columns))
        masks = np.zeros(subjects.size, np.uint64)
        for bit, number in self._apply:
            if columns[number] is not np.False_ and columns[number].any():
                masks |= np.where(columns[number], bit, np.uint64(0))
        undecided: Column = np.False_
        for number in self._may_apply:
            undecided = undecided | columns[number]
        return Applies(masks, undecided)

    def _add(self, condition: Condition) -> int:
        """Adds the steps of a condition that the program does not have yet. Returns the number of its own step."""
        if condition not in self._numbers:
            step = self._compile(condition)
            self._numbers[condition] = len(self._steps)
            self._steps.append(step)
        return self._numbers[condition]

    def _compile(self, condition: Condition) -> Step:
        match condition:
            case Both(left, right):
                first, second = self._add(left), self._add(right)
                return lambda subjects, given, columns: columns[first] & columns[second]
            case Not(inner):
                number = self._add(inner)
                return lambda subjects, given, columns: ~columns[number]
            case Constant(value):
                return lambda subjects, given, columns: np.bool_(value)
            case Has(domain):
                return lambda subjects, given, columns: subjects.has(domain)
            case Listed(domains, categories):
                return lambda subjects, given, columns: subjects.listed(domains, categories)
            case Known(reading):
                return lambda subjects, given, columns: ~np.isnan(subjects.reading(reading))
            case Compared(reading, "at least", bound):
                lowest = self._policy.threshold(bound)
                return lambda subjects, given, columns: subjects.reading(reading) >= lowest
            case Compared(reading, "at most", bound):
                highest = self._policy.threshold(bound)
                return lambda subjects, given, columns: subjects.reading(reading) <= highest
            case Shows(code):
                return lambda subjects, given, columns: subjects.shows(code)
            case ComesFrom(place):
                return lambda subjects, given, columns: given[place]
            case Given(circumstance):
                return lambda subjects, given, columns: given[circumstance]
            case _:
                raise TypeError(f"this evaluator does not know the condition {type(condition).__name__}")


def at_most(condition: Condition, assumed: bool = True) -> Condition:
    """Returns a condition that columns can express, and that is true wherever `condition` may be.

    Args:
        condition: the condition. It is returned unchanged if columns can express it.
        assumed: what is assumed of the parts that they cannot express.
    """
    match condition:
        case Both(left, right):
            return Both(at_most(left, assumed), at_most(right, assumed))
        case Not(inner):
            return Not(at_most(inner, not assumed))
        case _ if isinstance(condition, _LEAVES):
            return condition
        case _:
            return Constant(assumed)
