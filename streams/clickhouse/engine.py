"""The protocol that every ClickHouse connection implements, and its errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from ninezero.schemas.row_block import Block
from ninezero.streams.errors import UserError

Row = dict[str, Any]
"""A row of a result: column name → value."""

Rows = Block | Sequence[tuple[Any, ...]]
"""Rows to insert: columnar (`Block`), or tuples in the order of the columns."""


class ClickHouseError(UserError):
    """ClickHouse rejected a statement or cannot be reached. The message is one line."""

    @property
    def code(self) -> int | None:
        """The code of ClickHouse's error, or None if the error is not one of ClickHouse."""
        found = re.match(r"Code: (\d+)", str(self))
        return int(found[1]) if found else None


class ClickHouseDenied(ClickHouseError):
    """The server answers, but it rejects the account or its password, its certificate cannot be verified, or it is too old."""


SETTINGS = {
    "async_insert": 0,  # an insert is durable when it returns
    "do_not_merge_across_partitions_select_final": 1,  # FINAL merges each day by itself: rows of two days never replace each other
    "insert_deduplicate": 0,  # rows are replaced by key; a replica would drop an equal block that is inserted again after a loss
    "max_partitions_per_insert_block": 0,  # a back-fill of years is one insert
}
"""Settings of every connection, whatever the defaults of the server."""

CLUSTER_SETTINGS = {
    "insert_quorum": "auto",  # an insert is durable when most replicas have it
    "insert_quorum_parallel": 0,  # without this, select_sequential_consistency has no effect
    "insert_quorum_timeout": 20_000,  # ms; shorter than the time after which the connection is given up
    "select_sequential_consistency": 1,  # after a change of the server, the recorder reads what it wrote
}
"""Further settings of every connection to a cluster."""


class Engine(Protocol):
    """One connection to ClickHouse. It is not thread-safe."""

    @property
    def cluster(self) -> str:
        """The cluster on which tables are made and replicated; empty for a single server."""

    def query(self, sql: str) -> list[Row]:
        """Returns the rows of a query. Times are strings `YYYY-MM-DD hh:mm:ss` in UTC, dates `YYYY-MM-DD`."""

    def read(self, sql: str) -> list[Row]:
        """Returns the rows of a query as `query` does. The engine itself refuses to write (`readonly=1`), and the query
        runs within `READ_LIMITS` (read_only.py)."""

    def lookup(self, sql: str, keys: Sequence[str]) -> list[Row]:
        """Returns the rows of a query that reads `keys`, a table with the column `key`.

        A server gets the keys beside the statement, so that its log of statements (`system.query_log`) does not hold them.
        """

    def execute(self, sql: str) -> None:
        """Runs a statement that has no result."""

    def insert(self, table: str, columns: Sequence[str], rows: Rows) -> None:
        """Inserts rows. It returns when ClickHouse has acknowledged the insert."""

    def close(self) -> None:
        """Closes the connection."""


MIN_ROWS_PER_GROUP = 4
"""From about this many rows per group on, it is cheaper to send the common values of a group once."""


def group_structure(engine: Engine, table: str, rows: Block) -> list[tuple[str, str]]:
    """Returns (column, type) of a table with one row a group, from which rows are inserted; varying columns are arrays.

    Times are sent as numbers and LowCardinality as its plain type: the drivers convert values of these types one by one, which
    is slow.
    """
    types = {
        row["name"]: re.sub(r"\ADateTime\b.*", "UInt32", re.sub(r"LowCardinality\((\w+)\)", r"\1", row["type"]))
        for row in engine.query(f"DESCRIBE TABLE {table}")
    }
    return [(name, f"Array({types[name]})" if name in rows.varying else types[name]) for name in rows.names]


def insert_from_groups(table: str, rows: Block, source: str) -> str:
    """Returns the statement that inserts rows from `source`, which holds one row a group (`group_structure`). ClickHouse expands them."""
    names = ", ".join(rows.names)
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM {source} ARRAY JOIN {', '.join(rows.varying)}"  # noqa: S608  # table and columns are names of schemas/rows.py; `source` is a table name (server.py) or quoted text (embedded.py)


def one_line(error: BaseException) -> str:
    """Returns the message of an error of ClickHouse on one line, without the stack trace, at most 300 characters."""
    text = re.sub(r"\s+", " ", str(error).partition("Stack trace:")[0]).strip()
    return text[:300] or type(error).__name__
