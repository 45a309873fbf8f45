"""Tables in .xlsx workbooks (ECMA-376 part 1), read as a stream with the standard library alone.

openpyxl is not used for reading: it needs 600 MB and 13 s for a sheet with a million formatted blank rows (this reader: 25 MB
and 4 s), and it creates objects for every name and address in the file. This reader keeps only the cells of the columns that it
is asked for. Formulas have the values with which the file was saved.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

from ninezero.streams.edge.bilingual import Bilingual
from ninezero.streams.edge.listfiles.tables.cell_values import (
    CellDecoder,
    SharedStrings,
    read_formats,
    read_shared_strings,
)
from ninezero.streams.edge.listfiles.tables.cells import SparseRow, TableRow, UnreadableTable, WrongSheet
from ninezero.streams.edge.listfiles.tables.office_archive import TOO_LARGE, elements, open_archive, relations
from ninezero.streams.edge.listfiles.tables.sheet_rows import read_rows, survey_sheet
from ninezero.streams.edge.listfiles.tables.sheet_survey import covered_columns, spread_merged

_MAX_SHEETS = 1000
_SHEETS_SHOWN = 12
_LONG_WORD = re.compile("[0-9A-Za-z]{5,}")
_LAST_HEAD_ROW = 1000
"""No header is searched after this row. Blank rows count."""
_NO_WORKBOOK = Bilingual(
    "不是 .xlsx 文件：请用 Excel 或 WPS 打开，另存为 .xlsx 或 CSV UTF-8",
    "it is not an .xlsx workbook: open it in Excel or WPS and save it as .xlsx or CSV UTF-8",
)


class SheetInfo(NamedTuple):
    """A sheet of a workbook. Its number counts from 1."""

    number: int
    name: str
    part: str
    visible: bool

    def __str__(self) -> str:
        """Its number and its name, for messages. A name that can be a number of an identity is left out."""
        name = unicodedata.normalize("NFKC", self.name)
        secret = not name.isprintable() or any(sum(map(str.isdigit, part)) > 3 for part in _LONG_WORD.findall(name))
        return f"{self.number} ({'hidden, ' * (not self.visible)}{'name not shown' if secret else self.name})"

    def __repr__(self) -> str:
        return f"SheetInfo({self.number})"


class Workbook:
    """One sheet of a workbook. Implements `Table`.

    `sheet` is the sheet's name or its number from 1; None selects the first visible sheet that is not empty. The constructor and
    the methods raise UnreadableTable, and also what zipfile and expat raise for a damaged file.
    """

    def __init__(self, path: Path, sheet: str | None = None) -> None:
        self._path = path
        with open_archive(path) as archive:
            main = _related_part(archive, "", "/officeDocument") or "xl/workbook.xml"
            sheets, self.epoch_1904 = _read_sheets(archive, main)
            strings, styles = _related_part(archive, main, "/sharedStrings"), _related_part(archive, main, "/styles")
            self._decoder = CellDecoder(
                read_shared_strings(archive, strings) if strings else SharedStrings(),
                read_formats(archive, styles) if styles else {},
                self.epoch_1904,
            )
            filled = [info for info in sheets if self._is_filled(archive, info.part)]
            self.sheet = _select_sheet(sheets, [info for info in filled if info.visible], sheet)
            self.other_sheets = [info for info in filled if info is not self.sheet]
            """The sheets that are not empty and not read."""
            self.unread_sheets = 0 if sheet else sum(info.visible for info in self.other_sheets)
            self._part = self.sheet.part
            survey = survey_sheet(archive, self._part, self._decoder)
            self._merged = survey.merged
            self.hidden_rows: Sequence[int] = survey.hidden_rows
            self.hidden_columns: Collection[int] = survey.hidden_columns

    def head(self, count: int) -> list[SparseRow]:
        """Returns the first `count` rows that are not blank."""
        with open_archive(self._path) as archive:
            rows = read_rows(archive, self._part, self._decoder, None, _LAST_HEAD_ROW)
            return list(islice(spread_merged(rows, self._merged, None), count))

    def head_of(self, sheet: SheetInfo, count: int) -> list[SparseRow]:
        """Returns the first `count` rows of another sheet that are not blank. Merged cells have their value in the first row only."""
        with open_archive(self._path) as archive:
            return list(islice(read_rows(archive, sheet.part, self._decoder, None, _LAST_HEAD_ROW), count))

    def rows(self, columns: Sequence[int], width: int = 0) -> Iterator[TableRow]:
        """Yields every row that is not blank. `width` is not needed: cells state their column, so none can be shifted."""
        wanted = frozenset(columns)
        origins = {block.first_column for block in self._merged if covered_columns(block, wanted)}
        with open_archive(self._path) as archive:
            rows = read_rows(archive, self._part, self._decoder, wanted | origins)
            for number, cells, hidden, note in spread_merged(rows, self._merged, wanted):
                yield TableRow(number, [cells.get(column) for column in columns], False, hidden, note)

    def _is_filled(self, archive: ZipFile, part: str) -> bool:
        return next(read_rows(archive, part, self._decoder, frozenset()), None) is not None

    def __repr__(self) -> str:
        return "Workbook(…)"


def _related_part(archive: ZipFile, source: str, type_suffix: str) -> str | None:
    """Returns the first part to which `source` has a relation of this type."""
    found = (relation.target for relation in relations(archive, source).values() if relation.type.endswith(type_suffix))
    return next(found, None)


def _read_sheets(archive: ZipFile, main: str) -> tuple[list[SheetInfo], bool]:
    """Returns the sheets in their order, without charts, and whether days count from 1904."""
    if main not in archive.NameToInfo or main.endswith(".bin"):
        raise UnreadableTable(_NO_WORKBOOK)
    parts, sheets, epoch_1904, root = relations(archive, main), dict[str, SheetInfo](), False, ""
    for element, attributes in elements(archive, main):
        root = root or element
        if element == "workbookPr":
            epoch_1904 = attributes.get("date1904", "0") in ("1", "true", "on")
        elif element == "sheet":
            relation = parts.get(attributes.get("id", ""))
            if relation is not None and relation.type.endswith("/worksheet"):
                visible = attributes.get("state", "visible") == "visible"
                info = SheetInfo(len(sheets) + 1, attributes.get("name", ""), relation.target, visible)
                sheets.setdefault(relation.target, info)
            if len(sheets) > _MAX_SHEETS:
                raise UnreadableTable(TOO_LARGE)
    if root != "workbook":
        raise UnreadableTable(_NO_WORKBOOK)
    return list(sheets.values()), epoch_1904


def _select_sheet(sheets: list[SheetInfo], filled: list[SheetInfo], wanted: str | None) -> SheetInfo:
    if wanted is None:
        if not filled:
            raise WrongSheet(Bilingual("可见的工作表都是空的", "every visible sheet is empty"), give_a_sheet(sheets))
        return filled[0]
    for info in sheets:
        if info.name == wanted:
            return info
        if str(info.number) == wanted and wanted not in [other.name for other in sheets]:
            return info
    raise WrongSheet(Bilingual("没有这个名称的工作表", "it has no sheet of that name"), give_a_sheet(sheets))


def give_a_sheet(sheets: Sequence[SheetInfo]) -> Bilingual:
    """Returns the remedy that names the sheets of a workbook."""
    left = len(sheets) - _SHEETS_SHOWN
    more = Bilingual(f" 等 {len(sheets)} 张", f" and {left} more") if left > 0 else Bilingual("", "")
    named = ", ".join(map(str, sheets[:_SHEETS_SHOWN]))
    return Bilingual(
        f"用 --sheet 写工作表的名称或序号：{named}{more.zh}",
        f"give --sheet with the name or number of a sheet: {named}{more.en}",
    )
