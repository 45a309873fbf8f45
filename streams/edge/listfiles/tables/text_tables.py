"""Tables in text files: CSV and its variants, as programs and people write them.

RFC 4180 is the model, extended by other separators, line ends and encodings, and by stray quotation marks. A file is read as a
stream: memory is bounded by its longest row.
"""

import csv
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from io import TextIOWrapper
from itertools import islice
from pathlib import Path

from ninezero.streams.edge.bilingual import Bilingual
from ninezero.streams.edge.listfiles.tables.cells import MAX_COLUMNS, SparseRow, TableRow, UnreadableTable
from ninezero.streams.edge.listfiles.tables.notes import is_note
from ninezero.streams.edge.text_encoding import detect_encoding

SEPARATORS = (",", "\t", ";", "|", "，", "；", "｜")
"""The full-width separators occur in lists that people type."""

MAX_ROW_CHARACTERS = 1 << 20
"""Characters of a row, its line ends included."""

_MAX_QUOTED_LINES = 20
"""Lines that a quoted cell may span. An address spans a few."""
_BLANK = " \t\r\n\v\f\x1a\"'\u00a0\u3000\ufeff"


class TextTable:
    """A text file that is read with one separator. Implements `Table`. Row numbers count blank rows."""

    epoch_1904 = False
    unread_sheets = 0
    other_sheets: Sequence[object] = ()
    hidden_rows: Sequence[int] = ()
    hidden_columns: Collection[int] = ()

    def __init__(self, path: Path, encoding: str, separator: str) -> None:
        self._path, self._encoding, self._separator = path, encoding, separator

    def head(self, count: int) -> list[SparseRow]:
        """Returns the first `count` rows that are not blank."""
        records = islice(self._records(width=0), count)
        return [SparseRow(number, dict(enumerate(cells[:MAX_COLUMNS]))) for number, cells in records]

    def rows(self, columns: Sequence[int], width: int) -> Iterator[TableRow]:
        """Yields every row that is not blank. `width` is the number of cells in the header, or 0 if there is none."""
        for number, cells in self._records(width):
            count = len(cells)
            shifted = width and count > width and any(cell.strip() for cell in cells[width:])
            found = [cells[column] if column < count else "" for column in columns]
            first = next((cell for cell in cells if not cell.isspace() and cell), "")
            yield TableRow(number, found, bool(shifted), note=is_note(first))

    def _records(self, width: int) -> Iterator[tuple[int, list[str]]]:
        """Yields the number and all cells of each row that is not blank.

        A quotation mark that is never closed is read as a plain character, and so are the marks around a cell that has
        swallowed whole rows. A stray mark therefore affects its own row only.
        """
        blank, number = _BLANK + self._separator, 0
        with self._path.open("rb") as raw, TextIOWrapper(raw, self._encoding, newline=None) as file:
            lines = _LineReader(file)
            while (line := lines.next()) is not None:
                number += 1
                if len(line) >= MAX_ROW_CHARACTERS:
                    raise UnreadableTable(
                        Bilingual(
                            f"第 {number} 行超过 {MAX_ROW_CHARACTERS:,} 个字符：名单不会有这样的行，请更正",
                            f"row {number} has over {MAX_ROW_CHARACTERS:,} characters: no list has such a row, correct it",
                        )
                    )
                if '"' in line:
                    cells = _split_quoted(line, lines, self._separator, width)
                else:
                    cells = line.rstrip("\n").split(self._separator, MAX_COLUMNS)
                if line.strip(blank) or any(cell.strip(blank) for cell in cells):
                    yield number, cells

    def __repr__(self) -> str:
        return "TextTable(…)"


def open_text_tables(path: Path) -> list[TextTable]:
    """Returns one table for each separator that the file may have. Reads the whole file to detect its encoding.

    Raises:
        EncodingError: the file is not text in a supported encoding.
    """
    with path.open("rb") as file:
        encoding = detect_encoding(file)
    return [TextTable(path, encoding, separator) for separator in SEPARATORS]


class _LineReader:
    """Reads a file's lines, each cut at `MAX_ROW_CHARACTERS`. Lines can be put back."""

    def __init__(self, file: TextIOWrapper) -> None:
        self._read = file.readline
        self._put_back: deque[str] = deque()

    def next(self) -> str | None:
        """Returns the next line, or None at the end of the file."""
        return self._put_back.popleft() if self._put_back else self._read(MAX_ROW_CHARACTERS) or None

    def put_back(self, lines: list[str]) -> None:
        """Makes these the next lines, in this order."""
        self._put_back.extendleft(reversed(lines))


def _split_quoted(line: str, lines: _LineReader, separator: str, width: int) -> list[str]:
    """Returns the cells of a record that begins with `line`, which has a quotation mark; reads more lines if it needs them."""
    consumed: list[str] = []

    def record_lines() -> Iterator[str]:
        more: str | None = line
        while more is not None and len(more) < MAX_ROW_CHARACTERS and len(consumed) <= _MAX_QUOTED_LINES:
            consumed.append(more)
            yield more
            more = lines.next()
        if more is not None:
            lines.put_back([more])

    source = record_lines()
    try:
        cells = next(csv.reader(source, delimiter=separator, strict=True))
        if not any(_holds_rows(cell, separator, width) for cell in cells):
            return cells
    except csv.Error:  # the mark is never closed, or is closed in the middle of a cell
        pass
    lines.put_back(consumed[1:])
    return line.rstrip("\n").split(separator, MAX_COLUMNS)


def _holds_rows(cell: str, separator: str, width: int) -> bool:
    """Returns whether a quoted cell has so many separators that its line ends must be those of rows."""
    breaks = cell.rstrip("\n").count("\n")
    return bool(width and breaks) and cell.count(separator) >= breaks * (width - 1)
