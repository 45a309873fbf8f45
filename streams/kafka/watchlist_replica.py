"""The watchlist topic, read to its end and then followed: every worker's own copy of the lists.

Changes are staged until their list's manifest and applied in one step, so a scan meets a batch wholly or not at all. What
follows a manifest but belongs before it (a delayed writer's) is refused.

Beside the reading the topic is asked for its end, again and again: when everything before it is applied, the copy was complete
at the time of the question. By that time, and not by what was read last, it is known that nothing is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from ninezero.schemas.events import Heartbeat, Identifier, Manifest, Removal, WatchlistEntry, WatchlistRecord, decoder
from ninezero.streams import metrics
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka import topics
from ninezero.streams.settings import Settings

log = logging.getLogger("ninezero.replica")

SLICE = 2000
"""Records, or rows, handled without a pause: about 10 ms, so that outcomes need not wait for a list of millions."""

CHECK_SECONDS = 5.0
"""How often the topic is asked whether it is still the one that was read."""

ASK_SECONDS = 0.25
"""How often the topic is asked for its end."""

FRESH_SECONDS = 1.0
"""What is decided is decided by lists that were complete so long before it came, or later. Of the two seconds from a receipt to
its effect, the other one is for the commit: the receipt has its timestamp before that."""

STEP_SECONDS, STEPS = 0.5, 10
"""After so many steps without a sign of the topic, the last good lists serve on. In steps, because a process that stands still
must not take its own silence for the topic's: it loses one of them."""

HELD_KEYS = 200_000
"""Keys to write tombstones for are gathered up to this number; the rest wait in memory, unmatched."""

Name = tuple[str, str]


class Lists(Protocol):
    """What the replica fills: it knows keys and sequences, not what an entry means."""

    def stage(self, name: Name, put: Mapping[str, WatchlistEntry], remove: Sequence[str]) -> None:
        """Prepares what the list's next switch puts on it and takes off it. No id is in both."""

    def switch(self, name: Name, floor: int) -> None:
        """Applies what is staged, and drops what is below the floor; all in one step."""

    def size(self, name: Name) -> int:
        """Number of entries on a list."""

    def has(self, name: Name, entry_id: str) -> bool:
        """Whether a list has an entry."""

    def remove_now(self, name: Name, entry_id: str) -> None:
        """Takes an entry off at once, live or staged."""

    def tidy(self, limit: int, gone: list[tuple[Name, str]] | None = None) -> bool:
        """Clears away some of what is off the lists, into `gone`; whether there may be more."""


class TopicLost(Exception):
    """The watchlist topic is not the one that was read: deleted, emptied or made anew. Start again, and read it anew."""


