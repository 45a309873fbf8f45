"""A list of people as an authority has it, in a CSV or .xlsx file: its columns and its rows.

Only the columns of `FIELDS` are read. Names, addresses and everything else in a file are never stored, shown or sent. No message
quotes a cell, a header, or the name of a file or sheet, because each of them can contain an identity.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ninezero.streams.edge.bilingual import Bilingual
from ninezero.streams.edge.listfiles.column_mapping import ColumnMapping
from ninezero.streams.edge.listfiles.column_recognition import AmbiguousColumns, UnknownColumns, find_layout
from ninezero.streams.edge.listfiles.dates import read_time
from ninezero.streams.edge.listfiles.errors import Asks, ListFileError
from ninezero.streams.edge.listfiles.list_sheets import Hidden, OpenTable, counted, hidden_below, open_workbook
from ninezero.streams.edge.listfiles.tables.cells import (
    HEAD_ROWS,
    HiddenParts,
    SparseRow,
    TableRow,
    UnreadableTable,
    WrongSheet,
    column_letters,
)
from ninezero.streams.edge.listfiles.tables.text_tables import open_text_tables
from ninezero.streams.edge.text_encoding import EncodingError


class ListFile:
    """One opened file whose columns are known. Its rows can be read more than once and come out the same."""

    def __init__(
        self, path: Path, number: int, mapping: ColumnMapping | None, sheet: str | None, hidden: Hidden | None
    ) -> None:
        self.number = number
        """The file's place on the command line, from 1."""
        self._path, self._hidden = path, hidden
        self._clock_times: dict[str, bool] = {}
        problem: ListFileError | None = None
        try:
            self._state = _file_state(path)
            opened = open_workbook(path, mapping, sheet, hidden) if _is_workbook(path) else _open_text(path, mapping)
            self._table, self._layout = opened
        except Exception as error:
            problem = _describe(error, number)
        if (
            problem is not None
        ):  # raised outside the handler, so that the first error, which may quote the file, is not attached
            raise problem

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that have a column, in the order of `FIELDS`. A row's cells have the same order."""
        return tuple(self._layout.columns)

    @property
    def columns(self) -> dict[str, str]:
        """The letters of each field's column. They are shown before anything is sent."""
        return {field: column_letters(column) for field, column in self._layout.columns.items()}

    @property
    def untyped(self) -> bool:
        """True if the column of `id` has the header of any document, and no column has its type."""
        return self._layout.untyped

    @property
    def epoch_1904(self) -> bool:
        """True if numbers that stand for days count from 1904 instead of 1900."""
        return self._table.epoch_1904

    @property
    def unread_sheets(self) -> int:
        """The number of visible, non-empty sheets of the workbook that are not read because no sheet was named."""
        return self._table.unread_sheets

    def describe(self) -> Bilingual:
        """Returns what is read of the file and what is not, for the screen: columns, hidden rows and other sheets."""
        hidden = self._table.hidden_columns
        columns = [
            Bilingual(f"{field} {letters}{'（隐藏）' * shown_not}", f"{field} {letters}{' (hidden)' * shown_not}")
            for field, column in self._layout.columns.items()
            for letters, shown_not in ((column_letters(column), column in hidden),)
        ]
        parts = [
            Bilingual("列 " + "，".join(one.zh for one in columns), "columns " + ", ".join(one.en for one in columns))
        ]
        if self._layout.assumed_header:
            row = self._layout.assumed_header
            parts.append(Bilingual(f"第 {row} 行当作表头", f"row {row} is read as the header"))
        for field, letters in self._layout.unread.items():
            parts.append(
                Bilingual(
                    f"{letters} 列像是 `{field}`，没有读取；要读取就用 --map 写明全部各列",
                    f"column {letters} seems to be `{field}` and is not read; to read it, name all columns with --map",
                )
            )
        if self.hidden_rows:
            left_out = self._hidden == "skip"
            parts.append(
                Bilingual(
                    f"{self.hidden_rows:,} 个隐藏的行{'略过' if left_out else '已读取'}",
                    f"{counted(self.hidden_rows, 'hidden row')} {'left out' if left_out else 'included'}",
                )
            )
        if self.unread_sheets:
            named = ", ".join(map(str, self._table.other_sheets))
            parts.append(
                Bilingual(
                    f"另有 {self.unread_sheets:,} 张工作表没有读取：{named}；可用 --sheet 指定",
                    f"{counted(self.unread_sheets, 'other sheet')} not read: {named}; name one with --sheet",
                )
            )
        return Bilingual("；".join(one.zh for one in parts), "; ".join(one.en for one in parts))

    @property
    def hidden_rows(self) -> int:
        """The number of rows below the header that the sheet does not show and that are not blank."""
        return len(hidden_below(self._table, self._layout))

    def has_clock_times(self, field: str) -> bool:
        """Returns whether any cell of a field's column states a time of day other than midnight. Reads the rows once for this."""
        found = self._clock_times.get(field)
        if found is None:
            place = self.fields.index(field)
            times = (read_time(row.cells[place], self.epoch_1904) for row in self.rows())
            found = self._clock_times[field] = any(time is not None and time.precision == "clock" for time in times)
        return found

    def rows(self) -> Iterator[TableRow]:
        """Yields the rows below the header that are not blank.

        Raises:
            ListFileError: the file is damaged, or has changed since it was opened.
        """
        problem: ListFileError | None = None
        try:
            self._check_unchanged()
            for row in self._table.rows(list(self._layout.columns.values()), self._layout.width):
                if row.number >= self._layout.first_row and not (row.hidden and self._hidden == "skip"):
                    yield row
            self._check_unchanged()
        except Exception as error:
            problem = _describe(error, self.number)
        if problem is not None:
            raise problem

    def _check_unchanged(self) -> None:
        if _file_state(self._path) != self._state:
            raise UnreadableTable(
                Bilingual(
                    "读取时文件被改动：请在别的程序中关闭它，再来一次",
                    "it was changed while it was read: close it in other programs and start again",
                )
            )

    def __repr__(self) -> str:
        return f"ListFile({self.number})"


