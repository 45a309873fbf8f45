"""The list in a workbook: which sheet has it, and whether rows and columns that the sheet does not show take part.

Hidden rows and columns are neither read nor left out before the person who pushes has decided.
"""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from ninezero.streams.edge.bilingual import Bilingual
from ninezero.streams.edge.listfiles.column_mapping import IDENTITY_FIELDS, ColumnMapping
from ninezero.streams.edge.listfiles.column_recognition import (
    AmbiguousColumns,
    TableLayout,
    UnknownColumns,
    UnknownHeader,
    find_layout,
    name_the_columns,
)
from ninezero.streams.edge.listfiles.column_suggestions import holds_a_number
from ninezero.streams.edge.listfiles.tables.cells import (
    HEAD_ROWS,
    HiddenParts,
    SparseRow,
    Table,
    UnreadableTable,
    WrongSheet,
    column_letters,
)
from ninezero.streams.edge.listfiles.tables.workbooks import SheetInfo, Workbook, give_a_sheet

Hidden = Literal["include", "skip"]
"""What becomes of rows and columns that a sheet does not show."""


class OpenTable(NamedTuple):
    """A table and the position of its data."""

    table: Table
    layout: TableLayout


def open_workbook(path: Path, mapping: ColumnMapping | None, sheet: str | None, hidden: Hidden | None) -> OpenTable:
    """Opens the sheet of a workbook that has the list.

    Raises:
        UnreadableTable: the sheet has no list, its columns are not certain, or it has hidden rows or columns and `hidden` is None.
    """
    workbook = Workbook(path, sheet)
    layout = _layout_of_list(workbook, mapping, hidden, guess=sheet is None and mapping is None)
    found = _hidden_parts(workbook, layout, columns=mapping is None) if hidden is None else []
    if found:
        raise HiddenParts(Bilingual("，".join(one.zh for one in found), " and ".join(one.en for one in found)))
    return OpenTable(workbook, layout)


def _hidden_parts(workbook: Workbook, layout: TableLayout, columns: bool) -> list[Bilingual]:
    """Returns what the sheet does not show of the list, in words. `columns` is false if hidden columns were named in a mapping."""
    found = list[Bilingual]()
    letters = [
        f"{column_letters(column)} (`{field}`)"
        for field, column in layout.columns.items()
        if columns and column in workbook.hidden_columns
    ]
    if letters:
        named = ", ".join(letters)
        found.append(
            Bilingual(f"{len(letters)} 个隐藏的列 {named}", f"{counted(len(letters), 'hidden column')}, {named}")
        )
    rows = hidden_below(workbook, layout)
    if rows:
        found.append(
            Bilingual(
                f"表头下面有 {len(rows):,} 个隐藏的行，第一个是第 {rows[0]} 行",
                f"{counted(len(rows), 'hidden row')} below the header, the first is row {rows[0]}",
            )
        )
    return found


def _layout_of_list(
    workbook: Workbook, mapping: ColumnMapping | None, hidden: Hidden | None, guess: bool
) -> TableLayout:
    """Finds the columns of the sheet. If it seems not to be the list, the error names the other sheets.

    Args:
        workbook: the open workbook.
        mapping: the columns of the fields, if they were given.
        hidden: what becomes of hidden columns.
        guess: whether nobody has said that this sheet is the list.
    """
    head = workbook.head(HEAD_ROWS)
    layout: TableLayout | None = None
    suggested = dict[str, str]()
    try:
        layout = _visible_layout(workbook, head, mapping, hidden)
        if not guess or _has_numbers(head, layout):
            return layout
        problem = Bilingual(
            f"工作表 {workbook.sheet} 的表头下面没有号码", f"sheet {workbook.sheet} has no numbers below its header"
        )
    except UnknownHeader as error:
        if not workbook.other_sheets:
            raise
        suggested = error.suggested
        problem = Bilingual(
            f"工作表 {workbook.sheet} 中{error.problem.zh}", f"{error.problem.en}, on sheet {workbook.sheet}"
        )
    lists = [other for other in workbook.other_sheets if other.visible and _has_list(workbook, other)]
    if lists:
        problem = Bilingual(f"{problem.zh}，别的工作表有名单", f"{problem.en}, and other sheets have a list")
        raise WrongSheet(problem, give_a_sheet(lists))
    if layout is None:
        choice, columns = give_a_sheet(workbook.other_sheets), name_the_columns(suggested)
        raise UnknownColumns(
            problem, Bilingual(f"{choice.zh}；或{columns.zh}", f"{choice.en}; or {columns.en}"), suggested
        )
    return layout


def hidden_below(table: Table, layout: TableLayout) -> Sequence[int]:
    """Returns the numbers of the hidden rows that are not blank and stand below the header."""
    return table.hidden_rows[bisect_left(table.hidden_rows, layout.first_row) :]


def _visible_layout(
    workbook: Workbook, head: list[SparseRow], mapping: ColumnMapping | None, hidden: Hidden | None
) -> TableLayout:
    """Finds the columns. A hidden column is used if a mapping names it, or if it was said that hidden parts take part."""
    if not workbook.hidden_columns or mapping is not None or hidden == "include":
        return find_layout(head, mapping)
    if hidden == "skip":
        return find_layout(_without(head, workbook.hidden_columns), None)
    try:
        return find_layout(head, None)
    except AmbiguousColumns:
        find_layout(_without(head, workbook.hidden_columns), None)
        raise HiddenParts(
            Bilingual("两列表头相似，其中一列隐藏", "two columns look alike, and of them one is hidden")
        ) from None


def _without(head: list[SparseRow], columns: Collection[int]) -> list[SparseRow]:
    rows = (
        row._replace(cells={column: cell for column, cell in row.cells.items() if column not in columns})
        for row in head
    )
    return [row for row in rows if row.cells]


def _has_list(workbook: Workbook, sheet: SheetInfo) -> bool:
    head = workbook.head_of(sheet, HEAD_ROWS)
    try:
        layout = find_layout(head, None)
    except UnreadableTable as error:
        return isinstance(error, AmbiguousColumns)
    return _has_numbers(head, layout)


def _has_numbers(head: Sequence[SparseRow], layout: TableLayout) -> bool:
    """Returns whether the rows below the header can be a list: an identity column has a number, or there are no rows.

    An instruction page that explains the columns also names them.
    """
    columns = [column for field, column in layout.columns.items() if field in IDENTITY_FIELDS]
    below = [row for row in head if row.number >= layout.first_row]
    return not below or any(holds_a_number(row.cells.get(column)) for row in below for column in columns)


def counted(count: int, what: str) -> str:
    """Returns a number of things in words: `1 hidden row`, `2 hidden rows`."""
    return f"{count:,} {what}{'s' if count != 1 else ''}"
