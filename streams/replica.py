"""The watchlist topic, read to its end and then followed: every worker's own copy of the lists.

Changes are staged until their list's manifest and applied in one step, so a scan meets a batch wholly or not at all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from schemas.events import Heartbeat, Manifest, Removal, WatchlistEntry, WatchlistRecord, decoder
from streams import kafka, metrics, topics
from streams.settings import Settings

log = logging.getLogger("ninezero.replica")

Name = tuple[str, str]


class Lists(Protocol):
    """What the replica fills: it knows keys and sequences, not what an entry means."""

    def apply(self, name: Name, put: dict[str, WatchlistEntry], remove: list[str]) -> None:
        """Takes entries off a list, then puts entries on it; all in one step."""

    def drop_below(self, name: Name, floor: int) -> list[str]:
        """Takes the entries off a list whose sequence is below `floor`; their ids."""

    def size(self, name: Name) -> int:
        """Number of entries on a list."""


class Replica:
    """Follows the topic. `version` is the offset last applied, `ready` whether every list equals its manifest."""

    def __init__(self, settings: Settings, lists: Lists, on_change: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        self._lists = lists
        self._on_change = on_change
        self._staged: dict[Name, dict[str, WatchlistEntry | Removal]] = {}
        self._consumer: Any = None
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Condition()
        self.manifests: dict[Name, Manifest] = {}
        self._removed: dict[bytes, tuple[int, float]] = {}
        self.version = -1
        self.position = 0
        self.heartbeat: float | None = None
        self.caught_up = asyncio.Event()
        self.ready = asyncio.Event()

    async def start(self) -> None:
        """Starts reading from the beginning."""
        self._consumer = kafka.consumer(
            self._settings, isolation_level="read_committed", auto_offset_reset="earliest", fetch_max_wait_ms=100,
            max_partition_fetch_bytes=4 << 20,
        )  # fmt: skip
        await self._consumer.start()
        tp = TopicPartition(self._settings.topic(topics.WATCHLIST.name), 0)
        self._consumer.assign([tp])
        self._task = asyncio.create_task(self._follow(tp))

    async def stop(self) -> None:
        """Stops following."""
        if self._task is not None:
            self._task.cancel()
        if self._consumer is not None:
            await self._consumer.stop()

    async def watch(self) -> None:
        """Raises what ended the reading, if anything does."""
        assert self._task is not None
        await self._task

    def age(self, now: float | None = None) -> float:
        """Seconds since the last heartbeat; infinite before the first."""
        return float("inf") if self.heartbeat is None else (now or time.time()) - self.heartbeat

    async def reached(self, offset: int) -> None:
        """Waits until everything before `offset` is applied."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.position >= offset)

    async def end(self) -> int:
        """The end of the topic now."""
        tp = TopicPartition(self._settings.topic(topics.WATCHLIST.name), 0)
        return int((await self._consumer.end_offsets([tp]))[tp])

    def removed_by(self, name: Name, sequence: int) -> list[str]:
        """Ids of the entries that the batch of that sequence removed, while their removals are no tombstones yet."""
        prefix = f"{name[0]}|{name[1]}|".encode()
        return [
            key[len(prefix) :].decode()
            for key, (by, _) in self._removed.items()
            if by == sequence and key.startswith(prefix)
        ]

    def cleared(self, before: float, limit: int) -> list[bytes]:
        """At most `limit` keys without a live entry, whose tombstone is due: removed before that Unix time."""
        return [key for key, (_, at) in self._removed.items() if at < before][:limit]

    async def _follow(self, tp: TopicPartition) -> None:
        goal = await self.end()
        while True:
            try:
                fetched = await self._consumer.getmany(tp, timeout_ms=100, max_records=5000)
                for record in fetched.get(tp, ()):
                    self._take(record)
                position = await self._consumer.position(tp)
            except KafkaError as error:
                log.warning(
                    "the watchlist topic cannot be read (%s); the last good lists serve on", type(error).__name__
                )
                await asyncio.sleep(1)
                continue
            if position != self.position or fetched:
                async with self._moved:
                    self.position = position
                    self._moved.notify_all()
            if self.position >= goal:
                self.caught_up.set()
            self._judge_ready()

    def _judge_ready(self) -> None:
        complete = all(self._lists.size(name) == manifest.entries for name, manifest in self.manifests.items())
        if self.caught_up.is_set() and self.manifests and complete:
            self.ready.set()
        else:
            self.ready.clear()
        metrics.watchlist_ready.set(self.ready.is_set())

    def _take(self, record: Any) -> None:
        authority, _, rest = record.key.decode().partition("|")
        name, entry_id = (authority, rest.partition("|")[0]), rest.partition("|")[2]
        if record.value is None:
            self._removed.pop(record.key, None)  # a tombstone: the removal before it has said so already
            return
        try:
            value = decoder(WatchlistRecord).decode(record.value)
        except msgspec.DecodeError:
            log.error("a record of the watchlist topic cannot be read (offset %d); it is left out", record.offset)
            return
        if isinstance(value, Heartbeat):
            self.heartbeat = record.timestamp / 1000
        elif isinstance(value, Manifest):
            self._switch(name, value, record.offset)
        else:
            if isinstance(value, Removal):
                self._removed[record.key] = (value.sequence, record.timestamp / 1000)
            self._staged.setdefault(name, {})[entry_id] = value

    def _switch(self, name: Name, manifest: Manifest, offset: int) -> None:
        staged = self._staged.pop(name, {})
        put = {k: v for k, v in staged.items() if isinstance(v, WatchlistEntry) and v.sequence >= manifest.floor}
        self._lists.apply(name, put, [k for k in staged if k not in put])
        self._lists.drop_below(name, manifest.floor)
        self.manifests[name] = manifest
        self.version = offset
        self._on_change()