class WatchlistReplica:
    """Follows the topic. `version` is the offset last applied, `ready` whether every list equals its manifest.

    With `keeps_removed`, for the process that writes tombstones, it remembers which keys are off the lists.
    """

    def __init__(
        self,
        settings: Settings,
        lists: Lists,
        on_change: Callable[[], None] = lambda: None,
        keeps_removed: bool = False,
    ) -> None:
        self._settings = settings
        self._lists = lists
        self._on_change = on_change
        self._keeps_removed = keeps_removed
        self._removed: dict[bytes, tuple[int, float]] = {}
        """Key → sequence that removed it (-1: no batch did) and when (Unix time; 0: long enough ago)."""
        self._pending: dict[Name, dict[str, WatchlistEntry | Removal]] = {}
        """Records of the slice in hand."""
        self._consumer: Any = None
        self._task: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._moved = asyncio.Condition()
        self._as_of = -math.inf
        """When (monotonic time) the copy was last known to be complete."""
        self._silent = False
        """The topic was waited for in vain, and has given no sign since."""
        self.overwritten: dict[bytes, None] = {}
        """Keys of live entries that the topic has a refused record or a tombstone of instead: to be written again."""
        self.manifests: dict[Name, Manifest] = {}
        self.version = -1
        self.position = 0
        self.heartbeat: float | None = None
        self.caught_up = asyncio.Event()
        self.ready = asyncio.Event()

    async def start(self) -> None:
        """Starts reading from the beginning."""
        self._consumer = kafka.consumer(
            self._settings, isolation_level="read_committed", auto_offset_reset="none", fetch_max_wait_ms=100,
            max_partition_fetch_bytes=8 << 20,
        )  # fmt: skip
        await self._consumer.start()
        tp = TopicPartition(self._settings.topic(topics.WATCHLIST.name), 0)
        self._consumer.assign([tp])
        self._task = asyncio.create_task(self._follow(tp))
        self._asking = asyncio.create_task(self._ask())

    async def stop(self) -> None:
        """Stops following."""
        for task in (self._task, self._asking):
            if task is not None:
                task.cancel()
        if self._consumer is not None:
            await self._consumer.stop()

    async def watch(self) -> None:
        """Raises what ended the reading, if anything does."""
        assert self._task is not None and self._asking is not None
        await asyncio.gather(self._task, self._asking)

    def age(self, now: float | None = None) -> float:
        """Seconds since the last heartbeat; infinite before the first."""
        return float("inf") if self.heartbeat is None else (now or time.time()) - self.heartbeat

    async def current(self) -> None:
        """Waits until every list is complete, as of a second before the call: mostly they are known to be, and it returns at once.

        They are not when reading lags, or this process stood still. A topic that gives no sign is waited for in vain once; until
        it answers again the last good lists serve, and `age` says for how long.
        """
        due, steps = time.monotonic() - FRESH_SECONDS, 0
        while self._as_of < due and not self._silent:
            try:
                async with asyncio.timeout(STEP_SECONDS), self._moved:
                    await self._moved.wait()
                    steps = 0
            except TimeoutError:
                steps += 1
                if steps == STEPS and not self._silent:
                    self._silent = True
                    log.warning(
                        "the watchlist topic says nothing; until it does, everything is decided by the last good lists"
                    )
        await self.ready.wait()

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
        """At most `limit` keys without a live entry whose tombstone is due: off the lists before that Unix time."""
        found = []
        for key, (_, at) in self._removed.items():
            if at < before and not self._lists.has(*split(key)):
                found.append(key)
                if len(found) == limit:
                    break
        return found

    def take(self, records: Sequence[Any]) -> None:
        """Takes the next records of the topic: stages changes, and applies those whose manifest is among them."""
        decode = decoder(WatchlistRecord).decode
        names: dict[bytes, Name] = {}
        for record in records:
            try:
                prefix, _, entry = (record.key or b"").rpartition(b"|")
                if (name := names.get(prefix)) is None:
                    name = names[prefix] = _named(record.key or b"")
                entry_id = entry.decode()
                value = None if record.value is None else decode(record.value)
            except (ValueError, RecursionError):  # msgspec's are the former
                log.error("a record of the watchlist topic cannot be read (offset %d); it is left out", record.offset)
                continue
            if isinstance(value, WatchlistEntry):
                manifest = self.manifests.get(name)
                if manifest is not None and value.sequence <= manifest.sequence:
                    self._refuse(name, entry_id, record.key)
                else:
                    self._pending.setdefault(name, {})[entry_id] = value
                    if self._removed:
                        self._removed.pop(record.key, None)
            elif isinstance(value, Heartbeat):
                self.heartbeat = record.timestamp / 1000
            elif isinstance(value, Manifest):
                self._stage(name)
                self._switch(name, value, record.offset)
            elif value is None:
                self._bury(name, entry_id, record.key)
            else:
                self._remove(name, entry_id, value, record)
        for name in list(self._pending):
            self._stage(name)

    async def _follow(self, tp: TopicPartition) -> None:
        await self._consumer.seek_to_beginning(tp)
        first = await self._consumer.position(tp)
        checked = time.monotonic()
        while True:
            try:
                fetched = await self._consumer.getmany(tp, timeout_ms=100, max_records=SLICE)
                position = await self._consumer.position(tp)
                if time.monotonic() - checked > CHECK_SECONDS:
                    await self._check(tp, first, position)
                    checked = time.monotonic()
            except (OffsetOutOfRangeError, TopicLost):
                self.ready.clear()
                metrics.watchlist_ready.set(False)
                log.error("the watchlist topic was deleted, emptied or made anew; nothing is decided by the old one")
                raise TopicLost from None
            except KafkaError as error:
                log.warning(
                    "the watchlist topic cannot be read (%s); the last good lists serve on", type(error).__name__
                )
                await asyncio.sleep(1)
                continue
            self.take(fetched.get(tp, ()))
            self._tidy()
            if position != self.position or fetched:
                async with self._moved:
                    self.position = position
                    self._moved.notify_all()
            self._judge_ready()
            await asyncio.sleep(0)  # what is fetched already comes without a pause, and outcomes want their turn

    async def _ask(self) -> None:
        while True:
            asked = time.monotonic()
            with contextlib.suppress(KafkaError):  # it is asked again
                await self.reached(await self.end())
                self.caught_up.set()
                async with self._moved:
                    self._as_of, self._silent = asked, False
                    self._moved.notify_all()
            await asyncio.sleep(asked + ASK_SECONDS - time.monotonic())

    async def _check(self, tp: TopicPartition, first: int, position: int) -> None:
        """Whether the topic goes on where it was read; a broker that is away says nothing about it.

        Raises:
            TopicLost: it is shorter than what was read of it, its beginning is gone, or it is not there.
        """
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                begins, ends = (await self._consumer.beginning_offsets([tp]))[tp], await self.end()
        except TimeoutError:  # aiokafka asks on and on for a topic that is not there
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    if tp.topic not in await self._consumer.topics():
                        raise TopicLost from None
            return
        if ends < position or begins > first:
            raise TopicLost

    def _judge_ready(self) -> None:
        if self.caught_up.is_set() and self.manifests and all(map(self._complete, self.manifests)):
            self.ready.set()
        else:
            self.ready.clear()
        metrics.watchlist_ready.set(self.ready.is_set())

    def _refuse(self, name: Name, entry_id: str, key: bytes) -> None:
        """A record that belongs before a manifest that was read already: a delayed writer's."""
        if self._lists.has(name, entry_id):
            self.overwritten[key] = None
        elif self._keeps_removed:
            self._removed.setdefault(key, (-1, 0.0))

    def _remove(self, name: Name, entry_id: str, removal: Removal, record: Any) -> None:
        manifest = self.manifests.get(name)
        if manifest is not None and removal.sequence < manifest.sequence:
            self._refuse(name, entry_id, record.key)
            return
        if self._keeps_removed:
            self._removed[record.key] = (-1 if removal.expired else removal.sequence, record.timestamp / 1000)
        self._pending.setdefault(name, {})[entry_id] = removal

    def _bury(self, name: Name, entry_id: str, key: bytes) -> None:
        """A tombstone. Of a complete list it takes nothing off: the removal before it has said so already.

        Before that it counts: compaction may have taken that removal away while we read.
        """
        self._removed.pop(key, None)
        if not (self.caught_up.is_set() and self._complete(name)):
            self._stage(name)
            self._lists.remove_now(name, entry_id)
        elif self._lists.has(name, entry_id):
            self.overwritten[key] = None

    def _complete(self, name: Name) -> bool:
        return name in self.manifests and self._lists.size(name) == self.manifests[name].entries

    def _stage(self, name: Name) -> None:
        records = self._pending.pop(name, {})
        put = {key: value for key, value in records.items() if isinstance(value, WatchlistEntry)}
        self._lists.stage(name, put, [key for key in records if key not in put])

    def _switch(self, name: Name, manifest: Manifest, offset: int) -> None:
        self._lists.switch(name, manifest.floor)
        self.manifests[name] = manifest
        self.version = offset
        self._on_change()

    def _tidy(self) -> None:
        gone: list[tuple[Name, str]] | None = [] if self._keeps_removed else None
        if len(self._removed) < HELD_KEYS:
            self._lists.tidy(SLICE, gone)
        for name, entry_id in gone or ():
            self._removed.setdefault(f"{name[0]}|{name[1]}|{entry_id}".encode(), (-1, 0.0))


def _named(key: bytes) -> Name:
    """The list of a record's key, as logs and metrics may show it; two empty names for a heartbeat.

    Raises:
        ValueError: no such key.
    """
    name = split(key)[0]
    return name if name == ("", "") else msgspec.convert(name, tuple[Identifier, Identifier])


def split(key: bytes) -> tuple[Name, str]:
    """List and entry id of a record's key; the id of a manifest is empty.

    Raises:
        ValueError: no such key.
    """
    authority, name, entry_id = key.decode().split("|", 2)
    return (authority, name), entry_id
