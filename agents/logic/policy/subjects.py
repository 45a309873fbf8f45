"""The people or plates of many events as columns: what the conditions of rules ask, for all of them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from itertools import compress, repeat
from operator import attrgetter, is_not
from typing import Any, NamedTuple

import numpy as np
from msgspec import UNSET

from ninezero.agents.logic.policy.rules import CONCERNING
from ninezero.agents.logic.watchlist.columns import Array
from ninezero.agents.logic.watchlist.groups import CATEGORIES
from ninezero.agents.logic.watchlist.index import FoundEntries, WatchlistIndex
from ninezero.agents.logic.watchlist.tokens import DOMAIN_NUMBER, key_of, well_formed
from ninezero.schemas.events import Category, Matched
from ninezero.schemas.joined_lines import DOMAINS

NOTHING_FOUND = FoundEntries(*[np.empty(0, np.intp)] * 3)


_COLUMNS: dict[str, Callable[[Sequence[Any]], list[Any]]] = {
    "temperature_c": lambda people: [person.temperature_c for person in people],
    "temperature_confirmed_c": lambda people: [person.temperature_confirmed_c for person in people],
    "health_code": lambda people: [person.health_code for person in people],
    "origin": lambda people: [person.origin for person in people],
}
"""How the usual fields of people are read. Any other field is read by its name, which takes twice as long."""


class FoundEntry(NamedTuple):
    """An entry that has a token of a subject."""

    domain: Matched
    row: int
    """Its row in the index."""


class Homes(NamedTuple):
    """The homes of people: those of the sites at which they are screened."""

    distinct: Sequence[str]
    """Six-digit division codes, each once."""
    of_people: Array | None
    """The position of each person's home among them; None if there is only one."""


class Tokens:
    """The tokens of many subjects, one domain after the other.

    Args:
        size: number of subjects.
        by_domain: for each domain a list with the token of each subject, or UNSET.
    """

    def __init__(self, size: int, by_domain: dict[Matched, list[Any]]) -> None:
        self.texts: list[str] = []
        self.owners_in: dict[Matched, Array | None] = {}
        """The subjects that have a token in a domain; None if all have one."""
        for domain, given in by_domain.items():
            if missing := given.count(UNSET):
                are_given = b"" if missing == len(given) else bytes(map(is_not, given, repeat(UNSET)))
                self.owners_in[domain] = np.flatnonzero(np.frombuffer(are_given, bool))
                self.texts += compress(given, are_given)
            else:
                self.owners_in[domain] = None
                self.texts += given
        owners_in = [np.arange(size) if owners is None else owners for owners in self.owners_in.values()]
        self.owners: Array = np.concatenate(owners_in)
        """The subject of each token."""
        self.domains: Array = np.repeat([DOMAIN_NUMBER[domain] for domain in by_domain], list(map(len, owners_in)))


