"""Tables in .xlsx workbooks (ECMA-376 part 1), read as a stream with the standard library alone.

openpyxl is not used to read: a sheet with a million formatted blank rows takes it 600 MB and 13 s (here: 25 MB and 4 s), and
it makes objects of every name and address in the file. Here only cells of the columns asked for are kept. Values that
formulas had when the file was saved are read as they are; of merged cells only the first has a value.
"""

import re
from array import array
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

from ninezero.streams.edge.listfiles.tables.cells import LONGEST_CELL, WIDEST, Cell, Unreadable, column_of
from ninezero.streams.edge.listfiles.tables.office_archive import (
    DAMAGED,
    DEEPEST,
    TOO_LARGE,
    elements,
    local,
    open_archive,
    parse,
    relations,
)

MOST_TEXT = 128 << 20
"""Bytes of the text that cells share: it is held in memory."""

_MOST_SHEETS = 1000
_MOST_STYLES = 100_000
_LAST_ROW = 1 << 20
_LAST_HEAD = 1000
"""Row, blank ones counted, after which no header is looked for."""
_OTHER = "it is no .xlsx workbook: open it in Excel or WPS and save it as .xlsx or CSV UTF-8"

_ESCAPE = re.compile("_x([0-9A-Fa-f]{4})_")  # ECMA-376 part 1, 22.9.2.19
_ZEROS = re.compile("0{2,20}")


class Workbook:
    """A workbook of which one sheet is read. Raises Unreadable and what zipfile and expat raise, as does reading it."""

    def __init__(self, path: Path, sheet: str | None = None) -> None:
        self._path = path
        with open_archive(path) as archive:
            main = _target(archive, "", "/officeDocument") or "xl/workbook.xml"
            sheets, self.epoch_1904 = _sheets(archive, main)
            shared, styles = _target(archive, main, "/sharedStrings"), _target(archive, main, "/styles")
            texts = _texts(archive, shared) if shared else _Texts()
            self._values = _Values(texts, _padding(archive, styles) if styles else {})
            filled = [] if sheet else [info for info in sheets if info.visible and self._filled(archive, info.part)]
            self._part = _chosen(sheets, filled, sheet)
            self.other_sheets = max(len(filled) - 1, 0)
            """Visible sheets that are not empty and are not read, since none was named."""

    def head(self, count: int) -> list[tuple[int, dict[int, Cell]]]:
        """The first rows that are not blank, each with its row number and its cells by column."""
        with open_archive(self._path) as archive:
            rows = _rows(archive, self._part, self._values, None, _LAST_HEAD)
            return [row for row, _ in zip(rows, range(count), strict=False)]

    def rows(self, columns: Sequence[int]) -> Iterator[tuple[int, list[Cell], bool]]:
        """Row number and the cells of `columns` of each row that is not blank. The last is False: no cell can shift here."""
        with open_archive(self._path) as archive:
            for row, cells in _rows(archive, self._part, self._values, frozenset(columns)):
                yield row, [cells.get(column) for column in columns], False

    def _filled(self, archive: ZipFile, part: str) -> bool:
        return next(_rows(archive, part, self._values, frozenset()), None) is not None


# -- the workbook ----------------------------------------------------------------------------------------------------


class _SheetInfo(NamedTuple):
    name: str
    part: str
    visible: bool


def _target(archive: ZipFile, source: str, kind: str) -> str | None:
    return next((part for type_, part in relations(archive, source).values() if type_.endswith(kind)), None)


