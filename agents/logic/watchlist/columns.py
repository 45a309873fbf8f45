"""Growable numpy columns and the allocation of their rows. They keep millions of entries small.

Read and write whole slices through `Column.array`, and single values through `Column.view`: a numpy scalar costs ten times as much.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

NONE = 0
"""Row 0 is never allocated. As a reference to a row it means none."""


def flags(values: list[bool]) -> Array:
    """Returns booleans as an array, in a fifth of the time of `np.array`."""
    return np.frombuffer(bytes(values), bool)


class Column:
    """An array that grows. Memory is used only for rows that have been written.

    Args:
        dtype: numpy type of a value.
        width: number of values in a row.
        size: number of rows at the beginning.
    """

    def __init__(self, dtype: Any, width: int = 1, size: int = 1024) -> None:
        self._set(np.zeros((size, width) if width > 1 else size, dtype))

    def _set(self, array: Array) -> None:
        self.array = array
        flat: Any = array.reshape(-1)
        self.view: Any = memoryview(flat)
        """The values in one dimension: value `n` of row `r` is at `r * width + n`."""

    def __len__(self) -> int:
        return len(self.array)

    def grow(self, size: int) -> None:
        """Grows the column to `size` rows. The new rows are 0."""
        grown = np.zeros((size, *self.array.shape[1:]), self.array.dtype)
        grown[: len(self.array)] = self.array
        self._set(grown)


class Rows:
    """Allocates rows of columns that grow together, and reuses the rows that were freed."""

    def __init__(self, *columns: Column) -> None:
        self._columns = columns
        self._free: list[Array] = []
        self.end = 1
        """One past the highest row that was ever allocated."""

    def allocate(self, count: int) -> Array:
        """Returns the numbers of `count` rows. A reused row still holds its former values."""
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

    def free(self, rows: Array) -> None:
        """Frees rows, so that they can be allocated again."""
        self._free.append(rows.astype(np.uint32))

    def _make_room(self, end: int) -> None:
        may_grow_early = True
        for column in self._columns:
            # Copying a large column takes long, so columns grow before they must, and only one of them in a call.
            if end > len(column) or (may_grow_early and end > len(column) * 0.9):
                column.grow(max(end, len(column) * 3 // 2))
                may_grow_early = False
