"""One client of the native server: its login, its queries and its inserts."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

from clickhouse_driver.protocol import ClientPacketTypes

from .native_accounts import Denied, log_in
from .native_blocks import Block, UnsupportedType
from .native_protocol import REVISION, Packets, Progress, ProtocolError
from .native_session import EngineSession, Upload

_INSERT = re.compile(
    r"\s*INSERT\s+INTO\s+(?:TABLE\s+)?(?P<table>[\w.`]+)\s*(?:\((?P<columns>[^)]*)\))?\s*(?:VALUES|FORMAT\s+\w+)?\s*;?\s*\Z",
    re.I,
)
"""An insert whose rows follow as blocks."""

_SELECT = re.compile(r"[\s(]*(SELECT|WITH)\b", re.I)

_DATETIME_COLUMN = b"\x08DateTime"
"""How the format Native states the type of a column of times: without the time zone."""


class Connection:
    """Serves one client until it disconnects."""

    def __init__(
        self, client: socket.socket, settings_file: Path, engine_path: str, version: tuple[int, int, int]
    ) -> None:
        """Prepares the connection.

        Args:
            client: the accepted connection, after the TLS handshake.
            settings_file: the settings of the server, for the accounts.
            engine_path: the folder of the engine, with options.
            version: the engine's major, minor and patch version.
        """
        self._packets = Packets(client)
        self._settings_file, self._engine_path, self._version = settings_file, engine_path, version
        self._user = ""
        self._session: EngineSession
        self._last_told = 0.0

    def serve(self) -> None:
        """Answers packets until the client disconnects.

        Raises:
            EOFError, OSError: the client disconnected, or sent something else than the protocol.
        """
        try:
            self._session = self._log_in()
        except (Denied, RuntimeError) as error:
            self._refuse(error, "")
            return
        with closing(self._session):
            while True:
                packet = self._packets.next()
                if packet == ClientPacketTypes.PING:
                    self._packets.write_pong()
                elif packet == ClientPacketTypes.QUERY:
                    self._query()
                elif packet != ClientPacketTypes.CANCEL:  # a CANCEL may come after the end of its query
                    raise ProtocolError(f"packet {packet} instead of a query")

    def _log_in(self) -> EngineSession:
        hello = self._packets.read_hello()
        self._user = hello.user
        account = log_in(self._settings_file, hello.user, hello.password)
        if hello.revision < REVISION:
            raise Denied(48, f"the client speaks revision {hello.revision}, this server {REVISION}. (NOT_IMPLEMENTED)")
        session = EngineSession(self._engine_path, account, hello.database)
        self._packets.write_hello(self._version)
        self._packets.read_quota_key()
        return session

    def _query(self) -> None:
        query = self._packets.read_query()
        self._last_told = time.monotonic()
        with ExitStack() as uploads:
            try:
                if query.compressed:
                    raise Denied(
                        48, "this server takes no compressed blocks: connect without compression. (NOT_IMPLEMENTED)"
                    )
                external = self._read_external_tables(uploads)
                self._session.use(query.settings)
                self._execute(query.sql, external)
            except (Denied, UnsupportedType, RuntimeError) as error:
                self._refuse(error, query.sql)
            else:
                self._packets.write_end()

    def _read_external_tables(self, uploads: ExitStack) -> list[tuple[str, Block, Upload]]:
        """Returns the name, the header and the rows of each external table of a query."""
        tables: list[tuple[str, Block, Upload]] = []
        while True:
            upload = uploads.enter_context(Upload())
            name, block = self._packets.read_block(upload.target)
            if not name and not block.names:
                return tables
            tables.append((name, block, upload))

    def _execute(self, sql: str, external: list[tuple[str, Block, Upload]]) -> None:
        with ExitStack() as created:
            for name, block, upload in external:
                columns = ", ".join(f"`{column}` {spec}" for column, spec in zip(block.names, block.types, strict=True))
                self._session.administer(f"CREATE TEMPORARY TABLE {name} ({columns}) ENGINE = Memory")
                created.callback(self._session.administer, f"DROP TABLE {name}")
                if block.rows:
                    self._session.administer(upload.statement(f"INSERT INTO {name}"))
            if insert := _INSERT.match(sql):
                self._insert(insert["table"], insert["columns"])
            else:
                self._send_result(sql, self._run(sql))

    def _run(self, sql: str) -> bytes:
        return self._session.run(sql, self._packets.cancelled, self._tell)

    def _insert(self, table: str, columns: str | None) -> None:
        structure = {
            row["name"]: row["type"]
            for row in self._session.describe(table)
            if row["default_type"] not in ("ALIAS", "MATERIALIZED")
        }
        names = [name.strip(" `\n") for name in columns.split(",")] if columns else list(structure)
        for name in names:
            if name not in structure:
                raise Denied(16, f"No such column {name} in table {table}. (NO_SUCH_COLUMN_IN_TABLE)")
        self._packets.write_structure(names, [structure[name] for name in names])
        rows = 0
        with Upload() as upload:
            while True:
                _, block = self._packets.read_block(upload.target)
                self._packets.write_profile_events()
                if not block.names:
                    break
                rows += block.rows
            if rows:
                self._run(upload.statement(f"INSERT INTO {table} ({', '.join(f'`{name}`' for name in names)})"))

    def _send_result(self, sql: str, data: bytes) -> None:
        """Sends a result. If its data states no types or no time zones, they are looked up."""
        names: list[str] = []
        types: list[str] = []
        if _SELECT.match(sql) and (not data or _DATETIME_COLUMN in data):
            columns = self._session.describe(f"({sql.rstrip().rstrip(';')})")
            names, types = [column["name"] for column in columns], [column["type"] for column in columns]
        if data:
            self._packets.write_result(data, types)
        elif names:
            self._packets.write_structure(names, types)

    def _tell(self, progress: Progress) -> None:
        now = time.monotonic()
        self._packets.write_progress(progress, now - self._last_told)
        self._last_told = now

    def _refuse(self, error: Exception, sql: str) -> None:
        """Sends an error to the client, and writes it into the log of the server."""
        line = {"user": self._user, "error": str(error)[:300], "sql": " ".join(sql.split())[:300]}
        print(json.dumps(line), file=sys.stderr, flush=True)
        self._packets.write_exception(error)
