"""A ClickHouse server over the native protocol."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ninezero.schemas.row_block import Block
from ninezero.streams.clickhouse.engine import ClickHouseDenied, ClickHouseError, Row, Rows, one_line

ANSWER_SECONDS = 30
"""Seconds without any packet after which the connection is given up; `?send_receive_timeout=` in the URL overrides it.
A server that works on a query sends its progress, so a slow query does not run into it."""

_CONNECT_SECONDS = 5

_MIN_ROWS_PER_GROUP = 4
"""From about this many rows per group on, it is cheaper to send the common values of a group once."""

_DENIED_CODES = {192, 193, 194, 516}
"""Error codes of ClickHouse: unknown user, wrong password, password required, authentication failed."""


class Server:
    """A connection to a ClickHouse server, version 18.16 or later."""

    def __init__(self, url: str) -> None:
        """Prepares the connection; the first statement opens it.

        Args:
            url: `clickhouse://user:password@host:port/?option=value`, with options of clickhouse-driver.

        Raises:
            ClickHouseError: the options of the URL are wrong.
        """
        from clickhouse_driver import Client

        # clickhouse-driver logs a traceback for every lost connection. ClickHouseError reports it in one line.
        logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)
        try:
            self._client = Client.from_url(url)
        except (ValueError, TypeError, AttributeError):  # raised for an unknown option after the `?`
            raise ClickHouseError(
                "NINEZERO_CLICKHOUSE is wrong: correct the options after the ?, see clickhouse-driver"
            ) from None
        self._client.connection.connect_timeout = _CONNECT_SECONDS
        if "send_receive_timeout" not in parse_qs(urlsplit(url).query):
            self._client.connection.send_receive_timeout = ANSWER_SECONDS
        self._client.connection.tcp_keepalive = (10, 5, 3)  # s idle, s between probes, probes

    def query(self, sql: str) -> list[Row]:
        """See `Engine.query`."""
        rows, types = self._run(sql, with_column_types=True)
        names = [name for name, _ in types]
        return [dict(zip(names, map(_plain, row), strict=True)) for row in rows]

    def execute(self, sql: str) -> None:
        """See `Engine.execute`."""
        self._run(sql)

    def insert(self, table: str, columns: Sequence[str], rows: Rows) -> None:
        """See `Engine.insert`."""
        names = ", ".join(columns)
        if isinstance(rows, Block) and rows.rows_per_group > _MIN_ROWS_PER_GROUP:
            # The values that rows have in common are sent once and the server expands them: with a hundred rows a group
            # the insert costs a fifth.
            data = [dict(zip(columns, group, strict=True)) for group in rows.groups()]
            groups = {"name": "row_groups", "structure": self._structure(table, rows), "data": data}
            sql = f"INSERT INTO {table} ({names}) SELECT {names} FROM row_groups ARRAY JOIN {', '.join(rows.varying)}"  # noqa: S608  # table and columns come from TABLES; the text holds no value
            self._run(sql, external_tables=[groups])
        else:
            by_column = rows.expanded_columns() if isinstance(rows, Block) else list(zip(*rows, strict=True))
            self._run(f"INSERT INTO {table} ({names}) VALUES", by_column, columnar=True)

    def close(self) -> None:
        """See `Engine.close`."""
        self._client.disconnect()

    def _structure(self, table: str, rows: Block) -> list[tuple[str, str]]:
        """Returns (column, type) of an external table with one row a group; varying columns are arrays.

        Times are sent as numbers: clickhouse-driver converts each value of a DateTime on its own, which is slow.
        """
        types = {
            row["name"]: re.sub(r"\ADateTime\b.*", "UInt32", row["type"])
            for row in self.query(f"DESCRIBE TABLE {table}")
        }
        return [(name, f"Array({types[name]})" if name in rows.varying else types[name]) for name in rows.names]

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        from clickhouse_driver.errors import Error

        try:
            return self._client.execute(*args, **kwargs)
        except (Error, OSError, EOFError) as error:
            self._client.disconnect()
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ClickHouseDenied(
                    "the certificate of NINEZERO_CLICKHOUSE cannot be verified: name its authority in"
                    " NINEZERO_CLICKHOUSE_TLS_CA, and use the host name that the certificate states"
                ) from None
            denied = getattr(error, "code", None) in _DENIED_CODES
            raise (ClickHouseDenied if denied else ClickHouseError)(one_line(error)) from None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return value.isoformat() if isinstance(value, date) else value
