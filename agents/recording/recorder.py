"""The recorder: takes chunks, buffers their rows by topic, and flushes the buffers about once a second."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from ninezero.agents.recording.checkpoint import Checkpoint
from ninezero.agents.recording.loss_check import TablesByTopic
from ninezero.agents.recording.projections.topics import Projection, project
from ninezero.schemas.row_block import Block
from ninezero.streams import metrics
from ninezero.streams.clickhouse import ClickHouseDenied, ClickHouseError
from ninezero.streams.clickhouse.threaded_connection import ThreadedConnection
from ninezero.streams.clickhouse.topic_buffer import TopicBuffer
from ninezero.streams.kafka.dead_letters import dead_letter
from ninezero.streams.kafka.decoding import Rejected
from ninezero.streams.kafka.records import OutgoingRecord
from ninezero.streams.kafka.topics import DEAD_LETTERS
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.suppressed_errors import SuppressedErrors
from ninezero.streams.transport.consumer import Consumer
from ninezero.streams.transport.offset_tracker import Chunk

log = logging.getLogger("ninezero.recorder")

FLUSH_SECONDS = 1.0
"""Longest time between two flushes."""

FLUSH_ROWS = 100_000
"""Number of waiting rows of one topic that starts a flush early."""

MAX_BUFFERED_ROWS = 200_000
"""Number of waiting rows of all topics above which the next chunk of a topic has to wait, unless none of its rows waits: a
topic whose table rejects inserts must not stop the others. Kafka keeps the rest."""

MAX_BYTES_IN_FLIGHT = 4 << 20
"""Bytes of records above which nothing is fetched: a million events are about 45 MB in Kafka, and ten times as much in memory."""

FLUSH_BYTES = MAX_BYTES_IN_FLIGHT // 2
"""Bytes of waiting records that start a flush early. The other half is fetched meanwhile."""

CHECK_SECONDS = 4.0
"""Least time between two checks that recorded rows still exist, and between two comparisons of positions."""

LAST_CHECK_SECONDS = 15.0
"""Longest time between two checks."""

CHECK_SHARE = 25
"""Within these limits, a check takes at most this part of the time: a twenty-fifth."""


class _Position(NamedTuple):
    """How far an idle partition was read."""

    read: int
    """The offset after its last record."""
    passed: int
    """The offset that the transport commits: after the offsets behind that record that hold none (transaction markers)."""


class Recorder:
    """Records topics in ClickHouse with one connection.

    While ClickHouse does not answer, rows wait in bounded buffers and the flush is repeated with growing pauses. When a
    buffer is full, the recorder takes no more chunks of its topic.
    """

    def __init__(
        self, connection: ThreadedConnection, consumer: Consumer, writer: Writer, timezone: str, tables: TablesByTopic
    ) -> None:
        """Prepares the recorder.

        Args:
            connection: the connection to ClickHouse; the recorder opens and closes it.
            consumer: the consumer that delivers the chunks.
            writer: writes dead letters.
            timezone: the time zone of local days.
            tables: the tables into which the records of each topic are written.
        """
        self._connection, self._consumer, self._writer = connection, consumer, writer
        self._checkpoint = Checkpoint(connection, consumer, timezone, tables)
        self._unchecked_losses = SuppressedErrors(
            "loss_check", "it cannot be checked whether rows were lost", ClickHouseError
        )
        self._unchecked_positions = SuppressedErrors(
            "positions", "positions cannot be compared with what is recorded",
            ClickHouseError, KafkaError, ConsumerNotStarted,
        )  # fmt: skip
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
            OutgoingRecord(DEAD_LETTERS, topic.encode(), dead_letter(topic, chunk.tp.partition, record, sealed))
            for record in sealed_records
        ]
        if letters:
            metrics.dead_letters.labels(topic, sealed.reason).inc(len(letters))
        await self._writer.write(letters)
        await self.append(chunk, rows)

    async def append(self, chunk: Chunk, rows: Mapping[str, Block | Sequence[tuple[Any, ...]]]) -> None:
        """Adds the rows of a chunk, by table, to its topic's buffer. Waits while the buffers are full."""
        buffer = self._buffers[chunk.tp.topic]
        chunk.forget_records()
        async with self._room:
            await self._room.wait_for(lambda: buffer.empty or self._buffered_rows() < MAX_BUFFERED_ROWS)
        buffer.append(chunk, rows)
        self._measure()
        if buffer.row_count >= FLUSH_ROWS or self._due_bytes() >= FLUSH_BYTES:
            self._full.set()

    async def run(self) -> None:
        """Flushes about once a second, and checks regularly that recorded rows still exist."""
        losses_at = positions_at = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), FLUSH_SECONDS)
            self._full.clear()
            for topic, buffer in list(self._buffers.items()):
                if buffer.due:
                    await self._flush(topic, buffer)
            if (began := time.monotonic()) >= losses_at:
                with self._unchecked_losses:
                    await self._checkpoint.check_losses()
                ended = time.monotonic()
                losses_at = ended + min(max(CHECK_SECONDS, CHECK_SHARE * (ended - began)), LAST_CHECK_SECONDS)
            if time.monotonic() >= positions_at:
                with self._unchecked_positions:
                    await self._check_positions()
                positions_at = time.monotonic() + CHECK_SECONDS

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

    def _buffered_rows(self) -> int:
        return sum(buffer.row_count for buffer in self._buffers.values())

    def _due_bytes(self) -> int:
        return sum(buffer.bytes for buffer in self._buffers.values() if buffer.due)

    def _measure(self) -> None:
        metrics.sink_buffered.set(self._buffered_rows())

    async def _check_positions(self) -> None:
        """Compares the positions of partitions with what is recorded, for partitions of which no record waits.

        A partition that was read further than it is recorded is rewound. A partition that is recorded up to its end is
        confirmed. For partitions with waiting records, the next flush does the same.
        """
        consumer = self._consumer
        assigned = list(consumer.assignment())
        at_ms, ends = int(time.time() * 1000), await consumer.end_offsets(assigned)
        self._checkpoint.end_offsets = ends
        await self._checkpoint.refresh_sealed_days()
        recorded = await self._checkpoint.recorded({tp for tp in assigned if self._idle(tp)})
        positions = {tp: at for tp in recorded if (at := await self._position(tp)) is not None}
        further = [tp for tp, position in positions.items() if position.read > recorded[tp].next_offset]
        earliest = await consumer.earliest_offsets(*further) if further else {}
        complete = {}
        for tp, position in positions.items():
            # No await between the rewinds: chunks that are delivered after the first rewind would fill the buffers.
            if not self._idle(tp):
                continue
            floor = max(recorded[tp].next_offset, earliest.get(tp, 0))
            if position.read > floor:
                self._checkpoint.rewind(tp, floor)
            elif position.passed >= ends[tp]:
                complete[tp] = position.passed
        await self._checkpoint.confirm(recorded, complete, at_ms)

    def _idle(self, tp: TP) -> bool:
        """Returns whether no record of a partition waits."""
        tracker = self._consumer.trackers.get(tp)
        return tracker is None or tracker.records == 0

    async def _position(self, tp: TP) -> _Position | None:
        """Returns how far an idle partition was read."""
        tracker = self._consumer.trackers.get(tp)
        if tracker is not None:
            read, passed = tracker.watermark, tracker.committable
        else:
            read = passed = await self._consumer.position(tp)
        return None if read is None or passed is None else _Position(read, passed)


def _describe(error: Exception) -> str:
    return f"ClickHouse: {error}" if isinstance(error, ClickHouseError) else f"Kafka: {type(error).__name__}"
