"""Durable before commit: rows into ClickHouse, then the rollup, then progress, and only then is a chunk done."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Set
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any, NamedTuple, TypeVar

from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from ninezero.schemas.rows import TABLES, Block
from ninezero.streams import metrics
from ninezero.streams.clickhouse import engines as clickhouse
from ninezero.streams.clickhouse import progress
from ninezero.streams.clickhouse.engines import ClickHouseDenied, ClickHouseError, Engine
from ninezero.streams.clickhouse.progress import Progress, Reached
from ninezero.streams.transport.consumer import Consumer
from ninezero.streams.transport.offset_tracker import Chunk

log = logging.getLogger("ninezero.sink")

FLUSH_SECONDS = 1.0
FLUSH_ROWS = 100_000
MAX_BUFFERED_ROWS = 400_000
"""Of one topic."""

FIRST_PAUSE, LAST_PAUSE = 0.1, 10.0
STOP_SECONDS = 5.0

Rows = dict[str, Block]
"""By table."""
_T = TypeVar("_T")


class Sealed(NamedTuple):
    """Days of which no facts are taken any more: the query that tells them (`day`), and the tables of those facts."""

    sql: str
    tables: frozenset[str]


NOTHING_SEALED = Sealed("SELECT toDate('1970-01-01') AS day WHERE 0", frozenset())


class _Lane:
    """What waits of one topic. A table that takes nothing holds up the topics it is fed from, and no other."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.rows: Rows = {}
        self.buffered = 0
        """Rows in hand, those of a flush that goes on included."""
        self.flushing: tuple[list[Chunk], Rows, int] | None = None
        """Chunks, rows and their number; it is tried again until it succeeds."""
        self.due = 0.0
        self._pause = FIRST_PAUSE

    @property
    def busy(self) -> bool:
        """Whether something waits."""
        return bool(self.chunks or self.flushing)

    def take(self) -> tuple[list[Chunk], Rows, int]:
        """What is to be flushed now."""
        if self.flushing is None:
            self.flushing = self.chunks, self.rows, self.buffered
            self.chunks, self.rows = [], {}
        return self.flushing

    def failed(self) -> float:
        """Puts the next try off; by how many seconds."""
        pause, self._pause = self._pause, min(self._pause * 2, LAST_PAUSE)
        self.due = time.monotonic() + pause
        return pause

    def flushed(self) -> None:
        """What was taken is durable, or is going to be read again."""
        assert self.flushing is not None
        self.buffered -= self.flushing[2]
        self.flushing, self.due, self._pause = None, 0.0, FIRST_PAUSE


