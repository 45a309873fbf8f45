"""The recording role: topics become ClickHouse tables, and the board shows them."""

from __future__ import annotations

from typing import Any

from ninezero.agents.board.policy_in_force import policy_in_force
from ninezero.agents.board.server import Board
from ninezero.agents.recording.projections.topics import Projection, policy_times, projections
from ninezero.agents.recording.recorder import MAX_BYTES_IN_FLIGHT, Recorder
from ninezero.agents.roles import recording_tasks as tasks
from ninezero.agents.roles.http.server import offer_embedded_database
from ninezero.agents.roles.role import Role
from ninezero.streams.clickhouse.threaded_connection import ThreadedConnection
from ninezero.streams.kafka.topics import QUARANTINE
from ninezero.streams.kafka.writer import Writer


async def build(role: Role) -> None:
    """Adds one agent per recorded topic, the connection to ClickHouse, the board, and the background work."""
    timezone = role.settings.timezone
    consumer = role.app.consumer
    consumer.prefers_large_fetches = True  # rows are inserted about once a second
    consumer.max_bytes_in_flight = MAX_BYTES_IN_FLIGHT
    writer = await role.start_component(Writer(role.settings))
    connection = ThreadedConnection(role.settings.clickhouse, timezone)
    recorded = projections(role.settings, role.policies, role.register.set_aside)
    tables = {role.settings.topic(some.topic.name): frozenset(some.tables) for some in recorded}
    recorder = await role.start_component(Recorder(connection, consumer, writer, timezone, tables))

    def add(projection: Projection) -> None:
        async def record_all(stream: Any) -> None:
            async for chunk in stream:
                if projection.topic is QUARANTINE:  # the policy says which reading is fever
                    times = policy_times(projection, chunk, role.policies)
                    if not await role.policies.wait_until_known(times, chunk.tracker):
                        continue
                await recorder.record(projection, chunk)

        role.add_agent(projection.topic, record_all)

    for projection in recorded:
        add(projection)
    offer_embedded_database(role, connection)
    board = await role.start_component(
        Board(role.settings, connection.query, role.settings.all_workers(), policy_in_force(role.policies))
    )
    role.routes += board.routes()
    role.run_after_start(recorder.run)
    role.run_in_background(tasks.watch_schema(connection))
    role.run_in_background(tasks.measure_freshness(connection))
    role.run_in_background(tasks.count_silent_devices(connection))
    role.run_in_background(tasks.mirror_topics(connection, role.register, role.policies))
    role.run_in_background(tasks.roll_up_finished_days(connection, timezone))
    if not role.settings.replay:  # the days of a replay ended long ago
        role.run_in_background(tasks.apply_retention(connection, timezone))
        role.run_in_background(tasks.delete_cases(connection, timezone))
        role.run_in_background(tasks.measure_overdue_work(connection, timezone))
