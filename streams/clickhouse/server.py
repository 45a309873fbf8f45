"""A ClickHouse server over the native protocol."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ninezero.schemas.row_block import Block
from ninezero.streams.clickhouse.engine import (
    CLUSTER_SETTINGS,
    MIN_ROWS_PER_GROUP,
    SETTINGS,
    ClickHouseDenied,
    ClickHouseError,
    Row,
    Rows,
    group_structure,
    insert_from_groups,
    one_line,
)
from ninezero.streams.clickhouse.read_only import READ_LIMITS

ANSWER_SECONDS = 30
"""Seconds without any packet after which the connection is given up; `?send_receive_timeout=` in the URL overrides it.
A server that works on a query sends its progress, so a slow query does not run into it."""

_CONNECT_SECONDS = 5


_DENIED_CODES = {192, 193, 194, 516}
"""Error codes of ClickHouse: unknown user, wrong password, password required, authentication failed."""


_REPLICA_CODES = {225, 242, 289, 319, 999}
"""Error codes of ClickHouse after which another replica may do better: no ZooKeeper, table is read-only, replica not in the
quorum, unknown state of an insert, error of ZooKeeper."""

OLDEST_VERSION = (24, 8)


class Server:
    """A connection to a ClickHouse server, version 24.8 or later, or to one of several: they are tried in turn."""

    def __init__(self, url: str) -> None:
        """Prepares the connection; the first statement opens it.

        Args:
            url: `clickhouse://user:password@host:port[,host:port]/?option=value`, with options of clickhouse-driver; the
                option `cluster` is the cluster on which tables are made.

        Raises:
            ClickHouseError: the options of the URL are wrong.
        """
        from clickhouse_driver import Client

        # clickhouse-driver logs a traceback for every lost connection. ClickHouseError reports it in one line.
        logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        self.cluster = options.pop("cluster", "")
        """See `Engine.cluster`."""
        account, at, hosts = parts.netloc.rpartition("@")
        first, _, others = hosts.partition(",")
        if others:
            options["alt_hosts"] = others
        try:
            self._client = Client.from_url(
                urlunsplit(parts._replace(netloc=account + at + first, query=urlencode(options)))
            )
        except (ValueError, TypeError, AttributeError):  # raised for an unknown option after the `?`
            raise ClickHouseError(
                "NINEZERO_CLICKHOUSE is wrong: correct the options after the ?, see clickhouse-driver"
            ) from None
        self._client.connection.connect_timeout = _CONNECT_SECONDS
        if "send_receive_timeout" not in options:
            self._client.connection.send_receive_timeout = ANSWER_SECONDS
        self._client.connection.tcp_keepalive = (10, 5, 3)  # s idle, s between probes, probes
        self._checked: Any = None
        """What the server of this connection said of itself, when its version was checked."""
        self._settings: dict[str, Any] = {}
        self._read_settings: dict[str, Any] = {}

    def query(self, sql: str) -> list[Row]:
        """See `Engine.query`."""
        return _rows(*self._run(sql, with_column_types=True))

    def read(self, sql: str) -> list[Row]:
        """See `Engine.read`."""
        return _rows(*self._run(sql, with_column_types=True, read=True))

    def lookup(self, sql: str, keys: Sequence[str]) -> list[Row]:
        """See `Engine.lookup`."""
        table = {"name": "keys", "structure": [("key", "String")], "data": [{"key": key} for key in keys]}
        return _rows(*self._run(sql, with_column_types=True, external_tables=[table]))

    def execute(self, sql: str) -> None:
        """See `Engine.execute`."""
        self._run(sql)

    def insert(self, table: str, columns: Sequence[str], rows: Rows) -> None:
        """See `Engine.insert`."""
        if isinstance(rows, Block) and rows.rows_per_group > MIN_ROWS_PER_GROUP:
            # The values that rows have in common are sent once and the server expands them: with a hundred rows a group
            # the insert costs a fifth.
            data = [dict(zip(columns, group, strict=True)) for group in rows.groups()]
            groups = {"name": "row_groups", "structure": group_structure(self, table, rows), "data": data}
            self._run(insert_from_groups(table, rows, "row_groups"), external_tables=[groups])
        else:
            by_column = rows.expanded_columns() if isinstance(rows, Block) else list(zip(*rows, strict=True))
            self._run(f"INSERT INTO {table} ({', '.join(columns)}) VALUES", by_column, columnar=True)

    def close(self) -> None:
        """See `Engine.close`."""
        self._client.disconnect()

    def _run(self, *args: Any, read: bool = False, **kwargs: Any) -> Any:
        from clickhouse_driver.errors import Error

        connection = self._client.connection
        try:
            if not connection.connected:
                connection.connect()
            if connection.server_info is not self._checked:
                self._check_server()
            return self._client.execute(*args, settings=self._read_settings if read else self._settings, **kwargs)
        except (Error, OSError, EOFError) as error:
            self._client.disconnect()
            code = getattr(error, "code", None)
            if not code or code in _REPLICA_CODES:
                connection.hosts.rotate(-1)  # the next statement tries the next server
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ClickHouseDenied(
                    "the certificate of NINEZERO_CLICKHOUSE cannot be verified: name its authority in"
                    " NINEZERO_CLICKHOUSE_TLS_CA, and use the host name that the certificate states"
                ) from None
            raise (ClickHouseDenied if code in _DENIED_CODES else ClickHouseError)(one_line(error)) from None

    def _check_server(self) -> None:
        """Checks the version of the server that was connected, and decides which settings this account may send to it.

        Raises:
            ClickHouseDenied: the server is too old.
        """
        server = self._client.connection.server_info
        if (server.version_major, server.version_minor) < OLDEST_VERSION:
            self._client.disconnect()
            raise ClickHouseDenied(
                f"ClickHouse {server.version_major}.{server.version_minor} is too old: install"
                f" {'.'.join(map(str, OLDEST_VERSION))} or later"
            )
        readonly = self._client.execute("SELECT value FROM system.settings WHERE name = 'readonly'")
        mode = readonly[0][0] if readonly else "0"
        own = SETTINGS | (CLUSTER_SETTINGS if self.cluster else {})
        url_settings = self._client.settings
        self._settings = {} if mode == "1" else own  # an account with readonly=1 may not send any setting
        self._read_settings = {} if mode == "1" else SETTINGS | READ_LIMITS | url_settings
        if mode == "0":
            self._read_settings["readonly"] = 1  # readonly=2 cannot be changed, and does not write either
        self._checked = server


def _rows(rows: Sequence[Sequence[Any]], types: Sequence[tuple[str, str]]) -> list[Row]:
    names = [name for name, _ in types]
    return [dict(zip(names, map(_plain, row), strict=True)) for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return value.isoformat() if isinstance(value, date) else value