def _sheets(archive: ZipFile, main: str) -> tuple[list[_SheetInfo], bool]:
    """The sheets in their order, charts left out, and whether days count from 1904."""
    if main not in archive.NameToInfo or main.endswith(".bin"):
        raise Unreadable(_OTHER)
    parts, sheets, epoch_1904, root = relations(archive, main), dict[str, _SheetInfo](), False, ""
    for element, attributes in elements(archive, main):
        root = root or element
        if element == "workbookPr":
            epoch_1904 = attributes.get("date1904", "0") in ("1", "true", "on")
        elif element == "sheet":
            type_, part = parts.get(attributes.get("id", ""), ("", ""))
            if type_.endswith("/worksheet"):
                visible = attributes.get("state", "visible") == "visible"
                sheets.setdefault(part, _SheetInfo(attributes.get("name", ""), part, visible))
            if len(sheets) > _MOST_SHEETS:
                raise Unreadable(TOO_LARGE)
    if root != "workbook":
        raise Unreadable(_OTHER)
    return list(sheets.values()), epoch_1904


def _chosen(sheets: list[_SheetInfo], filled: list[_SheetInfo], wanted: str | None) -> str:
    if wanted is None:
        if not filled:
            raise Unreadable("no visible sheet has anything on it: give the sheet's name if it is hidden")
        return filled[0].part
    for number, info in enumerate(sheets, 1):
        if info.name == wanted:
            return info.part
        if str(number) == wanted and wanted not in [other.name for other in sheets]:
            return info.part
    raise Unreadable(f"it has no sheet of that name: give one of its {len(sheets)}, by name or number")


def _padding(archive: ZipFile, part: str) -> dict[str, int]:
    """Styles that show a number with leading zeros, and how many digits they show: those zeros are part of a pass's number."""
    formats, padding, inside, style = dict[str, int](), dict[str, int](), False, 0
    for element, attributes in elements(archive, part):
        if element == "numFmt" and _ZEROS.fullmatch(attributes.get("formatCode", "")):
            formats[attributes.get("numFmtId", "")] = len(attributes["formatCode"])
        elif element == "xf" and inside:
            if attributes.get("numFmtId") in formats:
                padding[str(style)] = formats[attributes["numFmtId"]]
            style += 1
        elif element in ("cellStyleXfs", "cellXfs", "cellStyles"):
            inside = element == "cellXfs"
        if style > _MOST_STYLES or len(formats) > _MOST_STYLES:
            raise Unreadable(TOO_LARGE)
    return padding


# -- values ----------------------------------------------------------------------------------------------------------


