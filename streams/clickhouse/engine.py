"""The protocol that every ClickHouse connection implements, its errors, and the check of read-only statements."""

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

_READ_KEYWORDS = ("select", "with", "show", "describe", "desc", "explain", "exists")


class ClickHouseError(UserError):
    """ClickHouse rejected a statement or cannot be reached. The message is one line."""


class ClickHouseDenied(ClickHouseError):
    """The server answers, but it rejects the account or its password, or its certificate cannot be verified."""


class Engine(Protocol):
    """One connection to ClickHouse. It is not thread-safe."""

    def query(self, sql: str) -> list[Row]:
        """Returns the rows of a query. Times are strings `YYYY-MM-DD hh:mm:ss` in UTC, dates `YYYY-MM-DD`."""

    def execute(self, sql: str) -> None:
        """Runs a statement that has no result."""

    def insert(self, table: str, columns: Sequence[str], rows: Rows) -> None:
        """Inserts rows. It returns when ClickHouse has acknowledged the insert."""

    def close(self) -> None:
        """Closes the connection."""


def check_read_only(sql: str) -> None:
    """Checks that a text is exactly one statement that only reads.

    The embedded engine runs every statement of a text and can write files. The check is strict: it also rejects a
    semicolon or the words INSERT and INTO inside a string or a comment.

    Raises:
        ClickHouseError: the text is something else.
    """
    keyword = re.match(r"[\s(]*([a-zA-Z]+)", sql)
    if keyword is None or keyword.group(1).lower() not in _READ_KEYWORDS:
        raise ClickHouseError(
            "only statements that read are allowed: start with SELECT, WITH, SHOW, DESCRIBE, EXPLAIN or EXISTS"
        )
    if ";" in sql.rstrip().removesuffix(";") or re.search(r"\b(insert|into)\b", sql, re.I):
        raise ClickHouseError(
            "only one statement that reads is allowed: remove every ';' except the last, and INSERT and INTO"
        )


def one_line(error: BaseException) -> str:
    """Returns the message of an error of ClickHouse on one line, without the stack trace, at most 300 characters."""
    text = re.sub(r"\s+", " ", str(error).partition("Stack trace:")[0]).strip()
    return text[:300] or type(error).__name__
