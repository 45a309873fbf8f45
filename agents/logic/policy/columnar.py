"""The columnar evaluator: evaluates the rules for all people and plates of a batch together.

Policies are compiled to one program with one step for each distinct condition of their rules, its thresholds included. A step makes a
boolean column with one value for each subject. The rules that apply to a subject under a policy are the bits of a mask. A condition
that columns cannot express is assumed to be true where that makes a rule apply, and the events that it may concern are left to
the reference.
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
from ninezero.agents.logic.policy.origins import Place
from ninezero.agents.logic.policy.places import PLACES, Places
from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.rules import Rule
from ninezero.agents.logic.policy.subjects import Subjects
from ninezero.agents.logic.watchlist.columns import Array

Column = Any
"""A boolean array with one value for each subject, or one numpy boolean that holds for all of them."""

Step = Callable[[Subjects, Mapping[str, Column], Sequence[Column]], Column]
"""Returns the column of a condition, given the subjects, the circumstances by name, and the columns of the steps before."""

LIST_AGE = "age of the lists"
"""The circumstance that is a number: the seconds since the last heartbeat of the watchlist."""


class Applies(NamedTuple):
    """Which rules apply to each subject."""

    masks: list[Array]
    """For each policy and each subject the bits of the rules that apply. Policies with equal conditions share one array."""
    undecided: Column
    """Whether only the reference can say which rules apply."""


class InPlace(Condition, frozen=True, gc=False):
    """`ComesFrom` under a policy."""

    place: Place
    home: str
    exempt: frozenset[str]


class ListsOlder(Condition, frozen=True, gc=False):
    """`Given("stale list")` under a policy."""

    max_age_s: float


_LEAVES = (Constant, Has, Listed, Known, Compared, Shows, ComesFrom, InPlace, ListsOlder, Given)
"""The conditions that columns can express, besides `Both` and `Not`."""


class Program:
    """The conditions of the rules of some policies, compiled. What several of them ask is evaluated once.

    Args:
        policies: the policies.
        condition_of: returns the condition of a rule for this kind of subject; None if it never applies to one.

    Attributes:
        steps: the steps, in the order in which they are made.
    """

    def __init__(self, policies: Sequence[Policy], condition_of: Callable[[Rule], Condition | None]) -> None:
        self.steps: list[Step] = []
        self._numbers: dict[Condition | Places, int] = {}
        """The step of each condition, and of the places under a home."""
        self._places: dict[tuple[str, frozenset[str]], Places] = {}
        self._apply: list[tuple[tuple[int, int], ...]] = []
        """For each policy its rules: the bit of each, which is its position in `Policy.rules`, and the step that says where it applies."""
        self._may_apply: list[int] = []
        """Steps that say where a rule may apply that only the reference can evaluate."""
        for policy in policies:
            apply = []
            for number, rule in enumerate(policy.rules()):
                if (condition := condition_of(rule)) is None:
                    continue
                stated = under(policy, condition)
                if (bound := at_most(stated)) == stated:
                    apply.append((1 << number, self._add(stated)))
                else:
                    self._may_apply.append(self._add(bound))
            self._apply.append(tuple(apply))
        self._distinct = list(dict.fromkeys(self._apply))
        self._mask_of = [self._distinct.index(apply) for apply in self._apply]
        self._read = sorted({step for apply in self._distinct for _, step in apply})
        """The steps that say where rules apply."""

    def evaluate(self, subjects: Subjects, given: Mapping[str, Column]) -> Applies:
        """Evaluates all rules for all subjects. `given` holds the circumstances by name."""
        columns: list[Column] = []
        for step in self.steps:
            columns.append(step(subjects, given, columns))
        true = {n: columns[n] for n in self._read if columns[n] is not np.False_ and columns[n].any()}
        masks = [_masks(subjects.size, apply, true) for apply in self._distinct]
        undecided: Column = np.False_
        for number in self._may_apply:
            undecided = undecided | columns[number]
        return Applies([masks[number] for number in self._mask_of], undecided)

    def _add(self, condition: Condition) -> int:
        """Adds the steps of a condition that the program does not have yet. Returns the number of its own step."""
        if condition not in self._numbers:
            step = self._compile(condition)
            self._numbers[condition] = self._append(step)
        return self._numbers[condition]

    def _append(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def _add_places(self, home: str, exempt: frozenset[str]) -> int:
        """Adds the step that finds the places under a home, unless the program has it. Returns its number."""
        places = self._places.setdefault((home, exempt), Places(home, exempt))
        if places not in self._numbers:
            self._numbers[places] = self._append(lambda subjects, given, columns: places.column(subjects))
        return self._numbers[places]

    def _compile(self, condition: Condition) -> Step:
        match condition:
            case Both(left, right):
                first, second = self._add(left), self._add(right)
                return lambda subjects, given, columns: (
                    np.False_
                    if columns[first] is np.False_ or columns[second] is np.False_
                    else columns[first] & columns[second]
                )
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
            case Compared(reading, "at least", float(lowest)):
                return lambda subjects, given, columns: subjects.reading(reading) >= lowest
            case Compared(reading, "at most", float(highest)):
                return lambda subjects, given, columns: subjects.reading(reading) <= highest
            case Shows(code):
                return lambda subjects, given, columns: subjects.shows(code)
            case InPlace(place, home, exempt):
                places, where = self._add_places(home, exempt), PLACES.index(place)
                return lambda subjects, given, columns: columns[places] == where
            case ListsOlder(max_age_s):
                return lambda subjects, given, columns: given[LIST_AGE] > max_age_s
            case Given(circumstance):
                return lambda subjects, given, columns: given[circumstance]
            case _:
                raise TypeError(f"this evaluator does not know the condition {type(condition).__name__}")


def _masks(size: int, apply: Sequence[tuple[int, int]], true: Mapping[int, Column]) -> Array:
    """Returns for each subject the bits of the rules that apply.

    Args:
        size: number of subjects.
        apply: the bit of each rule, and the step that says where it applies.
        true: the columns of steps that are true anywhere.
    """
    masks = np.zeros(size, np.uint64)
    for bit, step in apply:
        if step in true:
            masks |= np.where(true[step], np.uint64(bit), np.uint64(0))
    return masks


def under(policy: Policy, condition: Condition) -> Condition:
    """Returns a condition with what the policy states in place of names, so that equal ones of several policies are equal."""
    match condition:
        case Both(left, right):
            return Both(under(policy, left), under(policy, right))
        case Not(inner):
            return Not(under(policy, inner))
        case Compared(reading, comparison, bound):
            return Compared(reading, comparison, policy.threshold(bound))
        case ComesFrom(place):
            return InPlace(place, policy.home, frozenset(policy.exempt_origins))
        case Given("stale list"):
            return ListsOlder(policy.max_list_age_s)
        case _:
            return condition


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