class Subjects:
    """The people or plates of many events. `look_up` makes them.

    Args:
        size: their number.
        people: the people; none for plates.
        tokens: their tokens.
        homes: returns the homes of the people. It is called when a policy asks for them.
    """

    def __init__(
        self, size: int, people: Sequence[Any], tokens: Tokens, homes: Callable[[], Homes] | None = None
    ) -> None:
        self.size, self.tokens = size, tokens
        self.malformed: Any = np.False_
        """Whether a subject has a text that is no token."""
        self.unknown_key: Any = np.False_
        """Whether a subject has a token under a key that a list lacks."""
        self.found = NOTHING_FOUND
        """The valid entries that have a token. Positions are those of the tokens."""
        self._people, self._read_homes = people, homes
        self._values: dict[str, list[Any]] = {}
        self._readings: dict[str, Array] = {}

    def has(self, domain: Matched) -> Any:
        """Returns for each subject whether it has a token in a domain."""
        owners = self.tokens.owners_in[domain]
        return np.True_ if owners is None else self._mark(owners)

    def listed(self, domains: tuple[Matched, ...], categories: tuple[Category, ...]) -> Any:
        """Returns for each subject whether a valid entry of one of the categories has its token in one of the domains."""
        positions, _, found = self.found
        if not len(positions):
            return np.False_
        chosen = (
            _are_among(CATEGORIES, categories)[found] & _are_among(DOMAINS, domains)[self.tokens.domains[positions]]
        )
        return self._mark(self.tokens.owners[positions[chosen]])

    @cached_property
    def entries(self) -> dict[int, list[FoundEntry]]:
        """The valid entries of each subject that has some which may be a reason. Most entries that match are passes."""
        entries: dict[int, list[FoundEntry]] = {}
        concerning = _are_among(CATEGORIES, CONCERNING)[self.found.categories]
        positions, rows = self.found.positions[concerning], self.found.rows[concerning]
        owners, domains = self.tokens.owners[positions], self.tokens.domains[positions]
        for owner, domain, row in zip(owners.tolist(), domains.tolist(), rows.tolist(), strict=True):
            entries.setdefault(owner, []).append(FoundEntry(DOMAINS[domain], row))
        return entries

    @cached_property
    def origins(self) -> set[str | None]:
        """The origins of people, each once."""
        return set(self.values("origin"))

    @cached_property
    def homes(self) -> Homes:
        """The homes of people."""
        assert self._read_homes is not None
        return self._read_homes()

    def values(self, field: str) -> list[Any]:
        """Returns a field of each person."""
        if field not in self._values:
            read = _COLUMNS.get(field)
            self._values[field] = read(self._people) if read else list(map(attrgetter(field), self._people))
        return self._values[field]

    def reading(self, field: str) -> Array:
        """Returns a number of each person, NaN where it was not taken. One NaN stands for all if nobody has one."""
        if field not in self._readings:
            values = self.values(field)
            if missing := values.count(None):
                column = np.full(() if missing == len(values) else len(values), np.nan)
                if missing < len(values):
                    column[[n for n, value in enumerate(values) if value is not None]] = [
                        value for value in values if value is not None
                    ]
            else:
                column = np.array(values, np.float64)
            self._readings[field] = column
        return self._readings[field]

    def shows(self, code: str) -> Any:
        """Returns for each person whether the health code has a colour."""
        codes = self.values("health_code")
        return self._mark(np.array([n for n, shown in enumerate(codes) if shown == code], np.intp))

    def divide_unknown(self, positions: Array, lists_have_entries: bool) -> None:
        """Divides the tokens that are not under a known key into malformed texts and tokens under another key.

        Args:
            positions: their positions among the tokens.
            lists_have_entries: whether there is any known key.
        """
        if not len(positions):
            return
        texts = [self.tokens.texts[n] for n in positions.tolist()]
        are_tokens = well_formed(texts, {key for text in texts if (key := key_of(text)) is not None})
        self.malformed = self._mark(self.tokens.owners[positions[~are_tokens]])
        if lists_have_entries:
            self.unknown_key = self._mark(self.tokens.owners[positions[are_tokens]])

    def _mark(self, subjects: Array) -> Any:
        """Returns a boolean column that is true for the given subjects."""
        if not len(subjects):
            return np.False_
        marked = np.zeros(self.size, bool)
        marked[subjects] = True
        return marked


def people_of(people: Sequence[Any], homes: Callable[[], Homes]) -> Subjects:
    """Returns people as subjects. `homes` returns their homes."""
    tokens = [person.tokens for person in people]
    by_domain: dict[Matched, list[Any]] = {
        "id": [some.id for some in tokens],
        "passport": [some.passport for some in tokens],
        "pass": [some.pass_ for some in tokens],
        "phone": [some.phone for some in tokens],
    }
    return Subjects(len(people), people, Tokens(len(people), by_domain), homes)


def plates_of(plates: list[str]) -> Subjects:
    """Returns plates as subjects, each given by its token."""
    return Subjects(len(plates), (), Tokens(len(plates), {"plate": plates}))


def look_up(people: Subjects, plates: Subjects, people_us: Array, plates_us: Array, index: WatchlistIndex) -> None:
    """Looks up the tokens of people and plates together, and notes what was found.

    Args:
        people: the people.
        plates: the plates.
        people_us: `observed_at` of each person's event, Unix time in µs.
        plates_us: the same for each plate.
        index: the watchlist.
    """
    first, second = people.tokens, plates.tokens
    texts, boundary = first.texts + second.texts, len(first.texts)
    known = well_formed(texts, index.common_keys)
    if not known.all():
        unknown = np.flatnonzero(~known)
        people.divide_unknown(unknown[unknown < boundary], index.common_keys is not None)
        plates.divide_unknown(unknown[unknown >= boundary] - boundary, index.common_keys is not None)
    domains = np.concatenate([first.domains, second.domains])
    found = index.find_all_valid(domains, texts, np.concatenate([people_us[first.owners], plates_us[second.owners]]))
    if len(found.positions):
        of_people = found.positions < boundary
        people.found = FoundEntries(*(column[of_people] for column in found))
        plates.found = FoundEntries(*(column[~of_people] for column in found))
        plates.found = plates.found._replace(positions=plates.found.positions - boundary)


@cache
def _are_among(options: tuple[str, ...], chosen: tuple[str, ...]) -> Array:
    """Returns for each option whether it is among those that are chosen."""
    return np.array([option in chosen for option in options])
