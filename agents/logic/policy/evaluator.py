"""Evaluates a policy for the events of a batch together: from decoded events to a verdict on each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from ninezero.agents.logic.policy.columnar import Column, Program
from ninezero.agents.logic.policy.decision import Match, RuleHit, entries_behind
from ninezero.agents.logic.policy.event_reader import Events
from ninezero.agents.logic.policy.origins import Place, place_of
from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.rules import RULES
from ninezero.agents.logic.policy.subjects import Subjects, look_up, people_of, plates_of
from ninezero.agents.logic.policy.verdicts import PersonRule, Verdict, Verdicts
from ninezero.agents.logic.watchlist.columns import Array, flags
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import Person
from ninezero.schemas.fast_decode import string_patterns

_PLACES: tuple[Place | None, ...] = (None, "other district", "other province")
_INVALID_ORIGIN = len(_PLACES)
"""Number of an origin that does not have the form of one. The other numbers are positions in _PLACES."""

LIMIT = 1 << 16
"""Number of origins and of combinations of masks that are remembered before all are forgotten."""


class Shape(NamedTuple):
    """How the people and the plate of many events are read. Each function returns one value for each event."""

    people: Callable[[Sequence[Any]], list[Sequence[Any]]]
    inbound: Callable[[Sequence[Any]], list[bool]]
    plates: Callable[[Sequence[Any]], list[str | None]]
    checkpoint: bool


class JudgedEvents(NamedTuple):
    """The verdicts on events, and the watchlist entries behind them."""

    verdicts: list[Verdict]
    """The verdict on each event."""
    numbers: Array
    """The number of each verdict."""
    undecided: Array
    """Whether the event may be invalid, or has a rule that only the reference can evaluate. Then its verdict has no meaning."""
    people: Subjects
    sizes: Array
    """The number of people of each event."""
    first_person: Array
    """The position of its first person among the people."""
    plates: Subjects
    with_plate: Array
    """Position of the event of each plate."""
    watchlist: WatchlistIndex
    """It must not change as long as entries are read."""

    def hits(self, event: int) -> list[RuleHit]:
        """Returns the rule hits of an event with the entries behind each."""
        verdict = self.verdicts[event]
        if not verdict.reads_lists:
            return verdict.hits
        hits = []
        for person, name in ((hit.person, hit.rule) for hit in verdict.hits):
            rule = RULES[name]
            if person is None:
                causes, subjects, subject = rule.plate_entries, self.plates, np.searchsorted(self.with_plate, event)
            else:
                causes, subjects, subject = rule.person_entries, self.people, self.first_person[event] + person
            rows = subjects.entries.get(int(subject), ()) if causes else ()
            matches = [Match(domain, self.watchlist.entry(row)) for domain, row in rows]
            hits.append(RuleHit(person, name, entries_behind(causes, matches)))
        return hits


class Evaluator:
    """Evaluates one policy for the events of one kind.

    Args:
        policy: the policy.
        shape: how the people and plates of the events are read.
    """

    def __init__(self, policy: Policy, shape: Shape) -> None:
        self.verdicts = Verdicts(policy)
        self._shape, self._exempt = shape, frozenset(policy.exempt_origins)
        of_people = [(rule, rule.person) for rule in policy.rules() if rule.person is not None]
        of_plates = [(rule, rule.plate) for rule in policy.rules() if rule.plate is not None]
        self._people, self._plates = Program(of_people, policy), Program(of_plates, policy)
        self._verdict_of: dict[tuple[int, ...], Verdict] = {}
        """Verdicts by the masks of the event's people, then that of its plate."""
        self._places: dict[tuple[str, str | None], int] = {}
        """Places by home and origin."""
        self._is_origin = re.compile(string_patterns(Person)["origin"]).match

    def judge(self, events: Events, index: WatchlistIndex, home: str, stale: bool) -> JudgedEvents:
        """Returns the verdicts on at least one event.

        Args:
            events: the decoded events.
            index: the watchlist.
            home: six-digit division code of the district.
            stale: whether the last heartbeat of the watchlist is too old.
        """
        common = {"checkpoint": np.bool_(self._shape.checkpoint), "stale list": np.bool_(stale)}
        groups = self._shape.people(events.events)
        everyone = list(chain.from_iterable(groups))
        sizes = _sizes(groups, len(everyone))
        first_person = np.cumsum(sizes) - sizes
        people = people_of(everyone)
        shown = self._shape.plates(events.events)
        with_plate = _positions(shown)
        plates = plates_of([plate for plate in shown if plate is not None])
        look_up(people, plates, np.repeat(events.observed_us, sizes), events.observed_us[with_plate], index)
        inbound = self._shape.inbound(events.events)
        places = self._place_numbers(people.values("origin"), home)
        given: dict[str, Column] = {place: places == n for n, place in enumerate(_PLACES) if place is not None}
        masks, undecided = self._people.evaluate(
            people,
            {
                **common,
                **given,
                "inbound": np.True_ if all(inbound) else np.repeat(flags(inbound), sizes),
                "unknown key": people.unknown_key,
            },
        )
        undecided = undecided | people.malformed | (places == _INVALID_ORIGIN)
        undecided = np.logical_or.reduceat(np.broadcast_to(undecided, people.size), first_person)

        plate_masks = np.zeros(len(groups), np.uint64)
        plate_masks[with_plate], of_plates = self._plates.evaluate(
            plates, {**common, "unknown key": plates.unknown_key}
        )
        undecided[with_plate] |= of_plates | plates.malformed
        verdicts, numbers = self._verdicts(masks, first_person, sizes, plate_masks)
        return JudgedEvents(verdicts, numbers, undecided, people, sizes, first_person, plates, with_plate, index)

    def _verdicts(
        self, masks: Array, first_person: Array, sizes: Array, plate_masks: Array
    ) -> tuple[list[Verdict], Array]:
        """Returns the verdict on each event, by the masks of its people and plate, and the number of each verdict."""
        verdicts = [self.verdicts.clear] * len(sizes)
        numbers = np.full(len(sizes), self.verdicts.clear.number)
        concerned = np.flatnonzero(np.bitwise_or.reduceat(masks, first_person) | plate_masks)
        if not len(concerned):
            return verdicts, numbers
        first, ends = first_person[concerned], first_person[concerned] + sizes[concerned]
        of_people, of_plates = masks.tolist(), plate_masks[concerned].tolist()
        for event, a, b, plate in zip(concerned.tolist(), first.tolist(), ends.tolist(), of_plates, strict=True):
            key = (*of_people[a:b], plate)
            verdicts[event] = self._verdict_of.get(key) or self._new_verdict(key)
        numbers[concerned] = [verdicts[event].number for event in concerned.tolist()]
        return verdicts, numbers

    def _new_verdict(self, masks: tuple[int, ...]) -> Verdict:
        """Returns the verdict for the masks of the people and the plate of one event."""
        if len(self._verdict_of) > LIMIT:
            self._verdict_of.clear()
        *of_people, of_plate = masks
        hits: list[PersonRule] = [
            (n, rule.name) for n, mask in enumerate(of_people) for rule in self._people.rules_of(mask)
        ]
        hits += [(None, rule.name) for rule in self._plates.rules_of(of_plate)]
        self._verdict_of[masks] = self.verdicts.of(hits)
        return self._verdict_of[masks]

    def _place_numbers(self, origins: list[str | None], home: str) -> Array:
        """Returns for each origin the number of its place."""
        if len(self._places) > LIMIT:
            self._places.clear()
        numbers = {origin: self._place_number(origin, home) for origin in set(origins)}
        if not any(numbers.values()):
            return np.zeros(len(origins), np.uint8)
        return np.fromiter(map(numbers.__getitem__, origins), np.uint8, len(origins))

    def _place_number(self, origin: str | None, home: str) -> int:
        number = self._places.get((home, origin))
        if number is None:
            valid = origin is None or self._is_origin(origin)
            number = _PLACES.index(place_of(origin, home, self._exempt)) if valid else _INVALID_ORIGIN
            self._places[home, origin] = number
        return number


def _positions(given: Sequence[object]) -> Array:
    """Returns the positions at which something is given."""
    if None not in given:
        return np.arange(len(given))
    return np.array([n for n, one in enumerate(given) if one is not None], np.intp)


def _sizes(groups: Sequence[Sequence[object]], total: int) -> Array:
    """Returns the size of each group. None is empty."""
    if total == len(groups):
        return np.ones(total, np.intp)
    return np.fromiter(map(len, groups), np.intp, len(groups))
