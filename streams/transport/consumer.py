"""A Faust transport that hands an agent one message per (partition, fetched chunk), and the commit watermark.

Stock Faust makes four asyncio tasks for every message; here that cost is paid once a chunk. Faust's agents, rebalancing
and lifecycle stay. It builds on private parts of faust-streaming 0.15.3: `tests/unit/kafka/test_faust_contract.py` fails
loudly when an upgrade moves them.

The watermark: a partition's committed offset is that from which its oldest unfinished chunk was read, so it never runs ahead
of what is durable, in whatever order chunks finish. A rebalance or a seek closes the partition's ledger; what finishes
later under the old one is dropped, and the records are delivered again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from functools import partial
from operator import attrgetter
from time import monotonic
from typing import Any, NamedTuple
from weakref import proxy

import faust
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from ninezero.streams.kafka.client import security
from ninezero.streams.settings import Settings
from ninezero.streams.transport.loop import Loop

log = logging.getLogger("ninezero.chunks")

MAX_RECORDS_IN_FLIGHT = 20_000
"""Records of one partition that may be delivered and unfinished; beyond it the partition is not fetched."""

MAX_BYTES_IN_FLIGHT = 8 << 20
"""Bytes of them, likewise: a record may have 2 MiB."""

CHUNK_RECORDS = 8000
"""Records of a chunk at most."""

POLL_SECONDS = 0.25
"""How long one look at what was fetched may take: so much later it is seen that partitions came or went."""

WAIT_MS = 500
"""How long the broker waits for something to send. aiokafka has one request a broker on its way: what one partition's last records
kept out of it waits so long for the next."""

PATIENT_BYTES, PATIENT_MS = 1 << 19, 250
"""What the broker gathers for a consumer that may wait, and for how long: a request costs as much as many records."""

FLUSH_SECONDS = 5.0
"""How long a rebalance or a stop waits for started chunks before it forgets them (they are delivered again)."""


class OffsetTracker:
    """Deliveries of one partition under one assignment: which chunks are unfinished, and how far it was read."""

    __slots__ = ("_open", "bytes", "closed", "position", "records")

    def __init__(self) -> None:
        self._open: dict[int, Chunk] = {}
        self.position: int | None = None
        self.records = 0
        self.bytes = 0
        self.closed = False

    def deliver(self, chunk: Chunk) -> None:
        """Notes a chunk as unfinished. Chunks come in order of offset."""
        if self.position is not None and chunk.first < self.position:
            raise ValueError("a chunk was delivered twice under one assignment")
        chunk.start = chunk.first if self.position is None else self.position
        self._open[chunk.first] = chunk
        self.position = chunk.next
        self.records += len(chunk.records)
        self.bytes += chunk.bytes

    def done(self, chunk: Chunk) -> bool:
        """Marks a chunk as finished; false if the ledger was closed before, or the chunk already finished."""
        if self.closed or self._open.pop(chunk.first, None) is None:
            return False
        self.records -= len(chunk.records)
        self.bytes -= chunk.bytes
        return True

    def close(self) -> None:
        """Ends the assignment: nothing that finishes later counts."""
        self.closed = True
        self._open.clear()
        self.records = self.bytes = 0

    @property
    def room(self) -> bool:
        """Whether more may be fetched."""
        return self.records < MAX_RECORDS_IN_FLIGHT and self.bytes < MAX_BYTES_IN_FLIGHT

    @property
    def watermark(self) -> int | None:
        """The offset that may be committed; None before the first delivery and after the close."""
        if self.closed:
            return None
        return next((chunk.start for chunk in self._open.values()), self.position)

    @property
    def busy(self) -> bool:
        """Whether an agent has started on a chunk and not finished it."""
        return any(chunk.started for chunk in self._open.values())


class Chunk:
    """Records of one partition with rising offsets, as fetched together.

    `start` is the offset from which the partition was read for it, `first` that of its first record, `next` the one
    after its last. Call `done()` when everything that follows from it is durable.
    """

    __slots__ = ("_consumer", "bytes", "first", "next", "records", "start", "started", "tp", "tracker", "values")

    def __init__(self, tp: TP, records: list[Any], tracker: OffsetTracker, consumer: Consumer | None = None) -> None:
        self.tp = tp
        self.records = records
        self.first: int = records[0].offset
        self.next: int = records[-1].offset + 1
        self.values: list[bytes] = [record.value or b"" for record in records]
        self.bytes = sum(map(len, self.values))
        self.start = self.first
        self.tracker = tracker
        self.started = False
        self._consumer = consumer

    def done(self) -> None:
        """Everything that follows from this chunk is durable: its offsets may be committed."""
        if self.tracker.done(self) and self._consumer is not None:
            self._consumer.freed.set()


class RawSchema(faust.Schema):  # type: ignore[misc]  # mypy does not follow Faust's imports (pyproject.toml): its class is Any
    """Leaves keys and values alone: the agent decodes, so that a bad record is the agent's to dead-letter."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> Any:
        """The key as it came."""
        return message.key

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> Any:
        """The chunk."""
        return message.value


