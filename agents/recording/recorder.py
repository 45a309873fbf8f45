"""The recorder: takes chunks, buffers their rows by topic, and flushes the buffers about once a second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from ninezero.agents.recording.checkpoint import Checkpoint
from ninezero.agents.recording.projections.topics import Projection, project
from ninezero.schemas.row_block import Block
from ninezero.streams import metrics
from ninezero.streams.clickhouse import ClickHouseDenied, ClickHouseError
from ninezero.streams.clickhouse.threaded_connection import ThreadedConnection
from ninezero.streams.clickhouse.topic_buffer import TopicBuffer
from ninezero.streams.kafka.dead_letters import dead_letter
from ninezero.streams.kafka.decoding import Rejected
from ninezero.streams.kafka.topics import DEAD_LETTERS
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.transport.consumer import Consumer
from ninezero.streams.transport.offset_tracker import Chunk

log = logging.getLogger("ninezero.recorder")

FLUSH_SECONDS = 1.0
"""Longest time between two flushes."""

FLUSH_ROWS = 100_000
"""Number of waiting rows of one topic that starts a flush early."""

MAX_BUFFERED_ROWS = 400_000
"""Number of waiting rows of one topic above which its next chunk has to wait. Kafka keeps the rest."""

IDLE_CHECK_SECONDS = 5.0
"""Time between two checks that the rows of idle partitions still exist."""


class Recorder:
    """Records topics in ClickHouse with one connection.

    While ClickHouse does not answer, rows wait in bounded buffers and the flush is repeated with growing pauses. When a
    buffer is full, the recorder takes no more chunks of its topic.
    """

    def __init__(self, connection: ThreadedConnection, consumer: Consumer, writer: Writer, timezone: str) -> None:
        """Prepares the recorder.

        Args:
            connection: the connection to ClickHouse; the recorder opens and closes it.
            consumer: the consumer that delivers the chunks.
            writer: writes dead letters.
            timezone: the time zone of local days.
        """
        self._connection, self._consumer, self._writer = connection, consumer, writer
        self._checkpoint = Checkpoint(connection, consumer, timezone)
        self._buffers: dict[str, TopicBuffer] = defaultdict(TopicBuffer)
        self._full = asyncio.Event()
        self._room = asyncio.Condition()

    async def start(self) -> None:
        """Opens the connection and applies the migrations. A server that does not answer is tried again by each flush.

        Raises:
            ClickHouseError: the server rejects the account, the embedded database cannot be opened, or another process
                holds it.
        """
        try:
            await self._checkpoint.refresh_sealed_days()
        except ClickHouseDenied:
            raise
        except ClickHouseError as error:
            if self._connection.embedded:
                raise
            log.warning("ClickHouse does not answer: %s; recording starts when it answers", error)

    async def stop(self) -> None:
        """Closes the connection. Rows that still wait are read again from Kafka after the next start."""
        await self._connection.close()

    async def record(self, projection: Projection, chunk: Chunk) -> None:
        """Buffers the rows of a chunk. The chunk is finished when they are durable.

        An event of a sealed day is not recorded: the record that contains it gets a dead letter `day_sealed`, which is
        acknowledged before the chunk is buffered.
        """
        rows, sealed_records = project(projection, chunk, self._checkpoint.sealed_days)
        topic, sealed = projection.topic.name, Rejected("day_sealed", "/observed_at")
        letters = [
            (DEAD_LETTERS, topic.encode(), dead_letter(topic, chunk.tp.partition, record, sealed))
            for record in sealed_records
        ]
        if letters:
            metrics.dead_letters.labels(topic, sealed.reason).inc(len(letters))
        await self._writer.write(letters)
        await self.append(chunk, rows)

    async def append(self, chunk: Chunk, rows: Mapping[str, Block | Sequence[tuple[Any, ...]]]) -> None:
        """Adds the rows of a chunk, by table, to its topic's buffer. Waits while that buffer is full."""
        buffer = self._buffers[chunk.tp.topic]
        async with self._room:
            await self._room.wait_for(lambda: buffer.row_count < MAX_BUFFERED_ROWS)
        buffer.append(chunk, rows)
        self._measure()
        if buffer.row_count >= FLUSH_ROWS:
            self._full.set()

    async def run(self) -> None:
        """Flushes about once a second, and checks regularly that the rows of idle partitions still exist."""
        checked_at = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), FLUSH_SECONDS)
            self._full.clear()
            for topic, buffer in list(self._buffers.items()):
                if buffer.due:
                    await self._flush(topic, buffer)
            if time.monotonic() - checked_at > IDLE_CHECK_SECONDS:
                await self._check_idle()
                checked_at = time.monotonic()

    async def _flush(self, topic: str, buffer: TopicBuffer) -> None:
        try:
            await self._checkpoint.commit(buffer.next_batch())
        except (ClickHouseError, KafkaError) as error:
            metrics.sink_retries.labels("all").inc()
            # Repeated lines are condensed by the log output of the worker (agents/roles/logs/condenser.py).
            log.warning(
                "%s cannot be recorded: %s; trying again in %.1f s", topic, _describe(error), buffer.retry_later()
            )
            return
        if buffer.failed:
            log.info("%s is recorded again", topic)
        async with self._room:
            buffer.finish_batch()
            self._measure()
            self._room.notify_all()

    def _measure(self) -> None:
        metrics.sink_buffered.set(sum(buffer.row_count for buffer in self._buffers.values()))

    async def _check_idle(self) -> None:
        """Rewinds idle partitions whose rows were lost. For partitions with waiting rows, the next flush notices the loss."""
        consumer = self._consumer
        try:
            idle = {tp for tp in consumer.assignment() if self._buffers[tp.topic].empty}
            await self._checkpoint.refresh_sealed_days()
            recorded = await self._checkpoint.recorded(idle)
            behind = {}
            for tp in idle:
                position = await self._position(tp)
                if position is not None and position > recorded[tp].next_offset:
                    behind[tp] = position
            if not behind:
                return
            earliest = await consumer.earliest_offsets(*behind)
            for tp, position in behind.items():
                # No await between the rewinds: chunks that are delivered after the first rewind would fill the buffers.
                floor = max(recorded[tp].next_offset, earliest[tp])
                if position > floor and self._buffers[tp.topic].empty:
                    self._checkpoint.rewind(tp, floor)
        except (ClickHouseError, KafkaError, ConsumerNotStarted):
            return  # nothing waits to be recorded; the next flush or check reports the failure

    async def _position(self, tp: TP) -> int | None:
        """Returns how far an idle partition was read."""
        tracker = self._consumer.trackers.get(tp)
        if tracker is not None:
            return tracker.watermark
        position: int | None = await self._consumer.position(tp)
        return position


def _describe(error: Exception) -> str:
    return f"ClickHouse: {error}" if isinstance(error, ClickHouseError) else f"Kafka: {type(error).__name__}"
