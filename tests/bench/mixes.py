"""The mixes of scans that are measured. A mix states the rules that apply to each scan, independently of any evaluator."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count, cycle, repeat
from typing import Any, NamedTuple

from ninezero.schemas.events import Category
from tests.bench.watchlist import token

HOME = "370115"
PersonRule = tuple[int | None, str]
"""Index of the person, None for the plate, and the name of a rule that applies."""


class Passage(NamedTuple):
    """What a mix says of one scan."""

    plate: str
    people: str
    """The people as JSON."""
    rules: list[PersonRule] | None
    """What applies, sorted as in an alert. None if the scan is malformed and must be dead-lettered."""


class ListOfMix(NamedTuple):
    """A list of the watchlist."""

    name: str
    category: Category
    starts: timedelta
    """When its entries begin to hold, from now."""
    lines: Callable[[], Iterator[dict[str, str]]]
    """Yields the token of each entry by domain."""


class Mix(NamedTuple):
    """A kind of traffic. Its scans are the same in each run, and the first of many are those of few."""

    name: str
    passages: Callable[[int], Iterator[Passage]]
    """Yields passages without end, given the number of entries on the list of contacts."""
    lists: tuple[ListOfMix, ...] = ()
    """The lists that it needs beside that of contacts."""


def contacts(entries: int) -> ListOfMix:
    """Returns the list that every deployment of a benchmark has."""
    return ListOfMix("contacts", "close_contact", -_DAY, lambda: ({"id": token("id", n)} for n in range(entries)))


def _usual(entries: int) -> Iterator[Passage]:
    for n in count():
        person = n * 7919 % entries if n % 100 == 0 else entries + n % 100_000
        malformed, fever, outside = n % 1000 == 999, n % 100 == 50, n % 200 == 75
        reading = '"36.5"' if malformed else 37.8 if fever else 36.5
        rule = "close_contact" if n % 100 == 0 else "fever_unconfirmed" if fever else "outside_district_without_pass"
        yield Passage(
            token("plate", n % 50_000),
            f'[{{"role":"driver","tokens":{{"id":"{token("id", person)}","phone":"{token("phone", person)}"}},"temperature_c":{reading},'
            f'"health_code":"green","origin":"{"370112" if outside else HOME}"}}]',
            None if malformed else [(0, rule)] if n % 100 == 0 or fever or outside else [],
        )


_DAY = timedelta(days=1)
_POOL = 300_000
"""Number of people who travel on the expressway, of whom 40 % come from elsewhere."""
_FIRST_TRAVELLER, _FIRST_LISTED, _LISTED = 100_000_000, 200_000_000, 1000
"""Numbers of the first traveller and of the first person on a list, and the number of people on each of these lists."""
_ELSEWHERE = ("410100", "320500", "370112", "HK")
"""Where people from elsewhere come from: other provinces, another district of the province, another country."""


def _from_elsewhere(traveller: int) -> bool:
    return traveller % 5 < 2


def _without_pass(traveller: int) -> bool:
    return traveller // 5 % 10 == 9


def _holders(tomorrow: bool) -> Iterator[dict[str, str]]:
    """Yields the tokens of each pass that holds now, or from tomorrow on. Half of those without a pass have one for tomorrow."""
    for n in range(_POOL):
        if _from_elsewhere(n) and (_without_pass(n) and n % 2 == 0 if tomorrow else not _without_pass(n)):
            number = _FIRST_TRAVELLER + n
            yield {"id": token("id", number), "pass": token("pass", number)}


def _listed(first: int, *domains: str) -> Callable[[], Iterator[dict[str, str]]]:
    """Returns what yields the tokens of the people of a list, in these domains."""
    people = range(_FIRST_LISTED + first, _FIRST_LISTED + first + _LISTED)
    return lambda: ({domain: token(domain, n) for domain in domains} for n in people)


_RARE_FIELDS: dict[str, dict[str, Any]] = {
    "health_code_red": {"health_code": "red"},
    "health_code_yellow": {"health_code": "yellow"},
    "no_temperature": {"temperature_c": None},
    "temperature_implausible": {"temperature_c": 21.5},
    "fever_unconfirmed": {"temperature_c": 37.9},
}
"""Fields of a person that make a rare rule apply."""

EXPRESSWAY_LISTS = (
    ListOfMix("cases", "confirmed_case", -_DAY, _listed(0, "id", "phone")),
    ListOfMix("suspected", "suspected_case", -_DAY, _listed(500, "passport", "phone")),  # half of the phones are those of cases, too
    ListOfMix("orders", "quarantine_order", -_DAY, _listed(2000, "id", "passport")),
    ListOfMix("regions", "risk_region_arrival", -_DAY, _listed(2500, "id", "phone")),  # half of them have an order, too
    ListOfMix("vehicles", "close_contact", -_DAY, _listed(4000, "plate")),
    ListOfMix("passes", "health_pass", -_DAY, lambda: _holders(tomorrow=False)),
    ListOfMix("passes-of-tomorrow", "health_pass", _DAY, lambda: _holders(tomorrow=True)),
)  # fmt: skip


class _Expressway:
    """Makes the people of the expressway.

    Two in five come from elsewhere, of whom nine in ten hold a pass. One in ten was measured twice, of whom one in twenty has a fever.
    One in a hundred is on a list. What is rarer makes every rule occur but `list_stale`.
    """

    def __init__(self, entries: int) -> None:
        self._random = random.Random(20200205)
        self._travellers = cycle(self._random.sample(range(_POOL), _POOL))
        self._entries = entries

    def passages(self, sizes: Iterator[int]) -> Iterator[Passage]:
        """Yields passages with as many people as `sizes` says. Of each thousand, one is malformed."""
        for n, size in enumerate(sizes):
            made = [self._person(number) for number in range(size)]
            rules: list[PersonRule] = [(number, rule) for number, (_, some) in enumerate(made) for rule in sorted(some)]
            plate = token("plate", n % 50_000)
            if self._random.random() < 0.002:
                plate = token("plate", _FIRST_LISTED + 4000 + n % _LISTED)
                rules.append((None, "weak_match"))
            people = [person for person, _ in made]
            malformed = n % 1000 == 999
            if malformed:
                people[-1] |= {"temperature_c": "36.5"}
            yield Passage(plate, json.dumps(people, separators=(",", ":")), None if malformed else rules)

    def _person(self, number: int) -> tuple[dict[str, Any], list[str]]:
        """Returns a person, and the rules that apply to them."""
        traveller, chance = next(self._travellers), self._random.random
        domains: dict[str, int | str] = dict.fromkeys(("id", "phone"), _FIRST_TRAVELLER + traveller)
        person: dict[str, Any] = {
            "role": "passenger" if number else "driver", "tokens": {}, "temperature_c": round(36.0 + chance(), 1),
            "health_code": "green", "origin": HOME,
        }  # fmt: skip
        rules = []
        if _from_elsewhere(traveller):
            person["origin"] = _ELSEWHERE[traveller // 50 % 4]
            if traveller % 2:
                domains["pass"] = _FIRST_TRAVELLER + traveller  # the others are found by their identity cards
            if _without_pass(traveller):
                near = person["origin"] == "370112"
                rules.append("outside_district_without_pass" if near else "outside_province_without_pass")
        elif chance() < 0.01 / 0.6:
            rules += self._list(domains)
        if chance() < 0.1:
            fever = chance() < 0.05
            person |= {"temperature_c": 37.5, "temperature_confirmed_c": 37.8 if fever else 36.6}
            rules += ["fever"] * fever
        elif not rules and not _from_elsewhere(traveller) and chance() < 0.015:
            rules.append(self._rare(person, domains))
        person["tokens"] = {name: n if isinstance(n, str) else token(name, n) for name, n in domains.items()}
        return person, rules

    def _list(self, domains: dict[str, int | str]) -> list[str]:
        """Puts a person on a list. Returns the rules that apply then."""
        which, at = self._random.randrange(10), self._random.randrange(_LISTED)
        match which:
            case 0 | 1 | 2 | 3 | 4:
                domains["id"] = int(self._random.random() * self._entries)  # one draw, whatever their number
                return ["close_contact"]
            case 5:
                domains |= dict.fromkeys(("id", "phone"), _FIRST_LISTED + at)
                return ["confirmed_case"]
            case 6:
                del domains["id"]
                domains |= dict.fromkeys(("passport", "phone"), _FIRST_LISTED + 500 + at)
                return ["suspected_case"]
            case 7:
                domains |= dict.fromkeys(("id", "passport"), _FIRST_LISTED + 2000 + at)
                return ["quarantine_order"] + ["risk_region_arrival"] * (at >= 500)
            case 8:
                domains["id"] = _FIRST_LISTED + 2500 + at
                return ["risk_region_arrival"] + ["quarantine_order"] * (at < 500)
        domains["phone"] = _FIRST_LISTED + at
        return ["weak_match"]

    def _rare(self, person: dict[str, Any], domains: dict[str, int | str]) -> str:
        """Changes a person to whom no rule applies so that a rare one does. Returns that rule."""
        rule = self._random.choice(("no_identity", "unknown_key", *_RARE_FIELDS))
        if rule == "no_identity":
            del domains["id"]
        elif rule == "unknown_key":
            domains["phone"] = f"k2{token('phone', 0)[2:]}"
        else:
            person |= _RARE_FIELDS[rule]
        return rule


_SIZES = (1, 2, 2, 3, 4, 6)
"""How many people the vehicles of the expressway have: three on average."""


def _expressway(entries: int) -> Iterator[Passage]:
    sizes = random.Random(3)
    return _Expressway(entries).passages(sizes.choice(_SIZES) for _ in count())


def coach(people: int) -> Mix:
    """Returns the mix of the expressway with a fixed number of people in each vehicle."""
    return Mix(f"{people} people", lambda entries: _Expressway(entries).passages(repeat(people)), EXPRESSWAY_LISTS)


def concerning(percent: int) -> Mix:
    """Returns a mix of drivers of whom this many in a hundred have a reason or a pass: two fifths a pass, the others one reason each."""
    kinds = ("pass", "fever", "contact", "pass", "outside")
    chosen = random.Random(percent).sample(range(100), percent)
    kind_of = {position: kinds[number % 5] for number, position in enumerate(sorted(chosen))}

    def passages(entries: int) -> Iterator[Passage]:
        holders = cycle(n for n in range(1, _POOL, 2) if _from_elsewhere(n) and not _without_pass(n))
        for n in count():
            kind = kind_of.get(n % 100, "")
            number = {"pass": _FIRST_TRAVELLER + next(holders), "contact": n * 7919 % entries}.get(kind, entries + n % 100_000)  # fmt: skip
            tokens = {domain: token(domain, number) for domain in (("id", "phone", "pass") if kind == "pass" else ("id", "phone"))}  # fmt: skip
            person = {"role": "driver", "tokens": tokens, "temperature_c": 37.8 if kind == "fever" else 36.5, "health_code": "green",
                      "origin": "410100" if kind in ("pass", "outside") else HOME}  # fmt: skip
            rules = {"fever": "fever_unconfirmed", "contact": "close_contact", "outside": "outside_province_without_pass"}  # fmt: skip
            yield Passage(
                token("plate", n % 50_000),
                json.dumps([person], separators=(",", ":")),
                [(0, rules[kind])] if kind in rules else [],
            )

    return Mix(f"{percent} % concerning", passages, EXPRESSWAY_LISTS)


USUAL = Mix("usual", _usual)
EXPRESSWAY = Mix("expressway", _expressway, EXPRESSWAY_LISTS)
MIXES = {mix.name: mix for mix in (USUAL, EXPRESSWAY)}
"""The mixes of the comparison with peers."""
