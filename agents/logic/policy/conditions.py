"""The conditions of rules, as data: each is an expression that two evaluators interpret.

`reference.py` interprets an expression for one person or plate, `columnar.py` for all people and plates of a batch together.
Conditions are combined with `&`, `|` and `~`.

>>> TEMPERATURE >= "fever_c"
Compared(reading='temperature_c', comparison='at least', bound='fever_c')
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

from msgspec import Struct

from ninezero.schemas.events import Category, Matched

Bound = float | str
"""A number, or the name of a threshold of the policy (`Policy.threshold`)."""


class Condition(Struct, frozen=True, gc=False):
    """An expression that is true or false for one subject: a person or a plate."""

    def __and__(self, other: Condition) -> Condition:
        return Both(self, other)

    def __or__(self, other: Condition) -> Condition:
        return ~(~self & ~other)

    def __invert__(self) -> Condition:
        return self.inner if isinstance(self, Not) else Not(self)


class Both(Condition, frozen=True, gc=False):
    """Both conditions are true."""

    left: Condition
    right: Condition


class Not(Condition, frozen=True, gc=False):
    """The condition is false."""

    inner: Condition


class Constant(Condition, frozen=True, gc=False):
    """True or false for every subject."""

    value: bool


class Has(Condition, frozen=True, gc=False):
    """The subject has a token in a domain."""

    domain: Matched


class Listed(Condition, frozen=True, gc=False):
    """A valid entry of one of these categories has the subject's token in one of these domains."""

    domains: tuple[Matched, ...]
    """In the order in which an alert names them: an entry that matches in several is shown with the first."""
    categories: tuple[Category, ...]


class Known(Condition, frozen=True, gc=False):
    """The reading was taken."""

    reading: str


class Compared(Condition, frozen=True, gc=False):
    """The reading was taken and compares with a bound in this way."""

    reading: str
    comparison: Literal["at least", "at most"]
    bound: Bound


class Shows(Condition, frozen=True, gc=False):
    """The person shows a health code of this colour."""

    code: str


class ComesFrom(Condition, frozen=True, gc=False):
    """The person's origin is not exempt, and lies in this place as seen from home."""

    place: Literal["other district", "other province"]


class Given(Condition, frozen=True, gc=False):
    """A circumstance of the event or of the watchlist."""

    circumstance: Literal["checkpoint", "inbound", "stale list", "unknown key"]


class PersonIs(Condition, frozen=True, gc=False):
    """A function of the person is true. Only the reference can evaluate it, so it costs time for every person whom it may concern."""

    predicate: Callable[[Any], bool]


class Reading(Struct, frozen=True, gc=False):
    """A number that a person's record may have: the name of its field."""

    field: str

    @property
    def known(self) -> Condition:
        """Returns the condition that the reading was taken."""
        return Known(self.field)

    def __ge__(self, bound: Bound) -> Condition:
        return Compared(self.field, "at least", bound)

    def __le__(self, bound: Bound) -> Condition:
        return Compared(self.field, "at most", bound)

    def within(self, low: Bound, high: Bound) -> Condition:
        """Returns the condition that the reading is within bounds, both included."""
        return (self >= low) & (self <= high)


TEMPERATURE, SECOND_TEMPERATURE = Reading("temperature_c"), Reading("temperature_confirmed_c")


@cache
def causes(condition: Condition | None, negated: bool = False) -> tuple[Listed, ...]:
    """Returns the list conditions that make a condition true where they are true. Their entries are the cause."""
    match condition:
        case Both(left, right):
            return causes(left, negated) + causes(right, negated)
        case Not(inner):
            return causes(inner, not negated)
        case Listed() if not negated:
            return (condition,)
    return ()
