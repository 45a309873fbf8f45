"""Shared by quarantine, follow-up and transfers: the order of a case's facts, its version, and its counts by day and place.

The names of counts are those of the columns of the case tables (schemas/rows.py).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, NamedTuple, TypeVar

import msgspec

from ninezero.schemas.case_facts import FollowupFact, QuarantineFact, TransferFact

MAX_VERSION = 2**64 - 1
"""Largest version that ClickHouse stores. A case reaches it after two million events and then changes no more."""

Fact = TypeVar("Fact", QuarantineFact, FollowupFact, TransferFact)

DayPlace = tuple[date, str]
"""A local day, and a site or district."""


def distinct_in_order(facts: Iterable[Fact]) -> list[Fact]:
    """Returns each event once, by (observed_at, device_id, seq). Of several contents the one that arrived first counts."""
    first: dict[tuple[str, int], Fact] = {}
    for fact in facts:
        known = first.get((fact.device_id, fact.seq))
        if known is None or fact.version > known.version:
            first[fact.device_id, fact.seq] = fact
    return sorted(first.values(), key=lambda fact: (fact.observed_us, fact.device_id, fact.seq))


def case_version(facts: Iterable[QuarantineFact | FollowupFact]) -> int:
    """Returns the version of a case's row, given its distinct facts.

    It grows with every new event, and when a known event gets other content that arrived in Kafka earlier.
    """
    return min(sum(fact.version for fact in facts), MAX_VERSION)


def encode_facts(facts: list[QuarantineFact] | list[FollowupFact]) -> str:
    """Returns facts as JSON, the form in which the row of their case holds them."""
    return msgspec.json.encode(facts).decode()


class Counts(NamedTuple):
    """The counts that a case adds to one place on one day, by name."""

    day: date
    place: str
    counts: Counter[str]


class DayCounts:
    """The counts that a case adds to each day and place."""

    def __init__(self) -> None:
        self._counters: dict[DayPlace, Counter[str]] = defaultdict(Counter)

    def at(self, day: date, place: str) -> Counter[str]:
        """Returns the counter of a day and place, to be added to."""
        return self._counters[day, place]

    def add(self, day: date, place: str, counts: dict[str, int]) -> None:
        """Adds counts to those of a day and place."""
        self._counters[day, place].update(counts)

    def columns(self, place: str, names: Sequence[str]) -> dict[str, list[Any]]:
        """Returns the counts that are not 0 as columns of equal length, by day and place.

        Args:
            place: the name of the column with the places.
            names: the counts to return.
        """
        rows = self.rows()
        columns: dict[str, list[Any]] = {"days": [row.day for row in rows], place: [row.place for row in rows]}
        return columns | {name: [row.counts[name] for row in rows] for name in names}

    def rows(self) -> list[Counts]:
        """Returns the counts that are not 0, by day and place."""
        return [Counts(*at, +counter) for at, counter in sorted(self._counters.items()) if +counter]