def open_list_file(
    path: str | Path,
    number: int = 1,
    mapping: ColumnMapping | None = None,
    sheet: str | None = None,
    hidden: Hidden | None = None,
) -> ListFile:
    """Opens a file and finds its columns. A text file is read once through to detect its encoding.

    Args:
        path: a CSV or .xlsx file. Its content decides which, not its name.
        number: the file's place on the command line, from 1.
        mapping: the columns of the fields, if the headers are not recognised.
        sheet: a workbook's sheet, by name or number from 1. The default is the first visible sheet that is not empty.
        hidden: whether rows and columns that a sheet does not show are read. None is for files that have none.

    Raises:
        ListFileError: the file cannot be read, its columns are not certain, or it has hidden rows or columns and `hidden` is None.
    """
    return ListFile(Path(path), number, mapping, sheet, hidden)


class _FileState(NamedTuple):
    """Properties of a file that change when it is written or replaced."""

    inode: int
    size: int
    modified_ns: int


def _file_state(path: Path) -> _FileState:
    status = path.stat()
    if not path.is_file():
        raise UnreadableTable(
            Bilingual("不是文件：请给出 CSV 或 .xlsx 文件", "it is not a file: give a CSV or .xlsx file")
        )
    return _FileState(status.st_ino, status.st_size, status.st_mtime_ns)


def _is_workbook(path: Path) -> bool:
    """Decides by content, since file names are not reliable. Other kinds of files are rejected by the name of their kind."""
    with path.open("rb") as file:
        start = file.read(4096)
    if not start.strip():
        raise UnreadableTable(
            Bilingual("文件是空的：请核对是否选对了文件", "it is empty: check that it is the right file")
        )
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return True
    if start.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        raise UnreadableTable(
            Bilingual(
                "是旧版 Excel 文件或有密码：请去掉密码另存为 .xlsx，或存为 CSV UTF-8",
                "it is an old Excel file or has a password: save it as .xlsx without one, or as CSV UTF-8",
            )
        )
    if start.startswith(b"%PDF"):
        raise UnreadableTable(
            Bilingual("是 PDF：请索取 .xlsx 或 CSV 的名单", "it is a PDF: ask for the list as .xlsx or CSV")
        )
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        raise UnreadableTable(
            Bilingual(
                "是网页或 XML：请用 Excel 或 WPS 打开，另存为 .xlsx 或 CSV UTF-8",
                "it is a web page or XML: open it in Excel or WPS and save it as .xlsx or CSV UTF-8",
            )
        )
    return False


def _open_text(path: Path, mapping: ColumnMapping | None) -> OpenTable:
    """Selects the separator with which most fields are found; of several, the one that gives most columns."""
    found: list[tuple[tuple[int, int], OpenTable]] = []
    problem: UnreadableTable | None = None
    for table in open_text_tables(path):
        head = table.head(HEAD_ROWS)
        try:
            layout = find_layout(head, mapping)
        except UnreadableTable as error:
            if problem is None or isinstance(error, AmbiguousColumns):
                problem = error
            continue
        found.append(((len(layout.columns), _typical_width(head)), OpenTable(table, layout)))
    if not found and problem is not None:
        raise problem
    return max(found, key=lambda candidate: candidate[0])[1]


def _typical_width(head: list[SparseRow]) -> int:
    """Returns the median number of cells in the first rows."""
    return sorted(len(row.cells) for row in head)[len(head) // 2]


def _describe(error: Exception, number: int) -> ListFileError:
    """Returns what is wrong with a file and what to do, without a word of the file."""
    if isinstance(error, UnreadableTable | EncodingError):
        text = error.text
    elif isinstance(error, FileNotFoundError):
        text = Bilingual("没有这个文件：请核对路径", "there is no such file: check its path")
    elif isinstance(error, OSError):
        text = Bilingual("不能读取：请核对路径和你的权限", "it cannot be read: check the path and your rights to it")
    else:
        text = Bilingual(
            "文件已损坏：请用 Excel 或 WPS 打开，另存为 .xlsx 或 CSV UTF-8",
            "it is damaged: open it in Excel or WPS and save it again as .xlsx or CSV UTF-8",
        )
    asks: Asks = ""
    suggested = dict[str, str]()
    if isinstance(error, UnknownColumns):
        asks, suggested = "columns", error.suggested
    elif isinstance(error, HiddenParts):
        asks = "hidden"
    elif isinstance(error, WrongSheet):
        asks = "sheet"
    return ListFileError(
        f"file {number}: {text.en}", chinese=f"文件 {number}：{text.zh}", asks=asks, suggested=suggested
    )
