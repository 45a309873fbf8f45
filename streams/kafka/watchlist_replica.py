"""Each worker's own copy of the watchlist: it reads the topic from its beginning to its end, then follows it.

While it reads, it repeatedly asks the broker for the end offset. When every record before that offset is applied, the
copy is known to be complete as of the time of that request. How fresh the copy is follows from that time, not from the
time of the last record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence, Set
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from ninezero.streams import metrics
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.followed_topic import TopicLost, bounds
from ninezero.streams.kafka.internal_records import Position, UnreadableRecord
from ninezero.streams.kafka.list_register import RegisteredLists
from ninezero.streams.kafka.watchlist_state import SLICE_RECORDS, ListName, ListStore, WatchlistState
from ninezero.streams.settings import Settings

log = logging.getLogger("ninezero.replica")

TOPIC_CHECK_SECONDS = 5.0
"""Time between two checks that the topic was not recreated."""

END_POLL_SECONDS = 0.25
"""Time between two requests for the end offset."""

FRESH_SECONDS = 1.0
"""A scan is decided by lists that were complete at most this long before its decision began. A batch takes effect two seconds after
its receipt: the other second is for the commit, because the receipt has its timestamp before it."""

STEP_SECONDS, STEPS = 0.5, 10
"""If the end offset stays unknown for so many steps of this length, the last complete lists are used. They are counted in steps so
that a process which was suspended loses one step only, and does not mistake its own pause for a topic that does not
answer."""

RETRY_SECONDS = 1.0
"""Pause before the topic is read again after an error."""


class WatchlistReplica(WatchlistState):
    """Follows the watchlist topic.

    Attributes:
        position: the offset up to which the topic is applied.
        ready: whether the copy is complete (see `WatchlistState.complete`) and lacks no registered list.
    """

    def __init__(
        self,
        settings: Settings,
        lists: ListStore,
        on_change: Callable[[], None] = lambda: None,
        tracks_removals: bool = False,
        set_aside: Set[Position] = frozenset(),
        registered: RegisteredLists | None = None,
    ) -> None:
        super().__init__(lists, on_change, tracks_removals, set_aside)
        self._settings, self._registered = settings, registered
        self._consumer: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Condition()
        """Is notified when `position` or `_complete_as_of` changes."""
        self._complete_as_of = -math.inf
        """When (monotonic time) the copy was last known to be complete."""
        self._silent = False
        """Whether a wait for the end offset has timed out, and no answer has arrived since."""
        self.position = 0
        self.ready = asyncio.Event()

    @property
    def missing(self) -> list[ListName]:
        """The registered lists that the topic lacks, or lacks the last batch of, once it was read to its end."""
        return self._registered.missing(self.manifests) if self._registered and self.caught_up else []

    @property
    def why_not_ready(self) -> str | None:
        """Why nothing can be decided with the lists; None if it can."""
        if self.complete and not self.missing:
            return None
        if not self.caught_up:
            return "the lists are being read"
        if missing := self.missing:
            return f"the topic {topics.WATCHLIST.name} lacks {_named(missing)} as last applied: push it again with --full --again"
        if not self.manifests:
            return "there is no list yet"
        incomplete = [name for name in self.manifests if not self.has_all_entries(name)]
        return f"the topic {topics.WATCHLIST.name} lacks entries of {_named(incomplete)}"

    async def start(self) -> None:
        """Starts to read the topic from its beginning."""
        self._consumer = kafka.consumer(
            self._settings, isolation_level="read_committed", auto_offset_reset="none", fetch_max_wait_ms=100,
            max_partition_fetch_bytes=8 << 20,
        )  # fmt: skip
        await self._consumer.start()
        tp = TopicPartition(self._settings.topic(topics.WATCHLIST.name), 0)
        self._consumer.assign([tp])
        self._tasks = [asyncio.create_task(self._follow(tp)), asyncio.create_task(self._poll_end())]

    async def stop(self) -> None:
        """Stops reading."""
        for task in self._tasks:
            task.cancel()
        if self._consumer is not None:
            await self._consumer.stop()

    async def watch(self) -> None:
        """Waits while the topic is read.

        Raises:
            TopicLost: the topic was deleted, truncated or recreated.
            UnreadableRecord: a record of the topic cannot be read.
        """
        await asyncio.gather(*self._tasks)

    async def wait_until_current(self) -> None:
        """Waits until the copy is known to be complete as of one second before the call; usually it returns immediately.

        It waits while reading lags or after the process was suspended. A topic that does not answer is waited for once. Until it
        answers again, the last complete lists are used, and `heartbeat_age` tells how old they are.
        """
        due, steps = time.monotonic() - FRESH_SECONDS, 0
        while self._complete_as_of < due and not self._silent:
            try:
                async with asyncio.timeout(STEP_SECONDS), self._changed:
                    await self._changed.wait()
                    steps = 0
            except TimeoutError:
                steps += 1
                if steps == STEPS and not self._silent:
                    self._silent = True
                    log.warning("the watchlist topic does not answer; the last complete lists are used until it does")
        await self.ready.wait()

    async def wait_until_applied(self, offset: int) -> None:
        """Waits until every record before an offset is applied."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.position >= offset)

    async def end_offset(self) -> int:
        """Returns the end offset of the topic as the broker has it now.

        Raises:
            KafkaError: the broker does not answer.
        """
        tp = TopicPartition(self._settings.topic(topics.WATCHLIST.name), 0)
        return int((await self._consumer.end_offsets([tp]))[tp])

    async def _follow(self, tp: TopicPartition) -> None:
        await self._consumer.seek_to_beginning(tp)
        first = await self._consumer.position(tp)
        checked = time.monotonic()
        while True:
            try:
                fetched = await self._consumer.getmany(tp, timeout_ms=100, max_records=SLICE_RECORDS)
                position = await self._consumer.position(tp)
                if time.monotonic() - checked > TOPIC_CHECK_SECONDS:
                    await self._check_topic(tp, first, position)
                    checked = time.monotonic()
            except (OffsetOutOfRangeError, TopicLost):
                self.ready.clear()
                metrics.watchlist_ready.set(False)
                raise TopicLost(tp.topic) from None
            except KafkaError as error:
                log.warning(
                    "the watchlist topic cannot be read (%s); the last complete lists are used",
                    type(error).__name__,
                    extra=kafka.outage_mark(error),
                )
                await asyncio.sleep(RETRY_SECONDS)
                continue
            try:
                self.apply(fetched.get(tp, ()))
            except UnreadableRecord:
                self.ready.clear()
                metrics.watchlist_ready.set(False)
                raise
            self.clean_up()
            if position != self.position or fetched:
                async with self._changed:
                    self.position = position
                    self._changed.notify_all()
            self._update_ready()
            await asyncio.sleep(0)  # while records are buffered, getmany() does not yield, and other tasks must run

    async def _poll_end(self) -> None:
        while True:
            asked = time.monotonic()
            with contextlib.suppress(KafkaError):  # the next request may be answered
                await self.wait_until_applied(await self.end_offset())
                self.caught_up = True
                async with self._changed:
                    self._complete_as_of, self._silent = asked, False
                    self._changed.notify_all()
            await asyncio.sleep(asked + END_POLL_SECONDS - time.monotonic())

    async def _check_topic(self, tp: TopicPartition, first: int, position: int) -> None:
        """Checks that the topic is still the one that was read. It cannot tell while the broker does not answer.

        Args:
            tp: the topic's partition.
            first: the offset at which reading began.
            position: the offset up to which it was read.

        Raises:
            TopicLost: the topic ends before `position`, begins after `first`, or does not exist.
        """
        try:
            begin, end = await bounds(self._consumer, tp)
        except TimeoutError:
            return
        if end < position or begin > first:
            raise TopicLost(tp.topic)

    def _update_ready(self) -> None:
        if self.why_not_ready is None:
            self.ready.set()
        else:
            self.ready.clear()
        metrics.watchlist_ready.set(self.ready.is_set())


def _named(names: Sequence[ListName]) -> str:
    """Returns the first of some lists, and how many others there are."""
    authority, name = min(names)
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"the list {name} of {authority}{more}"
