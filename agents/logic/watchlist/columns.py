"""Growable columns and a hash table over their rows: what keeps millions of entries small, in numpy arrays.

Whole slices go through `Column.array`; single values through `Column.view`, since a numpy scalar costs ten times as much.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

NONE = 0
"""Row 0 of any column is never given out: as a reference it means none."""

_GONE = 0xFFFF_FFFF


class Column:
    """An array that grows; the part that nothing has been written to costs no memory."""

    def __init__(self, dtype: Any, width: int = 1, size: int = 1024) -> None:
        self._width = width
        self._set(np.zeros((size, width) if width > 1 else size, dtype))

    def _set(self, array: Array) -> None:
        self.array = array
        flat: Any = array.reshape(-1)
        self.view: Any = memoryview(flat)
        """Flat: the value `n` of row `r` is at `r * width + n`."""

    def __len__(self) -> int:
        return len(self.array)

    def grow(self, size: int) -> None:
        """Makes room for `size` rows; new ones are 0."""
        grown = np.zeros((size, *self.array.shape[1:]), self.array.dtype)
        grown[: len(self.array)] = self.array
        self._set(grown)


class Rows:
    """Gives out rows of columns that grow together, and gives out again what came back."""

    def __init__(self, *columns: Column) -> None:
        self._columns = columns
        self._free: list[Array] = []
        self.end = 1
        """One past the highest row ever given out."""
        self.used = 0

    def take(self, count: int) -> Array:
        """`count` rows. What their columns hold is of their former use."""
        self.used += count
        parts = []
        while count and self._free:
            part = self._free.pop()
            if len(part) > count:
                self._free.append(part[count:])
                part = part[:count]
            parts.append(part)
            count -= len(part)
        if count:
            end = self.end + count
            self._make_room(end)
            parts.append(np.arange(self.end, end))
            self.end = end
        return np.concatenate(parts) if len(parts) != 1 else parts[0]

    def _make_room(self, end: int) -> None:
        early = True
        for column in self._columns:
            # Copying a large column takes its time, so they grow before they must, one at a time.
            if end > len(column) or (early and end > len(column) * 0.9):
                column.grow(max(end, len(column) * 3 // 2))
                early = False

    def give_back(self, rows: Array) -> None:
        """These rows are free."""
        self.used -= len(rows)
        self._free.append(rows.astype(np.uint32))


class Table:
    """Finds rows by a 32-bit tag: a head for every bucket, then from row to row.

    Before them stands a byte a bucket with a bit set for each row in it: small enough for the processor's caches, it
    answers seven in eight of the look-ups that find nothing, and most do.

    Tags come from Python's own `hash` of a string, which is keyed by a secret of the process, so nobody outside can make
    tags collide. Equal tags are no proof: the caller compares what it looks for. The table grows a few buckets at a time
    (linear hashing, Litwin 1980), so no insertion waits for a rebuild.
    """

    def __init__(self) -> None:
        self.link = Column(np.uint32, width=2)
        """Of each row its tag and the next row: side by side, since a look-up needs both."""
        self._heads = Column(np.uint32, size=2048)
        self._bits = Column(np.uint8, size=2048)
        self._mask = 1023
        self._split = 0
        """Buckets below it have been split in two already, by one bit more of the tag."""
        self._count = 0

    def find(self, tag: int) -> Sequence[int]:
        """Rows with that tag."""
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

    def may_have(self, tags: Array) -> Array:
        """Of each tag whether a row has it."""
        buckets = self._buckets(tags)
        found: Array = (self._bits.array[buckets] >> (tags >> 29) & 1).astype(bool)
        places = np.flatnonzero(found)
        found[places] = False
        found[places[self.search(tags[places])[0]]] = True
        return found

    def search(self, tags: Array) -> tuple[Array, Array]:
        """Pairs (position in `tags`, row) of equal tags."""
        places = np.arange(len(tags))
        rows = self._heads.array[self._buckets(tags)]
        found = []
        while True:
            there = rows != NONE
            places, rows = places[there], rows[there]
            if not len(rows):
                break
            links = self.link.array[rows]
            same = links[:, 0] == tags[places]
            found.append((places[same], rows[same]))
            rows = links[:, 1]
        if not found:
            return places, rows
        return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])

    def add(self, rows: Array, tags: Array) -> None:
        """Puts rows in, each with its tag."""
        self.link.array[rows, 0] = tags
        self._chain(rows, tags)
        self._count += len(rows)
        while self._count > self._mask + 1 + self._split:
            self._grow(max(1024, 4 * len(rows)))

    def remove(self, rows: Array) -> None:
        """Takes rows out."""
        buckets = np.unique(self._buckets(self.link.array[rows, 0]))
        members = self._members(buckets)
        self.link.array[rows, 1] = _GONE
        self._clear(buckets)
        links = self.link.array[members]
        stay = links[:, 1] != _GONE
        self._chain(members[stay], links[stay, 0])
        self._count -= len(rows)

    def _buckets(self, tags: Array) -> Array:
        buckets = tags & np.uint32(self._mask)
        return np.where(buckets < self._split, tags & np.uint32(self._mask * 2 + 1), buckets)

    def _chain(self, rows: Array, tags: Array) -> None:
        """Puts rows before what their buckets hold, however many of them fall into one."""
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

    def _clear(self, buckets: Array) -> None:
        self._heads.array[buckets] = NONE
        self._bits.array[buckets] = 0

    def _members(self, buckets: Array) -> Array:
        rows = self._heads.array[buckets]
        found = [rows := rows[rows != NONE]]
        while len(rows) > 8:
            rows = self.link.array[rows, 1]
            found.append(rows := rows[rows != NONE])
        rest = []  # a long chain, of a token that very many entries share, is walked faster without numpy
        for row in rows.tolist():
            while row := self.link.view[row * 2 + 1]:
                rest.append(row)
        return np.concatenate([*found, np.array(rest, np.uint32)])

    def _grow(self, count: int) -> None:
        end = min(self._split + count, self._mask + 1)
        buckets = np.arange(self._split, end, dtype=np.uint32)
        members = self._members(buckets)
        self._clear(buckets)
        self._split = end
        self._chain(members, self.link.array[members, 0])
        if self._split > self._mask:
            self._mask, self._split = self._mask * 2 + 1, 0
            self._heads.grow((self._mask + 1) * 2)
            self._bits.grow((self._mask + 1) * 2)


def tags(texts: Sequence[str], salt: int = 0) -> Array:
    """Their tags; `tag` of each."""
    return (np.fromiter(map(hash, texts), np.int64, len(texts)) ^ salt).astype(np.uint32)


def tag(text: str, salt: int = 0) -> int:
    """What a table finds a text by."""
    return (hash(text) ^ salt) & 0xFFFF_FFFF


def of_each_length(texts: Sequence[str], lengths: Set[int]) -> Iterator[tuple[int, Any, Sequence[str]]]:
    """Of each length that is asked for and occurs: it, where such texts are (an index of arrays), and they."""
    found = list(map(len, texts))
    for length in lengths & set(found):
        if found.count(length) == len(texts):
            yield length, slice(None), texts
        else:
            at = [n for n, it in enumerate(found) if it == length]
            yield length, at, [texts[n] for n in at]
