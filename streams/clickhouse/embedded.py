"""ClickHouse embedded in the process (chDB).

Only one process can open an embedded database. It writes its address and a secret (mode 0600) beside the data; other
processes of the same user send their statements to that address.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import orjson

from ninezero.schemas.row_block import Block
from ninezero.streams import direct_http
from ninezero.streams.clickhouse.engine import (
    MIN_ROWS_PER_GROUP,
    SETTINGS,
    ClickHouseError,
    Row,
    Rows,
    group_structure,
    insert_from_groups,
    one_line,
)
from ninezero.streams.clickhouse.read_only import READ_LIMITS

_ADDRESS_FILE = "holder.json"
_ADDRESS_VERSION = 1
"""Version of that file. A file without the member `version` has version 1."""

_ANSWER_SECONDS = 2 * READ_LIMITS["max_execution_time"] + 10
"""A query waits for the one before it."""

_MAX_QUERY_BYTES = 1 << 30
"""Longest statement. The rows of an insert of groups are text in it."""


_END_READS = "KILL QUERY WHERE Settings['readonly'] = '1' ASYNC"
"""Ends what a session for reading runs."""

_CGROUP_TRACE = re.compile(rb"^Cannot use cgroups reader:.*?^ \(version [^\n]*\)\n?", re.DOTALL | re.MULTILINE)


class Embedded:
    """The engine in this process. It holds the folder's lock until it is closed.

    `read` and `read_json` have a session of their own: one other thread may call them, and they never delay an insert.
    """

    cluster = ""

    def __init__(self, folder: Path) -> None:
        """Opens the database in a folder, and creates it if it is missing. Other users cannot read it.

        Raises:
            ClickHouseError: chDB is not installed, or the folder cannot be written.
            BlockingIOError: another process holds the database.
        """
        try:
            with without_cgroup_trace():
                from chdb.session import Session
        except ImportError:
            raise ClickHouseError(
                "the embedded ClickHouse is not installed: run pip install ninezero[embedded]"
            ) from None
        try:
            folder.mkdir(0o700, parents=True, exist_ok=True)
            data = folder / "data"
            data.mkdir(0o700, exist_ok=True)
            data.chmod(0o700)  # earlier releases let other users read it
            self._lock = (folder / "ninezero.lock").open("a")
        except OSError as error:
            raise ClickHouseError(
                f"the folder of NINEZERO_CLICKHOUSE cannot be written ({error.strerror}): check its permissions"
            ) from None
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._data = str(data)
        self._session: Any = Session(self._data)
        self._reader: Any = None
        """A session of its own for `read`; opened by the first one."""
        self.execute(_set(SETTINGS | {"max_query_size": _MAX_QUERY_BYTES}))

    def query(self, sql: str) -> list[Row]:
        """See `Engine.query`."""
        return _parsed(_rows(self._run(self._session, sql, "JSONEachRow")))

    def read(self, sql: str) -> list[Row]:
        """See `Engine.read`."""
        return _parsed(self.read_json(sql))

    def read_json(self, sql: str) -> bytes:
        """Returns the rows of `read` as a JSON array."""
        if self._reader is None:
            from chdb.session import Session

            self._reader = Session(self._data)
            self._run(self._reader, _set(SETTINGS | READ_LIMITS), "Null")
            self._run(self._reader, "SET readonly = 1", "Null")
        return _rows(self._run(self._reader, sql, "JSONEachRow"))

    def lookup(self, sql: str, keys: Sequence[str]) -> list[Row]:
        """See `Engine.lookup`. The keys are in the statement: the embedded engine keeps no log of statements."""
        return self.query(_with_keys(sql, keys))

    def execute(self, sql: str) -> None:
        """See `Engine.execute`."""
        self._run(self._session, sql, "Null")

    def insert(self, table: str, columns: Sequence[str], rows: Rows) -> None:
        """See `Engine.insert`."""
        if isinstance(rows, Block) and rows.rows_per_group > MIN_ROWS_PER_GROUP:
            statement = _group_statement(table, rows, group_structure(self, table, rows))
        else:
            statement = _insert_statement(table, columns, rows)
        self._run(self._session, statement, "Null")

    def close(self) -> None:
        """See `Engine.close`."""
        if self._reader is not None:
            with contextlib.suppress(ClickHouseError):  # the reads have a time limit and end by themselves
                self.execute(_END_READS)
            self._reader.close()
        self._session.close()
        self._lock.close()

    @staticmethod
    def _run(session: Any, sql: str, output_format: str) -> bytes:
        try:
            return bytes(session.query(sql, output_format).bytes() or b"")
        except Exception as error:  # chDB raises RuntimeError as well as types of its own
            raise ClickHouseError(one_line(error)) from None


class EmbeddedProxy:
    """An embedded database that another process holds. Every statement is sent to that process over loopback HTTP."""

    cluster = ""

    def __init__(self, folder: Path) -> None:
        """Reads the address of the process that holds the database.

        Raises:
            ClickHouseError: that process did not write its address.
        """
        try:
            self._address = json.loads((folder / _ADDRESS_FILE).read_text())
        except (OSError, ValueError):
            raise ClickHouseError(
                "another process holds the embedded database and does not accept statements: stop it"
            ) from None
        if self._address.get("version", 1) > _ADDRESS_VERSION:
            raise ClickHouseError(
                "a process of a newer release holds the embedded database: use the command of that release"
            )

    def query(self, sql: str) -> list[Row]:
        """See `Engine.query`."""
        return self.read(sql)

    def read(self, sql: str) -> list[Row]:
        """See `Engine.read`. The process that holds the database reads every query in this way."""
        return _parsed(self._send("query", sql))

    def lookup(self, sql: str, keys: Sequence[str]) -> list[Row]:
        """See `Engine.lookup`."""
        return self.read(_with_keys(sql, keys))

    def execute(self, sql: str) -> None:
        """See `Engine.execute`."""
        self._send("execute", sql)

    def insert(self, table: str, columns: Sequence[str], rows: Rows) -> None:
        """See `Engine.insert`."""
        self._send("execute", _insert_statement(table, columns, rows))

    def close(self) -> None:
        """Does nothing: there is no connection between two statements."""

    def _send(self, route: str, sql: str) -> bytes:
        request = urllib.request.Request(
            f"http://{self._address['url'].removeprefix('http://')}/{route}",
            sql.encode(),
            {"X-Ninezero-Secret": self._address["secret"]},
        )
        try:
            with direct_http.ask(request, timeout=_ANSWER_SECONDS) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            raise ClickHouseError(error.read().decode()) from None
        except OSError:
            raise ClickHouseError("the process that holds the embedded database does not answer: try again") from None


@contextlib.contextmanager
def without_cgroup_trace() -> Iterator[None]:
    """Leaves out the stack trace that chDB 26.5 writes to standard error when it is imported where no cgroup file system is
    mounted.

    It means nothing, and chDB has no setting against it. Everything else that is written meanwhile, such as log lines of other
    threads, is passed on.
    """
    stderr = os.dup(2)
    try:
        with tempfile.TemporaryFile() as written:
            os.dup2(written.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(stderr, 2)
                written.seek(0)
                os.write(2, _CGROUP_TRACE.sub(b"", written.read()))
    finally:
        os.close(stderr)


def embedded_folder(url: str) -> Path | None:
    """Returns the folder of an embedded database (`chdb:///path`), or None for a server."""
    parts = urlsplit(url)
    return Path(parts.path) if parts.scheme == "chdb" else None


def write_address(folder: Path, url: str, secret: str) -> None:
    """Writes where the process that holds an embedded database accepts statements, readable by its user only."""
    path = folder / _ADDRESS_FILE
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"url": url, "secret": secret, "version": _ADDRESS_VERSION}, file)


def _set(settings: Mapping[str, Any]) -> str:
    return "SET " + ", ".join(f"{name} = {value}" for name, value in settings.items())


def _rows(lines: bytes) -> bytes:
    """Returns lines of JSON as a JSON array."""
    return b"[" + b",".join(lines.removesuffix(b"\n").split(b"\n")) + b"]"


def _parsed(rows: bytes) -> list[Row]:
    try:
        return msgspec.convert(orjson.loads(rows), list[Row])
    except (ValueError, msgspec.ValidationError):
        raise ClickHouseError("the rows cannot be read: leave FORMAT out of the statement") from None


def _with_keys(sql: str, keys: Sequence[str]) -> str:
    return f"WITH keys AS (SELECT arrayJoin(CAST([{', '.join(map(_quoted, keys))}] AS Array(String))) AS key) {sql}"


def _insert_statement(table: str, columns: Sequence[str], rows: Rows) -> str:
    data = msgspec.json.Encoder().encode_lines(rows).decode()
    return f"INSERT INTO {table} ({', '.join(columns)}) FORMAT JSONCompactEachRow\n{data}"


def _group_statement(table: str, rows: Block, structure: list[tuple[str, str]]) -> str:
    """Returns the statement that inserts groups of rows. ClickHouse expands them, which takes half the time of reading every row."""
    columns = ", ".join(f"{name} {kind}" for name, kind in structure)
    data = msgspec.json.Encoder().encode_lines(rows.groups()).decode()
    source = f"format(JSONCompactEachRow, {_quoted(columns)}, {_quoted(data)})"
    return insert_from_groups(table, rows, source)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
