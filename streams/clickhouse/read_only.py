"""Queries from outside: the check of their text, their limits, and errors that say what to do.

What protects the data is `Engine.read`: ClickHouse itself refuses to write (`readonly=1`). The check closes what that leaves
open, and gives a clear message early.
"""

from __future__ import annotations

import re

from ninezero.streams.clickhouse.engine import ClickHouseError

READ_LIMITS = {
    "max_execution_time": 60,  # s
    "max_memory_usage": 2_000_000_000,  # bytes
    "max_result_rows": 1_000_000,
    "max_result_bytes": 500_000_000,
}
"""Limits of `Engine.read`."""

_READ_KEYWORDS = ("select", "with", "show", "describe", "desc", "explain", "exists")

_TABLE_NAME = r"[\w.`\"]+"
_DESCRIBE = re.compile(rf"\s*desc(?:ribe)?\s+(?:table\s+)?{_TABLE_NAME}\s*;?\s*", re.I)

_COMMENT = r"/\*.*?\*/|--[^\n]*\n|#[^\n]*\n"
_OUTSIDE = re.compile(
    r"\b(arrowflight|azureblobstorage|cluster|cosn|deltalake|dictionary|executable|file|gcs|hdfs|hudi|iceberg|jdbc|mongodb|mysql"
    r"|odbc|oss|paimon|postgresql|python|redis|remote|s3|sqlite|url|ytsaurus)\w*"
    rf"[`\"]?(?:\s|{_COMMENT})*\(",
    re.I | re.S,
)
"""Functions that read files, processes or the network. The names of their variants begin with the same words."""

_REMEDIES = {
    158: "the query reads too many rows: ask for fewer days or sites",
    159: f"the query took longer than {READ_LIMITS['max_execution_time']} s: ask for fewer days or sites",
    160: f"the query would take longer than {READ_LIMITS['max_execution_time']} s: ask for fewer days or sites",
    164: "queries may only read, and may not change limits: leave out what writes, SETTINGS, and sources other than tables and views",
    241: f"the query needs more memory than there is (at most {READ_LIMITS['max_memory_usage'] // 10**9} GB):"
    " ask for fewer days or sites",
    497: "the account of this connection has no right to that: name views that it may read",
    396: f"the result has more than {READ_LIMITS['max_result_rows']:,} rows or {READ_LIMITS['max_result_bytes'] // 10**6} MB:"
    " sum the rows up, or add LIMIT",
}
"""What to do about an error of a query, by the code of ClickHouse."""


def check_read_only(sql: str) -> None:
    """Checks that a text is exactly one statement that only reads tables and views.

    The embedded engine runs every statement of a text, writes files with INTO OUTFILE even if it is read-only, and, as a
    server does, opens the file or address that a DESCRIBE names. So the check is strict: it also rejects these words inside a
    string or a comment.

    Raises:
        ClickHouseError: the text is something else.
    """
    keyword = re.match(r"[\s(]*([a-zA-Z]+)", sql)
    if keyword is None or keyword.group(1).lower() not in _READ_KEYWORDS:
        raise ClickHouseError(
            "only statements that read are allowed: start with SELECT, WITH, SHOW, DESCRIBE, EXPLAIN or EXISTS"
        )
    if ";" in sql.rstrip().removesuffix(";") or re.search(r"\b(insert|into)\b|\bparallel\s+with\b", sql, re.I):
        raise ClickHouseError(
            "only one statement that reads is allowed: remove every ';' except the last, INSERT, INTO and PARALLEL WITH"
        )
    if outside := _OUTSIDE.search(sql):
        raise ClickHouseError(
            f"queries read the tables and views of the database alone: remove {outside[1].lower()}(…), which reads files,"
            " processes or the network"
        )
    if keyword.group(1).lower().startswith("desc") and not _DESCRIBE.fullmatch(sql):
        raise ClickHouseError("DESCRIBE takes the name of one table or view: leave out what follows it")
    if re.search(r"\bformat\s+\w+\s*;?\s*\Z", sql, re.I):
        raise ClickHouseError("the statement cannot choose its FORMAT: remove it, and use the option --format")


def with_remedy(error: ClickHouseError) -> ClickHouseError:
    """Returns an error of `Engine.read` for the user who wrote the query: it says what to do about a limit or a write."""
    remedy = _REMEDIES.get(error.code or 0)
    return error if remedy is None else ClickHouseError(remedy)
