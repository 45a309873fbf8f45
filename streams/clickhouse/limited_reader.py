"""Queries with limits on time and memory, for the board."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

from ninezero.streams.clickhouse.connect import connect
from ninezero.streams.clickhouse.engine import Engine, Row


class LimitedReader:
    """A connection of its own on a thread of its own. Every query only reads and runs within the given limits."""

    def __init__(self, url: str, limits: Mapping[str, int]) -> None:
        """Prepares the reader; the first query opens the connection.

        Args:
            url: a server, as in `NINEZERO_CLICKHOUSE`.
            limits: settings of ClickHouse by name, such as `max_execution_time`.
        """
        self._url = f"{url}{'&' if '?' in url else '?'}{urlencode(limits)}"
        self._thread = ThreadPoolExecutor(1, "clickhouse-reader")
        self._engine: Engine | None = None

    async def query(self, sql: str) -> list[Row]:
        """Returns the rows of a query.

        Raises:
            ClickHouseError: the server rejects the query, a limit is exceeded, or the server does not answer.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._query, sql)

    async def close(self) -> None:
        """Closes the connection without waiting. A query that hangs keeps its thread until the process ends."""
        self._thread.submit(lambda: self._engine.close() if self._engine else None)
        self._thread.shutdown(wait=False)

    def _query(self, sql: str) -> list[Row]:
        self._engine = self._engine or connect(self._url)
        return self._engine.read(sql)
