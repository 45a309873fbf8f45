"""The board of the recording role: it serves the page and a snapshot of the situation.

ClickHouse and the workers are asked only while a page is open. Many open pages cost no more than one, because a snapshot is built at
most once a second, as bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

import aiohttp
import msgspec
from aiohttp import web

from ninezero.agents.board import page_files
from ninezero.agents.board.policy_in_force import AskPolicy
from ninezero.agents.board.queries.moment import Ask
from ninezero.agents.board.situation import Situation
from ninezero.agents.board.snapshot import Snapshots
from ninezero.agents.board.worker_health import WorkerHealth
from ninezero.streams import clickhouse
from ninezero.streams.settings import Settings, WorkerAddress

LIMITS = {"max_threads": 1, "max_execution_time": 5, "max_memory_usage": 1_000_000_000}
"""Settings of each query. A query beyond them is ended and its part is unknown, so that the recording role never waits for it."""

CLICKHOUSE_SECONDS, WORKERS_SECONDS = 2.0, 3.0
"""Pauses between two rounds of queries to ClickHouse and to the workers. A page asks every two seconds."""

SNAPSHOT_SECONDS = 1.0
"""Time for which a snapshot is reused."""

WATCHED_SECONDS = 10.0
"""Time after the last request until the queries stop."""

FIRST_SECONDS = 3.0
"""Longest time that the first request waits for the first round of queries."""


class _Encoded(NamedTuple):
    at: float
    body: bytes
    gzipped: bytes


class Board:
    """The board's HTTP routes and the tasks that read the situation.

    A ClickHouse server is asked over a connection of its own, an embedded database through the recording role, which holds it.

    Args:
        settings: Settings of the recording role.
        held: Runs a SELECT on the embedded database, between two flushes.
        workers: the address of each worker.
        policy: returns the policy in force.
    """

    def __init__(self, settings: Settings, held: Ask, workers: Sequence[WorkerAddress], policy: AskPolicy) -> None:
        self._held = held
        embedded = clickhouse.embedded_folder(settings.clickhouse) is not None
        self._reader = None if embedded else clickhouse.LimitedReader(settings.clickhouse, LIMITS)
        self.situation = Situation(self._ask, settings.timezone, settings.replay)
        self._health = WorkerHealth(workers)
        self.snapshots = Snapshots(settings, self.situation, self._health, policy)
        self._last_request = 0.0
        self._first_round = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._encoded: dict[str, _Encoded] = {}

    async def start(self) -> None:
        """Does nothing: the tasks start with the first request."""

    async def stop(self) -> None:
        """Ends the tasks and the connection."""
        for task in self._tasks:
            task.cancel()
        if self._reader is not None:
            await self._reader.close()

    def routes(self) -> Iterable[web.RouteDef]:
        """Yields all routes; each is a GET."""
        yield from page_files.routes()
        yield web.get("/situation.json", self._answer("situation", self.snapshots.snapshot))
        yield web.get("/sites.json", self._answer("sites", lambda now: {"at": now, "sites": self.snapshots.sites(now)}))

    async def _ask(self, sql: str) -> list[clickhouse.Row]:
        if self._reader is not None:
            return await self._reader.query(sql)
        return await self._held(f"{sql} SETTINGS {', '.join(f'{name} = {value}' for name, value in LIMITS.items())}")

    async def _watch(self) -> None:
        """Starts the tasks if they do not run, and waits for the first round of queries."""
        self._last_request = time.monotonic()
        if not self._tasks or any(task.done() for task in self._tasks):
            for task in self._tasks:
                task.cancel()
            self.snapshots.watched_since = time.time()
            self._first_round.clear()
            self._tasks = [asyncio.create_task(self._read_situation()), asyncio.create_task(self._ask_workers())]
        if not self._first_round.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._first_round.wait(), FIRST_SECONDS)

    def _watched(self) -> bool:
        return time.monotonic() - self._last_request <= WATCHED_SECONDS

    async def _read_situation(self) -> None:
        while self._watched():
            await self.situation.refresh()
            self._first_round.set()
            await asyncio.sleep(CLICKHOUSE_SECONDS)

    async def _ask_workers(self) -> None:
        async with aiohttp.ClientSession() as session:
            while self._watched():
                await self._health.refresh(session)
                await asyncio.sleep(WORKERS_SECONDS)

    def _answer(self, name: str, build: Callable[[float], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            await self._watch()
            encoded = self._encoded.get(name)
            if encoded is None or time.monotonic() - encoded.at >= SNAPSHOT_SECONDS:
                body = msgspec.json.encode(build(time.time()))
                encoded = self._encoded[name] = _Encoded(time.monotonic(), body, gzip.compress(body, 4))
            headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
            if "gzip" in request.headers.get("Accept-Encoding", ""):
                headers["Content-Encoding"] = "gzip"
                return web.Response(body=encoded.gzipped, content_type="application/json", headers=headers)
            return web.Response(body=encoded.body, content_type="application/json", headers=headers)

        return answer
