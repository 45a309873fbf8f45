"""A Faust transport that delivers one message per fetched chunk of a partition, and commits watermarks.

Stock Faust starts four asyncio tasks for every message. This transport pays that cost once per chunk. Faust's agents,
rebalancing and lifecycle stay. It uses private parts of faust-streaming 0.15.3: `tests/unit/kafka/test_faust_contract.py`
fails when an upgrade changes them. See `offset_tracker.py` for what is committed, and `fetching.py` for the client below.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from time import monotonic
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from ninezero.streams.kafka.client import security
from ninezero.streams.settings import Settings
from ninezero.streams.transport.fetching import ConsumerThread
from ninezero.streams.transport.loop import Loop
from ninezero.streams.transport.offset_tracker import Chunk, OffsetTracker

log = logging.getLogger("ninezero.chunks")

MAX_CHUNK_RECORDS = 8000
"""Maximum number of records in a chunk."""

NOTE_SECONDS = 1.0
"""Time between two notes of how far partitions were fetched."""

POLL_SECONDS = 0.25
"""Longest time that one poll for records may take. A change of the assignment is noticed at most this much later."""

DRAIN_SECONDS = 5.0
"""Longest time that a rebalance or a stop waits for started chunks. Chunks that are unfinished after it are delivered again."""


class RawSchema(faust.Schema):
    """Passes keys and values through. The agent decodes, so that it can dead-letter a bad record."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> Any:
        """Returns the key unchanged."""
        return message.key

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> Any:
        """Returns the value unchanged: the chunk."""
        return message.value


async def chunks(stream: Any) -> AsyncIterator[Chunk]:
    """Yields the chunks of an agent's stream. The agent calls `Chunk.done()`: nothing is acknowledged for it."""
    async for chunk in stream.noack():
        chunk.started = True
        yield chunk


