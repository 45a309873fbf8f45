"""The Faust apps, one a role: screening, lists, recording. Each is a process with a consumer group of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import faust
from aiohttp import web
from faust.exceptions import ConsumerNotStarted
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ninezero.agents.board.security import guard
from ninezero.agents.board.server import Board
from ninezero.agents.cases.followups import FOLLOW_UP
from ninezero.agents.cases.intake import valid_events
from ninezero.agents.cases.monitor import CaseKind, CaseMonitor
from ninezero.agents.cases.quarantine import QUARANTINE
from ninezero.agents.logic.days import Days
from ninezero.agents.recording import retention
from ninezero.agents.recording.case_tables import repair_cases
from ninezero.agents.recording.completeness import roll_up_devices
from ninezero.agents.recording.projections.topics import Projection, projections
from ninezero.agents.recording.recorder import Recorder
from ninezero.agents.recording.rollups import repair_rollups
from ninezero.agents.screening.agent import Screened, Screening, screen_all
from ninezero.agents.screening.event_kinds import CHECKPOINTS
from ninezero.agents.screening.stations import STATIONS
from ninezero.agents.watchlist.agent import Pushes
from ninezero.agents.watchlist.projection import WatchlistProjection
from ninezero.schemas.events import Disposition
from ninezero.streams import clickhouse, metrics
from ninezero.streams.clickhouse import ClickHouseError, Engine
from ninezero.streams.clickhouse.connection import Connection
from ninezero.streams.errors import UserError
from ninezero.streams.kafka.administration import remove_former_members, topic_ids
from ninezero.streams.kafka.topics import DISPOSITIONS, PUSHES, WATCHLIST, Topic
from ninezero.streams.kafka.watchlist_replica import WatchlistReplica
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import ROLES, Settings, SettingsError, asked_at
from ninezero.streams.transport.consumer import RawSchema, chunks, credentials
from ninezero.streams.transport.offset_tracker import Chunk

log = logging.getLogger("ninezero")

MAX_STATEMENT_BYTES = 64 << 20
"""Of a statement with its rows that comes over the way into an embedded database."""

TOPICS_SECONDS = 5.0
"""How often it is looked whether the topics are still the same."""

REPAIR_SECONDS = 10.0
"""Shortest time between two comparisons of counts with their facts."""

SILENT_SECONDS, RETAIN_SECONDS = 60.0, 3600.0
"""How often silent devices are counted, and how often it is looked whether a day's facts are due to go."""


SESSION_SECONDS, HEARTBEAT_SECONDS = 6.0, 0.5
"""The partitions of a worker that is lost and not started again wait for the first (the least that brokers allow by default);
at a rebalance all wait for the slowest to hear of it, which is the second."""


