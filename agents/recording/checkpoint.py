"""From buffered rows to committed offsets, in a fixed order of steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Set
from datetime import date
from functools import partial

from faust.types import TP

from ninezero.agents.logic.days import Days
from ninezero.agents.recording.case_tables import record_cases
from ninezero.agents.recording.loss_check import LossCheck, TablesByTopic
from ninezero.agents.recording.sealed_days import SEALED_TABLES, read_sealed_days
from ninezero.schemas.rows import CASE_FACTS
from ninezero.streams.clickhouse import Engine, inserts, progress, tallies
from ninezero.streams.clickhouse.progress import PartitionProgress, Progress
from ninezero.streams.clickhouse.threaded_connection import ThreadedConnection
from ninezero.streams.clickhouse.topic_buffer import Batch, RowsByTable
from ninezero.streams.transport.consumer import Consumer
from ninezero.streams.transport.offset_tracker import Chunk

log = logging.getLogger("ninezero.recorder")


class Checkpoint:
    """Makes batches durable in ClickHouse and lets the transport commit their offsets afterwards.

    The progress of a partition is stored beside the facts, and it is authoritative over the offset that is committed in
    Kafka. So a database that was emptied, or restored from an older backup, is noticed and filled again from Kafka.
    Rows that were lost while the progress remains are noticed by `check_losses`.
    """

    def __init__(
        self, connection: ThreadedConnection, consumer: Consumer, timezone: str, tables: TablesByTopic
    ) -> None:
        """Prepares the checkpoint.

        Args:
            connection: the connection to ClickHouse.
            consumer: the consumer that delivers the chunks; it knows the ids of the topics.
            timezone: the time zone of local days.
            tables: the tables into which the records of each topic are written.
        """
        self._connection, self._consumer = connection, consumer
        self._days = Days(timezone)
        self._loss_check = LossCheck(tables)
        self.end_offsets: Mapping[TP, int] = {}
        """The end of each partition when the broker was last asked."""
        self.sealed_days: frozenset[date] = frozenset()
        """The sealed days when they were last read."""

    async def commit(self, batch: Batch) -> None:
        """Makes a batch durable and finishes its chunks. Each step begins after the step before it has succeeded.

        1. Flush: insert the rows.
        2. Add the new events to the rows of their cases.
        3. Write the progress of the partitions, with the marks that prove it.
        4. Finish the chunks: the transport then commits their offsets to Kafka.

        A batch is not written, and its records are read again from Kafka, if earlier records of a partition are missing
        in ClickHouse, or if it holds facts of a day that was sealed after the facts were buffered.

        Raises:
            ClickHouseError: ClickHouse rejected a statement or does not answer.
            KafkaError: Kafka does not answer. After either error the caller repeats the call with the same batch; each
                step gives the same result when it is repeated.
        """
        await self.refresh_sealed_days()
        sealed = self._has_sealed_facts(batch.rows)
        recorded = await self.recorded({chunk.tp for chunk in batch.chunks})
        gaps = await self._gaps(batch.chunks, recorded)
        if sealed or gaps:
            self._read_again(batch.chunks, gaps)
            return

        await self._connection.call(partial(self._write, batch=batch, recorded=recorded))  # steps 1 to 3
        for chunk in batch.chunks:  # step 4
            chunk.done()

    def _write(self, engine: Engine, batch: Batch, recorded: PartitionProgress) -> None:
        """Runs the steps 1 to 3 of `commit` on the connection's thread."""
        # 1. Flush the rows.
        for table, block in batch.rows.items():
            if len(block) and table not in CASE_FACTS:
                inserts.insert(engine, table, block)

        # 2. Add the new events to their cases.
        record_cases(engine, batch.rows, self._days)

        # 3. Write the progress. If a rebuild has begun meanwhile, it does not count.
        reached: PartitionProgress = {}
        for chunk in batch.chunks:
            if not chunk.tracker.closed:
                reached[chunk.tp] = self._reached(chunk, reached.get(chunk.tp, recorded[chunk.tp]))
        counted_to, now_ms = self._loss_check.counted_to, time.time_ns() // 1_000_000
        marked = {
            tp: some._replace(marks=progress.marks_after(some.marks, batch.rows, counted_to, now_ms))
            for tp, some in reached.items()
        }
        self._write_progress(engine, marked)

    def _reached(self, chunk: Chunk, before: Progress) -> Progress:
        """Returns the progress of a partition after a chunk."""
        next_offset = max(before.next_offset, chunk.next)
        return before._replace(
            next_offset=next_offset,
            recorded_until_ms=max(before.recorded_until_ms, chunk.timestamp_ms),
            lag=max(self.end_offsets.get(chunk.tp, 0) - next_offset, 0),
        )

    async def check_losses(self) -> None:
        """Checks whether rows were lost. If so, a rebuild begins: `recorded` then returns that nothing is recorded.

        Raises:
            ClickHouseError: a statement failed. Tables that can be queried were checked.
        """
        await self._connection.call(self._check_losses)

    async def confirm(self, recorded: PartitionProgress, positions: Mapping[TP, int], at_ms: int) -> None:
        """Writes that partitions are recorded completely, although nothing new was in them.

        Args:
            recorded: their progress.
            positions: the offset up to which each of them was read: its end.
            at_ms: when that was the end (Unix time in ms).

        Raises:
            ClickHouseError: ClickHouse rejected a statement or does not answer.
        """
        confirmed = {
            tp: recorded[tp]._replace(
                next_offset=max(position, recorded[tp].next_offset),
                recorded_until_ms=max(at_ms, recorded[tp].recorded_until_ms),
                lag=0,
            )
            for tp, position in positions.items()
        }
        await self._connection.call(partial(self._write_progress, reached=confirmed))

    async def recorded(self, tps: Set[TP]) -> PartitionProgress:
        """Returns how far partitions are recorded. A partition whose rows were lost starts from nothing.

        Raises:
            ClickHouseError: ClickHouse rejected a statement or does not answer.
        """
        return await self._connection.call(partial(self._recorded, tps=tps))

    async def refresh_sealed_days(self) -> None:
        """Reads the sealed days.

        Raises:
            ClickHouseError: ClickHouse rejected a statement or does not answer.
        """
        self.sealed_days = await self._connection.call(read_sealed_days)

    def rewind(self, tp: TP, offset: int) -> None:
        """Reads a partition again from an offset, because ClickHouse does not hold the rows that follow."""
        log.warning("ClickHouse holds %s-%d up to offset %d only: recording from there", tp.topic, tp.partition, offset)
        self._consumer.rewind(tp, offset)

    def _has_sealed_facts(self, rows: RowsByTable) -> bool:
        return any(not self.sealed_days.isdisjoint(rows[table]["day"]) for table in SEALED_TABLES & rows.keys())

    async def _gaps(self, chunks: Iterable[Chunk], recorded: PartitionProgress) -> dict[TP, int]:
        """Returns the partitions whose chunks begin after what is recorded, with the offset to read again from."""
        starts: dict[TP, int] = {}
        for chunk in chunks:
            if not chunk.tracker.closed:
                starts.setdefault(chunk.tp, chunk.start)
        behind = [tp for tp, start in starts.items() if start > recorded[tp].next_offset]
        if not behind:
            return {}
        earliest = await self._consumer.earliest_offsets(*behind)
        floors = {tp: max(recorded[tp].next_offset, earliest[tp]) for tp in behind}
        return {tp: floor for tp, floor in floors.items() if starts[tp] > floor}

    def _read_again(self, chunks: Iterable[Chunk], gaps: Mapping[TP, int]) -> None:
        """Rewinds the partitions of a batch: to their gap, or else to the beginning of the batch.

        Partitions without a gap are read again as well. This is simpler, and recording a row twice changes nothing.
        """
        for tp, offset in gaps.items():
            self.rewind(tp, offset)
        starts: dict[TP, int] = {}
        for chunk in chunks:
            if not chunk.tracker.closed and chunk.tp not in gaps:
                starts[chunk.tp] = min(chunk.start, starts.get(chunk.tp, chunk.start))
        for tp, start in starts.items():
            self._consumer.rewind(tp, start)

    def _recorded(self, engine: Engine, tps: Set[TP]) -> PartitionProgress:
        found = progress.read(engine)
        rebuilds = {table: state.rebuild for table, state in tallies.read_epochs(engine).items()}
        recorded, restarted = {}, {}
        for tp in tps:
            recorded[tp] = found.get((tp, self._topic_id(tp)), Progress())
            needed = self._loss_check.needed_rebuild(tp.topic, rebuilds)
            if recorded[tp].rebuild < needed:
                recorded[tp] = restarted[tp] = Progress(rebuild=needed, lag=self.end_offsets.get(tp, 0))
        self._write_progress(engine, restarted)
        return recorded

    def _check_losses(self, engine: Engine) -> None:
        found = progress.read(engine)
        current = {tp: some for (tp, topic_id), some in found.items() if topic_id == self._topic_id(tp)}
        self._loss_check.run(engine, current)

    def _write_progress(self, engine: Engine, reached: PartitionProgress) -> None:
        if reached:
            rows = [progress.row(tp, self._topic_id(tp), reached[tp]) for tp in reached]
            inserts.insert(engine, "recorder_progress", rows)

    def _topic_id(self, tp: TP) -> str:
        return self._consumer.topic_ids.get(tp.topic, "")
