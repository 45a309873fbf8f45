"""The fast path: finds, for a whole batch, the events that are certainly valid and clear.

An event is *cleared* only if it is certain that decoding accepts it and that the rules (`rules.py`) say `clear`. Every other event
takes the slow path: it is decoded and decided one by one. So the fast path may miss a clear event, but it must never
clear an event that is not clear. Most events are clear, and the vectorised checks cost a fraction of the slow path.
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

from ninezero.agents.logic.policy.parse_times import parse_times
from ninezero.agents.logic.policy.thresholds import FEVER_C, PLAUSIBLE_MIN_C
from ninezero.agents.logic.watchlist.columns import Array
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.logic.watchlist.tokens import well_formed
from ninezero.schemas.events import MAX_VALUE_BYTES, PSEUDONYM_PATTERN, Person
from ninezero.schemas.fast_decode import PatternCache, pattern_free, string_patterns

DECODED_TOGETHER = 64
"""Values decoded in one `map` call. If one of them does not decode, these values are decoded again one by one."""

_DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_CLEAR_HEALTH_CODES = ("green", "none")


class ClearedEvents(NamedTuple):
    """Events that the fast path cleared, in the order of their values. The three columns have one length."""

    positions: Array
    """Position of each event's value in the batch."""
    events: Sequence[Any]
    observed_us: Array
    """`observed_at` of each, Unix time in µs."""

    def where(self, chosen: Array) -> ClearedEvents:
        """Returns the events for which the boolean array `chosen` is true."""
        if chosen.all():
            return self
        return ClearedEvents(
            self.positions[chosen], list(compress(self.events, chosen.tolist())), self.observed_us[chosen]
        )


class FastPath:
    """The fast path for one wire type.

    Args:
        kind: the wire type of the events.
        people: returns the people of an event.
        direction: returns its direction, `in` or `out`.
        plate: returns the token of its plate, or None.
        needs_temperature: whether a person without a temperature has a rule hit.
    """

    def __init__(
        self,
        kind: Any,
        people: Callable[[Any], Sequence[Any]],
        direction: Callable[[Any], str],
        plate: Callable[[Any], str | None],
        needs_temperature: bool,
    ) -> None:
        self._decode = msgspec.json.Decoder(pattern_free(kind)).decode
        self._people, self._direction, self._plate = people, direction, plate
        self._needs_temperature = needs_temperature
        self._identifiers = [
            (attrgetter(field), PatternCache(pattern))
            for field, pattern in string_patterns(kind).items()
            if pattern != PSEUDONYM_PATTERN
        ]
        self._origins = PatternCache(string_patterns(Person)["origin"])

    def clear(self, values: Sequence[bytes], index: WatchlistIndex, home: str) -> ClearedEvents:
        """Returns the events among `values` that are certainly valid and clear.

        The caller still has to check each event's clock against its Kafka timestamp, and that the watchlist is not stale.

        Args:
            values: JSON values of the batch.
            index: the watchlist.
            home: six-digit division code of the deployment's district.
        """
        decoded, events = self._decode_all(values)
        observed_us, valid_time = parse_times([event.observed_at for event in events])
        valid = np.frombuffer(self._have_valid_identifiers(events), bool)
        clear = valid_time & valid & self._have_no_rule_hit(events, index, home)
        return ClearedEvents(np.flatnonzero(decoded), events, observed_us).where(clear)

    def _decode_all(self, values: Sequence[bytes]) -> tuple[Array, list[Any]]:
        """Decodes values without checking patterns and times. Returns which values decoded, and their events."""
        if max(map(len, values), default=0) > MAX_VALUE_BYTES:
            values = [value if len(value) <= MAX_VALUE_BYTES else b"" for value in values]
        decoded = np.ones(len(values), bool)
        events: list[Any] = []
        for first in range(0, len(values), DECODED_TOGETHER):
            some = values[first : first + DECODED_TOGETHER]
            try:
                events += list(map(self._decode, some))
            except _DECODE_ERRORS:
                for position, value in enumerate(some, first):
                    try:
                        events.append(self._decode(value))
                    except _DECODE_ERRORS:
                        decoded[position] = False
        return decoded, events

    def _have_valid_identifiers(self, events: Sequence[Any]) -> bytearray:
        """Returns a flag for each event: whether its identifiers match their patterns. Tokens and origins are checked later."""
        valid = bytearray(b"\1") * len(events)
        for get, known in self._identifiers:
            if wrong := known.mismatches(map(get, events)):
                for n, event in enumerate(events):
                    if get(event) in wrong:
                        valid[n] = 0
        return valid

    def _have_no_rule_hit(self, events: Sequence[Any], index: WatchlistIndex, home: str) -> Array:
        """Returns a flag for each event: whether it is certain that no rule applies to any person or plate of it.

        All tokens of all events are checked together, after a loop that checks everything else person by person.
        """
        clear = bytearray(b"\1") * len(events)
        tokens: list[str] = []
        add = tokens.append
        ends: list[int] = []  # for each event, the position after its last token
        lowest, local, wrong = PLAUSIBLE_MIN_C, (None, "CN", home), self._origins.mismatches
        needs_temperature = self._needs_temperature
        columns = zip(map(self._people, events), map(self._direction, events), map(self._plate, events), strict=True)
        for n, (people, direction, plate) in enumerate(columns):
            for person in people:
                of_person, temperature, origin = person.tokens, person.temperature_c, person.origin
                if (token := of_person.id) is not UNSET:
                    add(token)
                elif of_person.passport is UNSET:
                    clear[n] = 0
                if (token := of_person.passport) is not UNSET:
                    add(token)
                if (token := of_person.phone) is not UNSET:
                    add(token)
                if (token := of_person.pass_) is not UNSET:
                    add(token)
                if (
                    (needs_temperature if temperature is None else not lowest <= temperature < FEVER_C)
                    or person.temperature_confirmed_c is not None
                    or person.health_code not in _CLEAR_HEALTH_CODES
                    or (origin not in local and (direction == "in" or wrong((origin,))))
                ):
                    clear[n] = 0
            if plate is not None:
                add(plate)
            ends.append(len(tokens))
        unlisted = well_formed(tokens, index.common_keys) & ~index.may_contain(tokens)
        for n in np.flatnonzero(~unlisted).tolist():
            clear[bisect_right(ends, n)] = 0
        return np.frombuffer(clear, bool)