class _Texts:
    """Texts that cells share, by number; packed, they take a tenth of the memory."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("L")

    def add(self, text: str) -> None:
        self._bytes += text[: LONGEST_CELL + 1].encode()
        self._ends.append(len(self._bytes))
        if len(self._bytes) + self._ends.itemsize * len(self._ends) > MOST_TEXT:
            raise Unreadable(TOO_LARGE)

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < len(self._ends):
            raise Unreadable(DAMAGED)
        return self._bytes[self._ends[number - 1] if number else 0 : self._ends[number]].decode()


class _Values(NamedTuple):
    """What the raw value of a cell means: the shared texts, and the styles that show leading zeros."""

    texts: _Texts
    padding: dict[str, int]

    def cell(self, raw: str, type_: str, style: str) -> Cell:
        """Raises Unreadable if it refers to a text that there is not."""
        if type_ == "n":
            return self._number(raw, style)
        if type_ == "b":
            return f"#{raw}"  # like an error, `#N/A`: no identity has a `#`, so it gets no token
        if type_ == "s":
            number = raw.strip()
            raw = self.texts[int(number) if number.isdigit() and len(number) < 10 else -1]
        return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), raw) if "_x" in raw else raw

    def _number(self, raw: str, style: str) -> Cell:
        try:
            number = float(raw)
        except ValueError:
            return raw
        width = self.padding.get(style)
        return str(int(number)).zfill(width) if width and number.is_integer() and 0 <= number < 1e15 else number


def _texts(archive: ZipFile, part: str) -> _Texts:
    """Each text, plain or in runs, without the readings (`rPh`) that are shown above it."""
    texts, depth, reading, inside, raw = _Texts(), 0, False, False, ""

    def start(name: str, _: dict[str, str]) -> None:
        nonlocal depth, reading, inside
        depth += 1
        if depth > DEEPEST:
            raise Unreadable(DAMAGED)
        name = local(name)
        reading = reading or name == "rPh"
        inside = name == "t" and not reading

    def end(name: str) -> None:
        nonlocal depth, reading, inside, raw
        depth -= 1
        inside, name = False, local(name)
        if name == "rPh":
            reading = False
        elif name == "si":
            texts.add(raw)
            raw = ""

    def hear(text: str) -> None:
        nonlocal raw
        if inside and len(raw) <= LONGEST_CELL:
            raw += text

    def install(parser: Any) -> None:
        parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, hear

    for _ in parse(archive, part, install):
        pass
    return texts


# -- a sheet ---------------------------------------------------------------------------------------------------------


def _rows(
    archive: ZipFile, part: str, values: _Values, wanted: Collection[int] | None, last: int = _LAST_ROW
) -> Iterator[tuple[int, dict[int, Cell]]]:
    """Row number and filled cells of each row that is not blank; only of `wanted` columns, if that is given. It ends soon after
    row `last`: what a file says of its size is not believed."""
    sheet = _SheetParser(values, wanted)
    for _ in parse(archive, part, sheet.install):
        yield from sheet.found
        sheet.found.clear()
        if sheet.row > last:
            break


class _SheetParser:
    """Hears a sheet's elements; rows that are complete and not blank gather in `found`.

    It is called some forty times a row. So text is listened to only where a value is needed.
    """

    def __init__(self, values: _Values, wanted: Collection[int] | None) -> None:
        self.found: list[tuple[int, dict[int, Cell]]] = []
        self._values, self._wanted = values, wanted
        self._columns: dict[str, int | None] = {}
        self._depth = self.row = 0
        self._column, self._type, self._style, self._raw = -1, "n", "", ""
        self._cells: dict[int, Cell] = {}
        self._filled = self._reading = self._needed = False

    def install(self, parser: Any) -> None:
        """Puts the handlers into an expat parser."""
        self._parser = parser
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise Unreadable(DAMAGED)
        if ":" in name:
            name = local(name)
        if name == "c":
            self._start_cell(attributes)
        elif name == "v" or name == "t":
            if self._needed and not self._reading:
                self._parser.CharacterDataHandler = self._hear
        elif name == "row":
            number = attributes.get("r", "")
            given = int(number) if number.isdigit() and len(number) <= 7 else 0
            self.row = given if self.row < given <= _LAST_ROW else self.row + 1
            self._column = -1
        elif name == "rPh":
            self._reading = True

    def _start_cell(self, attributes: dict[str, str]) -> None:
        letters = attributes.get("r", "").rstrip("0123456789")
        column = self._columns.get(letters)
        if column is None:
            column = column_of(letters) if letters.isalpha() else self._column + 1
            if column is None or column >= WIDEST:
                column = WIDEST
            elif letters:
                self._columns[letters] = column
        self._column = column
        self._needed = column < WIDEST and (self._wanted is None or column in self._wanted or not self._filled)
        self._type, self._style = attributes.get("t", "n"), attributes.get("s", "")

    def _end(self, name: str) -> None:
        self._depth -= 1
        if ":" in name:
            name = local(name)
        if name == "c":
            if self._raw:
                self._take()
            self._needed = False
        elif name == "v" or name == "t":
            self._parser.CharacterDataHandler = None
        elif name == "row":
            if self._filled:
                self.found.append((self.row, self._cells))
                self._cells, self._filled = {}, False
        elif name == "rPh":
            self._reading = False

    def _hear(self, text: str) -> None:
        if len(self._raw) <= LONGEST_CELL:
            self._raw += text

    def _take(self) -> None:
        cell = self._values.cell(self._raw[: LONGEST_CELL + 1], self._type, self._style)
        self._raw = ""
        if isinstance(cell, str) and not cell.strip():
            return
        self._filled = True
        if self._wanted is None or self._column in self._wanted:
            self._cells[self._column] = cell
