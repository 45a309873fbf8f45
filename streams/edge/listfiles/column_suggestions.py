"""Which columns of a table seem to hold which identities, by what is in them: for tables whose headers are not recognised."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice

from ninezero.streams.edge.documents.checks import check
from ninezero.streams.edge.documents.normal_forms import Domain
from ninezero.streams.edge.listfiles.identity_cells import is_placeholder
from ninezero.streams.edge.listfiles.tables.cells import Cell, FormattedValue, SparseRow, column_letters

_SUGGESTED: tuple[Domain, ...] = ("id", "plate", "phone")
"""Kinds that can be recognised by a value alone, the most certain first."""
_STILL_ONE = frozenset({"fifteen_digit", "unknown_division"})
"""Flags of a number that is certainly of its kind."""
_MOST_COLUMNS = 50
"""Filled cells of a row, from the left, that are checked."""
_DIGITS_OF_A_NUMBER = 3
"""A number that identifies somebody or a vehicle has at least so many digits."""


def suggested_columns(head: Sequence[SparseRow]) -> dict[str, str]:
    """Returns the letters of the column that holds most values of a kind, where it is one column alone.

    Args:
        head: the first rows of the table.
    """
    counts: dict[Domain, dict[int, int]] = {}
    today = datetime.now(UTC).date()
    for row in head:
        for column, cell in islice(row.cells.items(), _MOST_COLUMNS):
            text = _text(cell)
            for domain in _SUGGESTED if len(text) >= _DIGITS_OF_A_NUMBER else ():
                if holds_a_number(cell) and _STILL_ONE.issuperset(check(domain, text, today)):
                    here = counts.setdefault(domain, {})
                    here[column] = here.get(column, 0) + 1
                    break
    found: dict[str, str] = {}
    for domain, here in counts.items():
        most = max(here.values())
        columns = [column for column, count in here.items() if count == most]
        if len(columns) == 1:
            found[domain] = column_letters(columns[0])
    return {domain: found[domain] for domain in ("id", "phone", "plate") if domain in found}


def holds_a_number(cell: Cell) -> bool:
    """Returns whether a cell has a number that could identify somebody or a vehicle."""
    return cell is not None and (not isinstance(cell, str) or sum(map(str.isdigit, cell)) >= _DIGITS_OF_A_NUMBER)


def is_a_word(cell: Cell) -> bool:
    """Returns whether a cell has text that is neither a number nor says that there is no value."""
    return (
        isinstance(cell, str) and bool(cell.strip()) and not holds_a_number(cell) and not is_placeholder(cell.strip())
    )


def _text(cell: Cell) -> str:
    if isinstance(cell, FormattedValue):
        cell = cell.shown if cell.shown is not None else cell.value
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else ""
    return cell or ""
