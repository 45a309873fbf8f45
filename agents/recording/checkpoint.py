"""From buffered rows to committed offsets, in a fixed order of steps."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Set
from datetime import UTC, date, datetime
from functools import partial

from faust.types import TP

from ninezero.agents.logic.days import Days
from ninezero.agents.recording.case_tables import roll_up_cases
from ninezero.agents.recording.rollups import roll_up
from ninezero.agents.recording.sealed_days import SEALED_TABLES, read_sealed_days
from ninezero.streams.clickhouse import ClickHouseError, Engine, inserts, migrate, progress
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
    """

    def __init__(self, connection: ThreadedConnection, consumer: Consumer, timezone: str) -> None:
        """Prepares the checkpoint.

        Args:
            connection: the connection to ClickHouse.
            consumer: the consumer that delivers the chunks; it knows the ids of the topics.
            timezone: the time zone of local days.
        """
        self._connection, self._consumer = connection, consumer
        self._timezone, self._days = timezone, Days(timezone)
        self.sealed_days: frozenset[date] = frozenset()
        """The sealed days when they were last read."""

    async def commit(self, batch: Batch) -> None:
        """Makes a batch durable and finishes its chunks. Each step begins after the step before it has succeeded.

        1. Flush: insert the rows.
        2. Recompute the rollups of the minutes and cases that have new rows.
        3. Write the progress of the partitions, with the rows that prove it.
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

        lost = await self._connection.call(partial(self._write, batch=batch, recorded=recorded))  # steps 1 to 3
        if lost:
            self._read_again(batch.chunks, {})
            return
        for chunk in batch.chunks:  # step 4
            chunk.done()

    def _write(self, engine: Engine, batch: Batch, recorded: PartitionProgress) -> Set[TP]:
        """Runs the steps 1 to 3 of `commit` on the connection's thread.

        Returns:
            The partitions whose earlier rows were lost meanwhile. They begin again; their progress is not written.
        """
        # 1. Flush the rows.
        for table, block in batch.rows.items():
            if len(block):
                inserts.insert(engine, table, block)

        # 2. Recompute the rollups.
        roll_up(engine, batch.rows)
        roll_up_cases(engine, batch.rows, self._days)

        # 3. Write the progress.
        reached: PartitionProgress = {}
        for chunk in batch.chunks:
            if not chunk.tracker.closed:
                before = reached.get(chunk.tp, recorded[chunk.tp])
                proof = progress.proof_after(before.proof, batch.rows)
                reached[chunk.tp] = Progress(max(before.next_offset, chunk.next), before.rebuild, proof)
        lost = self._restart_lost(engine, {tp: recorded[tp] for tp in reached})
        self._write_progress(engine, {tp: reached[tp] for tp in reached.keys() - lost.keys()})
        return lost.keys()

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
        self.sealed_days = await self._connection.call(self._read_sealed_days)

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
        found = self._read_progress(engine)
        recorded = {tp: found.get((tp, self._topic_id(tp)), Progress()) for tp in tps}
        return recorded | self._restart_lost(engine, recorded)

    def _restart_lost(self, engine: Engine, recorded: PartitionProgress) -> PartitionProgress:
        """Begins a rebuild of the partitions whose rows were lost. Returns their new progress, which is nothing."""
        tables = progress.tables_with_lost_rows(engine, recorded, self.sealed_days, datetime.now(UTC).date())
        for table in sorted(tables):
            log.warning("rows of %s in ClickHouse were lost: recording again what Kafka still holds", table)
        restarted = progress.restarted(recorded, tables)
        self._write_progress(engine, restarted)
        return restarted

    def _read_progress(self, engine: Engine) -> dict[tuple[TP, str], Progress]:
        try:
            return progress.read(engine)
        except ClickHouseError:
            migrate(engine, self._timezone)  # the tables are missing if the server was emptied
            return progress.read(engine)

    def _write_progress(self, engine: Engine, reached: PartitionProgress) -> None:
        if reached:
            rows = [progress.row(tp, self._topic_id(tp), reached[tp]) for tp in reached]
            inserts.insert(engine, "recorder_progress", rows)

    def _read_sealed_days(self, engine: Engine) -> frozenset[date]:
        try:
            return read_sealed_days(engine)
        except ClickHouseError:
            self._read_progress(engine)  # creates the tables again if the server was emptied
            return read_sealed_days(engine)

    def _topic_id(self, tp: TP) -> str:
        return self._consumer.topic_ids.get(tp.topic, "")
