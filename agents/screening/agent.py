"""The screening agent: fetch → gather a batch → decide → write → done.

`screen_stream` gathers the chunks that wait to one batch. `Screening.screen` takes a batch through its steps.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ninezero.agents.logic.policy.origins import home_of
from ninezero.agents.policies.policies import CHECK_SECONDS, Policies
from ninezero.agents.screening.batch import Batch
from ninezero.agents.screening.batch_result import BatchOutput, BatchResult
from ninezero.agents.screening.decide_batch import Conditions, decide_batch
from ninezero.agents.screening.evaluators import Evaluators
from ninezero.agents.screening.event_kinds import EventKind
from ninezero.agents.watchlist.projection import WatchlistProjection
from ninezero.streams import metrics
from ninezero.streams.kafka.decoding import Rejected, decode_event
from ninezero.streams.kafka.register import Register
from ninezero.streams.kafka.watchlist_replica import WatchlistReplica
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings
from ninezero.streams.transport.offset_tracker import Chunk

BATCH_EVENTS = 8000
"""Most events of a batch, unless a single chunk has more. Deciding them takes about 30 ms, during which nothing else runs."""

BATCHES_IN_FLIGHT = 32
"""Most batches that wait for Kafka's acknowledgement: as many as one fetch brings, so that their records share requests."""


LONG_WAIT_SECONDS = 1.0
"""A wait that took longer may have made out of date what was waited for before."""


