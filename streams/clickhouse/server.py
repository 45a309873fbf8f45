"""ClickHouse: a server over the native protocol, or embedded in the process, behind one small protocol.

An embedded database belongs to one process. Others reach it through the process that holds it, by the address and the
secret that it leaves beside the data (mode 0600).
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import orjson

from ninezero.schemas.rows import Block
from ninezero.streams import direct_http as direct
from ninezero.streams.errors import UserError

SQL = Path(__file__).resolve().parents[2] / "schemas" / "sql"
READS = ("select", "with", "show", "describe", "desc", "explain", "exists")

ANSWER_SECONDS = 30
"""How long a server may say nothing at all, unless its address says otherwise (`?send_receive_timeout=`); while it works on a query it
tells of its progress."""

WORTH_A_BUNDLE = 4
"""From about so many rows alike on, it is cheaper to send what they have in common once."""

DENIED = {192, 193, 194, 516}
"""Error codes: unknown user, wrong password, password required, authentication failed."""

Row = dict[str, Any]
Rows = Block | Sequence[tuple[Any, ...]]


class ClickHouseError(UserError):
    """What ClickHouse refused or why it cannot be reached, in one line."""


class ClickHouseDenied(ClickHouseError):
    """The server is there, and does not know the account or its password; or it is not to be trusted."""


class Engine(Protocol):
    """One connection; not for use from two threads at once."""

    def query(self, sql: str) -> list[Row]:
        """Rows of a query; times as `YYYY-MM-DD hh:mm:ss` in UTC."""

    def execute(self, sql: str) -> None:
        """A statement without a result."""

    def insert(self, table: str, columns: Sequence[str], rows: Rows) -> None:
        """Inserts rows; returns when they are durable by ClickHouse's own measure."""

    def close(self) -> None:
        """Ends the connection."""


class Server:
    """A ClickHouse server, 18.16 or later."""

    def __init__(self, url: str) -> None:
        from clickhouse_driver import Client

        # The driver logs a traceback for every lost connection; our error says it in one line.
        logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)
        try:
            self._client = Client.from_url(url)
        except (ValueError, TypeError, AttributeError):  # an option of the driver after the `?`
            raise ClickHouseError("NINEZERO_CLICKHOUSE is wrong: its options after the ? can't be read") from None
        self._client.connection.connect_timeout = 5
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
        if isinstance(rows, Block) and rows.alike > WORTH_A_BUNDLE:
            # What rows have in common is sent once, and the server makes rows of it: of a hundred alike a fifth of the cost.
            sent = [dict(zip(columns, row, strict=True)) for row in zip(*rows.columns, strict=True)]
            bundles = {"name": "bundles", "structure": self._structure(table, rows), "data": sent}
            sql = f"INSERT INTO {table} ({names}) SELECT {names} FROM bundles ARRAY JOIN {', '.join(rows.varied)}"  # noqa: S608  # a table and columns that TABLES names; no value is in it
            self._run(sql, external_tables=[bundles])
        else:
            by_column = rows.flat() if isinstance(rows, Block) else list(zip(*rows, strict=True))
            self._run(f"INSERT INTO {table} ({names}) VALUES", by_column, columnar=True)

    def close(self) -> None:
        """See `Engine.close`."""
        self._client.disconnect()

    def _structure(self, table: str, rows: Block) -> list[tuple[str, str]]:
        """Names and types of the columns, with lists where they vary. Times are numbers: the driver looks at each of its own type."""
        types = {
            row["name"]: re.sub(r"\ADateTime\b.*", "UInt32", row["type"])
            for row in self.query(f"DESCRIBE TABLE {table}")
        }
        return [(field, f"Array({types[field]})" if field in rows.varied else types[field]) for field in rows.fields]

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        from clickhouse_driver.errors import Error

        try:
            return self._client.execute(*args, **kwargs)
        except (Error, OSError, EOFError) as error:
            self._client.disconnect()
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ClickHouseDenied(
                    "the certificate of NINEZERO_CLICKHOUSE is not one to trust, or not of that host: name who signed it"
                    " with NINEZERO_CLICKHOUSE_TLS_CA, and the host as the certificate does"
                ) from None
            denied = getattr(error, "code", None) in DENIED
            raise (ClickHouseDenied if denied else ClickHouseError)(_brief(error)) from None


