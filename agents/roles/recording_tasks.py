"""The periodic work of the recording role. A task that fails reports it once and tries again in its next period."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, date, datetime
from functools import partial
from zoneinfo import ZoneInfo

from ninezero.agents.policies.policies import Policies
from ninezero.agents.recording import case_deletion, retention
from ninezero.agents.recording.completeness import roll_up_devices
from ninezero.agents.recording.mirrors import mirror, policy_rows, site_rows
from ninezero.agents.recording.overdue import overdue_days
from ninezero.streams import metrics
from ninezero.streams.clickhouse import ClickHouseError
from ninezero.streams.clickhouse.threaded_connection import ThreadedConnection
from ninezero.streams.kafka.register import Register
from ninezero.streams.suppressed_errors import SuppressedErrors, Task

log = logging.getLogger("ninezero.roles")

ROLL_UP_SECONDS = 10.0
"""Least time between two rollups of finished days."""

FRESHNESS_SECONDS = 10.0
"""Time between two readings of the view recording_freshness."""

SILENT_SECONDS = 60.0
"""Time between two counts of silent devices."""

SCHEMA_SECONDS = 10.0
"""Time between two checks that all tables and views exist."""

RETAIN_SECONDS = 3600.0
"""Time between two searches for facts and cases whose retention has ended."""

MIRROR_SECONDS = 60.0
"""Time between two comparisons of the sites and policies in ClickHouse with those of the topics, while these do not change."""

RETRY_SECONDS = 10.0
"""Time after which they are copied again after an error."""

CHANGE_SECONDS = 1.0
"""Time between two checks whether they have changed."""

OVERDUE_SECONDS = 300.0
"""Time between two searches for work that should have been done."""


def _attempts(task: Task, problem: str) -> SuppressedErrors:
    return SuppressedErrors(task, problem, ClickHouseError)


async def watch_schema(connection: ThreadedConnection) -> None:
    """Creates missing tables and views again. The role ends if the schema does not suit it any more."""
    attempts = _attempts("schema", "the tables and views cannot be checked")
    while True:
        await asyncio.sleep(SCHEMA_SECONDS)
        with attempts:
            await connection.check_schema()


async def measure_freshness(connection: ThreadedConnection) -> None:
    """Sets the time up to which every partition is recorded, every ten seconds."""
    attempts = _attempts("freshness", "it is unknown until when events are recorded")
    while True:
        with attempts:
            rows = await connection.query(
                "SELECT toUnixTimestamp(min(recorded_until)) AS until, count() AS n FROM ninezero.recording_freshness"
            )
            if int(rows[0]["n"]):
                metrics.recorded_until.set(int(rows[0]["until"]))
        await asyncio.sleep(FRESHNESS_SECONDS)


async def count_silent_devices(connection: ThreadedConnection) -> None:
    """Sets the number of silent devices, once a minute."""
    attempts = _attempts("silent_devices", "silent devices cannot be counted")
    while True:
        with attempts:
            rows = await connection.query("SELECT count() AS n FROM ninezero.devices_silent")
            metrics.devices_silent.set(int(rows[0]["n"]))
        await asyncio.sleep(SILENT_SECONDS)


async def mirror_topics(connection: ThreadedConnection, register: Register, policies: Policies) -> None:
    """Copies the sites and policies of the topics into ClickHouse when they change. A restored database gets them again."""
    attempts = _attempts("mirror", "sites and policies cannot be copied into ClickHouse")
    mirrored, due = (-1, -1), 0.0
    while True:
        await policies.wait_until_current()
        changes = register.changes, policies.changes
        if (changes != mirrored and not attempts.failed) or time.monotonic() >= due:
            sites, uses = site_rows(register.sites.values()), policy_rows(policies.timeline)
            with attempts:
                await connection.call(partial(mirror, table="site_register", wanted=sites))
                await connection.call(partial(mirror, table="policy_uses", wanted=uses))
            mirrored, due = changes, time.monotonic() + (RETRY_SECONDS if attempts.failed else MIRROR_SECONDS)
        await asyncio.sleep(CHANGE_SECONDS)


async def roll_up_finished_days(connection: ThreadedConnection, timezone: str) -> None:
    """Rolls up the device events of finished days, one day at a time. It takes at most a hundredth of the connection's time."""
    attempts = _attempts("completeness", "device events cannot be rolled up")
    while True:
        began = time.monotonic()
        with attempts:
            today = datetime.now(ZoneInfo(timezone)).date()
            await connection.call(partial(roll_up_devices, before=today))
        await asyncio.sleep(max(ROLL_UP_SECONDS, 100 * (time.monotonic() - began)))


async def apply_retention(connection: ThreadedConnection, timezone: str) -> None:
    """Seals, freezes and drops due days once an hour, with the pauses of `retention.retain` between the steps."""
    attempts = _attempts("retention", "facts whose retention has ended cannot be dropped")
    while True:
        now = datetime.now(UTC)
        due = {
            retention.PASSAGES: retention.first_kept_day(now, timezone),
            retention.ALERTS_SENT: retention.first_counted_alert_day(now, timezone),
        }
        for group, before in due.items():
            with attempts:
                await _retain(connection, group, before)
        await asyncio.sleep(RETAIN_SECONDS)


async def _retain(connection: ThreadedConnection, group: retention.FactGroup, before: date) -> None:
    """Seals, freezes and drops the due days of a group of facts."""
    if await connection.call(partial(retention.seal, before=before, group=group)):
        await asyncio.sleep(retention.SETTLE_SECONDS)
    if await connection.call(partial(retention.freeze, before=before, group=group)):
        await asyncio.sleep(retention.READ_SECONDS)
    for dropped in await connection.call(partial(retention.drop_facts, before=before, group=group)):
        log.info("retention: %s", dropped)


async def delete_cases(connection: ThreadedConnection, timezone: str) -> None:
    """Deletes cases that closed 14 days ago, once an hour."""
    attempts = _attempts("case_deletion", "closed cases cannot be deleted")
    while True:
        with attempts:
            before = retention.first_kept_day(datetime.now(UTC), timezone)
            if deleted := await connection.call(partial(case_deletion.delete_closed_cases, before=before)):
                log.info("retention: %d cases that closed before %s were deleted", deleted, before)
        await asyncio.sleep(RETAIN_SECONDS)


async def measure_overdue_work(connection: ThreadedConnection, timezone: str) -> None:
    """Sets for how many days facts, cases and unpublished days have been overdue."""
    attempts = _attempts("overdue", "it is not known whether facts are kept too long")
    while True:
        with attempts:
            for task, days in (
                await connection.call(partial(overdue_days, now=datetime.now(UTC), timezone=timezone))
            ).items():
                metrics.overdue_days.labels(task).set(days)
        await asyncio.sleep(OVERDUE_SECONDS)
