"""Which events of a chunk are ordinary: well-formed, and nobody in them has a reason. Most are, and they are found by the chunk.

An event is ordinary only if it is certain that decoding accepts it and the decision table (`rules.py`) says `clear`. Whatever is
doubtful here is left to those two, one by one; so the sieve may be coarse, and only its *ordinary* must be right.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import compress
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET

from ninezero.agents.logic.policy.rules import FEVER_C, PLAUSIBLE_C
from ninezero.agents.logic.times import instants
from ninezero.agents.logic.watchlist.columns import Array
from ninezero.agents.logic.watchlist.index import Watchlist
from ninezero.agents.logic.watchlist.tokens import well_formed
from ninezero.schemas.events import MAX_VALUE_BYTES, PSEUDONYM_PATTERN, Person
from ninezero.schemas.fast_decode import PatternCache, pattern_free, string_patterns

AT_ONCE = 64
"""Values decoded without a look at each: one that cannot be read costs no more than these."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_HARMLESS_CODES = ("green", "none")


class Cleared(NamedTuple):
    """Ordinary events: where each is among the values, and when it was observed (µs)."""

    places: Array
    events: Sequence[Any]
    at_us: Array

    def where(self, chosen: Array) -> Cleared:
        """Those that are chosen."""
        if chosen.all():
            return self
        return Cleared(self.places[chosen], list(compress(self.events, chosen.tolist())), self.at_us[chosen])


class FastPath:
    """Of one wire type. `people`, `direction` and `plate` take them from an event; `measured`: a temperature is asked for."""

    def __init__(
        self,
        kind: Any,
        people: Callable[[Any], Sequence[Any]],
        direction: Callable[[Any], str],
        plate: Callable[[Any], str | None],
        measured: bool,
    ) -> None:
        self._decode = msgspec.json.Decoder(pattern_free(kind)).decode
        self._people, self._direction, self._plate, self._measured = people, direction, plate, measured
        self._names = [
            (attrgetter(field), PatternCache(pattern))
            for field, pattern in string_patterns(kind).items()
            if pattern != PSEUDONYM_PATTERN
        ]
        self._origins = PatternCache(string_patterns(Person)["origin"])

    def sift(self, values: Sequence[bytes], watchlist: Watchlist, home: str) -> Cleared:
        """The ordinary ones."""
        readable, events = self._decoded(values)
        at_us, certain = instants([event.observed_at for event in events])
        fine = certain & np.frombuffer(self._sound(events), bool) & self._unlisted(events, watchlist, home)
        return Cleared(np.flatnonzero(readable), events, at_us).where(fine)

    def _decoded(self, values: Sequence[bytes]) -> tuple[Array, list[Any]]:
        """Of each value whether decoding accepts it but for patterns and the form of times; and those that it does, decoded."""
        if max(map(len, values), default=0) > MAX_VALUE_BYTES:
            values = [value if len(value) <= MAX_VALUE_BYTES else b"" for value in values]
        readable = np.ones(len(values), bool)
        events: list[Any] = []
        for first in range(0, len(values), AT_ONCE):
            some = values[first : first + AT_ONCE]
            try:
                events += list(map(self._decode, some))
            except UNREADABLE:
                for place, value in enumerate(some, first):
                    try:
                        events.append(self._decode(value))
                    except UNREADABLE:
                        readable[place] = False
        return readable, events

    def _sound(self, events: Sequence[Any]) -> bytearray:
        """Of each event whether its strings have their patterns; tokens and origins are another matter."""
        sound = bytearray(b"\1") * len(events)
        for get, seen in self._names:
            if wrong := seen.mismatches(map(get, events)):
                for n, event in enumerate(events):
                    if get(event) in wrong:
                        sound[n] = 0
        return sound

    def _unlisted(self, events: Sequence[Any], watchlist: Watchlist, home: str) -> Array:
        """Of each event whether neither list, temperature, code nor origin says anything about anyone in it."""
        ordinary = bytearray(b"\1") * len(events)
        texts: list[str] = []
        add = texts.append
        ends: list[int] = []  # of each event's tokens
        low, at_home, measured, wrong = PLAUSIBLE_C[0], (None, "CN", home), self._measured, self._origins.mismatches
        columns = zip(map(self._people, events), map(self._direction, events), map(self._plate, events), strict=True)
        for n, (people, direction, plate) in enumerate(columns):
            for person in people:
                tokens, temperature, origin = person.tokens, person.temperature_c, person.origin
                if (token := tokens.id) is not UNSET:
                    add(token)
                elif tokens.passport is UNSET:
                    ordinary[n] = 0
                if (token := tokens.passport) is not UNSET:
                    add(token)
                if (token := tokens.phone) is not UNSET:
                    add(token)
                if (token := tokens.pass_) is not UNSET:
                    add(token)
                if (
                    (measured if temperature is None else not low <= temperature < FEVER_C)
                    or person.temperature_confirmed_c is not None
                    or person.health_code not in _HARMLESS_CODES
                    or (origin not in at_home and (direction == "in" or wrong((origin,))))
                ):
                    ordinary[n] = 0
            if plate is not None:
                add(plate)
            ends.append(len(texts))
        quiet = well_formed(texts, watchlist.common_keys) & ~watchlist.may_list(texts)
        for n in np.flatnonzero(~quiet).tolist():
            ordinary[bisect_right(ends, n)] = 0
        return np.frombuffer(ordinary, bool)
