"""A table of people as an authority has it, CSV or .xlsx: which columns it has, and its rows.

Only the columns of `FIELDS` are read; names, addresses and whatever else a file holds are never stored, shown or sent. No
error quotes a cell, a header, a file's name or a sheet's: each of them may hold somebody's identity.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ninezero.streams.edge.listfiles.column_mapping import FIELDS, Ambiguous, Layout, Mapping, layout
from ninezero.streams.edge.listfiles.tables.cells import HEAD_ROWS, WIDEST, Cell, SheetError, Unreadable, letters
from ninezero.streams.edge.listfiles.tables.text_tables import SEPARATORS, TextFile
from ninezero.streams.edge.listfiles.tables.workbooks import Workbook

__all__ = ["FIELDS", "Mapping", "Row", "Sheet", "SheetError", "open_sheet"]


class Row(NamedTuple):
    """A row that is not blank: its number as a spreadsheet shows it, the cells of the sheet's fields, and whether it has
    more cells than the header, so that they may stand in the wrong columns. The repr shows no cell."""

    row: int
    cells: Sequence[Cell]
    shifted: bool

    def __repr__(self) -> str:
        return f"Row({self.row}, …)"

    def __rich_repr__(self) -> Iterator[Any]:
        yield "row", self.row


class Sheet:
    """One file, opened: its columns are known. Its rows can be read more than once, and come out the same."""

    def __init__(self, path: Path, file: int, mapping: Mapping | None, sheet: str | None) -> None:
        self.file = file
        self._path = path
        self._source: Workbook | Text
        told = ""
        try:
            self._state = _state(path)
            if _is_workbook(path):
                self._source = Workbook(path, sheet)
                self._layout = layout(self._source.head(HEAD_ROWS), mapping)
            else:
                self._source, self._layout = _separated(TextFile(path), mapping)
        except Exception as error:
            told = _told(error)
        if told:  # raised here, so that the first error and the piece of the file in it are left behind
            raise SheetError(f"file {file}: {told}")

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that have a column, in the order of `FIELDS`: those of a row's cells."""
        return tuple(self._layout.columns)

    @property
    def columns(self) -> dict[str, str]:
        """The letters of each field's column, to be shown before anything is sent."""
        return {field: letters(column) for field, column in self._layout.columns.items()}

    @property
    def epoch_1904(self) -> bool:
        """Whether numbers that are days count from 1904."""
        return isinstance(self._source, Workbook) and self._source.epoch_1904

    @property
    def other_sheets(self) -> int:
        """Visible sheets of the workbook that are not empty and are not read, since none was named."""
        return self._source.other_sheets if isinstance(self._source, Workbook) else 0

    def rows(self) -> Iterator[Row]:
        """The rows below the header that are not blank. Raises SheetError, also if the file has changed since it was opened."""
        told = ""
        try:
            self._unchanged()
            for row, cells, shifted in self._cells():
                if row >= self._layout.first_row:
                    yield Row(row, cells, shifted)
            self._unchanged()
        except Exception as error:
            told = _told(error)
        if told:
            raise SheetError(f"file {self.file}: {told}")

    def _cells(self) -> Iterator[tuple[int, list[Cell], bool]]:
        columns = list(self._layout.columns.values())
        if isinstance(self._source, Workbook):
            return self._source.rows(columns)
        return self._source.file.rows(self._source.separator, columns, self._layout.width)

    def _unchanged(self) -> None:
        if _state(self._path) != self._state:
            raise Unreadable("it was changed while it was read: close it in other programs and start again")

    def __repr__(self) -> str:
        return f"Sheet(file {self.file})"


def open_sheet(path: str | Path, file: int = 1, mapping: Mapping | None = None, sheet: str | None = None) -> Sheet:
    """Opens file number `file` of the command line (from 1) and finds its columns; reads a text file once through.

    `sheet` names a workbook's sheet, or gives its number; without it the first visible one that is not empty is read.
    Raises SheetError.
    """
    return Sheet(Path(path), file, mapping, sheet)


def _told(error: Exception) -> str:
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "there is no such file: check its path"
    if isinstance(error, OSError):
        return "it cannot be read: check the path and your rights to it"
    return "it is damaged: open it in Excel or WPS and save it again as .xlsx or CSV UTF-8"


# -- what kind of file -----------------------------------------------------------------------------------------------


def _state(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    if not path.is_file():
        raise Unreadable("it is not a file: give a CSV or .xlsx file")
    return status.st_ino, status.st_size, status.st_mtime_ns


def _is_workbook(path: Path) -> bool:
    """By content, since names lie. What is neither a workbook nor text is refused with its name."""
    with path.open("rb") as file:
        start = file.read(4096)
    if not start.strip():
        raise Unreadable("it is empty: check that it is the right file")
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return True
    if start.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        raise Unreadable("it is an old Excel file or has a password: save it as .xlsx without one, or as CSV UTF-8")
    if start.startswith(b"%PDF"):
        raise Unreadable("it is a PDF: ask for the list as .xlsx or CSV")
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        raise Unreadable("it is a web page or XML: open it in Excel or WPS and save it as .xlsx or CSV UTF-8")
    return False


# -- text ------------------------------------------------------------------------------------------------------------


class Text(NamedTuple):
    """A text file and the separator of its cells."""

    file: TextFile
    separator: str


def _separated(file: TextFile, mapping: Mapping | None) -> tuple[Text, Layout]:
    """The separator with which most fields are found; of several, the one that makes most columns."""
    found: list[tuple[tuple[int, int], Text, Layout]] = []
    fault: Unreadable | None = None
    for separator in SEPARATORS:
        head = [(row, cells) for (row, cells), _ in zip(file.records(separator), range(HEAD_ROWS), strict=False)]
        try:
            where = layout([(row, dict(enumerate(cells[:WIDEST]))) for row, cells in head], mapping)
        except Unreadable as error:
            if fault is None or isinstance(error, Ambiguous):
                fault = error
            continue
        typical = sorted(len(cells) for _, cells in head)[len(head) // 2]
        found.append(((len(where.columns), typical), Text(file, separator), where))
    if not found and fault is not None:
        raise fault
    _, text, where = max(found, key=lambda one: one[0])
    return text, where
