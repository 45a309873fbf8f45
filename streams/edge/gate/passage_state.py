"""Everything that was entered of a passage, and the passage that it makes. No repr holds an identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ninezero.streams.edge.bilingual import Bilingual, joined
from ninezero.streams.edge.device.travellers import Passage, Traveller
from ninezero.streams.edge.documents.normal_forms import Domain
from ninezero.streams.edge.gate import texts
from ninezero.streams.edge.gate.items import Fact, Identity


@dataclass(frozen=True, repr=False)
class Person:
    """One person as entered so far."""

    documents: Mapping[Domain, Identity] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def is_empty(self) -> bool:
        """Returns whether nothing was entered of the person."""
        return not self.documents and not self.facts


@dataclass(frozen=True, repr=False)
class Question:
    """An item that is not used until the guard says whose it is."""

    item: Identity | Fact
    text: Bilingual


@dataclass(frozen=True, repr=False)
class State:
    """Everything entered so far. A line makes a new state, so that taking it back is to return to the one before."""

    people: tuple[Person, ...] = (Person(),)
    plate: Identity | None = None
    vehicle: bool = False
    direction: Literal["in", "out"] = "in"
    zone: tuple[str, ...] = ()
    question: Question | None = None

    @property
    def last(self) -> Person:
        """The person that is being entered."""
        return self.people[-1]

    @property
    def is_vehicle(self) -> bool:
        """Whether it is a vehicle: by its plate, by several people, or because the guard said so."""
        return self.vehicle or self.plate is not None or len(self.people) > 1

    def with_last(self, person: Person) -> State:
        """Returns the state with another content of the person that is being entered."""
        return replace(self, people=(*self.people[:-1], person))


def summary(passage: Passage) -> Bilingual:
    """Returns what the device accepted, in one line without an identity: the kind, the direction and the number of people."""
    said = [texts.ACCEPTED, texts.KINDS[passage.kind], texts.DIRECTIONS[passage.direction]]
    return joined([*said, texts.PEOPLE.format(n=len(passage.people))])


def complete(state: State) -> Passage:
    """Returns the passage. The first person of a vehicle is its driver."""
    roles: list[Any] = ["driver" if state.is_vehicle else "pedestrian", *["passenger"] * (len(state.people) - 1)]
    return Passage(
        kind="vehicle" if state.is_vehicle else "pedestrian",
        direction=state.direction,
        plate=None if state.plate is None else str(state.plate.written),
        people=[_traveller(role, person) for role, person in zip(roles, state.people, strict=True)],
    )


_FIELDS = {
    "temperature": "temperature_c",
    "confirmed": "temperature_confirmed_c",
    "health_code": "health_code",
    "origin": "origin",
}
"""The fields of `Traveller` for the facts about a person."""


def _traveller(role: Any, person: Person) -> Traveller:
    fields: dict[str, Any] = {name: person.facts[fact].value for fact, name in _FIELDS.items() if fact in person.facts}
    for domain, document in person.documents.items():
        if isinstance(document.written, tuple):
            fields["mrz"] = list(document.written)
        else:
            fields["pass_" if domain == "pass" else domain] = document.written
    return Traveller(role=role, **fields)
