"""A hash table over rows of columns: finds rows by a 32-bit tag of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ninezero.agents.logic.watchlist.columns import NONE, Array, Column

_REMOVED = 0xFFFF_FFFF
"""Value of a row's link while `remove` rebuilds its bucket."""


_FEW = 8
"""Number of buckets up to which the rest of them is searched row by row."""


class FoundRows(NamedTuple):
    """Rows that a search found, as pairs: `rows[i]` was found for the searched element `positions[i]`."""

    positions: Array
    rows: Array


class HashTable:
    """Finds rows by tag. Each bucket is a linked list of rows.

    A byte for each bucket has one bit set for every row in it, chosen by the upper bits of the tag. These bytes are small enough for
    the processor's caches and answer seven of eight look-ups that find nothing, which most look-ups are.

    Tags come from Python's `hash` of a string, which is keyed with a secret of the process, so nobody outside can make tags
    collide. Rows with equal tags may belong to different texts: the caller compares the texts. The table grows a few buckets at a
    time (linear hashing, Litwin 1980), so no insertion waits for a rebuild.
    """

    def __init__(self) -> None:
        self.link = Column(np.uint32, width=2)
        """For each row, its tag and the next row of its bucket. They are stored together because a look-up needs both."""
        self._heads = Column(np.uint32, size=2048)
        self._bits = Column(np.uint8, size=2048)
        self._mask = 1023
        self._split = 0
        """Buckets below this number have already been split in two, by one more bit of the tag."""
        self._count = 0

    def find(self, tag: int) -> Sequence[int]:
        """Returns the rows with a tag."""
        bucket = tag & self._mask
        if bucket < self._split:
            bucket = tag & (self._mask * 2 + 1)
        if not self._bits.view[bucket] >> (tag >> 29) & 1:
            return ()
        row = self._heads.view[bucket]
        link = self.link.view
        found = []
        while row:
            if link[row * 2] == tag:
                found.append(row)
            row = link[row * 2 + 1]
        return found

    def search_sparse(self, tags: Array) -> FoundRows:
        """Finds the rows of many tags of which few have one, as `search` does."""
        bits = self._bits.array[self._buckets(tags)]
        likely = np.flatnonzero(bits >> (tags >> 29) & 1)
        positions, rows = self.search(tags[likely])
        return FoundRows(likely[positions], rows)

    def search(self, tags: Array) -> FoundRows:
        """Finds the rows of many tags."""
        positions = np.arange(len(tags))
        rows = self._heads.array[self._buckets(tags)]
        found = []
        while True:
            some = rows != NONE
            positions, rows = positions[some], rows[some]
            if not len(rows):
                break
            if len(rows) <= _FEW:
                found.append(self._search_few(positions, rows, tags))
                break
            links = self.link.array[rows]
            same = links[:, 0] == tags[positions]
            found.append(FoundRows(positions[same], rows[same]))
            rows = links[:, 1]
        if not found:
            return FoundRows(positions, rows)
        return FoundRows(np.concatenate([f.positions for f in found]), np.concatenate([f.rows for f in found]))

    def _search_few(self, positions: Array, rows: Array, tags: Array) -> FoundRows:
        """Finds the rows of a few tags, from a row of each one's bucket on: long buckets are searched faster without numpy."""
        link, found = self.link.view, []
        for position, first in zip(positions.tolist(), rows.tolist(), strict=True):
            row, tag = first, int(tags[position])
            while row:
                if link[row * 2] == tag:
                    found.append((position, row))
                row = link[row * 2 + 1]
        pairs = np.array(found, np.int64).reshape(-1, 2)
        return FoundRows(pairs[:, 0], pairs[:, 1])

    def add(self, rows: Array, tags: Array) -> None:
        """Adds rows, each with its tag."""
        self.link.array[rows, 0] = tags
        self._prepend(rows, tags)
        self._count += len(rows)
        while self._count > self._mask + 1 + self._split:
            self._split_buckets(max(1024, 4 * len(rows)))

    def remove(self, rows: Array) -> None:
        """Removes rows."""
        buckets = np.unique(self._buckets(self.link.array[rows, 0]))
        members = self._members(buckets)
        self.link.array[rows, 1] = _REMOVED
        self._empty(buckets)
        links = self.link.array[members]
        kept = links[:, 1] != _REMOVED
        self._prepend(members[kept], links[kept, 0])
        self._count -= len(rows)

    def _buckets(self, tags: Array) -> Array:
        buckets = tags & np.uint32(self._mask)
        return np.where(buckets < self._split, tags & np.uint32(self._mask * 2 + 1), buckets)

    def _prepend(self, rows: Array, tags: Array) -> None:
        """Puts rows before the rows that their buckets hold. Several rows may fall into one bucket."""
        if not len(rows):
            return
        buckets = self._buckets(tags)
        order = np.argsort(buckets)
        rows, buckets = rows[order], buckets[order]
        follows = buckets[1:] == buckets[:-1]
        after = np.empty(len(rows), np.uint32)
        after[0] = self._heads.array[buckets[0]]
        after[1:] = np.where(follows, rows[:-1], self._heads.array[buckets[1:]])
        self.link.array[rows, 1] = after
        last = np.append(~follows, True)
        ends = buckets[last]
        self._heads.array[ends] = rows[last]
        bits = np.left_shift(np.uint8(1), (tags[order] >> 29).astype(np.uint8))
        self._bits.array[ends] |= np.bitwise_or.reduceat(bits, np.flatnonzero(np.append(True, ~follows)))

    def _empty(self, buckets: Array) -> None:
        self._heads.array[buckets] = NONE
        self._bits.array[buckets] = 0

    def _members(self, buckets: Array) -> Array:
        """Returns all rows of some buckets."""
        rows = self._heads.array[buckets]
        found = [rows := rows[rows != NONE]]
        while len(rows) > _FEW:
            rows = self.link.array[rows, 1]
            found.append(rows := rows[rows != NONE])
        rest = []  # a long bucket, of a token that very many entries have, is searched faster without numpy
        for row in rows.tolist():
            while row := self.link.view[row * 2 + 1]:
                rest.append(row)
        return np.concatenate([*found, np.array(rest, np.uint32)])

    def _split_buckets(self, count: int) -> None:
        end = min(self._split + count, self._mask + 1)
        buckets = np.arange(self._split, end, dtype=np.uint32)
        members = self._members(buckets)
        self._empty(buckets)
        self._split = end
        self._prepend(members, self.link.array[members, 0])
        if self._split > self._mask:
            self._mask, self._split = self._mask * 2 + 1, 0
            self._heads.grow((self._mask + 1) * 2)
            self._bits.grow((self._mask + 1) * 2)


def tag(text: str, salt: int = 0) -> int:
    """Returns the 32-bit tag by which a table finds a text. Texts of different salts have unrelated tags."""
    return (hash(text) ^ salt) & 0xFFFF_FFFF


def tags_of(texts: Sequence[str], salt: int = 0) -> Array:
    """Returns the tag of each text, as `tag` does."""
    return (np.fromiter(map(hash, texts), np.int64, len(texts)) ^ salt).astype(np.uint32)