async def chunks(stream: Any) -> AsyncIterator[Chunk]:
    """The chunks of an agent's stream. Nothing is acknowledged for the agent: it calls `Chunk.done()`."""
    async for chunk in stream.noack():
        chunk.started = True
        yield chunk


class _Whole(NamedTuple):
    """The records of a batch, where aiokafka expects one record."""

    offset: int
    """Of the last."""
    records: list[Any]


class _Batch:
    """A batch that is iterated as a whole."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[_Whole]:
        if records := list(self._batch):
            yield _Whole(records[-1].offset, records)

    def __next__(self) -> Any:
        """The marker of a transaction, which is a batch of its own."""
        return next(self._batch)


class _Batches:
    """The batches of a partition that were fetched."""

    def __init__(self, records: Any) -> None:
        self._records = records
        self.has_next = records.has_next

    def next_batch(self) -> _Batch:
        """The next."""
        return _Batch(self._records.next_batch())


class _Fetched(OrderedDict[Any, Any]):
    """What aiokafka has fetched; of a partition it hands out everything, as it was parsed: offset, timestamp, key and value.

    aiokafka looks at each record and makes a `ConsumerRecord` of it, which takes seven times as long as the parsing, and says what the
    chunk says. What it knows of batches stays: checksums, transactions, the offset after them.
    """

    def __setitem__(self, tp: Any, fetched: Any) -> None:
        if isinstance(fetched, FetchResult):  # or an error
            parts = fetched._partition_records
            parts._records = _Batches(parts._records)
            parts._consumer_record = lambda tp, whole: whole.records
            fetched.getall = partial(_all, proxy(fetched))
        super().__setitem__(tp, fetched)


def _all(fetched: Any, most: int | None) -> list[Any]:
    """`FetchResult.getall`, but for `most`, which nobody says here: `_deliver_all` makes chunks of it."""
    if not fetched.check_assignment(fetched._topic_partition) or not fetched.has_more():
        return []
    parts, found = fetched._partition_records, []
    due = parts.next_fetch_offset
    for records in parts:
        found += records
    fetched._update_position()
    fetched._partition_records = None
    return found[bisect_left(found, due, key=attrgetter("offset")) :]  # a fetch begins with a whole batch


class _Thread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # mypy does not follow Faust's imports (pyproject.toml): its class is Any
    """Reads what is committed only: a receipt of an aborted transaction was never given.

    With each offset it commits the topic's id: one that was committed of a topic since deleted says nothing of its namesake.
    """

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = WAIT_MS
        if self.consumer.patient:
            consumer._fetch_min_bytes, consumer._fetch_max_wait_ms = PATIENT_BYTES, PATIENT_MS
        commit = consumer.commit

        async def commit_with_ids(offsets: Mapping[Any, Any]) -> None:
            await commit({tp: (said.offset, self.consumer.topic_ids.get(tp.topic, "")) for tp, said in offsets.items()})

        consumer.commit = commit_with_ids
        return consumer

    async def _fetch_records(self, consumer: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(consumer._fetcher._records, _Fetched):
            consumer._fetcher._records = _Fetched(consumer._fetcher._records)
        return await super()._fetch_records(consumer, *args, **kwargs)

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        """Seeks to what is committed of these very topics, else to the beginning."""
        found: Mapping[TP, int | None] = await self.call_thread(self._seek_to_own)
        return found

    async def _seek_to_own(self) -> Mapping[TP, int | None]:
        consumer, found = self._ensure_consumer(), {}
        assigned = consumer.assignment()
        committed = await consumer._coordinator.fetch_committed_offsets(list(assigned))
        foreign = {}
        for tp in assigned:
            said = committed.get(tp)
            own = said is None or said.metadata in ("", self.consumer.topic_ids.get(tp.topic, ""))
            found[tp] = said.offset if said is not None and own and said.offset >= 0 else None
            if offset := found[tp]:
                consumer.seek(tp, offset)
            elif not own:
                log.warning("%s was made again: reading partition %d from its beginning", tp.topic, tp.partition)
                await consumer.seek_to_beginning(tp)
                foreign[tp] = OffsetAndMetadata(0, "")
        if foreign:  # for whoever looks from outside
            with contextlib.suppress(KafkaError):
                await consumer.commit(foreign)
        return found


class Consumer(driver.Consumer):  # type: ignore[misc]  # mypy does not follow Faust's imports (pyproject.toml): its class is Any
    """Delivers chunks, commits watermarks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.topic_ids: Mapping[str, str] = {}
        """Topic → its id on the broker; whoever starts the consumer says them."""
        self.patient = False
        """Whether nobody waits for what is read, so that it may come a little later and more at once; said before the start."""
        self.trackers: dict[TP, OffsetTracker] = {}
        self.freed = asyncio.Event()
        self._rewinds: dict[TP, int] = {}
        self._dropped = False
        """Records were fetched and not delivered: their partitions must be read again from what is committed."""
        self._starts: dict[TP, int] = {}
        """Where each partition is read from after an assignment: at what is committed."""

    def _new_consumer_thread(self) -> Any:
        return _Thread(self, loop=self.loop, beacon=self.beacon, thread_loop=Loop())

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                await self._deliver_fetched()
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise

    async def _deliver_fetched(self) -> None:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        if self.app.rebalancing:  # positions are not settled
            await asyncio.sleep(0.01)
            return
        if self._dropped:
            self._dropped = False
            await self.perform_seek()
            return
        await self._rewind()
        assigned = self._get_active_partitions()
        active = {tp for tp in assigned if self._room(tp)}
        full = len(active) < len(assigned)
        self.freed.clear()
        generation = self.app.consumer_generation_id
        # One that is full is read again as soon as it is not, whether others have something or not.
        fetched = await self._getmany(active, timeout=0 if full else POLL_SECONDS) if active else {}
        if not fetched and (full or not assigned):  # nothing was waited for: a worker may have no partition at all
            await self.wait_first(self.freed.wait(), timeout=POLL_SECONDS)
            return
        if generation != self.app.consumer_generation_id or self.app.rebalancing or self.should_stop:
            # The assignment is gone. Its successor's seek may be over already, and these records past it: read them again.
            self._dropped = any(fetched.values())
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        if fetched and not await self._deliver_all(fetched, generation):
            self._dropped = True

    async def _deliver_all(self, fetched: Mapping[Any, list[Any]], generation: int) -> bool:
        """Delivers what was fetched; false if the flow was suspended meanwhile, and some was not."""

        async def deliver() -> None:
            for tp, records in fetched.items():
                for first in range(0, len(records), CHUNK_RECORDS):
                    if tp not in self._rewinds:
                        await self._deliver(
                            TP(tp.topic, tp.partition), records[first : first + CHUNK_RECORDS], generation
                        )

        delivering = asyncio.ensure_future(deliver())
        await self.wait_first(delivering, self.suspend_flow.wait())
        return delivering.done() and not delivering.cancelled()

    def _room(self, tp: TP) -> bool:
        tracker = self.trackers.get(tp)
        return tracker is None or tracker.room

    async def _deliver(self, tp: TP, records: list[Any], generation: int) -> None:
        tracker = self.trackers.get(tp)
        due = self._starts.get(tp) if tracker is None else tracker.position
        if due is not None and due != records[0].offset:
            await self._jump(tp, due, records[0].offset)
        if (tracker := self.trackers.get(tp)) is None:
            tracker = self.trackers[tp] = OffsetTracker()
            tracker.position = self._starts.get(tp)  # what is missing from there on is nobody's (transaction markers)
        chunk = Chunk(tp, records, tracker, self)
        tracker.deliver(chunk)
        last = records[-1]
        message = ConsumerMessage(
            tp.topic, tp.partition, chunk.first, last.timestamp / 1000.0, last.timestamp_type, [], None, chunk, None,
            0, 0, tp, generation_id=generation,
        )  # fmt: skip
        await self.callback(message)

    async def _jump(self, tp: TP, due: int, first: int) -> None:
        """Another record than the one that was due: a marker lies between them, or the topic is not what it was."""
        if first < due:  # made again, or cut: what it has now counts
            log.warning("%s-%d goes on at offset %d, %d was due", tp.topic, tp.partition, first, due)
            self._starts.pop(tp, None)
            self.forget([tp])
        elif (gone := (await self.earliest_offsets(tp))[tp] - due) > 0:
            log.error("%s-%d: %d offsets were deleted before they were read", tp.topic, tp.partition, gone)

    async def perform_seek(self) -> None:
        """Back to the committed offsets, under new ledgers."""
        self.forget(list(self.trackers))
        await super().perform_seek()
        self._starts = {tp: offset for tp, offset in self._committed_offset.items() if offset is not None}
        # Faust leaves a partition of which nothing is committed where it is: after what was fetched and dropped.
        if fresh := [tp for tp in self.assignment() if not self._starts.get(tp)]:
            earliest = {TP(*tp): offset for tp, offset in (await self.earliest_offsets(*fresh)).items()}
            await self.seek_wait(earliest)
            self._starts |= earliest

    def rewind(self, tp: TP, offset: int) -> None:
        """Reads a partition again from `offset`; what is in flight of it is forgotten."""
        self.forget([tp])
        self._rewinds[tp] = offset

    async def _rewind(self) -> None:
        """Carries out rewinds between two fetches, so that no record fetched before the seek passes for one after it."""
        for tp, offset in list(self._rewinds.items()):
            await self.seek_wait({tp: offset})
            del self._rewinds[tp]
            tracker = self.trackers[tp] = OffsetTracker()
            tracker.position = offset  # the next chunk starts here, even if offsets are missing (transaction markers)

    def forget(self, tps: Iterable[TP]) -> None:
        """Closes the ledgers of partitions."""
        for tp in tps:
            self._rewinds.pop(tp, None)
            tracker = self.trackers.pop(tp, None)
            if tracker is not None:
                tracker.close()
        self.freed.set()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commits what is finished (through `wait_empty`), forgets the rest."""
        await super().on_partitions_revoked(revoked)
        self._rewinds.clear()
        self._starts.clear()
        self.forget(list(self.trackers))  # aiokafka revokes everything at every rebalance

    async def wait_empty(self) -> None:
        """Gives started chunks a bounded time to finish, then commits."""
        deadline = monotonic() + FLUSH_SECONDS
        while monotonic() < deadline and any(tracker.busy for tracker in self.trackers.values()):
            await asyncio.sleep(0.01)
        await self.commit()

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in self.trackers if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        tracker = self.trackers.get(tp)
        return None if tracker is None else tracker.watermark

    def watermarks(self) -> Mapping[TP, int | None]:
        """Commit watermark of each partition in hand."""
        return {tp: tracker.watermark for tp, tracker in self.trackers.items()}

    async def ends(self, tps: list[TP]) -> dict[TP, int]:
        """The ends of partitions as the broker has them now; `highwater()` is that of the last fetch.

        Raises:
            KafkaError: it does not answer.
        """
        thread = self._thread
        found = await thread.call_thread(thread._ensure_consumer().end_offsets, tps)
        return {TP(*tp): end for tp, end in found.items()}

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's live-lock detector counts messages it acked itself; the lag metric says it better."""


def credentials(settings: Settings) -> Any:
    """TLS and SASL settings as Faust takes them; None where Kafka asks for neither."""
    given, context = settings.kafka_security, security(settings).get("ssl_context")
    if "mechanism" in given:
        return faust.SASLCredentials(
            mechanism=given["mechanism"], username=given["user"], password=given["password"], ssl_context=context
        )
    return None if context is None else faust.SSLCredentials(context=context)


class Transport(driver.Transport):  # type: ignore[misc]  # mypy does not follow Faust's imports (pyproject.toml): its class is Any
    """`chunks://host:port`: Faust's aiokafka transport with chunked delivery."""

    Consumer = Consumer
