"""Rows of one ClickHouse table in columnar form, on their way to an insert."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import date
from itertools import chain, compress
from typing import Any

from ninezero.schemas.rows import ROW_TYPES, VARYING_COLUMNS


class Block:
    """Rows of a table, one list per column.

    Rows that differ only in the varying columns of their table (`VARYING_COLUMNS`) form a *group*. A group is stored
    once: its common values as they are, its varying values as lists. A table without varying columns has groups of one
    row, without lists.
    """

    __slots__ = ("_columns", "_counted", "_rows", "names", "table", "varying")

    def __init__(self, table: str, rows: Block | Sequence[tuple[Any, ...]] = ()) -> None:
        self.table, self.names, self.varying = table, ROW_TYPES[table]._fields, VARYING_COLUMNS.get(table, ())
        self._counted = self.varying[0] if self.varying else self.names[0]
        self._columns: dict[str, list[Any]] = {name: [] for name in self.names}
        self._rows = 0
        self.extend(rows)

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Iterates over the rows as tuples in the order of the table's columns."""
        return zip(*self.expanded_columns(), strict=True)

    def __getitem__(self, name: str) -> list[Any]:
        """Returns a column with one value a group; the value of a varying column is a list."""
        return self._columns[name]

    def groups(self) -> Iterator[tuple[Any, ...]]:
        """Iterates over the groups as tuples in the order of the table's columns."""
        return zip(*self._columns.values(), strict=True)

    @property
    def rows_per_group(self) -> float:
        """The average number of rows in a group."""
        return self._rows / max(len(self._columns[self._counted]), 1)

    def expanded_columns(self) -> list[list[Any]]:
        """Returns the columns with one value a row, in the order of the table."""
        if not self.varying:
            return list(self._columns.values())
        group_of_row = [n for n, values in enumerate(self._columns[self._counted]) for _ in values]
        return [
            list(chain.from_iterable(column)) if name in self.varying else [column[n] for n in group_of_row]
            for name, column in self._columns.items()
        ]

    def last_groups(self, name: str) -> dict[Any, int]:
        """Returns the position of the last group with each value of a column that does not vary."""
        return {value: n for n, value in enumerate(self._columns[name])}

    def last_value(self, name: str, group: int = -1) -> Any:
        """Returns the value of a column in the last row of a group."""
        value = self._columns[name][group]
        return value[-1] if name in self.varying else value

    def extend(self, rows: Block | Sequence[tuple[Any, ...]]) -> None:
        """Adds rows: another block of the same table, or tuples in the order of its columns."""
        if isinstance(rows, Block):
            self._extend_columns(rows._columns, len(rows))
        elif rows:
            columns = dict(zip(self.names, zip(*rows, strict=True), strict=True))
            for name in self.varying:
                columns[name] = tuple([value] for value in columns[name])
            self._extend_columns(columns, len(rows))

    def extend_groups(self, groups: Sequence[tuple[Any, ...]]) -> None:
        """Adds groups: tuples in the order of the table's columns, with a list for each varying column."""
        if groups:
            columns = dict(zip(self.names, zip(*groups, strict=True), strict=True))
            self._extend_columns(columns, sum(map(len, columns[self._counted])))

    def without_days(self, days: Set[date]) -> Block:
        """Returns the rows whose `day` is not one of the given days."""
        kept = [day not in days for day in self._columns["day"]]
        found = Block(self.table)
        found._extend_columns({name: list(compress(column, kept)) for name, column in self._columns.items()}, 0)
        counted = found._columns[self._counted]
        found._rows = sum(map(len, counted)) if self.varying else len(counted)
        return found

    def _extend_columns(self, columns: Mapping[str, Iterable[Any]], rows: int) -> None:
        for name, column in self._columns.items():
            column.extend(columns[name])
        self._rows += rows
