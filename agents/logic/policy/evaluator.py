"""Evaluates policies for the events of a batch together: from decoded events to a verdict on each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from ninezero.agents.logic.policy.columnar import LIST_AGE, Program
from ninezero.agents.logic.policy.decision import Match, RuleHit, entries_behind
from ninezero.agents.logic.policy.event_reader import Events
from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.rules import OUTCOMES, RULES
from ninezero.agents.logic.policy.subjects import Homes, Subjects, look_up, people_of, plates_of
from ninezero.agents.logic.policy.verdicts import PersonRule, Verdict, Verdicts
from ninezero.agents.logic.watchlist.columns import Array, flags
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import Person
from ninezero.schemas.fast_decode import PatternCache, string_patterns

LIMIT = 1 << 16
"""Number of combinations of masks that are remembered before all are forgotten."""

_CLEAR = OUTCOMES.index("clear")

_PERSON_CAUSES = {name: rule.person_entries for name, rule in RULES.items()}
_PLATE_CAUSES = {name: rule.plate_entries for name, rule in RULES.items()}
"""The entries behind each rule. To find them takes longer than to encode an alert."""


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
    with_hits: Array
    """Whether a rule applies to the event. If none does it is clear, whatever it is under shadow policies."""
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
        for hit in verdict.hits:
            causes = (_PLATE_CAUSES if hit.person is None else _PERSON_CAUSES)[hit.rule]
            if not causes:
                hits.append(hit)
                continue
            if hit.person is None:
                subjects, subject = self.plates, np.searchsorted(self.with_plate, event)
            else:
                subjects, subject = self.people, self.first_person[event] + hit.person
            matches = [
                Match(domain, self.watchlist.entry(row)) for domain, row in subjects.entries.get(int(subject), ())
            ]
            hits.append(RuleHit(hit.person, hit.rule, entries_behind(causes, matches)))
        return hits


class Evaluator:
    """Evaluates a policy for the events of one kind, and shadow policies beside it.

    Args:
        policy: the policy that decides.
        shape: how the people and plates of the events are read.
        shadows: the shadow policies. Of each only the outcome is found.
    """

    def __init__(self, policy: Policy, shape: Shape, shadows: Sequence[Policy] = ()) -> None:
        self.policy, self.shadows = policy, tuple(shadows)
        self.verdicts = Verdicts(policy, len(self.shadows))
        self._shape, self._rules = shape, policy.rules()
        policies = (policy, *self.shadows)
        self._people = Program(policies, lambda rule: rule.person)
        self._plates = Program(policies, lambda rule: rule.plate)
        self._outcomes = [_outcome_bits(shadow) for shadow in self.shadows]
        self._verdict_of: dict[tuple[int, ...], Verdict] = {}
        """Verdicts by the mask of the event's plate, its outcomes under the shadows, then the masks of its people."""
        self._origins = PatternCache(string_patterns(Person)["origin"])

    def judge(
        self, events: Events, index: WatchlistIndex, home_of_site: Callable[[str], str], list_age_s: float
    ) -> JudgedEvents:
        """Returns the verdicts on at least one event.

        Args:
            events: the decoded events.
            index: the watchlist.
            home_of_site: site_id → six-digit division code of its district. It is called if a policy asks for homes of sites.
            list_age_s: the seconds since the last heartbeat of the watchlist.
        """
        common = {"checkpoint": np.bool_(self._shape.checkpoint), LIST_AGE: np.float64(list_age_s)}
        groups = self._shape.people(events.events)
        everyone = list(chain.from_iterable(groups))
        sizes = _sizes(groups, len(everyone))
        first_person = np.cumsum(sizes) - sizes
        people = people_of(everyone, lambda: _homes(events.events, sizes, home_of_site))
        shown = self._shape.plates(events.events)
        with_plate = _positions(shown)
        plates = plates_of([plate for plate in shown if plate is not None])
        look_up(people, plates, np.repeat(events.observed_us, sizes), events.observed_us[with_plate], index)
        inbound = self._shape.inbound(events.events)
        masks, undecided = self._people.evaluate(
            people,
            {
                **common,
                "inbound": np.True_ if all(inbound) else np.repeat(flags(inbound), sizes),
                "unknown key": people.unknown_key,
            },
        )
        undecided = undecided | people.malformed
        if malformed := self._origins.mismatches(people.origins):
            undecided = undecided | flags([origin in malformed for origin in people.values("origin")])
        undecided = np.logical_or.reduceat(np.broadcast_to(undecided, people.size), first_person)

        of_plates, undecided_plates = self._plates.evaluate(plates, {**common, "unknown key": plates.unknown_key})
        undecided[with_plate] |= undecided_plates | plates.malformed
        plate_masks = np.zeros(len(groups), np.uint64)
        plate_masks[with_plate] = of_plates[0]
        of_events = np.bitwise_or.reduceat(masks[0], first_person) | plate_masks
        would = [
            _outcome_numbers(bits, of_people, of_plate, first_person, with_plate)
            for bits, of_people, of_plate in zip(self._outcomes, masks[1:], of_plates[1:], strict=True)
        ]
        with_hits = of_events != 0
        verdicts, numbers = self._verdicts(with_hits, masks[0], first_person, sizes, plate_masks, would)
        return JudgedEvents(
            verdicts, numbers, undecided, with_hits, people, sizes, first_person, plates, with_plate, index
        )

    def _verdicts(
        self,
        with_hits: Array,
        masks: Array,
        first_person: Array,
        sizes: Array,
        plate_masks: Array,
        would: Sequence[Array],
    ) -> tuple[list[Verdict], Array]:
        """Returns the verdict on each event, and the number of each verdict.

        Args:
            with_hits: whether a rule applies to the event.
            masks: the masks of all people.
            first_person: the position of the first person of each event.
            sizes: the number of people of each event.
            plate_masks: the mask of the plate of each event.
            would: for each shadow policy the number of the outcome of each event.
        """
        verdicts = [self.verdicts.clear] * len(sizes)
        numbers = np.full(len(sizes), self.verdicts.clear.number)
        for outcomes in would:
            with_hits = with_hits | (outcomes != _CLEAR)
        concerned = np.flatnonzero(with_hits)
        if not len(concerned):
            return verdicts, numbers
        first, ends = first_person[concerned], first_person[concerned] + sizes[concerned]
        of_people = masks.tolist()
        besides = zip(*(column[concerned].tolist() for column in (plate_masks, *would)), strict=True)
        for event, a, b, others in zip(concerned.tolist(), first.tolist(), ends.tolist(), besides, strict=True):
            key = (*others, *of_people[a:b])
            verdicts[event] = self._verdict_of.get(key) or self._new_verdict(key)
        numbers[concerned] = [verdicts[event].number for event in concerned.tolist()]
        return verdicts, numbers

    def _new_verdict(self, key: tuple[int, ...]) -> Verdict:
        """Returns the verdict for a plate's mask, the numbers of outcomes under the shadows, and the masks of people."""
        if len(self._verdict_of) > LIMIT:
            self._verdict_of.clear()
        of_plate, would, of_people = key[0], key[1 : 1 + len(self.shadows)], key[1 + len(self.shadows) :]
        hits: list[PersonRule] = [(n, rule) for n, mask in enumerate(of_people) for rule in self._names(mask)]
        hits += [(None, rule) for rule in self._names(of_plate)]
        self._verdict_of[key] = self.verdicts.of(hits, [OUTCOMES[number] for number in would])
        return self._verdict_of[key]

    def _names(self, mask: int) -> list[str]:
        """Returns the names of the rules of a mask."""
        return [rule.name for number, rule in enumerate(self._rules) if mask >> number & 1]


