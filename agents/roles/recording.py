"""The recording role: topics become ClickHouse tables, and the board shows them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from ninezero.agents.board.security import guard
from ninezero.agents.board.server import Board
from ninezero.agents.recording import retention
from ninezero.agents.recording.completeness import roll_up_devices
from ninezero.agents.recording.projections.topics import Projection, projections
from ninezero.agents.recording.recorder import MAX_BYTES_IN_FLIGHT, Recorder
from ninezero.agents.roles.http import offer_embedded_database
from ninezero.agents.roles.role import Role
from ninezero.streams import metrics
from ninezero.streams.clickhouse import ClickHouseError
from ninezero.streams.clickhouse.threaded_connection import ThreadedConnection
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import ROLES, Settings, WorkerAddress, reachable_host

log = logging.getLogger("ninezero.roles")

REPAIR_SECONDS = 10.0
"""Least time between two comparisons of counts with their facts, and between two rollups of finished days."""

FRESHNESS_SECONDS = 10.0
"""Time between two readings of the view recording_freshness."""

SILENT_SECONDS = 60.0
"""Time between two counts of silent devices."""

SCHEMA_SECONDS = 10.0
"""Time between two checks that all tables and views exist."""

RETAIN_SECONDS = 3600.0
"""Time between two searches for facts whose retention has ended."""


async def build(role: Role) -> None:
    """Adds one agent per recorded topic, the connection to ClickHouse, the board, and the background work."""
    timezone = role.settings.timezone
    consumer = role.app.consumer
    consumer.prefers_large_fetches = True  # rows are inserted about once a second
    consumer.max_bytes_in_flight = MAX_BYTES_IN_FLIGHT
    writer = await role.start_component(Writer(role.settings))
    connection = ThreadedConnection(role.settings.clickhouse, timezone)
    recorded = projections(role.settings, role.register.set_aside)
    tables = {role.settings.topic(some.topic.name): frozenset(some.tables) for some in recorded}
    recorder = await role.start_component(Recorder(connection, consumer, writer, timezone, tables))

    def add(projection: Projection) -> None:
        async def record_all(stream: Any) -> None:
            async for chunk in stream:
                await recorder.record(projection, chunk)

        role.add_agent(projection.topic, record_all)

    for projection in recorded:
        add(projection)
    offer_embedded_database(role, connection)
    board = await role.start_component(Board(role.settings, connection.query, _workers(role.settings)))
    role.routes += board.routes()
    role.middlewares.append(guard(role.address[0]))
    role.run_after_start(recorder.run)
    role.run_in_background(watch_schema(connection))
    role.run_in_background(measure_freshness(connection))
    role.run_in_background(count_silent_devices(connection))
    role.run_in_background(roll_up_finished_days(connection, timezone))
    if not role.settings.replay:  # the days of a replay ended long ago
        role.run_in_background(apply_retention(connection, timezone))


def _workers(settings: Settings) -> list[WorkerAddress]:
    """Returns (role, host, port) of the workers that the board asks."""
    host, port = settings.http
    return list(settings.workers) or [WorkerAddress(role, reachable_host(host), port + n) for role, n in ROLES.items()]


async def watch_schema(connection: ThreadedConnection) -> None:
    """Creates missing tables and views again. The role ends if the schema does not suit it any more."""
    while True:
        await asyncio.sleep(SCHEMA_SECONDS)
        await attempt("the tables and views cannot be checked", connection.check_schema)


async def measure_freshness(connection: ThreadedConnection) -> None:
    """Sets the time up to which every partition is recorded, every ten seconds."""

    async def measure() -> None:
        rows = await connection.query(
            "SELECT toUnixTimestamp(min(recorded_until)) AS until, count() AS n FROM ninezero.recording_freshness"
        )
        if int(rows[0]["n"]):
            metrics.recorded_until.set(int(rows[0]["until"]))

    while True:
        await attempt("it is unknown until when events are recorded", measure)
        await asyncio.sleep(FRESHNESS_SECONDS)


async def count_silent_devices(connection: ThreadedConnection) -> None:
    """Sets the number of silent devices, once a minute."""

    async def count() -> None:
        rows = await connection.query("SELECT count() AS n FROM ninezero.devices_silent")
        metrics.devices_silent.set(int(rows[0]["n"]))

    while True:
        await attempt("silent devices cannot be counted", count)
        await asyncio.sleep(SILENT_SECONDS)


async def roll_up_finished_days(connection: ThreadedConnection, timezone: str) -> None:
    """Rolls up the device events of finished days, one day at a time. It takes at most a hundredth of the connection's time."""
    while True:
        began = time.monotonic()
        roll_up_before = partial(roll_up_devices, before=datetime.now(ZoneInfo(timezone)).date())
        await attempt("device events cannot be rolled up", partial(connection.call, roll_up_before))
        await asyncio.sleep(max(REPAIR_SECONDS, 100 * (time.monotonic() - began)))


async def apply_retention(connection: ThreadedConnection, timezone: str) -> None:
    """Seals, freezes and drops due days once an hour, with the pauses of `retention.retain` between the steps."""

    async def apply() -> None:
        before = retention.first_kept_day(datetime.now(UTC), timezone)
        if await connection.call(partial(retention.seal, before=before)):
            await asyncio.sleep(retention.SETTLE_SECONDS)
        if await connection.call(partial(retention.freeze, before=before)):
            await asyncio.sleep(retention.READ_SECONDS)
        for dropped in await connection.call(partial(retention.drop, before=before)):
            log.info("retention: %s", dropped)

    while True:
        await attempt("retention cannot be applied", apply)
        await asyncio.sleep(RETAIN_SECONDS)


async def attempt(problem: str, work: Callable[[], Awaitable[Any]]) -> None:
    """Does periodic work. If ClickHouse does not answer, logs the problem; the next period tries again."""
    try:
        await work()
    except ClickHouseError as error:
        log.warning("%s: %s", problem, error)
