"""The entries that a batch puts on its list, by column: nearly all lines need no object of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np

from ninezero.agents.logic.pushes.line_columns import LineColumns
from ninezero.agents.logic.watchlist.columns import NONE, Array
from ninezero.agents.logic.watchlist.entries import Entry
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import Category, PushBatch
from ninezero.schemas.joined_lines import DOMAINS

_SLICE = 4_000
"""Entries that are made together."""


class PutEntry(NamedTuple):
    """One entry to put. Its category is that of the batch."""

    entry_id: str
    batch_id: str
    """The batch that last changed it."""
    first_sequence: int
    from_us: int
    to_us: int
    form: bytes
    """Domain and key id of each token (see `PutEntries.domains_and_keys`). Few forms occur in a batch."""
    digests: tuple[str, ...]
    """The digest of each token, in hexadecimal digits."""


class PutLines(NamedTuple):
    """The lines that are put, each as an entry of its own."""

    lines: LineColumns
    rows: Array
    """For each line the row of the entry that it replaces, or NONE."""
    unchanged: Array
    """For each line whether that entry stays as it is."""


class PutEntries(Mapping[str, Entry]):
    """The entries to put, by entry id.

    Most are lines that match at most one entry, which no other line matches. The others are given as entries.

    Args:
        batch: the batch.
        index: the watchlist before the batch. It must not change while this object is used.
        lines: the former.
        others: the latter.
    """

    def __init__(self, batch: PushBatch, index: WatchlistIndex, lines: PutLines, others: Mapping[str, Entry]) -> None:
        self._batch, self._index = batch, index
        self._lines = lines
        self.others = others
        """Entries that `made` leaves out."""

    def __len__(self) -> int:
        return len(self._lines.rows) + len(self.others)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __getitem__(self, entry_id: str) -> Entry:
        return self._by_id[entry_id]

    @property
    def replaced(self) -> Array:
        """The rows of the entries that lines replace, without those that `others` replace."""
        replaced: Array = self._lines.rows[(self._lines.rows != NONE) & ~self._lines.unchanged]
        return replaced

    def key_counts(self) -> Counter[str]:
        """Returns the number of the lines' tokens by key id."""
        return self._index.count_keys(self._lines.lines.tokens.keys)

    def made(self) -> Iterator[list[PutEntry]]:
        """Yields the entries of the lines, slice by slice."""
        lines, rows, unchanged = self._lines
        ends = np.cumsum(lines.counts)
        for first in range(0, len(rows), _SLICE):
            some = slice(first, first + _SLICE)
            start = int(ends[first] - lines.counts[first])
            yield self._slice(lines.at(some, slice(start, int(ends[some][-1]))), rows[some], unchanged[some])

    def entries(self) -> Iterator[Entry]:
        """Yields the entries of the lines."""
        batch, rows, unchanged = self._batch, self._lines.rows.tolist(), self._lines.unchanged.tolist()
        made = (entry for some in self.made() for entry in some)
        for one, row, same in zip(made, rows, unchanged, strict=True):
            if same:
                yield self._index.entry(row)
                continue
            tokens: dict[str, list[str]] = {}
            for (domain, key), digest in zip(self.domains_and_keys(one.form), one.digests, strict=True):
                tokens.setdefault(domain, []).append(f"{key}.{digest}")
            yield Entry(
                batch.authority, batch.list, one.entry_id, cast(Category, batch.category), one.from_us, one.to_us,
                {domain: tuple(some) for domain, some in tokens.items()}, batch.sequence, one.batch_id,
                one.first_sequence,
            )  # fmt: skip

    def domains_and_keys(self, form: bytes) -> list[tuple[str, str]]:
        """Returns domain and key id of each token of a form."""
        codes = np.frombuffer(form, np.uint32).tolist()
        return [(DOMAINS[code & 7], self._index.key_id(code >> 3)) for code in codes]

    def _slice(self, lines: LineColumns, rows: Array, unchanged: Array) -> list[PutEntry]:
        batch, sequence = self._batch.batch_id, self._batch.sequence
        entry_ids = [f"{batch}:{number}" for number in lines.numbers.tolist()]
        batch_ids, first_sequences = [batch] * len(rows), [sequence] * len(rows)
        kept = np.flatnonzero(rows != NONE)
        for n, entry_id, key in zip(
            kept.tolist(), self._index.entry_ids(rows[kept]), self._index.groups_of(rows[kept]), strict=True
        ):
            entry_ids[n], first_sequences[n] = entry_id, key.first_sequence
            if unchanged[n]:
                batch_ids[n] = key.batch
        digests, forms = lines.tokens.hex_digests(), lines.tokens.codes.astype(np.uint32).tobytes()
        ends = np.cumsum(lines.counts)
        starts = (ends - lines.counts).tolist()
        spans = list(zip(starts, ends.tolist(), strict=True))
        return list(
            map(
                PutEntry,
                entry_ids,
                batch_ids,
                first_sequences,
                lines.from_us.tolist(),
                lines.to_us.tolist(),
                [forms[start * 4 : end * 4] for start, end in spans],
                [tuple(digests[start:end]) for start, end in spans],
            )
        )

    @cached_property
    def _by_id(self) -> dict[str, Entry]:
        return {entry.entry_id: entry for entry in self.entries()} | dict(self.others)
