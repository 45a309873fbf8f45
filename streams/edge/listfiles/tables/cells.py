"""The cell, the row and the limits that text tables and workbooks share."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

Cell = str | float | None
"""Text as written, a number of a workbook, or nothing."""

MAX_CELL_CHARACTERS = 4096
"""A longer cell is no identity and no time. Readers keep one character more, so that a cut cell is recognised as too long."""

HEAD_ROWS = 20
"""The header is searched in this many rows that are not blank. Forms often have titles above it."""

MAX_COLUMNS = 16_384
"""Columns of a sheet, as in Excel. Columns further right are not read."""


class UnreadableTable(Exception):
    """Says why a file cannot be read and what to do. The message quotes nothing of the file, and not its name."""


class SparseRow(NamedTuple):
    """One row: its number from 1, and its cells by column from 0. The repr shows no cell."""

    number: int
    cells: dict[int, Cell]

    def __repr__(self) -> str:
        return f"SparseRow({self.number}, …)"


class TableRow(NamedTuple):
    """One row that is not blank. The repr shows no cell.

    `number` counts from 1, as a spreadsheet shows it. `cells` are those of the requested columns, in the requested order.
    `shifted` is true if the row has more cells than the header, so that its cells may be in the wrong columns.
    """

    number: int
    cells: Sequence[Cell]
    shifted: bool

    def __repr__(self) -> str:
        return f"TableRow({self.number}, …)"

    def __rich_repr__(self) -> Iterator[Any]:  # rich prints the locals of a traceback with this
        yield "number", self.number


class Table(Protocol):
    """A table in an open file. Reading it can raise UnreadableTable."""

    @property
    def epoch_1904(self) -> bool:
        """True if numbers that stand for days count from 1904 instead of 1900."""

    @property
    def unread_sheets(self) -> int:
        """The number of visible, non-empty sheets that are not read because no sheet was named."""

    def head(self, count: int) -> list[SparseRow]:
        """Returns the first `count` rows that are not blank."""

    def rows(self, columns: Sequence[int], width: int) -> Iterator[TableRow]:
        """Yields every row that is not blank. `width` is the number of cells in the header, or 0 if there is none."""


def column_letters(column: int) -> str:
    """Returns the letters that a spreadsheet shows for a column: 0 is A, 26 is AA."""
    name = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(65 + rest) + name
    return name


def column_index(name: str) -> int | None:
    """Returns the column, from 0, of spreadsheet letters in any case or of a number from 1; None if `name` is neither."""
    name = name.strip().upper()
    if not (name.isascii() and 1 <= len(name) <= 5):
        return None
    if name.isdigit():
        column = int(name) - 1
    elif name.isalpha() and len(name) <= 3:
        column = 0
        for letter in name:
            column = column * 26 + ord(letter) - 64
        column -= 1
    else:
        return None
    return column if 0 <= column < MAX_COLUMNS else None