class Consumer(driver.Consumer):
    """Delivers chunks to Faust and commits the watermarks of their trackers.

    Attributes:
        topic_ids: the id of each topic on the broker, by name. Set it before the start.
        prefers_large_fetches: whether fewer and larger fetches are worth a longer delay. Set it before the start.
        max_bytes_in_flight: number of bytes of delivered and unfinished records, over all partitions, above which only topics
            without any are fetched. Each partition has a limit of its own as well (offset_tracker.py).
        trackers: the offset tracker of each partition that has delivered a chunk under the current assignment.
        capacity_freed: is set when a chunk finishes or a tracker closes, so that more may be fetched.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.topic_ids: Mapping[str, str] = {}
        self.prefers_large_fetches = False
        self.max_bytes_in_flight: float = math.inf
        self.trackers: dict[TP, OffsetTracker] = {}
        self.capacity_freed = asyncio.Event()
        self._rewinds: dict[TP, int] = {}
        """Partitions to seek before the next fetch, and the offset."""
        self._seek_needed = False
        """Records were fetched and not delivered: every partition must go back to its committed offset."""
        self._note_at = 0.0
        """When to note again what was passed (monotonic clock, in s)."""
        self._start_offsets: dict[TP, int] = {}
        """Where the reading of each assigned partition begins: at its committed offset."""

    def _new_consumer_thread(self) -> Any:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon, thread_loop=Loop())

    # -- fetching and delivery ---------------------------------------------------------------------------------------

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                await self._fetch_and_deliver()
                if monotonic() >= self._note_at:
                    self._note_at = monotonic() + NOTE_SECONDS
                    self._note_passed()
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise

    async def _fetch_and_deliver(self) -> None:
        """Fetches once and delivers the records as chunks; the body of the transport's loop."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        if self.app.rebalancing:  # the positions are not settled yet
            await asyncio.sleep(0.01)
            return
        if self._seek_needed:
            self._seek_needed = False
            await self.perform_seek()
            return
        await self._seek_rewinds()
        assigned = self._get_active_partitions()
        active = self._with_capacity(assigned)
        full = len(active) < len(assigned)
        self.capacity_freed.clear()
        generation = self.app.consumer_generation_id
        # With a full partition do not wait in the poll: it must be fetched again as soon as it has capacity.
        fetched = await self._getmany(active, timeout=0 if full else POLL_SECONDS) if active else {}
        if not fetched and (full or not assigned):  # the poll did not wait; a worker may also have no partition at all
            await self.wait_first(self.capacity_freed.wait(), timeout=POLL_SECONDS)
            return
        if generation != self.app.consumer_generation_id or self.app.rebalancing or self.should_stop:
            # The assignment has changed. The seek of the new one may have happened before this fetch moved the positions.
            self._seek_needed = any(fetched.values())
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        if fetched and not await self._deliver_all(fetched, generation):
            self._seek_needed = True

    async def _deliver_all(self, fetched: Mapping[Any, list[Any]], generation: int) -> bool:
        """Delivers fetched records. Returns False if the flow was suspended before all were delivered."""

        async def deliver() -> None:
            for tp, records in fetched.items():
                for first in range(0, len(records), MAX_CHUNK_RECORDS):
                    if tp not in self._rewinds:
                        await self._deliver(
                            TP(tp.topic, tp.partition), records[first : first + MAX_CHUNK_RECORDS], generation
                        )

        delivering = asyncio.ensure_future(deliver())
        await self.wait_first(delivering, self.suspend_flow.wait())
        return delivering.done() and not delivering.cancelled()

    def _with_capacity(self, tps: Iterable[TP]) -> set[TP]:
        """Returns the partitions of which more records may be fetched.

        At the limit of bytes, a topic without unfinished records is still fetched: a topic that cannot be finished must not stop
        the others.
        """
        in_flight = Counter[str]()
        for tp, tracker in self.trackers.items():
            in_flight[tp.topic] += tracker.bytes
        waiting = (
            {topic for topic, size in in_flight.items() if size}
            if in_flight.total() >= self.max_bytes_in_flight
            else set()
        )
        return {
            tp for tp in tps if tp.topic not in waiting and (tp not in self.trackers or self.trackers[tp].has_capacity)
        }

    async def _deliver(self, tp: TP, records: list[Any], generation: int) -> None:
        tracker = self.trackers.get(tp)
        expected = self._start_offsets.get(tp) if tracker is None else tracker.position
        if expected is not None and expected != records[0].offset:
            await self._handle_offset_jump(tp, expected, records[0].offset)
            if tp in self._rewinds:  # meanwhile an agent asked to read again from an earlier offset
                return
        if (tracker := self.trackers.get(tp)) is None:
            # From the start offset, not from the first record: the offsets between them hold no record for a consumer.
            tracker = self._track(tp, self._start_offsets.get(tp))
        chunk = Chunk(tp, records, tracker, self.capacity_freed.set)
        tracker.deliver(chunk)
        last = records[-1]
        message = ConsumerMessage(
            tp.topic, tp.partition, chunk.first, last.timestamp / 1000.0, last.timestamp_type, [], None, chunk, None,
            0, 0, tp, generation_id=generation,
        )  # fmt: skip
        await self.callback(message)

    async def _handle_offset_jump(self, tp: TP, expected: int, first: int) -> None:
        """Handles a first record at another offset than the expected one.

        A lower offset means that the topic was recreated or truncated: the reading goes on there under a new tracker. A
        higher one is normal after a transaction marker; it is logged as an error if records were deleted unread.
        """
        if first < expected:
            log.warning("%s-%d continues at offset %d instead of %d", tp.topic, tp.partition, first, expected)
            self._start_offsets.pop(tp, None)
            self.close_trackers([tp])
        elif (deleted := (await self.earliest_offsets(tp))[tp] - expected) > 0:
            log.error("%s-%d: %d offsets were deleted before they were read", tp.topic, tp.partition, deleted)

    def _note_passed(self) -> None:
        """Notes how far partitions were fetched, so that last offsets without a record are committed too.

        A partition that ends with a transaction marker would otherwise never be committed up to its end. It is called between two
        fetches: every record before the position is delivered, or will be read again.
        """
        if self._seek_needed or self.app.rebalancing or not self.flow_active:
            return
        for tp, position in self._thread.fetched_positions().items():
            tracker = self.trackers.get(tp)
            start = self._start_offsets.get(tp) if tracker is None else tracker.position
            if tp not in self._rewinds and start is not None and start < position:
                (tracker or self._track(tp, start)).passed = position

    # -- positions ---------------------------------------------------------------------------------------------------

    def _track(self, tp: TP, position: int | None) -> OffsetTracker:
        """Starts a new tracker of a partition that is read from `position`."""
        tracker = self.trackers[tp] = OffsetTracker()
        tracker.position = position
        return tracker

    async def perform_seek(self) -> None:
        """Seeks every partition to its committed offset, under new trackers."""
        self.close_trackers(list(self.trackers))
        self._start_offsets = {}  # until they are known again nothing counts as passed
        await super().perform_seek()
        self._start_offsets = {tp: offset for tp, offset in self._committed_offset.items() if offset is not None}
        # Faust does not seek a partition without a committed offset: its position stays after the dropped records.
        if uncommitted := [tp for tp in self.assignment() if not self._start_offsets.get(tp)]:
            earliest = {TP(*tp): offset for tp, offset in (await self.earliest_offsets(*uncommitted)).items()}
            await self.seek_wait(earliest)
            self._start_offsets |= earliest

    def rewind(self, tp: TP, offset: int) -> None:
        """Reads a partition again from `offset`. Its unfinished chunks are ignored from now on."""
        self.close_trackers([tp])
        self._rewinds[tp] = offset

    async def _seek_rewinds(self) -> None:
        """Carries out rewinds between two fetches, so that no record fetched before the seek is delivered after it."""
        for tp, offset in list(self._rewinds.items()):
            await self.seek_wait({tp: offset})
            del self._rewinds[tp]
            self._track(tp, offset)  # the next chunk starts here even if offsets are missing (transaction markers)

    def close_trackers(self, tps: Iterable[TP]) -> None:
        """Closes the trackers of partitions and drops their pending rewinds."""
        for tp in tps:
            self._rewinds.pop(tp, None)
            tracker = self.trackers.pop(tp, None)
            if tracker is not None:
                tracker.close()
        self.capacity_freed.set()

    # -- rebalancing and commits -------------------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commits finished chunks (through `wait_empty`), then closes all trackers."""
        await super().on_partitions_revoked(revoked)
        self._rewinds.clear()
        self._start_offsets.clear()
        self.close_trackers(list(self.trackers))  # aiokafka revokes every partition at every rebalance

    async def wait_empty(self) -> None:
        """Waits at most `DRAIN_SECONDS` for started chunks, then commits."""
        deadline = monotonic() + DRAIN_SECONDS
        while monotonic() < deadline and any(tracker.has_started_chunk for tracker in self.trackers.values()):
            await asyncio.sleep(0.01)
        await self.commit()

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in self.trackers if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        tracker = self.trackers.get(tp)
        return None if tracker is None else tracker.committable

    def watermarks(self) -> Mapping[TP, int | None]:
        """Returns the offset to commit of each partition that has a tracker."""
        return {tp: tracker.committable for tp, tracker in self.trackers.items()}

    async def end_offsets(self, tps: list[TP]) -> dict[TP, int]:
        """Returns the end offsets of partitions as the broker has them now; `highwater()` is as old as the last fetch.

        Raises:
            KafkaError: the broker does not answer.
        """
        offsets: dict[TP, int] = await self._thread.end_offsets(tps)
        return offsets

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Does nothing. Faust's live-lock detector counts acknowledged messages, which this transport has none of."""


def credentials(settings: Settings) -> Any:
    """Returns TLS and SASL settings as Faust takes them, or None where Kafka needs neither."""
    given, context = settings.kafka_security, security(settings).get("ssl_context")
    if "mechanism" in given:
        return faust.SASLCredentials(
            mechanism=given["mechanism"], username=given["user"], password=given["password"], ssl_context=context
        )
    return None if context is None else faust.SSLCredentials(context=context)


class Transport(driver.Transport):
    """`chunks://host:port`: Faust's aiokafka transport with delivery by chunk."""

    Consumer = Consumer