class Sink:
    """One writer: a buffer a topic, a thread with one connection, and the order of things.

    ClickHouse that is away is waited for, with a capped pause; the buffers are bounded, then the recorder waits and Kafka
    keeps the rest. Progress lies beside the facts and is believed over Kafka's committed offset: an emptied or restored
    database is noticed and refilled. `sealed` are the days that are sealed as far as it knows: who puts facts leaves those
    days out, and facts that were put before it was known are read again.
    """

    def __init__(
        self,
        url: str,
        topic_id: Callable[[str], str],
        after: Callable[[Engine, Rows], None],
        consumer: Callable[[], Consumer],
        timezone: str = "Asia/Shanghai",
        seals: Sealed = NOTHING_SEALED,
    ) -> None:
        self._timezone = timezone
        self._url, self._topic_id, self._after, self._consumer = url, topic_id, after, consumer
        self.seals, self.sealed = seals, frozenset[date]()
        self._thread = ThreadPoolExecutor(1, "clickhouse")
        self._engine: Engine | None = None
        self._lanes: dict[str, _Lane] = defaultdict(_Lane)
        self._filled = asyncio.Event()
        self._emptied = asyncio.Condition()

    async def start(self) -> None:
        """Connects and brings the schema up to date. A server that is away is waited for later, by what is recorded.

        Raises:
            ClickHouseError: the server refuses the account, the embedded database cannot be opened, or another process
                holds it.
        """
        try:
            await self._call(self._open)
            self.sealed = await self._call(self._sealed)
        except ClickHouseDenied:
            raise
        except ClickHouseError as error:
            if clickhouse.folder_of(self._url) is not None:
                raise
            log.warning("ClickHouse: %s; what is to be recorded waits for it", error)

    async def stop(self) -> None:
        """Ends the connection; one that hangs is left to the end of the process."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._call(self._close), STOP_SECONDS)
        self._thread.shutdown(wait=False)

    async def put(self, chunk: Chunk, rows: Rows) -> None:
        """Takes a chunk's rows; waits while its topic's buffer is full."""
        lane = self._lanes[chunk.tp.topic]
        async with self._emptied:
            await self._emptied.wait_for(lambda: lane.buffered < MAX_BUFFERED_ROWS)
        lane.chunks.append(chunk)
        for table, some in rows.items():
            lane.rows.setdefault(table, Block(table)).extend(some)
            lane.buffered += len(some)
        self._measure()
        if lane.buffered >= FLUSH_ROWS:
            self._filled.set()

    async def run(self) -> None:
        """Flushes about once a second; checks, when idle, that the database still holds what it held."""
        checked = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._filled.wait(), FLUSH_SECONDS)
            self._filled.clear()
            for topic, lane in list(self._lanes.items()):
                if lane.busy and lane.due <= time.monotonic():
                    await self._flush(topic, lane)
            if time.monotonic() - checked > 5:
                await self._check_idle()
                checked = time.monotonic()

    async def query(self, sql: str) -> list[clickhouse.Row]:
        """A read on the sink's connection, for processes that an embedded database shuts out."""
        clickhouse.check_read(sql)
        rows: list[clickhouse.Row] = await self._call(lambda: self._connected().query(sql))
        return rows

    async def execute(self, sql: str) -> None:
        """A statement on the sink's connection, for the same processes."""
        await self._call(lambda: self._connected().execute(sql))

    async def call(self, work: Callable[[Engine], _T]) -> _T:
        """Work on the sink's connection, between two flushes."""
        done: _T = await self._call(lambda: work(self._connected()))
        return done

    async def _flush(self, topic: str, lane: _Lane) -> None:
        chunks, rows, _ = lane.take()
        lost: Set[TP] = frozenset()
        try:
            stale = await self._of_sealed_days(rows)
            known = await self._call(lambda: self._known({chunk.tp for chunk in chunks}))
            gaps = await self._gaps(chunks, known)
            if not gaps and not stale:
                lost = await self._call(lambda: self._write(chunks, rows, known))
        except (ClickHouseError, KafkaError) as error:
            metrics.sink_retries.labels("all").inc()
            log.warning("%s cannot be recorded: %s; trying again in %.1f s", topic, _said(error), lane.failed())
            return
        for tp, offset in gaps.items():
            self._go_back(tp, offset)
        if gaps or stale or lost:
            # The other partitions' chunks of this flush are read again too: simple, and rows are idempotent.
            for tp in {chunk.tp for chunk in chunks if not chunk.tracker.closed} - set(gaps):
                self._consumer().rewind(tp, min(c.start for c in chunks if c.tp == tp and not c.tracker.closed))
        else:
            for chunk in chunks:
                chunk.done()
        async with self._emptied:
            lane.flushed()
            self._measure()
            self._emptied.notify_all()

    def _go_back(self, tp: TP, offset: int) -> None:
        log.warning("ClickHouse holds %s-%d up to offset %d only: recording from there", tp.topic, tp.partition, offset)
        self._consumer().rewind(tp, offset)

    def _measure(self) -> None:
        metrics.sink_buffered.set(sum(lane.buffered for lane in self._lanes.values()))

    async def _gaps(self, chunks: Iterable[Chunk], known: Progress) -> dict[TP, int]:
        """Partitions whose chunks begin after what is recorded, with the offset to go back to."""
        starts: dict[TP, int] = {}
        for chunk in chunks:
            if not chunk.tracker.closed:
                starts.setdefault(chunk.tp, chunk.start)
        behind = [tp for tp, start in starts.items() if start > known[tp].offset]
        if not behind:
            return {}
        earliest = await self._consumer().earliest_offsets(*behind)
        floors = {tp: max(known[tp].offset, earliest[tp]) for tp in behind}
        return {tp: floor for tp, floor in floors.items() if starts[tp] > floor}

    async def _of_sealed_days(self, rows: Rows) -> bool:
        """Whether facts of sealed days are among the rows: the day was sealed after whoever put them looked."""
        self.sealed = await self._call(self._sealed)
        return any(not self.sealed.isdisjoint(rows[table]["day"]) for table in self.seals.tables & rows.keys())

    async def _check_idle(self) -> None:
        consumer = self._consumer()
        try:
            idle = {
                tp for tp in consumer.assignment() if not self._lanes[tp.topic].busy
            }  # of others their flush will see
            self.sealed = await self._call(self._sealed)
            known = await self._call(lambda: self._known(idle))
            reached = {}
            for tp in idle:
                ledger = consumer.trackers.get(tp)
                read = ledger.watermark if ledger is not None else await consumer.position(tp)
                if read is not None and read > known[tp].offset:
                    reached[tp] = read
            if not reached:
                return
            earliest = await consumer.earliest_offsets(*reached)
            for tp, read in reached.items():  # at one go: what one of them reads again makes the others busy
                floor = max(known[tp].offset, earliest[tp])
                if read > floor and not self._lanes[tp.topic].busy:
                    self._go_back(tp, floor)
        except (ClickHouseError, KafkaError, ConsumerNotStarted):
            return  # nothing to record, nothing to lose: the next flush waits for it

    async def _call(self, function: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _open(self) -> None:
        engine = clickhouse.connect(self._url)
        if isinstance(engine, clickhouse.Held):
            raise ClickHouseError("another process holds the embedded database of NINEZERO_CLICKHOUSE: stop it first")
        clickhouse.migrate(engine, self._timezone)
        self._engine = engine

    def _connected(self) -> Engine:
        if self._engine is None:
            self._open()
        assert self._engine is not None
        return self._engine

    def _close(self) -> None:
        if self._engine is not None:
            self._engine.close()

    def _progress(self) -> dict[tuple[TP, str], Reached]:
        engine = self._connected()
        try:
            return progress.read(engine)
        except ClickHouseError:
            clickhouse.migrate(engine, self._timezone)  # an emptied server has no tables either
            return progress.read(engine)

    def _known(self, tps: Set[TP]) -> Progress:
        """How far partitions are recorded: not at all, where rows are gone."""
        found = self._progress()
        known = {tp: found.get((tp, self._topic_id(tp.topic)), Reached()) for tp in tps}
        return known | self._begin_anew(known)

    def _begin_anew(self, known: Progress) -> Progress:
        """Partitions whose rows are gone: their progress is none from here on."""
        engine = self._connected()
        tables = progress.lost(engine, known, self.sealed, datetime.now(UTC).date())
        for table in sorted(tables):
            log.warning("ClickHouse lost rows of %s: recording again what Kafka still has", table)
        anew = progress.anew(known, tables)
        self._note(engine, anew)
        return anew

    def _sealed(self) -> frozenset[date]:
        try:
            rows = self._connected().query(self.seals.sql)
        except ClickHouseError:
            self._progress()  # makes the tables of an emptied server
            rows = self._connected().query(self.seals.sql)
        return frozenset(date.fromisoformat(row["day"]) for row in rows)

    def _write(self, chunks: list[Chunk], rows: Rows, known: Progress) -> Set[TP]:
        """Writes rows, what follows from them, and progress. Partitions whose earlier rows are gone by then get none: those."""
        engine = self._connected()
        for table, some in rows.items():
            if len(some):
                self._insert(engine, table, some)
        self._after(engine, rows)
        reached: Progress = {}
        for chunk in chunks:
            if not chunk.tracker.closed:
                before = reached.get(chunk.tp, known[chunk.tp])
                reached[chunk.tp] = Reached(
                    max(before.offset, chunk.next), before.refill, progress.proof(before.held, rows)
                )
        lost = self._begin_anew({tp: known[tp] for tp in reached})
        self._note(engine, {tp: r for tp, r in reached.items() if tp not in lost})
        return lost.keys()

    def _note(self, engine: Engine, reached: Progress) -> None:
        if reached:
            self._insert(
                engine,
                "recorder_progress",
                [progress.row(tp, self._topic_id(tp.topic), r) for tp, r in reached.items()],
            )

    def _insert(self, engine: Engine, table: str, rows: Block | list[Any]) -> None:
        started = time.perf_counter()
        engine.insert(f"ninezero_data.{table}", TABLES[table]._fields, rows)
        metrics.sink_insert.labels(table).observe(time.perf_counter() - started)
        metrics.sink_rows.labels(table).inc(len(rows))


def _said(error: Exception) -> str:
    return f"ClickHouse: {error}" if isinstance(error, ClickHouseError) else f"Kafka: {type(error).__name__}"
