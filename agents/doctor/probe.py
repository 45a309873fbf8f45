"""What `ninezero doctor` looks at, each thing once, however many parts ask."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

from ninezero.schemas.events import Manifest
from ninezero.streams import settings as settings_
from ninezero.streams.clickhouse import engines as clickhouse
from ninezero.streams.errors import UserError
from ninezero.streams.kafka import diagnosis, sync, topics
from ninezero.streams.settings import Settings, SettingsError

HEARTBEAT_SECONDS = 15.0
"""One comes every ten."""
LISTS_SECONDS = 90.0

Status = Literal["ok", "warning", "failed", "could_not_check"]
Found = Iterator[tuple[Status, str, str]]
"""How it is, what was found, and what to do unless it is well."""


class CannotCheck(UserError):
    """A part that cannot be looked at, and why."""


class DeploymentProbe:
    """The deployment that an environment names, seen from this machine and with this account."""

    def __init__(self, environ: Mapping[str, str], *, edge: bool = False) -> None:
        self._environ = environ
        self.settings, self.faults = _read_settings(environ, edge=edge)

    @cached_property
    def kafka_fault(self) -> diagnosis.Fault | None:
        """Why Kafka cannot be reached."""
        for name, fault in self.faults.items():
            if name.startswith("NINEZERO_KAFKA"):
                return diagnosis.Fault(str(fault), "set it first")
        return diagnosis.kafka_fault(self.settings)

    def admin(self) -> Any:
        """A connection to Kafka."""
        if self.kafka_fault is not None:
            raise CannotCheck("Kafka was not reached")
        return sync.admin(self.settings)

    @cached_property
    def described(self) -> dict[str, dict[str, Any]]:
        """What Kafka tells of our topics, by their names in the contract."""
        with contextlib.closing(self.admin()) as admin:
            names = {self.settings.topic(topic.name): topic.name for topic in topics.ALL}
            return {names[told["name"]]: told for told in admin.describe_topics(list(names))}

    @cached_property
    def manifests(self) -> Mapping[tuple[str, str], Manifest]:
        """The lists' manifests."""
        from ninezero.agents.watchlist.snapshot import read_snapshot

        if self.kafka_fault is not None:
            raise CannotCheck("Kafka was not reached")

        async def within() -> Mapping[tuple[str, str], Manifest]:
            async with asyncio.timeout(LISTS_SECONDS):
                return (await read_snapshot(self.settings)).manifests

        try:
            return asyncio.run(within())
        except TimeoutError:
            raise CannotCheck(f"the lists could not be read in {LISTS_SECONDS:.0f} s") from None

    @cached_property
    def heartbeat_offset(self) -> float | None:
        """The broker's clock minus ours in seconds, by the next heartbeat on the watchlist; None if none comes."""
        if self.kafka_fault is not None:
            raise CannotCheck("Kafka was not reached")
        return asyncio.run(_next_heartbeat(self.settings))

    @contextlib.contextmanager
    def database(self) -> Iterator[clickhouse.Engine]:
        """A connection to ClickHouse; never makes an embedded database that is not there."""
        if "NINEZERO_CLICKHOUSE" in self.faults:
            raise CannotCheck("NINEZERO_CLICKHOUSE is missing or wrong")
        folder = clickhouse.folder_of(self.settings.clickhouse)
        if folder is not None and not folder.exists():
            raise CannotCheck("there is no database in the folder of NINEZERO_CLICKHOUSE: ninezero migrate")
        engine = clickhouse.connect(self.settings.clickhouse)
        try:
            yield engine
        finally:
            engine.close()

    def unknown(self) -> list[str]:
        """Variables that look like settings and are none."""
        return sorted(n for n in self._environ if n.startswith("NINEZERO_") and n not in settings_.SETTINGS)


# What is looked at in place of a setting that is missing, so that one fault does not hide the next.
_PLACEHOLDERS = {
    "NINEZERO_KAFKA": "127.0.0.1:1", "NINEZERO_CLICKHOUSE": "chdb:///nowhere", "NINEZERO_ORDER": "none",
    "NINEZERO_SUNSET": "2100-01-01T00:00:00Z",
}  # fmt: skip


def _read_settings(environ: Mapping[str, str], *, edge: bool) -> tuple[Settings, dict[str, SettingsError]]:
    given, faults = dict(environ), dict[str, SettingsError]()
    while True:
        try:
            return settings_.load(given, edge=edge), faults
        except SettingsError as error:
            name = str(error).split()[0]
            if name in faults:
                raise
            faults[name] = error
            if name.startswith("NINEZERO_KAFKA_"):
                given = {n: v for n, v in given.items() if not n.startswith("NINEZERO_KAFKA_")}
            elif name in _PLACEHOLDERS:
                given[name] = _PLACEHOLDERS[name]
            else:
                del given[name]


async def _next_heartbeat(settings: Settings) -> float | None:
    from aiokafka import TopicPartition

    from ninezero.streams.kafka import client as kafka

    await kafka.require_topics(settings, [topics.WATCHLIST])
    reader = kafka.consumer(
        settings, isolation_level="read_committed", auto_offset_reset="latest", fetch_max_wait_ms=100
    )
    tp = TopicPartition(settings.topic(topics.WATCHLIST.name), 0)
    await reader.start()
    try:
        reader.assign([tp])
        await reader.seek_to_end(tp)
        deadline = time.monotonic() + HEARTBEAT_SECONDS
        while time.monotonic() < deadline:
            for record in (await reader.getmany(tp, timeout_ms=500)).get(tp, ()):
                if record.key == b"||":
                    return float(record.timestamp / 1000 - time.time())
    finally:
        await reader.stop()
    return None


def loopback(where: str) -> bool:
    """Whether all of these addresses are on this machine."""
    return all(map(settings_.is_loopback, where.split(",")))


def named(names: list[str]) -> str:
    """Names in a line, the first few of many."""
    if not names:
        return "none"
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:5])} and {len(names) - 5} more"
