"""Watchlist entries as values: one entry, many entries by columns, and the form of entry ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from msgspec import Struct

from ninezero.agents.logic.watchlist.columns import Array
from ninezero.schemas.events import Category

ListName = tuple[str, str]
"""(authority, list)"""

NO_LINE = -1
"""Line of an entry whose id does not end with a line number."""

_LINE_LIMIT = 2**31


class Entry(Struct, gc=False, frozen=True):
    """One entry of a list. It is valid at a time `t` (Unix time in µs) if `from_us <= t < to_us`.

    `from_us` is NO_START_US for an entry that holds whenever something was observed.
    """

    authority: str
    list: str
    entry_id: str
    category: Category
    from_us: int
    to_us: int
    tokens: dict[str, tuple[str, ...]]
    """Its tokens by domain."""
    sequence: int
    """Sequence number of the batch that wrote it last."""
    batch_id: str
    """The batch that last changed it."""
    first_sequence: int
    """Sequence number of the batch that first listed it, under this entry id."""


class EntryColumns(NamedTuple):
    """Entries of one list to stage, one column for each field. No entry id occurs twice."""

    entry_ids: Sequence[str]
    categories: Sequence[Category]
    from_us: Sequence[int] | Array
    to_us: Sequence[int] | Array
    tokens: Sequence[Mapping[str, Sequence[str]]]
    sequences: Sequence[int]
    batch_ids: Sequence[str]
    first_sequences: Sequence[int]


class EntryId(NamedTuple):
    """The two parts of an entry id. An id without a line number is a batch of its own, with the line NO_LINE."""

    batch: str
    line: int


def columns_of(entries: Iterable[Entry]) -> EntryColumns:
    """Returns the columns of entries that are on one list."""
    some = list(entries)
    return EntryColumns(
        [entry.entry_id for entry in some],
        [entry.category for entry in some],
        [entry.from_us for entry in some],
        [entry.to_us for entry in some],
        [entry.tokens for entry in some],
        [entry.sequence for entry in some],
        [entry.batch_id for entry in some],
        [entry.first_sequence for entry in some],
    )


def split_entry_id(entry_id: str) -> EntryId:
    """Splits `batch:line`."""
    batch, _, text = entry_id.rpartition(":")
    try:
        line = int(text)
    except ValueError:
        return EntryId(entry_id, NO_LINE)
    if str(line) == text and 0 <= line < _LINE_LIMIT and batch:
        return EntryId(batch, line)
    return EntryId(entry_id, NO_LINE)


def split_entry_ids(entry_ids: Sequence[str]) -> tuple[Sequence[str], Sequence[int]]:
    """Splits many entry ids as `split_entry_id` does. Returns their batches and their lines. Fast if all ids have a line number."""
    batches, _, texts = zip(*(entry_id.rpartition(":") for entry_id in entry_ids), strict=True)
    lines: Sequence[int] = ()
    with suppress(ValueError):
        lines = list(map(int, texts))
    if lines and tuple(map(str, lines)) == texts and min(lines) >= 0 and max(lines) < _LINE_LIMIT and all(batches):
        return batches, lines
    batches, lines = zip(*map(split_entry_id, entry_ids), strict=True)
    return batches, lines


def token_pairs(tokens: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, str]]:
    """Yields (domain, token) for each token of an entry or a line."""
    return ((domain, token) for domain, some in tokens.items() for token in some)
