"""What the native server executes: statements in chDB sessions, with the rights and the settings of a connection."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from chdb.session import Session
from clickhouse_driver.bufferedwriter import CompressedBufferedWriter

from .native_accounts import Account, Denied
from .native_protocol import BUFFER_BYTES, Progress

_POLL_SECONDS = 0.1
"""Interval of progress, as `interactive_delay` of a server."""


class Upload:
    """Blocks that are inserted together: a file in memory, so that a killed server leaves nothing behind."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("blocks")
        self._file = os.fdopen(self._descriptor, "wb", buffering=0)
        self.target = CompressedBufferedWriter(self._file, BUFFER_BYTES)

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def statement(self, insert: str, form: str = "Native") -> str:
        """Returns the statement that inserts what was written, blocks of the format Native unless another is named.

        Not chDB's `send_insert`: when a table has too many parts it reports nothing and writes nothing (26.9.0).
        """
        self.target.flush()
        return f"{insert} FROM INFILE '/proc/self/fd/{self._descriptor}' COMPRESSION 'none' FORMAT {form}"


class EngineSession:
    """The sessions of one connection: one for each combination of settings that it uses, because a read-only session cannot change its
    settings. What `SET`, `USE` and temporary tables do is limited to statements with the same settings.
    """

    def __init__(self, path: str, account: Account, database: str = "") -> None:
        """Opens the session.

        Args:
            path: the folder of the engine, with options.
            account: the account of the connection.
            database: the database of names without one; empty: `default`.

        Raises:
            RuntimeError: the database does not exist.
        """
        self._path, self._account, self._database = path, account, database
        self._mark = uuid.uuid4().hex
        """The `log_comment` of its statements, by which others find them while they run."""
        self._thread = ThreadPoolExecutor(1)
        self._observer = Session(path)
        self._sessions: dict[frozenset[tuple[str, str]], Any] = {}
        self.use({})

    def close(self) -> None:
        """Ends the sessions."""
        self._thread.shutdown()
        for session in (*self._sessions.values(), self._observer):
            session.close()

    def use(self, settings: Mapping[str, str]) -> None:
        """Makes these the settings of the following statements.

        Raises:
            RuntimeError: a setting is unknown, or has a wrong value.
            Denied: the profile of the account forbids settings.
        """
        key = frozenset(settings.items())
        if self._account.readonly and (refused := sorted(key - {("readonly", "1")})):
            raise Denied(164, f"Cannot modify '{refused[0][0]}' setting in readonly mode. (READONLY)")
        if key not in self._sessions:
            self._sessions[key] = self._opened(settings)
        self._session = self._sessions[key]

    def run(self, sql: str, cancelled: Callable[[], bool], tell: Callable[[Progress], None]) -> bytes:
        """Executes a statement. Returns its result in the format Native, empty if it has none.

        Args:
            sql: the statement.
            cancelled: returns whether the client gave the statement up; then it is cancelled.
            tell: is called with the progress, while the statement runs and at its end.

        Raises:
            RuntimeError: an error of the engine.
            Denied: the account may not read a system table.
        """
        self._account.check(sql)
        work = self._thread.submit(self._session.query, self._account.as_definer(sql), "Native")
        given_up = False
        while not wait([work], _POLL_SECONDS).done:
            tell(self._progress())
            if not given_up and cancelled():
                given_up = True
                self._observer.query(f"KILL QUERY WHERE {self._running}", "Null")
        if given_up and work.exception() is not None:
            return b""
        result = work.result()
        rows = result.storage_rows_read()
        tell(Progress(rows, result.storage_bytes_read(), rows))
        return result.bytes() or b""

    def administer(self, sql: str) -> None:
        """Executes a short statement of the server itself.

        Raises:
            RuntimeError: an error of the engine.
        """
        self._session.query(sql, "Null")

    def describe(self, sql: str) -> list[dict[str, Any]]:
        """Returns name, type and default_type of the columns of a table or of `(SELECT …)`."""
        rows = [
            json.loads(line)
            for line in self._session.query(f"DESCRIBE TABLE {sql}", "JSONEachRow").bytes().splitlines()
        ]
        for row in rows:  # the names of named tuples are on lines of their own
            row["type"] = re.sub(r"(\(?)\n\s*", lambda found: found[1] or " ", row["type"])
        return rows

    @property
    def _running(self) -> str:
        return f"Settings['log_comment'] = '{self._mark}'"

    def _progress(self) -> Progress:
        columns = "read_rows, read_bytes, total_rows_approx, written_rows, written_bytes"
        found = self._observer.query(f"SELECT {columns} FROM system.processes WHERE {self._running}", "TSV").bytes()
        return Progress(*map(int, found.split(b"\n")[0].split(b"\t"))) if found else Progress()

    def _opened(self, settings: Mapping[str, str]) -> Any:
        session = Session(self._path)
        applied = {"log_comment": self._mark, **settings}
        if self._account.readonly:
            applied["readonly"] = "1"
        try:
            if self._database:
                session.query(f"USE `{self._database}`", "Null")
            session.query(f"SET ROLE {self._account.role}", "Null")
            session.query("SET " + ", ".join(f"{name} = {_literal(value)}" for name, value in applied.items()), "Null")
        except RuntimeError:
            session.close()
            raise
        return session


def _literal(value: str) -> str:
    """Returns the value of a setting as a string literal."""
    return "'" + re.sub(r"(['\\])", r"\\\1", value) + "'"
