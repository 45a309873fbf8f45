"""The rows of one sheet of a workbook, parsed as a stream."""

from collections.abc import Collection, Iterator
from typing import Any
from zipfile import ZipFile

from ninezero.streams.edge.listfiles.tables.cell_values import CellDecoder
from ninezero.streams.edge.listfiles.tables.cells import (
    MAX_CELL_CHARACTERS,
    MAX_COLUMNS,
    Cell,
    FormattedValue,
    SparseRow,
    UnreadableTable,
    column_index,
)
from ninezero.streams.edge.listfiles.tables.notes import is_note
from ninezero.streams.edge.listfiles.tables.office_archive import DAMAGED, MAX_DEPTH, local_name, parse_part
from ninezero.streams.edge.listfiles.tables.sheet_survey import SheetSurvey, is_hidden

_MAX_ROWS = 1 << 20
_NOT_CALCULATED = FormattedValue("", None, "formula")
"""A formula without its result: programs that do not calculate write such cells."""


def read_rows(
    archive: ZipFile, part: str, decoder: CellDecoder, wanted: Collection[int] | None, last: int = _MAX_ROWS
) -> Iterator[SparseRow]:
    """Yields the number and the filled cells of each row that is not blank.

    Args:
        archive: the open workbook.
        part: the sheet's part.
        decoder: decodes the raw text of its cells.
        wanted: the columns whose cells are kept; None keeps all.
        last: the row after which reading may stop. The size that the file states is not trusted.
    """
    sheet = _SheetParser(decoder, wanted)
    for _ in parse_part(archive, part, sheet.install):
        yield from sheet.found
        sheet.found.clear()
        if sheet.row > last:
            break


def survey_sheet(archive: ZipFile, part: str, decoder: CellDecoder) -> SheetSurvey:
    """Reads a sheet once through and returns its merged cells and what it does not show."""
    survey = SheetSurvey()
    sheet = _SheetParser(decoder, frozenset(), survey)
    for _ in parse_part(archive, part, sheet.install):
        survey.hidden_rows.extend(row.number for row in sheet.found if row.hidden)
        sheet.found.clear()
    survey.merged.sort()
    return survey


class _SheetParser:
    """Handles the elements of a sheet. Complete rows that are not blank gather in `found`.

    Its handlers are called some forty times a row. So character data is handled only inside a cell whose value is needed.
    """

    def __init__(self, decoder: CellDecoder, wanted: Collection[int] | None, survey: SheetSurvey | None = None) -> None:
        self.found: list[SparseRow] = []
        self._decoder, self._wanted, self._survey = decoder, wanted, survey
        self._columns: dict[str, int | None] = {}
        self._depth = self.row = 0
        self._column, self._type, self._style, self._raw = -1, "n", "", ""
        self._cells: dict[int, Cell] = {}
        self._filled = self._in_phonetic = self._needed = self._hidden = self._formula = self._note = False

    def install(self, parser: Any) -> None:
        """Sets the handlers of an expat parser."""
        self._parser = parser
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableTable(DAMAGED)
        if ":" in name:
            name = local_name(name)
        if name == "c":
            self._start_cell(attributes)
        elif name == "v" or name == "t":
            if self._needed and not self._in_phonetic:
                self._parser.CharacterDataHandler = self._text
        elif name == "row":
            number = attributes.get("r", "")
            given = int(number) if number.isdigit() and len(number) <= 7 else 0
            self.row = given if self.row < given <= _MAX_ROWS else self.row + 1
            self._column = -1
            self._hidden = is_hidden(attributes, "ht")
        elif name == "rPh":
            self._in_phonetic = True
        elif name == "f":
            self._formula = self._needed
        elif self._survey is not None and name == "mergeCell":
            self._survey.merged_cells(attributes)
        elif self._survey is not None and name == "col":
            self._survey.column(attributes)

    def _start_cell(self, attributes: dict[str, str]) -> None:
        letters = attributes.get("r", "").rstrip("0123456789")
        column = self._columns.get(letters)
        if column is None:
            column = column_index(letters) if letters.isalpha() else self._column + 1
            if column is None or column >= MAX_COLUMNS:
                column = MAX_COLUMNS
            elif letters:
                self._columns[letters] = column
        self._column = column
        self._needed = column < MAX_COLUMNS and (self._wanted is None or column in self._wanted or not self._filled)
        self._type, self._style = attributes.get("t", "n"), attributes.get("s", "")

    def _end(self, name: str) -> None:
        self._depth -= 1
        if ":" in name:
            name = local_name(name)
        if name == "c":
            if self._raw:
                self._end_cell()
            elif self._formula and self._type != "str" and (self._wanted is None or self._column in self._wanted):
                self._keep(_NOT_CALCULATED)
            self._needed = self._formula = False
        elif name == "v" or name == "t":
            self._parser.CharacterDataHandler = None
        elif name == "row":
            if self._filled:
                self.found.append(SparseRow(self.row, self._cells, self._hidden, self._note))
                self._cells, self._filled = {}, False
        elif name == "rPh":
            self._in_phonetic = False

    def _text(self, data: str) -> None:
        if len(self._raw) <= MAX_CELL_CHARACTERS:
            self._raw += data

    def _end_cell(self) -> None:
        cell = self._decoder.decode(self._raw[: MAX_CELL_CHARACTERS + 1], self._type, self._style)
        self._raw = ""
        if cell is not None and not (isinstance(cell, str) and not cell.strip()):
            self._keep(cell)

    def _keep(self, cell: Cell) -> None:
        if not self._filled:
            self._filled, self._note = True, is_note(cell)
        if self._wanted is None or self._column in self._wanted:
            self._cells[self._column] = cell
