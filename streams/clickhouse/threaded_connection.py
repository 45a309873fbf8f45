"""The recorder's connection: the drivers are synchronous, so it has a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from ninezero.streams.clickhouse.connect import connect
from ninezero.streams.clickhouse.embedded import Embedded, EmbeddedProxy, embedded_folder
from ninezero.streams.clickhouse.engine import ClickHouseError, Engine, Row
from ninezero.streams.clickhouse.read_only import check_read_only
from ninezero.streams.clickhouse.upgrade import ensure_schema

log = logging.getLogger("ninezero.clickhouse")

CLOSE_SECONDS = 5.0
"""Seconds that `close` waits for a statement that is still running."""

_MISSING_CODES = {60, 81}
"""Error codes of ClickHouse: unknown table, unknown database."""

_T = TypeVar("_T")


class ThreadedConnection:
    """One connection to ClickHouse on one thread. Its statements run one after the other, in the order of the calls.

    The first statement opens the connection and prepares the schema (`ensure_schema`). A statement that fails because a table
    is missing creates it again, empty; the caller repeats its work.
    """

    def __init__(self, url: str, timezone: str) -> None:
        """Prepares the connection.

        Args:
            url: the database, as in `NINEZERO_CLICKHOUSE`.
            timezone: the time zone of local days in the views.
        """
        self._url, self._timezone = url, timezone
        self._thread = ThreadPoolExecutor(1, "clickhouse")
        self._readers = ThreadPoolExecutor(1, "clickhouse-reader")
        self._engine: Engine | None = None

    @property
    def embedded(self) -> bool:
        """True if the database is embedded in this process."""
        return embedded_folder(self._url) is not None

    async def call(self, work: Callable[[Engine], _T]) -> _T:
        """Runs `work(engine)` on the connection's thread and returns its result.

        Raises:
            ClickHouseError: a statement failed, or the connection cannot be opened.
            SchemaError: the schema does not suit this program.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(self._run, work))

    async def query(self, sql: str) -> list[Row]:
        """Returns the rows of a query; see `Engine.query`.

        Raises:
            ClickHouseError: the text is not one statement that only reads, or it failed.
        """
        check_read_only(sql)
        return await self.call(lambda engine: engine.query(sql))

    async def read_embedded(self, sql: str) -> bytes:
        """Returns the rows of a query from outside, on an embedded database, as a JSON array; see `Engine.read`.

        Such queries have a thread and a session of their own: they run one after the other, and recording goes on meanwhile.

        Raises:
            ClickHouseError: the text is not one statement that only reads, or it failed.
        """
        check_read_only(sql)
        engine = self._engine or await self.call(lambda engine: engine)
        if not isinstance(engine, Embedded):
            raise ClickHouseError("the database is a server: send the query to it")
        return await asyncio.get_running_loop().run_in_executor(self._readers, engine.read_json, sql)

    async def execute(self, sql: str) -> None:
        """Runs a statement that has no result; see `Engine.execute`."""
        await self.call(lambda engine: engine.execute(sql))

    async def check_schema(self) -> None:
        """Creates missing tables and views again, empty.

        Raises:
            SchemaError: the schema does not suit this program any more.
            ClickHouseError: a statement failed, or the connection cannot be opened.
        """
        await self.call(self._prepare)

    async def close(self) -> None:
        """Closes the connection. A statement that hangs longer than `CLOSE_SECONDS` keeps its thread until the process
        ends."""
        with contextlib.suppress(TimeoutError):
            closing = asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            await asyncio.wait_for(closing, CLOSE_SECONDS)
        self._thread.shutdown(wait=False)
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _run(self, work: Callable[[Engine], _T]) -> _T:
        if self._engine is None:
            self._engine = self._open()
        try:
            return work(self._engine)
        except ClickHouseError as error:
            if error.code in _MISSING_CODES:
                self._prepare(self._engine)
            raise

    def _open(self) -> Engine:
        engine = connect(self._url)
        if isinstance(engine, EmbeddedProxy):
            raise ClickHouseError("another process holds the embedded database of NINEZERO_CLICKHOUSE: stop it first")
        try:
            self._prepare(engine)
        except BaseException:
            engine.close()
            raise
        return engine

    def _prepare(self, engine: Engine) -> None:
        if created := ensure_schema(engine, self._timezone):
            log.warning("ClickHouse lacked tables or views, which are created: %s", ", ".join(created))

    def _close(self) -> None:
        if self._engine is not None:
            self._engine.close()
