"""The recording role copies sites and policies from real topics into ClickHouse: when they change, after a loss, and after errors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from ninezero.agents.policies.policies import Policies
from ninezero.agents.roles import recording_tasks
from ninezero.schemas.policies import PolicyRecord, PolicyUse, policy_key, use_key
from ninezero.schemas.register import Site
from ninezero.streams import settings
from ninezero.streams.clickhouse import ClickHouseError
from ninezero.streams.clickhouse.threaded_connection import ThreadedConnection
from ninezero.streams.kafka import administration, sync
from ninezero.streams.kafka.records import OutgoingRecord, internal_record
from ninezero.streams.kafka.register import Register
from ninezero.streams.kafka.statements import state
from ninezero.streams.kafka.topics import POLICIES
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.settings import Settings
from tests.support import System

SITES = "SELECT site_id, kind, division, capacity FROM ninezero.sites ORDER BY site_id"
USES = "SELECT policy, version, status, author, approved_by FROM ninezero.policies ORDER BY effective_from"
WINTER = PolicyRecord(
    policy="winter", version=2, author="anna", legal_basis="JN-2026-17", fever_c=37.0, plausible_c=[30.0, 45.0], max_list_age_s=300.0,
    outcomes={}, home="370115", exempt_origins=[],
)  # fmt: skip
SHADOW = PolicyUse("shadow", datetime(2026, 3, 1, tzinfo=UTC), None, "ben")


class Mirroring:
    """A database into which the topics of a deployment are copied."""

    def __init__(self, given: Settings) -> None:
        self._given = given
        self.register = Register(given)
        self.policies = Policies(given, self.register)
        self.connection = ThreadedConnection(given.clickhouse, given.timezone)

    async def __aenter__(self) -> Mirroring:
        await self.register.start()
        await self.policies.start()
        works = (
            self.register.watch(),
            self.policies.watch(),
            recording_tasks.mirror_topics(self.connection, self.register, self.policies),
        )
        self._tasks = [asyncio.create_task(work) for work in works]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await self.policies.stop()
        await self.register.stop()
        await self.connection.close()

    async def state(self, site: Site) -> None:
        await asyncio.to_thread(state, self._given, site)

    async def write(self, record: OutgoingRecord) -> None:
        def send() -> None:
            with contextlib.closing(sync.producer(self._given)) as writer:
                writer.send(self._given.topic(POLICIES.name), record.value, record.key, record.headers).get(30)

        await asyncio.to_thread(send)

    async def until(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        """Waits until a query has these rows."""
        deadline, found = time.monotonic() + 60, None
        while found != rows:
            assert time.monotonic() < deadline, f"{sql}: {found}"
            with contextlib.suppress(ClickHouseError):
                found = [tuple(row.values()) for row in await self.connection.query(sql)]
            await asyncio.sleep(0.05)


def errors() -> float:
    return REGISTRY.get_sample_value("ninezero_suppressed_errors_total", {"task": "mirror"}) or 0.0


@pytest.fixture
def given(kafka: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A deployment without sites and policies. The periods of the task are shortened."""
    for name, seconds in (("MIRROR_SECONDS", 1.0), ("RETRY_SECONDS", 0.3), ("CHANGE_SECONDS", 0.05)):
        monkeypatch.setattr(recording_tasks, name, seconds)
    found = settings.load(System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path).env)
    administration.create_topics(found, 1)
    return found


def test_what_operators_state_is_in_clickhouse_within_seconds_and_again_after_a_loss(given: Settings) -> None:
    async def scenario() -> None:
        async with Mirroring(given) as mirroring:
            await mirroring.state(Site("road-1", "road", "370115", 0))
            await mirroring.state(Site("hotel", "quarantine", "370115", 40))
            hotel, road = ("hotel", "quarantine", "370115", 40), ("road-1", "road", "370115", 0)
            await mirroring.until(SITES, [hotel, road])
            await mirroring.state(Site("hotel", "quarantine", "370115", 55))
            await mirroring.until(SITES, [(*hotel[:3], 55), road])
            await mirroring.write(internal_record(POLICIES, policy_key("winter", 2), WINTER))
            await mirroring.until(USES, [("winter", 2, "proposed", "anna", "")])
            await mirroring.write(internal_record(POLICIES, use_key("winter", 2), SHADOW))
            await mirroring.until(USES, [("winter", 2, "shadow", "anna", "ben")])
            for table in ("site_register", "policy_uses"):
                await mirroring.connection.execute(f"TRUNCATE TABLE ninezero_data.{table}")
            await mirroring.until(SITES, [(*hotel[:3], 55), road])
            await mirroring.until(USES, [("winter", 2, "shadow", "anna", "ben")])

    asyncio.run(scenario())


def test_an_error_is_logged_once_and_what_changed_meanwhile_is_copied_later(
    given: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ninezero.tasks")

    async def scenario() -> None:
        async with Mirroring(given) as mirroring:
            await mirroring.state(Site("road-1", "road", "370115", 0))
            await mirroring.until(SITES, [("road-1", "road", "370115", 0)])
            await mirroring.connection.execute("ALTER TABLE ninezero_data.site_register RENAME COLUMN capacity TO away")
            before = errors()
            await mirroring.state(Site("road-2", "road", "370115", 0))
            deadline = time.monotonic() + 60
            while errors() < before + 3:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            await mirroring.connection.execute("ALTER TABLE ninezero_data.site_register RENAME COLUMN away TO capacity")
            await mirroring.until(SITES, [(f"road-{n}", "road", "370115", 0) for n in (1, 2)])
            while "mirror works again" not in caplog.text:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)

    asyncio.run(scenario())
    lines = [record.getMessage() for record in caplog.records if record.name == "ninezero.tasks"]
    assert len(lines) == 2 and lines[0].startswith("sites and policies cannot be copied into ClickHouse: ")
    assert lines[1] == "mirror works again"
