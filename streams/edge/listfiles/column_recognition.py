"""Recognises which column of a table holds which field: by its headers, or by a column mapping.

No message quotes a header: in a table without a header row, the first row is a person.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import islice, pairwise
from types import MappingProxyType
from typing import NamedTuple

from ninezero.streams.edge.bilingual import Bilingual
from ninezero.streams.edge.listfiles.column_mapping import FIELDS, IDENTITY_FIELDS, ColumnMapping
from ninezero.streams.edge.listfiles.column_suggestions import holds_a_number, is_a_word, suggested_columns
from ninezero.streams.edge.listfiles.known_headers import field_of, normalise_header
from ninezero.streams.edge.listfiles.tables.cells import (
    Cell,
    SparseRow,
    UnreadableTable,
    column_index,
    column_letters,
)

_MAX_HEADERS = 200
"""Filled cells of a row, from the left, that can be headers. Columns further right can be given by letters or numbers."""
_POSITION = re.compile("[A-Za-z]|[0-9]+")
"""The texts of a mapping that always mean a position. More letters can be a header (`tel`) or a position (`AB`); a header is tried first."""


class TableLayout(NamedTuple):
    """The position of a table's data.

    `columns` are the fields in the order of `FIELDS` and their columns from 0. `first_row` is the first row of data. `width` is
    the number of cells in the header, or 0 if the table has no header. `assumed_header` is the row that is read as the header
    because it has words where the identities are; 0 if a header was recognised, or there is none. `untyped` is true if the header of
    `id` is that of any document (证件号码), so that a number in it may be one of another kind. `unread` are kinds of identities that have
    no column, and the letters of the columns that seem to hold them.
    """

    columns: dict[str, int]
    first_row: int
    width: int
    assumed_header: int = 0
    untyped: bool = False
    unread: Mapping[str, str] = MappingProxyType({})


class UnknownColumns(UnreadableTable):
    """A person has to say which column is which.

    Attributes:
        problem: the message without its remedy.
        suggested: the letters of the column that a field seems to have, by what is in the column.
    """

    def __init__(self, problem: Bilingual, remedy: Bilingual, suggested: Mapping[str, str]) -> None:
        super().__init__(Bilingual(f"{problem.zh}：{remedy.zh}", f"{problem.en}: {remedy.en}"))
        self.problem, self.suggested = problem, dict(suggested)


class UnknownHeader(UnknownColumns):
    """No row has the headers that are needed."""

    def __init__(self, problem: Bilingual, suggested: Mapping[str, str]) -> None:
        super().__init__(problem, name_the_columns(suggested), suggested)


class AmbiguousColumns(UnknownColumns):
    """Two columns have headers of the same field."""


def name_the_columns(suggested: Mapping[str, str]) -> Bilingual:
    """Returns the remedy with the options to copy: `give --map id=C --map phone=D`.

    Args:
        suggested: the letters of the column that a field seems to have.
    """
    options = " ".join(f"--map {field}={letters}" for field, letters in suggested.items())
    if not options:
        return Bilingual(
            "用 --map 写明各列，例如 --map id=C（C 列是身份证号）",
            "name the columns with --map, for example --map id=C if column C has the identity numbers",
        )
    return Bilingual(f"看内容可能是 {options}，核对后加上", f"by what is in them, give {options}, if that is right")


def find_layout(head: Sequence[SparseRow], mapping: ColumnMapping | None) -> TableLayout:
    """Returns where the fields of a table are, judging by its first rows.

    Raises:
        UnreadableTable: there is no row, or the mapping names no identity.
        UnknownHeader: no identity column is recognised, or a column of the mapping is missing.
        AmbiguousColumns: two columns have headers of the same field.
    """
    if not head:
        raise UnreadableTable("it has no rows: check that it is the right file")
    return _recognised(head) if mapping is None else _mapped(head, mapping)


def _recognised(head: Sequence[SparseRow]) -> TableLayout:
    """The header is the row, or the two rows, that name most fields. One row wins over two."""
    rows = [*head, *(_two_rows(upper, lower) for upper, lower in pairwise(head) if lower.number == upper.number + 1)]
    named = [(row, _known_headers(row.cells)) for row in rows]
    header, found = max(named, key=lambda pair: len(pair[1]))
    if not found:
        raise UnknownHeader(
            Bilingual("没有认出身份号码的表头", "no header of an identity column is recognised"),
            suggested_columns(head),
        )
    columns = _one_column_each(found)
    untyped = "id" in columns and field_of(header.cells[columns["id"]]) == "document"
    first_row, width = _last_header_row(head, header, columns).number + 1, max(header.cells) + 1
    return TableLayout(columns, first_row, width, untyped=untyped, unread=_unread(head, columns))


def _unread(head: Sequence[SparseRow], columns: Mapping[str, int]) -> dict[str, str]:
    """Returns the kinds of identities that have no column, and the letters of the columns that seem to hold them."""
    known = {*columns, "id"} if "document" in columns else {*columns}
    used = {column_letters(column) for column in columns.values()}
    return {
        field: letters
        for field, letters in suggested_columns(head).items()
        if field not in known and letters not in used
    }


def _two_rows(upper: SparseRow, lower: SparseRow) -> SparseRow:
    """Returns the header that two rows make together, at the place of the lower one.

    A heading over several columns has its text in the first of them. A header below it is known by itself (隔离期 over 开始日期), or only
    together with it (隔离期 over 起, 身份证 over 号码). An empty cell continues the cell above, as a text file has merged cells.
    """
    cells, above = dict(lower.cells), ""
    for column in range(min(max((*upper.cells, *lower.cells), default=-1) + 1, _MAX_HEADERS)):
        own, below = _text(upper.cells.get(column)), _text(lower.cells.get(column))
        above = own or above
        if not below:
            cells[column] = own
        elif field_of(below) is None:
            cells[column] = above + below
    return SparseRow(lower.number, cells)


def _text(cell: Cell) -> str:
    return cell.strip() if isinstance(cell, str) else ""


def _known_headers(cells: Mapping[int, Cell]) -> dict[str, list[int]]:
    """Returns the fields that a row names and their columns; nothing if it names no identity."""
    found: dict[str, list[int]] = {}
    for column, cell in islice(cells.items(), _MAX_HEADERS):
        field = field_of(cell)
        if field is not None:
            found.setdefault(field, []).append(column)
    if "document" in found and not {"document_type", "id"} & found.keys():
        found["id"] = found.pop("document")  # the only number of a document, without a type: resident numbers
    return found if IDENTITY_FIELDS & found.keys() else {}


def _mapped(head: Sequence[SparseRow], mapping: ColumnMapping) -> TableLayout:
    given = mapping.columns()
    if not IDENTITY_FIELDS & given.keys():
        raise UnreadableTable(
            Bilingual(
                f"没有指明身份号码的列：需要 {', '.join(sorted(IDENTITY_FIELDS))} 之一",
                f"the mapping names no identity: it needs a column for one of {', '.join(sorted(IDENTITY_FIELDS))}",
            )
        )
    texts = {field: normalise_header(name) for field, name in given.items() if not _POSITION.fullmatch(name.strip())}
    header, found = _row_with_headers(head, texts)
    assumed = 0
    widest = max(max(row.cells, default=-1) for row in head)
    for field in given.keys() - found.keys():
        column = column_index(given[field])
        if column is None or (field in texts and column > widest):  # `tel` is a header that is missing, not column TEL
            raise UnknownHeader(
                Bilingual(f"没有为 `{field}` 指明的那一列", f"it has no column for `{field}` as the mapping states"),
                suggested_columns(head),
            )
        found[field] = [column]
    if 0 <= widest < min(found[field][0] for field in IDENTITY_FIELDS & found.keys()):
        last = column_letters(widest)
        raise UnknownHeader(
            Bilingual(
                f"最后一列是 {last}，--map 指明的列在其后",
                f"its last column is {last}, and the mapping names one after it",
            ),
            suggested_columns(head),
        )
    if header is None:  # all columns are given by position: a row of known headers is not a person
        header = next((row for row in head if _known_headers(row.cells)), None)
        if header is None and mapping.first_row is None:
            header = _row_of_words(head, found)
            assumed = 0 if header is None else header.number
    columns, first_row, width = _one_column_each(found), 1, 0
    if header is not None:
        first_row = _last_header_row(head, header, columns).number + 1
        width = max(header.cells, default=-1) + 1
    return TableLayout(columns, mapping.first_row or first_row, width, assumed)


def _row_of_words(head: Sequence[SparseRow], found: Mapping[str, list[int]]) -> SparseRow | None:
    """Returns the row that is a header by its look: the last one before the first number that has words where the identities are.

    Such a row names its columns in a way that is not known. A row of data has a number in one of these columns. If no row has one,
    the first row of words is the header.
    """
    columns = [column for field, places in found.items() if field in IDENTITY_FIELDS for column in places]
    words = list[SparseRow]()
    for row in head:
        cells = [cell for column in columns if (cell := row.cells.get(column)) not in (None, "")]
        if any(holds_a_number(cell) for cell in cells):
            return words[-1] if words else None
        if any(is_a_word(cell) for cell in cells):
            words.append(row)
    return words[0] if words else None


def _last_header_row(head: Sequence[SparseRow], header: SparseRow, columns: Mapping[str, int]) -> SparseRow:
    """Returns the last row of a header whose cells are merged over several rows, or are repeated below each other in any language."""
    texts = {column: normalise_header(header.cells.get(column)) for column in columns.values()}
    fields = {column: field for field, column in columns.items()}
    for row in head:
        if row.number == header.number + 1 and any(texts.values()):
            below = {column: row.cells.get(column) for column in texts}
            if any(normalise_header(cell) != texts[at] and field_of(cell) != fields[at] for at, cell in below.items()):
                break
            header = row
    return header


def _row_with_headers(
    head: Sequence[SparseRow], texts: Mapping[str, str]
) -> tuple[SparseRow | None, dict[str, list[int]]]:
    """Returns the row that has most of these header texts, and the columns of each field there."""
    header, found = None, dict[str, list[int]]()
    for row in head:
        places: dict[str, list[int]] = {}
        for column, cell in islice(row.cells.items(), _MAX_HEADERS):
            places.setdefault(normalise_header(cell), []).append(column)
        here = {field: places[text] for field, text in texts.items() if text and text in places}
        if len(here) > len(found):
            header, found = row, here
    return header, found


def _one_column_each(found: Mapping[str, list[int]]) -> dict[str, int]:
    for field, columns in found.items():
        if len(columns) > 1:
            first, second = column_letters(columns[0]), column_letters(columns[1])
            raise AmbiguousColumns(
                Bilingual(
                    f"{first} 列和 {second} 列都像 `{field}`", f"columns {first} and {second} both look like `{field}`"
                ),
                Bilingual(
                    f"用 --map {field}={first} 或 --map {field}={second} 写明是哪一列",
                    f"give --map {field}={first} or --map {field}={second}, and --map for the other fields",
                ),
                {one: column_letters(places[0]) for one, places in found.items() if len(places) == 1},
            )
    return {field: found[field][0] for field in FIELDS if field in found}