@dataclass
class Screening:
    """Screens batches of one worker."""

    settings: Settings
    replica: WatchlistReplica
    projection: WatchlistProjection
    writer: Writer
    policies: Policies
    register: Register
    """It states the homes of sites."""
    evaluators: Evaluators = field(default_factory=Evaluators)

    async def screen(self, kind: EventKind, chunks: Sequence[Chunk]) -> None:
        """Screens the chunks of one batch. Returns when Kafka has acknowledged everything that follows from them."""
        # 1. Wait until the watchlist is complete and the policies are known.
        arrived = time.perf_counter()
        if not (chunks := await self._wait_until_decidable(kind, chunks)):
            return
        started = time.perf_counter()
        metrics.chunk.labels("lists").observe(started - arrived)
        # 2. Decide.
        output = self.decide(kind, chunks)
        decided = time.perf_counter()
        metrics.chunk.labels("decide").observe(decided - started)
        # 3. Write.
        await self.writer.write(output.records)
        metrics.chunk.labels("write").observe(time.perf_counter() - decided)
        now = time.time()
        for kafka_ms in output.alert_kafka_ms:
            metrics.alert_latency.observe(max(0.0, now - kafka_ms / 1000))
        # 4. Done: the offsets of these chunks may be committed.
        for chunk in chunks:
            chunk.done()

    async def _wait_until_decidable(self, kind: EventKind, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        """Waits until the watchlist is complete and the policies are known; usually it returns immediately.

        After the end of the order nothing is matched, so there is no wait.

        Returns:
            the chunks that were not revoked during the wait. The worker that now has the partition of another one decides it.
        """
        decidable = False
        while not decidable and datetime.now(UTC) < self.settings.sunset:
            began = time.monotonic()
            await self.policies.wait_until_current()
            await self.replica.wait_until_current()
            chunks = [chunk for chunk in chunks if not chunk.tracker.closed]
            if self._needs_newer_release(kind, chunks):
                await asyncio.sleep(CHECK_SECONDS)
            else:
                decidable = time.monotonic() - began < LONG_WAIT_SECONDS
        return [chunk for chunk in chunks if not chunk.tracker.closed]

    def _needs_newer_release(self, kind: EventKind, chunks: Sequence[Chunk]) -> bool:
        """Returns whether this release cannot apply the policy of one of the events."""
        if not any(one.unknown for one in self.policies.timeline.intervals):
            return False
        return any(
            self.policies.at(ms).unknown
            for chunk in chunks
            for record in chunk.records
            for ms in self._times(kind, record)
        )

    def _times(self, kind: EventKind, record: Any) -> Iterator[int]:
        """Yields the time that says by which policy a record is decided, Unix time in ms; none if it is rejected."""
        with suppress(Rejected):
            decoded = decode_event(kind.event, record.value, record.timestamp, replay=self.settings.replay)
            yield self.policies.time_of(record.timestamp, decoded.observed_us)

    def _home_of_site(self, site_id: str) -> str:
        """Returns the home of a site: that of its division, or of the deployment."""
        site = self.register.sites.get(site_id)
        return home_of(site.division if site else "", self.settings.home)

    def decide(self, kind: EventKind, chunks: Sequence[Chunk]) -> BatchOutput:
        """Decides chunks with the watchlist and the time of this moment, and counts them in the metrics."""
        now = datetime.now(UTC)
        conditions = Conditions(
            now=now,
            index=self.projection.index,
            watchlist_version=self.replica.version,
            timeline=self.policies.timeline,
            evaluators=self.evaluators,
            home_of_site=self._home_of_site,
            list_age_s=self.replica.heartbeat_age(now.timestamp()),
            ended=now >= self.settings.sunset,
            replay=self.settings.replay,
        )
        result = decide_batch(kind, Batch(chunks), conditions)
        _count(kind, result)
        return result.output()


class WaitingChunks:
    """Chunks that wait to be decided, first in, first out."""

    def __init__(self) -> None:
        self._chunks: deque[Chunk] = deque()
        self._events = 0
        """Number of events in the chunks."""
        self._arrived = asyncio.Event()

    def append(self, chunk: Chunk) -> None:
        """Adds a chunk."""
        self._chunks.append(chunk)
        self._events += len(chunk.records)
        self._arrived.set()

    async def arrive(self) -> None:
        """Waits until there is a chunk."""
        await self._arrived.wait()

    async def settle(self) -> None:
        """Waits while more chunks arrive, up to a full batch: Faust hands them over one at a time."""
        seen = 0
        while seen < len(self._chunks) and self._events < BATCH_EVENTS:
            seen = len(self._chunks)
            await asyncio.sleep(0)

    def pop_batch(self) -> list[Chunk]:
        """Removes and returns the next batch: at least one chunk, and at most BATCH_EVENTS events if there are several."""
        batch: list[Chunk] = []
        size = 0
        while self._chunks and (not batch or size + len(self._chunks[0].records) <= BATCH_EVENTS):
            batch.append(self._chunks.popleft())
            size += len(batch[-1].records)
        self._events -= size
        if not self._chunks:
            self._arrived.clear()
        return batch


async def screen_stream(screening: Screening, kind: EventKind, stream: Any) -> None:
    """Screens the chunks of an agent's stream, until the stream ends.

    Chunks that wait together make one batch. While a batch waits for Kafka, the next one is decided.
    """
    waiting = WaitingChunks()
    in_flight = asyncio.Semaphore(BATCHES_IN_FLIGHT)

    async def screen(chunks: Sequence[Chunk]) -> None:
        try:
            await screening.screen(kind, chunks)
        finally:
            in_flight.release()

    async def screen_waiting() -> None:
        while True:
            await waiting.arrive()
            await in_flight.acquire()
            await waiting.settle()
            group.create_task(screen(waiting.pop_batch()))
            await asyncio.sleep(
                0
            )  # the batch is decided, and its records are on their way, before the next one is gathered

    async with asyncio.TaskGroup() as group:
        deciding = group.create_task(screen_waiting())
        async for chunk in stream:
            waiting.append(chunk)
        deciding.cancel()


def _count(kind: EventKind, result: BatchResult) -> None:
    """Counts a batch in the metrics."""
    topic = kind.topic.name
    for outcome, count in result.outcome_counts.items():
        metrics.events.labels(topic, outcome).inc(count)
    for reason, count in result.dead_letter_counts.items():
        metrics.dead_letters.labels(topic, reason).inc(count)
    metrics.late_events.labels(topic).inc(result.late)
    metrics.duplicates.labels(topic).inc(result.duplicates)