class Role:
    """A role's Faust app, what it starts and stops beside it, and its way of ending."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings = name, settings
        host, first = settings.http
        self.address = (host, first + ROLES[name])
        self.place = f"{socket.gethostname()}:{host}:{self.address[1]}/"
        """Beginning of its client id: whoever had it before is dead, for this process holds the port now."""
        self.client_id = f"{self.place}{time.time_ns():x}"
        self.app = faust.App(
            settings.group(name),
            broker_client_id=self.client_id,
            broker=[f"chunks://{server}" for server in settings.kafka.split(",")],
            broker_credentials=credentials(settings),
            datadir=settings.state,
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            stream_wait_empty=True,  # our consumer's wait_empty: bounded, then a commit
            consumer_auto_offset_reset="earliest",
            broker_commit_interval=0.5,
            broker_session_timeout=SESSION_SECONDS,
            broker_heartbeat_interval=HEARTBEAT_SECONDS,
            broker_request_timeout=40.0,
            consumer_metadata_max_age_ms=10_000,  # partitions that were added are read after so long
        )
        self.ended: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.ready: Callable[[], bool] = lambda: bool(self.app.consumer.assignment())
        self.clickhouse: Connection | None = None
        self.topic_ids: dict[str, str] = {}
        self.board: Board | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def agent(self, topic: Topic, run: Callable[[Any], Awaitable[None]]) -> None:
        """Registers an agent over a topic's chunks. What it can't handle ends the process, and never skips a record."""
        source = self.app.topic(self.settings.topic(topic.name), schema=RawSchema())

        async def guarded(stream: Any) -> None:
            try:
                await run(chunks(stream))
            except Exception as error:
                self.fail(f"{topic.name}: {_describe(error)}")
                await asyncio.Event().wait()  # the process is ending; Faust must not start the agent again

        self.app.agent(source, name=f"{self.name}-{topic.name}", concurrency=1)(guarded)

    def task(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs work beside the agents; its failure ends the process."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                self.fail(_describe(error))

        self._tasks.append(asyncio.create_task(guarded()))

    def end(self) -> None:
        """Ends the process in order."""
        if not self.ended.done():
            self.ended.set_result(None)

    def fail(self, why: str) -> None:
        """Ends the process with a line."""
        if not self.ended.done():
            self.ended.set_result(why)

    async def stop(self) -> None:
        """Stops the app, flushing what is in hand within its bound."""
        await self.app.stop()
        for task in self._tasks:
            task.cancel()


async def run(name: str, settings: Settings) -> str | None:
    """Runs a role until a signal or a failure; the failure in one line, or None."""
    role = Role(name, settings)
    role.topic_ids = await asyncio.to_thread(topic_ids, settings)
    role.app.consumer.topic_ids = role.topic_ids
    async with contextlib.AsyncExitStack() as stack:
        await _BUILD[name](role, stack)
        await _serve(role, stack, *role.address)
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, role.end)
        role.task(asyncio.to_thread(remove_former_members, settings, settings.group(name), role.place, role.client_id))
        await role.app.start()
        role.task(_measure(role))
        role.task(_watch_topics(role))
        why = await role.ended
        if why is not None:
            log.error("the %s role is ending: %s", name, why)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(role.stop(), 20)
    return why


async def _screening(role: Role, stack: contextlib.AsyncExitStack) -> None:
    writer, lists = await _started(stack, Writer(role.settings)), WatchlistProjection()
    replica = await _started(stack, WatchlistReplica(role.settings, lists, lists.measure))
    screening = Screening(role.settings, replica, lists, writer)
    role.ready = lambda: bool(role.app.consumer.assignment()) and replica.ready.is_set()

    def add(kind: Screened) -> None:
        role.agent(kind.topic, lambda arriving: screen_all(screening, kind, arriving))

    add(CHECKPOINTS)
    add(STATIONS)
    role.task(_age(replica))
    role.task(replica.watch())


async def _lists(role: Role, stack: contextlib.AsyncExitStack) -> None:
    writer, lists = await _started(stack, Writer(role.settings)), WatchlistProjection()
    replica = await _started(stack, WatchlistReplica(role.settings, lists, lists.measure, tracks_removals=True))
    pushes = Pushes(role.settings, replica, lists, writer)
    stack.push_async_callback(pushes.stop)

    async def apply(arriving: Any) -> None:
        async for chunk in arriving:
            await pushes.take_chunk(chunk)

    role.agent(PUSHES, apply)
    role.task(replica.watch())
    role.task(_after_start(role, lambda: pushes.sweep(role.app.consumer)))
    role.task(pushes.corrected())
    role.task(_after_start(role, lambda: pushes.beat(role.app.consumer)))


async def _ledgers(role: Role, stack: contextlib.AsyncExitStack) -> None:
    writer = await _started(stack, Writer(role.settings))

    async def take_dispositions(arriving: Any) -> None:
        async for chunk in arriving:
            await valid_events(role.settings, writer, DISPOSITIONS, Disposition, chunk)
            chunk.done()

    role.agent(DISPOSITIONS, take_dispositions)

    def add(kind: CaseKind) -> None:
        care = CaseMonitor(role.settings, writer, kind, lambda: role.app.consumer)

        async def take_all(arriving: Any) -> None:
            async for chunk in arriving:
                await care.take(chunk)

        role.agent(kind.topic, take_all)
        role.task(_after_start(role, care.watch))

    add(QUARANTINE)
    add(FOLLOW_UP)


async def _recording(role: Role, stack: contextlib.AsyncExitStack) -> None:
    timezone = role.settings.timezone
    consumer = role.app.consumer
    consumer.prefers_large_fetches = True  # rows are inserted about once a second
    writer = await _started(stack, Writer(role.settings))
    connection = role.clickhouse = Connection(role.settings.clickhouse, timezone)
    recorder = await _started(stack, Recorder(connection, consumer, writer, timezone))

    def add(projection: Projection) -> None:
        async def record_all(arriving: Any) -> None:
            async for chunk in arriving:
                await recorder.record(projection, chunk)

        role.agent(projection.topic, record_all)

    for projection in projections(role.settings):
        add(projection)
    role.board = await _started(stack, Board(role.settings, connection.query, _workers(role.settings)))
    role.task(_after_start(role, recorder.run))
    role.task(_count_silent_devices(connection))
    role.task(_repair(connection, Days(timezone)))
    role.task(_roll_up_devices(connection, timezone))
    if not role.settings.replay:  # the days of a replay are over long ago
        role.task(_retain(connection, role.settings))


_BUILD: dict[str, Callable[[Role, contextlib.AsyncExitStack], Awaitable[None]]] = {
    "screening": _screening,
    "lists": _lists,
    "ledgers": _ledgers,
    "recording": _recording,
}


def _workers(settings: Settings) -> list[tuple[str, str, int]]:
    host, port = settings.http
    return list(settings.workers) or [(role, asked_at(host), port + n) for role, n in ROLES.items()]


async def _started(stack: contextlib.AsyncExitStack, part: Any) -> Any:
    await part.start()
    stack.push_async_callback(part.stop)
    return part


async def _after_start(role: Role, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while not role.app.started or not role.app.consumer.started:
        await asyncio.sleep(0.05)
    while True:
        with contextlib.suppress(ConsumerNotStarted):
            role.app.consumer.assignment()
            break
        await asyncio.sleep(0.05)
    await work()


async def _age(replica: WatchlistReplica) -> None:
    while True:
        oldest: dict[str, float] = {}
        for (_, name), manifest in replica.manifests.items():  # two authorities may have a list of one name
            oldest[name] = min(manifest.at.timestamp(), oldest.get(name, manifest.at.timestamp()))
        for name, at in oldest.items():
            metrics.watchlist_age.labels(name).set(time.time() - at)
        metrics.watchlist_heartbeat.set(-1 if replica.heartbeat is None else replica.heartbeat_age())
        await asyncio.sleep(5)


async def _count_silent_devices(connection: Connection) -> None:
    while True:
        with contextlib.suppress(ClickHouseError):  # the recorder reports that ClickHouse does not answer
            rows = await connection.query("SELECT count() AS n FROM ninezero.devices_silent")
            metrics.devices_silent.set(int(rows[0]["n"]))
        await asyncio.sleep(SILENT_SECONDS)


async def _repair(connection: Connection, days: Days) -> None:
    """Recomputes counts that were lost while their facts remained. The check uses at most 1/50 of the connection's time."""

    def repair(engine: Engine) -> list[str]:
        repair_cases(engine, days)
        return repair_rollups(engine)

    while True:
        began = time.monotonic()
        with contextlib.suppress(ClickHouseError):  # the recorder reports that ClickHouse does not answer
            if short := await connection.call(repair):
                log.warning("the counts of %d days were lower than their facts: recomputed", len(short))
        await asyncio.sleep(max(REPAIR_SECONDS, 50 * (time.monotonic() - began)))