def _outcome_bits(policy: Policy) -> list[tuple[int, Any]]:
    """Returns the number of each outcome of a policy with the bits of the rules that have it, the most severe last."""
    bits: dict[int, int] = {}
    for number, rule in enumerate(policy.rules()):
        outcome = OUTCOMES.index(policy.outcome(rule))
        bits[outcome] = bits.get(outcome, 0) | 1 << number
    return [(outcome, np.uint64(some)) for outcome, some in sorted(bits.items(), reverse=True)]


def _outcome_numbers(
    outcome_bits: Sequence[tuple[int, Any]], masks: Array, plate_masks: Array, first_person: Array, with_plate: Array
) -> Array:
    """Returns the number of the outcome of each event.

    Args:
        outcome_bits: see `_outcome_bits`.
        masks: the masks of all people.
        plate_masks: the masks of all plates.
        first_person: the position of the first person of each event.
        with_plate: the position of the event of each plate.
    """
    of_events = np.bitwise_or.reduceat(masks, first_person)
    of_events[with_plate] |= plate_masks
    numbers = np.full(len(of_events), _CLEAR, np.uint8)
    if of_events.any():
        for outcome, bits in outcome_bits:
            numbers[(of_events & bits) != 0] = outcome
    return numbers


def _homes(events: Sequence[Any], sizes: Array, home_of_site: Callable[[str], str]) -> Homes:
    """Returns the homes of the people of some events."""
    by_site = {site: home_of_site(site) for site in {event.site_id for event in events}}
    numbers = {home: number for number, home in enumerate(dict.fromkeys(by_site.values()))}
    if len(numbers) == 1:
        return Homes(list(numbers), None)
    of_events = np.fromiter((numbers[by_site[event.site_id]] for event in events), np.intp, len(events))
    return Homes(list(numbers), np.repeat(of_events, sizes))


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