class Embedded:
    """chDB in this process; holds the folder until closed."""

    def __init__(self, folder: Path) -> None:
        try:
            from chdb.session import Session
        except ImportError:
            raise ClickHouseError("the embedded ClickHouse is not installed: pip install ninezero[embedded]") from None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / "ninezero.lock").open("a")
        except OSError as error:
            raise ClickHouseError(f"cannot write in the folder of NINEZERO_CLICKHOUSE ({error.strerror})") from None
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._session: Any = Session(str(folder / "data"))

    def query(self, sql: str) -> list[Row]:
        """See `Engine.query`."""
        text = self._run(sql, "JSONEachRow")
        return [orjson.loads(line) for line in text.splitlines()]

    def execute(self, sql: str) -> None:
        """See `Engine.execute`."""
        self._run(sql, "Null")

    def insert(self, table: str, columns: Sequence[str], rows: Rows) -> None:
        """See `Engine.insert`."""
        self._run(_insert_sql(table, columns, rows), "Null")

    def close(self) -> None:
        """See `Engine.close`."""
        self._session.close()
        self._lock.close()

    def _run(self, sql: str, form: str) -> str:
        try:
            return str(self._session.query(sql, form))
        except Exception as error:  # chDB raises bare RuntimeError and its own types alike
            raise ClickHouseError(_brief(error)) from None


class Held:
    """An embedded database that another process holds: everything goes through that process."""

    def __init__(self, folder: Path) -> None:
        try:
            self._holder = json.loads((folder / "holder.json").read_text())
        except (OSError, ValueError):
            raise ClickHouseError("another process holds the embedded database and offers no way in: stop it") from None

    def query(self, sql: str) -> list[Row]:
        """See `Engine.query`."""
        rows: list[Row] = orjson.loads(self._ask("query", sql))
        return rows

    def execute(self, sql: str) -> None:
        """See `Engine.execute`."""
        self._ask("execute", sql)

    def insert(self, table: str, columns: Sequence[str], rows: Rows) -> None:
        """See `Engine.insert`."""
        self._ask("execute", _insert_sql(table, columns, rows))

    def close(self) -> None:
        """Nothing to end."""

    def _ask(self, what: str, sql: str) -> bytes:
        request = urllib.request.Request(  # noqa: S310  # http:// and a loopback port: the holder of the database wrote the URL
            f"{self._holder['url']}/{what}", sql.encode(), {"X-Ninezero-Secret": self._holder["secret"]}
        )
        try:
            with direct.ask(request, timeout=60) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            raise ClickHouseError(error.read().decode()) from None
        except OSError:
            raise ClickHouseError("the process that holds the embedded database does not answer: try again") from None


