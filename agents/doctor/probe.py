"""The connections of `ninezero doctor` to a deployment. Each answer is read once and kept."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ninezero.agents.doctor.findings import CannotCheck
from ninezero.agents.doctor.places import Where
from ninezero.streams import settings as settings_
from ninezero.streams.kafka import diagnosis, sync, topics
from ninezero.streams.settings import Settings, SettingsError

if TYPE_CHECKING:  # the edge has no package of ClickHouse
    from ninezero.agents.watchlist.snapshot import WatchlistSnapshot
    from ninezero.streams.clickhouse import Engine

HEARTBEAT_SECONDS = 15.0
"""Longest wait for a heartbeat. The lists role writes one every ten seconds."""

LISTS_SECONDS = 90.0
"""Longest time that reading the lists may take."""


class DeploymentProbe:
    """Connects to the deployment that the settings name, from this machine and with its accounts.

    Args:
        environ: The settings.
        where: The kind of machine on which the checks are made.
        edge: Whether ClickHouse is left out.
    """

    def __init__(self, environ: Mapping[str, str], where: Where = "all", *, edge: bool = False) -> None:
        self._environ, self.where = environ, where
        self.settings, self.faults = _read_settings(environ, edge=edge)

    @cached_property
    def kafka_fault(self) -> diagnosis.Fault | None:
        """Why Kafka cannot be reached; None if it can."""
        for name, fault in self.faults.items():
            if name.startswith("NINEZERO_KAFKA"):
                return diagnosis.Fault(str(fault), "set it first")
        return diagnosis.kafka_fault(self.settings)

    def admin(self) -> Any:
        """Returns an admin client of Kafka; the caller closes it."""
        if self.kafka_fault is not None:
            raise CannotCheck("Kafka was not reached")
        return sync.admin(self.settings)

    @cached_property
    def topics(self) -> dict[str, dict[str, Any]]:
        """Kafka's descriptions of the topics, by name without the prefix."""
        with contextlib.closing(self.admin()) as admin:
            names = {self.settings.topic(topic.name): topic.name for topic in topics.ALL}
            return {names[topic["name"]]: topic for topic in admin.describe_topics(list(names))}

    @cached_property
    def lists(self) -> WatchlistSnapshot:
        """The manifests of the lists, and which lists are missing."""
        from ninezero.agents.watchlist.snapshot import read_snapshot

        if self.kafka_fault is not None:
            raise CannotCheck("Kafka was not reached")

        async def read() -> WatchlistSnapshot:
            async with asyncio.timeout(LISTS_SECONDS):
                return await read_snapshot(self.settings)

        try:
            return asyncio.run(read())
        except TimeoutError:
            raise CannotCheck(f"the lists could not be read in {LISTS_SECONDS:.0f} s") from None

    @cached_property
    def heartbeat_offset(self) -> float | None:
        """Seconds by which the broker's clock is ahead of this machine's, measured with the next heartbeat; None if none
        arrives."""
        if self.kafka_fault is not None:
            raise CannotCheck("Kafka was not reached")
        return asyncio.run(_next_heartbeat(self.settings))

    @contextlib.contextmanager
    def database(self) -> Iterator[Engine]:
        """Opens a connection to ClickHouse. An embedded database that does not exist is not created."""
        from ninezero.streams import clickhouse

        if "NINEZERO_CLICKHOUSE" in self.faults:
            raise CannotCheck("NINEZERO_CLICKHOUSE is missing or wrong")
        folder = clickhouse.embedded_folder(self.settings.clickhouse)
        if folder is not None and not folder.exists():
            raise CannotCheck("there is no database in the folder of NINEZERO_CLICKHOUSE: ninezero migrate")
        engine = clickhouse.connect(self.settings.clickhouse)
        try:
            yield engine
        finally:
            engine.close()

    def unknown_settings(self) -> list[str]:
        """Returns the environment variables that begin with NINEZERO_ and are not settings."""
        return sorted(n for n in self._environ if n.startswith("NINEZERO_") and n not in settings_.SETTINGS)


# Values for settings that are missing, so that one fault does not hide the next.
_PLACEHOLDERS = {
    "NINEZERO_KAFKA": "127.0.0.1:1", "NINEZERO_CLICKHOUSE": "chdb:///nowhere", "NINEZERO_ORDER": "none",
    "NINEZERO_SUNSET": "2100-01-01T00:00:00Z",
}  # fmt: skip


def _read_settings(environ: Mapping[str, str], *, edge: bool) -> tuple[Settings, dict[str, SettingsError]]:
    given, faults = dict(environ), dict[str, SettingsError]()
    for name in settings_.missing(environ, edge=edge):
        faults[name], given[name] = settings_.not_set(name), _PLACEHOLDERS[name]
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


def on_this_machine(addresses: str) -> bool:
    """Returns whether all of the comma-separated addresses are on this machine."""
    return all(map(settings_.is_loopback, addresses.split(",")))