async def _roll_up_devices(connection: Connection, timezone: str) -> None:
    """Rolls up days that are over, one at a time. This uses at most 1/100 of the connection's time."""
    while True:
        began = time.monotonic()
        with contextlib.suppress(ClickHouseError):  # the recorder reports that ClickHouse does not answer
            await connection.call(partial(roll_up_devices, before=datetime.now(ZoneInfo(timezone)).date()))
        await asyncio.sleep(max(REPAIR_SECONDS, 100 * (time.monotonic() - began)))


async def _retain(connection: Connection, settings: Settings) -> None:
    """Seals, freezes and drops due days every hour, with the pauses of `retention.retain` between the steps."""
    while True:
        with contextlib.suppress(ClickHouseError):  # the next hour tries again
            before = retention.first_kept_day(datetime.now(UTC), settings.timezone)
            if await connection.call(partial(retention.seal, before=before)):
                await asyncio.sleep(retention.SETTLE_SECONDS)
            if await connection.call(partial(retention.freeze, before=before)):
                await asyncio.sleep(retention.READ_SECONDS)
            for dropped in await connection.call(partial(retention.drop, before=before)):
                log.info("retention: %s", dropped)
        await asyncio.sleep(RETAIN_SECONDS)


async def _measure(role: Role) -> None:
    measured: set[tuple[str, int]] = set()
    while True:
        if role.app.crashed or role.app.should_stop:
            role.fail(
                f"Faust stopped: {_describe(role.app.crash_reason)}" if role.app.crash_reason else "Faust stopped"
            )
        metrics.sunset.set((role.settings.sunset - datetime.now(UTC)).total_seconds())
        consumer, before = role.app.consumer, measured
        measured = set()
        for tp, watermark in list(consumer.watermarks().items()):
            with contextlib.suppress(Exception):  # a partition that is just being taken away has no end
                end = consumer.highwater(tp)
                if end is not None and watermark is not None:
                    labels = tp.topic.removeprefix(role.settings.topic_prefix), tp.partition
                    metrics.lag.labels(*labels).set(end - watermark)
                    measured.add(labels)
        for labels in before - measured:  # another process has it now, and measures it
            metrics.lag.remove(*labels)
        await asyncio.sleep(1)