class Reader:
    """Reads over a connection and in a thread of its own, each within limits (settings of ClickHouse by name)."""

    def __init__(self, url: str, limits: Mapping[str, int]) -> None:
        self._url = f"{url}{'&' if '?' in url else '?'}{urlencode(limits)}"
        self._thread = ThreadPoolExecutor(1, "clickhouse-reader")
        self._engine: Engine | None = None

    async def query(self, sql: str) -> list[Row]:
        """Rows of a query.

        Raises:
            ClickHouseError: it is refused, takes longer than its limits allow, or the server does not answer.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._query, sql)

    async def close(self) -> None:
        """Ends the connection; a query that hangs is left to the end of the process."""
        self._thread.submit(lambda: self._engine.close() if self._engine else None)
        self._thread.shutdown(wait=False)

    def _query(self, sql: str) -> list[Row]:
        self._engine = self._engine or connect(self._url)
        return self._engine.query(sql)


def folder_of(url: str) -> Path | None:
    """The folder of an embedded database, or None for a server."""
    parts = urlsplit(url)
    return Path(parts.path) if parts.scheme == "chdb" else None


def connect(url: str) -> Engine:
    """Opens the database of `NINEZERO_CLICKHOUSE`.

    Raises:
        ClickHouseError: it cannot be opened.
    """
    folder = folder_of(url)
    if folder is None:
        return Server(url)
    try:
        return Embedded(folder)
    except BlockingIOError:
        return Held(folder)


def offer(folder: Path, url: str, secret: str) -> None:
    """Tells other processes of this user the way into the embedded database that this one holds."""
    path = folder / "holder.json"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"url": url, "secret": secret}, file)


def check_read(sql: str) -> None:
    """Refuses what is not one read: the embedded engine runs every statement of a text, and writes files.

    Strict rather than clever: what hides in a string or a comment is refused, too.
    """
    word = re.match(r"[\s(]*([a-zA-Z]+)", sql)
    if word is None or word.group(1).lower() not in READS:
        raise ClickHouseError("only reads are taken here: SELECT, WITH, SHOW, DESCRIBE, EXPLAIN, EXISTS")
    if ";" in sql.rstrip().removesuffix(";") or re.search(r"\b(insert|into)\b", sql, re.I):
        raise ClickHouseError("only one read is taken here: no ';' but at its end, and neither INSERT nor INTO")


def migrate(engine: Engine, timezone: str = "Asia/Shanghai") -> list[str]:
    """Applies the numbered migrations that are not in yet, and makes again, empty, what is missing of the others; the names of both.

    Local days in views are those of `timezone`.
    """
    engine.execute("CREATE DATABASE IF NOT EXISTS ninezero_data")
    engine.execute(
        "CREATE TABLE IF NOT EXISTS ninezero_data.schema_migrations (name String) ENGINE = MergeTree ORDER BY name"
    )
    known = {row["name"] for row in engine.query("SELECT name FROM ninezero_data.schema_migrations")}
    there = {row["name"] for row in engine.query("SELECT name FROM system.databases")} | {
        f"{row['database']}.{row['name']}"
        for row in engine.query("SELECT database, name FROM system.tables WHERE database LIKE 'ninezero%'")
    }
    applied, restored = [], set[str]()
    for path in sorted(SQL.glob("*.sql")):
        new = path.stem not in known
        for statement in statements(path, timezone):
            (name,) = OBJECT.findall(statement)
            if not new and name not in there:
                restored.add(name)
            if new or name in restored:
                engine.execute(statement)
        if new:
            engine.insert("ninezero_data.schema_migrations", ["name"], [(path.stem,)])
            applied.append(path.stem)
    return applied + sorted(restored)


OBJECT = re.compile(r"\ACREATE (?:DATABASE|TABLE|VIEW) IF NOT EXISTS ([\w.]+)")
"""What a statement of a migration makes. Each may run again: a migration that was stopped half way does."""


def statements(migration: Path, timezone: str) -> list[str]:
    """Those of a migration, in order."""
    text = re.sub(r"^\s*--.*$", "", migration.read_text(), flags=re.M).replace("{timezone}", timezone)
    return [statement for statement in map(str.strip, text.split(";\n")) if statement]


def _insert_sql(table: str, columns: Sequence[str], rows: Rows) -> str:
    data = msgspec.json.Encoder().encode_lines(rows).decode()
    return f"INSERT INTO {table} ({', '.join(columns)}) FORMAT JSONCompactEachRow\n{data}"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return value.isoformat() if isinstance(value, date) else value


def _brief(error: BaseException) -> str:
    text = re.sub(r"\s+", " ", str(error).partition("Stack trace:")[0]).strip()
    return text[:300] or type(error).__name__
