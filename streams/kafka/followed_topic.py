"""Follows a topic of one partition that is small enough to be kept in memory: it is read to its end, then followed.

About once a second the broker is asked for the end offset. When every record before that offset is applied, what was read is
known to be complete as of the time of that request. How fresh it is follows from that time, not from the time of the last record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from ninezero.streams.errors import DEPENDENCY, UserError
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.topics import Topic
from ninezero.streams.settings import Settings

log = logging.getLogger("ninezero.topics")

FETCH_WAIT_MS = 500
"""Longest time that the broker holds a fetch request. A new record is delivered immediately, but a request for the end offset waits
behind a fetch request on the same connection."""

POLL_SECONDS = 1.0
"""Time between two requests for the end offset."""

ANSWER_SECONDS = 5.0
"""Time after which a request is given up and it is checked whether the topic still exists: aiokafka 0.14 asks without end for the
offsets of a topic that does not exist."""

STEP_SECONDS, STEPS = 0.25, 20
"""If no record comes in so many steps of this length although there is one, the broker does not answer. They are counted in steps so
that a process which was suspended loses one step only."""

RETRY_SECONDS = 1.0
"""Pause before the topic is read again after an error."""


class TopicLost(UserError):
    """A topic was deleted, truncated or created again. A new process must read it from its beginning."""

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"the topic {topic} was deleted, truncated or created again, so what was read from it is not used any more: run"
            " ninezero doctor; the next start reads the topic from its beginning"
        )


class Instant(NamedTuple):
    """An instant by both clocks. The monotonic clock may stand still while a machine sleeps, and the wall clock may be set back."""

    monotonic: float
    wall: float

    @classmethod
    def now(cls) -> Instant:
        """Returns the present instant."""
        return cls(time.monotonic(), time.time())

    def age(self) -> float:
        """Returns the seconds since then by the clock that has gone further."""
        return max(time.monotonic() - self.monotonic, time.time() - self.wall)


class FollowedTopic:
    """Follows a topic of one partition and applies its records in order."""

    def __init__(
        self,
        settings: Settings,
        topic: Topic,
        apply: Callable[[Sequence[Any]], None],
        isolation_level: Literal["read_uncommitted", "read_committed"] = "read_uncommitted",
    ) -> None:
        """Prepares the reading.

        Args:
            settings: the settings of the process.
            topic: a topic of one partition.
            apply: is called with the next records. The first call has every record that the topic held at its start. An exception
                ends the reading.
            isolation_level: read_committed for a topic that is written in transactions. An open one then hides records, also those of
                others after it, beyond the time from which they count.
        """
        self._settings, self._apply, self._isolation_level = settings, apply, isolation_level
        self._tp = TopicPartition(settings.topic(topic.name), 0)
        self._consumer: Any = None
        self._first: int | None = None
        """The offset at which reading began."""
        self._position = 0
        """The offset up to which the topic was read."""
        self._unapplied: list[Any] = []
        """Records that were read while the topic is read to its end for the first time."""
        self._complete_as_of: Instant | None = None
        self._completed = asyncio.Condition()
        """Is notified when `_complete_as_of` changes."""

    @property
    def age(self) -> float:
        """The seconds since the instant as of which everything is applied; infinite before the topic was read to its end."""
        return math.inf if self._complete_as_of is None else self._complete_as_of.age()

    async def start(self) -> None:
        """Connects to the broker."""
        self._consumer = kafka.consumer(
            self._settings,
            isolation_level=self._isolation_level,
            auto_offset_reset="none",
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        await self._consumer.start()

    async def stop(self) -> None:
        """Disconnects."""
        if self._consumer is not None:
            await self._consumer.stop()

    async def read_to_end(self) -> None:
        """Applies every record that the topic has at the time of the call. Waits for a broker that does not answer.

        Raises:
            TopicLost: the topic was deleted, truncated or created again.
            Exception: what `apply` raises.
        """
        while True:
            asked = Instant.now()
            try:
                await self._read_up_to(await self._end())
            except OffsetOutOfRangeError:
                raise TopicLost(self._tp.topic) from None
            except (KafkaError, TimeoutError) as error:
                mark = kafka.outage_mark(error) if isinstance(error, KafkaError) else {DEPENDENCY: "Kafka"}
                # In an outage all followed topics fail together: lines without their names are condensed to one (condenser.py).
                what = f"the topic {self._tp.topic}" if mark is None else "what operators state"
                log.warning("%s cannot be read (%s); retrying", what, type(error).__name__, extra=mark)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._apply_records()
            async with self._completed:
                self._complete_as_of = asked
                self._completed.notify_all()
            return

    async def watch(self) -> None:
        """Applies new records as they come. Never returns.

        Raises:
            TopicLost: the topic was deleted, truncated or created again.
            Exception: what `apply` raises.
        """
        while True:
            await self.read_to_end()
            with contextlib.suppress(KafkaError):  # reading to the end meets the same error
                await self._fetch(POLL_SECONDS)

    async def wait_until_read(self) -> None:
        """Waits until the topic was read to its end for the first time."""
        async with self._completed:
            await self._completed.wait_for(lambda: self._complete_as_of is not None)

    async def wait_until_current(self, seconds: float) -> None:
        """Waits until everything is applied that the topic held at some instant of the last `seconds`. Usually it returns immediately.

        It waits while reading lags, while the broker does not answer, and after the process or the machine was suspended.
        """
        async with self._completed:
            await self._completed.wait_for(lambda: self.age <= seconds)

    async def _end(self) -> int:
        """Returns the end offset as the broker has it now.

        Raises:
            TopicLost: the topic was deleted, truncated or created again.
            KafkaError, TimeoutError: the broker does not answer.
        """
        first, end = await bounds(self._consumer, self._tp)
        if self._first is None:
            # Not seek_to_beginning(): the reset that assign() starts may complete after it and set another position.
            self._consumer.assign([self._tp])
            self._consumer.seek(self._tp, first)
            self._first = self._position = first
        if end < self._position or first > self._first:
            raise TopicLost(self._tp.topic)
        return end

    async def _read_up_to(self, end: int) -> None:
        """Reads every record before an offset.

        Raises:
            TimeoutError, KafkaError: the broker does not answer.
        """
        silent = 0
        while self._position < end:
            before = self._position
            await self._fetch(STEP_SECONDS)
            silent = silent + 1 if self._position == before else 0
            if silent == STEPS:
                raise TimeoutError

    async def _fetch(self, seconds: float) -> None:
        """Waits for the next records, and applies them once the topic was read to its end.

        Raises:
            KafkaError: the broker does not answer.
        """
        fetched = await self._consumer.getmany(self._tp, timeout_ms=int(seconds * 1000))
        self._unapplied += fetched.get(self._tp, ())
        self._position = await self._consumer.position(self._tp)
        if self._complete_as_of is not None:
            self._apply_records()

    def _apply_records(self) -> None:
        records, self._unapplied = self._unapplied, []
        if records:
            self._apply(records)


async def bounds(consumer: Any, tp: TopicPartition) -> tuple[int, int]:
    """Returns the first offset and the end offset of a partition as the broker has them now.

    Args:
        consumer: a started consumer.
        tp: the partition.

    Raises:
        TopicLost: the topic does not exist.
        TimeoutError: the broker does not answer in time, so it is not known whether the topic exists.
        KafkaError: the broker does not answer, or this user may not read the topic.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_SECONDS):
            firsts, ends = await asyncio.gather(consumer.beginning_offsets([tp]), consumer.end_offsets([tp]))
        return firsts[tp], ends[tp]
    async with asyncio.timeout(ANSWER_SECONDS):
        if tp.topic not in await consumer.topics():
            raise TopicLost(tp.topic)
    raise TimeoutError
