"""Recognises which column of a table holds which field: by its headers, or by a column mapping.

No message quotes a header: in a table without a header row, the first row is a person.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

from ninezero.streams.edge.listfiles.column_mapping import FIELDS, IDENTITY_FIELDS, MAPPING_EXAMPLE, ColumnMapping
from ninezero.streams.edge.listfiles.known_headers import field_of, normalise_header
from ninezero.streams.edge.listfiles.tables.cells import (
    Cell,
    SparseRow,
    UnreadableTable,
    column_index,
    column_letters,
)

_MAX_HEADERS = 1000
"""Filled cells of a row, from the left, that can be headers. Columns further right can be given by letters or numbers."""
_POSITION = re.compile("[A-Za-z]|[0-9]+")
"""The texts of a mapping that always mean a position. More letters can be a header (`tel`) or a position (`AB`); a header is tried first."""


class TableLayout(NamedTuple):
    """The position of a table's data.

    `columns` are the fields in the order of `FIELDS` and their columns from 0. `first_row` is the first row of data. `width` is
    the number of cells in the header, or 0 if the table has no header.
    """

    columns: dict[str, int]
    first_row: int
    width: int


class UnknownHeader(UnreadableTable):
    """No row has the headers that are needed. `problem` is the message without its remedy."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}: {MAPPING_EXAMPLE}")
        self.problem = problem


class AmbiguousColumns(UnreadableTable):
    """Two columns have headers of the same field."""


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
        raise UnknownHeader("no header of an identity column is recognised")
    columns = _one_column_each(found)
    return TableLayout(columns, _last_header_row(head, header, columns).number + 1, max(header.cells) + 1)


def _two_rows(upper: SparseRow, lower: SparseRow) -> SparseRow:
    """Returns the header that two rows make together, at the place of the lower one.

    A heading over several columns has its text in the first of them. A header below it is known by itself (隔离期 over 开始日期), or only
    together with it (隔离期 over 起, 身份证 over 号码). An empty cell continues the cell above, as a text file has merged cells.
    """
    cells, above = dict(lower.cells), ""
    for column in range(max((*upper.cells, *lower.cells), default=-1) + 1):
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
    return found if IDENTITY_FIELDS & found.keys() else {}


def _mapped(head: Sequence[SparseRow], mapping: ColumnMapping) -> TableLayout:
    given = mapping.columns()
    if not IDENTITY_FIELDS & given.keys():
        raise UnreadableTable(
            f"the mapping names no identity: it needs a column for one of {', '.join(sorted(IDENTITY_FIELDS))}"
        )
    texts = {field: normalise_header(name) for field, name in given.items() if not _POSITION.fullmatch(name.strip())}
    header, found = _row_with_headers(head, texts)
    widest = max(max(row.cells, default=-1) for row in head)
    for field in given.keys() - found.keys():
        column = column_index(given[field])
        if column is None or (field in texts and column > widest):  # `tel` is a header that is missing, not column TEL
            raise UnknownHeader(f"it has no column for `{field}` as the mapping states")
        found[field] = [column]
    if header is None:  # all columns are given by position: a row of known headers is not a person
        header = next((row for row in head if _known_headers(row.cells)), None)
    columns, first_row, width = _one_column_each(found), 1, 0
    if header is not None:
        first_row = _last_header_row(head, header, columns).number + 1
        width = max(header.cells, default=-1) + 1
    return TableLayout(columns, mapping.first_row or first_row, width)


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
            raise AmbiguousColumns(
                f"columns {column_letters(columns[0])} and {column_letters(columns[1])} both look like `{field}`:"
                f" {MAPPING_EXAMPLE}"
            )
    return {field: found[field][0] for field in FIELDS if field in found}
