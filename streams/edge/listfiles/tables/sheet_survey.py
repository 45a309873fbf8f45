"""What has to be known about a sheet before its rows are read: merged cells, and the rows and columns that are not shown.

Merged cells stand behind the rows in a sheet's part, so the part is read once to find them. Rows are hidden by hand, by a filter or by
an outline; the part states the result in the same way for all three.
"""

import re
from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ninezero.streams.edge.listfiles.tables.cells import (
    MAX_COLUMNS,
    Cell,
    FormattedValue,
    SparseRow,
    UnreadableTable,
    column_index,
)
from ninezero.streams.edge.listfiles.tables.office_archive import TOO_LARGE

_MAX_MERGED = 250_000
_RANGE = re.compile(r"\$?([A-Za-z]{1,3})\$?([0-9]{1,7}):\$?([A-Za-z]{1,3})\$?([0-9]{1,7})")
_TRUE = ("1", "true", "on")
OF_ANOTHER_COLUMN = FormattedValue("", None, "elsewhere")
"""A cell that shows the value of another column, because it is merged with it. What it shows is not about its own column."""
_LEAST_VISIBLE = 2.0
"""Points of a row, or hundredths of a column's unit. What is smaller shows no character."""


class Merged(NamedTuple):
    """A block of merged cells, which shows the value of its first cell. Rows count from 1, columns from 0."""

    first_row: int
    first_column: int
    last_row: int
    last_column: int


class SheetSurvey:
    """Collects what the elements of a sheet state about its layout."""

    def __init__(self) -> None:
        self.merged: list[Merged] = []
        self.hidden_rows = array("L")
        self._hidden_columns = bytearray(MAX_COLUMNS)

    @property
    def hidden_columns(self) -> frozenset[int]:
        """The columns, from 0, that the sheet does not show."""
        return frozenset(column for column, hidden in enumerate(self._hidden_columns) if hidden)

    def column(self, attributes: dict[str, str]) -> None:
        """Takes a `col` element: columns with the same properties."""
        first, last = _whole(attributes.get("min")), _whole(attributes.get("max"))
        if is_hidden(attributes, "width", _LEAST_VISIBLE / 100) and 1 <= first <= min(last, MAX_COLUMNS):
            last = min(last, MAX_COLUMNS)
            self._hidden_columns[first - 1 : last] = b"\1" * (last - first + 1)

    def merged_cells(self, attributes: dict[str, str]) -> None:
        """Takes a `mergeCell` element."""
        found = _RANGE.fullmatch(attributes.get("ref", ""))
        first, last = (column_index(found[1]), column_index(found[3])) if found else (None, None)
        if found is None or first is None or last is None:
            return
        block = Merged(int(found[2]), first, int(found[4]), last)
        if block.first_row < block.last_row or block.first_column < block.last_column:
            self.merged.append(block)
        if len(self.merged) > _MAX_MERGED:
            raise UnreadableTable(TOO_LARGE)


def is_hidden(attributes: dict[str, str], size: str, least: float = _LEAST_VISIBLE) -> bool:
    """Returns whether a row or column is hidden, or has a `size` (the name of an attribute) below `least`."""
    if attributes.get("hidden") in _TRUE:
        return True
    try:
        return float(attributes.get(size, least)) < least
    except ValueError:
        return False


def spread_merged(
    rows: Iterable[SparseRow], merged: Iterable[Merged], columns: frozenset[int] | None
) -> Iterator[SparseRow]:
    """Yields the rows with the value of each merged block in all its rows.

    Args:
        rows: the rows in order. A row with no value of its own is not a row: it continues the one above.
        merged: the blocks, sorted by their first row.
        columns: the columns that are needed. A block that begins in one of them counts for all of them that it covers. Of a block
            that begins in another column it is only known that its other cells are not empty. None is for headers: a block counts
            for its first column alone, because a heading over several columns is not that of each.
    """
    blocks = iter(merged)
    ahead = next(blocks, None)
    active: dict[int, tuple[Merged, Cell]] = {}
    for row in rows:
        while ahead is not None and ahead.first_row <= row.number:
            if ahead.last_row >= row.number:
                value = row.cells.get(ahead.first_column) if ahead.first_row == row.number else None
                covered = [ahead.first_column] if columns is None else covered_columns(ahead, columns)
                if columns is not None and ahead.first_column not in columns and value is not None:
                    value = OF_ANOTHER_COLUMN
                active.update((column, (ahead, value)) for column in covered)
            ahead = next(blocks, None)
        for column, (block, value) in [*active.items()]:
            if block.last_row < row.number:
                del active[column]
            elif value is not None:
                row.cells.setdefault(column, value)
        yield row


def covered_columns(block: Merged, columns: frozenset[int]) -> list[int]:
    """Returns which of some columns a block covers."""
    return [column for column in columns if block.first_column <= column <= block.last_column]


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdigit() and len(text) <= 7 else 0
