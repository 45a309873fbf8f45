"""Decodes and validates the events of a batch together. Whatever is not certainly valid is left to the strict decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ninezero.agents.logic.policy.parse_times import parse_times
from ninezero.agents.logic.watchlist.columns import Array
from ninezero.schemas.events import MAX_VALUE_BYTES, PSEUDONYM_PATTERN
from ninezero.schemas.fast_decode import PatternCache, pattern_free, string_patterns

DECODED_TOGETHER = 64
"""Values decoded in one `map` call. If one of them does not decode, these values are decoded again one by one."""

_DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Events(NamedTuple):
    """Events of a batch, in the order of their values. The three columns have one length."""

    positions: Array
    """Position of each event's value in the batch."""
    events: Sequence[Any]
    observed_us: Array
    """`observed_at` of each, Unix time in µs."""

    def where(self, chosen: Array) -> Events:
        """Returns the events for which the boolean array `chosen` is true."""
        if chosen.all():
            return self
        return Events(self.positions[chosen], list(compress(self.events, chosen.tolist())), self.observed_us[chosen])


class EventReader:
    """Reads the events of one wire type.

    Args:
        kind: the wire type.
    """

    def __init__(self, kind: Any) -> None:
        self._decode = msgspec.json.Decoder(pattern_free(kind)).decode
        self._identifiers: list[tuple[Callable[[Any], Any], PatternCache]] = [
            (attrgetter(field), PatternCache(pattern))
            for field, pattern in string_patterns(kind).items()
            if pattern != PSEUDONYM_PATTERN
        ]

    def read(self, values: Sequence[bytes]) -> Events:
        """Returns the events among `values` that are certainly valid, but for their tokens and origins.

        The caller still has to check these, and each event's clock against its Kafka timestamp.
        """
        decoded, events = self._decode_all(values)
        observed_us, valid = parse_times([event.observed_at for event in events])
        for get, known in self._identifiers:
            if wrong := known.mismatches(map(get, events)):
                valid &= np.fromiter((get(event) not in wrong for event in events), bool, len(events))
        return Events(np.flatnonzero(decoded), events, observed_us).where(valid)

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