async def _watch_topics(role: Role) -> None:
    """A topic that was deleted and made again is another one: what is known of the old one is forgotten by a new process.

    The watchlist is watched by its replica.
    """
    own = {name: known for name, known in role.topic_ids.items() if name != role.settings.topic(WATCHLIST.name)}
    while True:
        await asyncio.sleep(TOPICS_SECONDS)
        with contextlib.suppress(UserError):  # a broker that is away says nothing about it
            now = await asyncio.to_thread(topic_ids, role.settings)
            for name, known in own.items():
                if now.get(name, known) != known:
                    role.fail(
                        f"the topic {name} was deleted and made again; its beginning is read after the next start"
                    )


async def _serve(role: Role, stack: contextlib.AsyncExitStack, host: str, port: int) -> None:
    """Metrics, health, the board, and (embedded database only) the way in for other processes of this user."""

    async def measured(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        with contextlib.suppress(Exception):
            if role.ready():
                return web.Response(text="ready\n")
        return web.Response(status=503, text="not ready\n")

    routes = [web.get("/metrics", measured), web.get("/healthz", alive), web.get("/readyz", ready)]
    folder = clickhouse.embedded_folder(role.settings.clickhouse)
    if role.clickhouse is not None and folder is not None:
        secret = secrets.token_hex(16)
        routes.append(web.post("/query", _way_in(secret, role.clickhouse.query)))
        routes.append(web.post("/execute", _way_in(secret, role.clickhouse.execute)))
        clickhouse.write_address(folder, f"http://{host}:{port}", secret)
    if role.board is not None:
        routes += role.board.routes()
    middlewares = [guard(host)] if role.board is not None else []
    application = web.Application(client_max_size=MAX_STATEMENT_BYTES, middlewares=middlewares)
    application.add_routes(routes)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        raise SettingsError(f"NINEZERO_HTTP: port {port} cannot be opened: end what has it, or name another") from None


def _way_in(secret: str, run: Callable[[str], Awaitable[Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        here = request.transport is not None and request.remote == request.transport.get_extra_info("sockname")[0]
        if not here or not secrets.compare_digest(
            request.headers.get("X-Ninezero-Secret", "").encode(), secret.encode()
        ):
            return web.Response(status=403, text="not for you")
        try:
            return web.json_response(await run(await request.text()))
        except ClickHouseError as error:
            return web.Response(status=400, text=str(error))

    return answer


def _describe(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__} in {_place(error)}"


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace else "nowhere"


__all__ = ["ROLES", "Chunk", "run"]
