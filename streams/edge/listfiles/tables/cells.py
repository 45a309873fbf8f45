"""The cell, the row and the limits that text tables and workbooks share."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from ninezero.streams.edge.bilingual import Bilingual


class FormattedValue(NamedTuple):
    """The value of a workbook's cell that shows something else than its value. The repr shows neither.

    `shown` is the text that the cell shows, or None if it is not known, is nothing, or is a date. Separators of thousands and decimals that are all
    zero are left out of it. `kind` is what the cell shows: a number, a date without or with a clock time, the result of a formula that
    the file does not have, the value of another column with which it is merged, or something else, such as a month, a percentage or
    a fixed text.
    """

    value: float | str
    shown: str | None
    kind: Literal["number", "date", "date_time", "formula", "elsewhere", "other"]

    def __repr__(self) -> str:
        return "FormattedValue(…)"

    def __rich_repr__(self) -> Iterator[Any]:  # rich prints the locals of a traceback with this
        yield "kind", self.kind


Cell = str | float | FormattedValue | None
"""Text as shown, a number of a workbook without a format, a value with one, or nothing."""

EPOCH_1900, EPOCH_1904 = datetime(1899, 12, 30), datetime(1904, 1, 1)
"""Excel counts days: 1 is 1 January 1900, and it has a 29 February 1900. Old workbooks of the Macintosh count from 1904."""

MAX_EXACT_NUMBER = 10**15
"""A spreadsheet keeps fifteen digits of a number. A longer number has lost the others."""

MAX_CELL_CHARACTERS = 4096
"""A longer cell is no identity and no time. Readers keep one character more, so that a cut cell is recognised as too long."""

HEAD_ROWS = 20
"""The header is searched in this many rows that are not blank. Forms often have titles above it."""

MAX_COLUMNS = 16_384
"""Columns of a sheet, as in Excel. Columns further right are not read."""


class UnreadableTable(Exception):
    """Says why a file cannot be read and what to do. The message quotes nothing of the file, and not its name.

    Args:
        text: the message in both languages, or in English alone.
    """

    def __init__(self, text: Bilingual | str) -> None:
        self.text = text if isinstance(text, Bilingual) else Bilingual(text, text)
        super().__init__(self.text.en)


class WrongSheet(UnreadableTable):
    """The sheet is not the list, or no sheet is known to be."""

    def __init__(self, problem: Bilingual, choice: Bilingual) -> None:
        super().__init__(Bilingual(f"{problem.zh}：{choice.zh}", f"{problem.en}: {choice.en}"))


class HiddenParts(UnreadableTable):
    """It has to be decided what becomes of rows or columns that the sheet does not show."""

    def __init__(self, problem: Bilingual) -> None:
        super().__init__(
            Bilingual(
                f"{problem.zh}：请在文件中显示出来，或用 --hidden include 读取、--hidden skip 略过",
                f"{problem.en}: show them in the file, or give --hidden include to read them or --hidden skip to leave them out",
            )
        )


class SparseRow(NamedTuple):
    """One row: its number from 1, its cells by column from 0, whether the sheet hides it, and whether it is a total or a note.

    The repr shows no cell.
    """

    number: int
    cells: dict[int, Cell]
    hidden: bool = False
    note: bool = False

    def __repr__(self) -> str:
        return f"SparseRow({self.number}, …)"


class TableRow(NamedTuple):
    """One row that is not blank. The repr shows no cell.

    `number` counts from 1, as a spreadsheet shows it. `cells` are those of the requested columns, in the requested order.
    `shifted` is true if the row has more cells than the header, so that its cells may be in the wrong columns. `hidden` is true if
    the sheet does not show the row. `note` is true if the row is a total or a note (see `notes.py`).
    """

    number: int
    cells: Sequence[Cell]
    shifted: bool
    hidden: bool = False
    note: bool = False

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

    @property
    def other_sheets(self) -> Sequence[object]:
        """The sheets that are not empty and not read, hidden ones included. `str` gives the number and the name for a message."""

    @property
    def hidden_rows(self) -> Sequence[int]:
        """The numbers of the rows that are not blank and that the sheet does not show."""

    @property
    def hidden_columns(self) -> Collection[int]:
        """The columns, from 0, that the sheet does not show."""

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
