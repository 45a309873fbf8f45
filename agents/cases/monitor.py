"""Monitors cases: writes every event to the ledger, and alerts staff once about each thing that they must know.

The path of an event: chunk → accepted (or dead-lettered) → case → alerts acknowledged → ledger acknowledged → chunk done.
After the end of a slot or day, missing reports are looked for in the partitions that have no backlog, and at 08:00 the cases whose
last day has come or is over. In replay mode the times of each case's own events replace the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence, Set
from datetime import UTC, datetime
from typing import NamedTuple

from aiokafka.errors import KafkaError
from faust.types import TP

from ninezero.agents.cases.acceptance import AcceptedEvent, accepted_events, rejection
from ninezero.agents.cases.event_clock import EventClock
from ninezero.agents.cases.kinds import CaseKind
from ninezero.agents.cases.partition_cases import Changes, PartitionCases
from ninezero.agents.logic.days import Days
from ninezero.schemas.formats import NeedsUpgradeFinish
from ninezero.streams.kafka.client import outage_mark
from ninezero.streams.kafka.compacted import CompactedTable
from ninezero.streams.kafka.decoding import Rejected
from ninezero.streams.kafka.internal_records import Position
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings
from ninezero.streams.transport.consumer import Consumer
from ninezero.streams.transport.offset_tracker import Chunk

log = logging.getLogger("ninezero.cases")

CHECK_SECONDS = 1.0
"""Time between two checks of the cases for missing reports."""

CASES_PER_WRITE = 200
"""Largest number of cases that are checked before their alerts are written."""


class _Loaded(NamedTuple):
    """The cases of a partition, and the generation of the consumer group in which they were read from the ledger."""

    generation: int
    cases: PartitionCases


class CaseMonitor:
    """Monitors the cases of the assigned partitions. After each rebalance they are read from the ledger again."""

    def __init__(
        self,
        settings: Settings,
        writer: Writer,
        kind: CaseKind,
        consumer: Callable[[], Consumer],
        set_aside: Set[Position] = frozenset(),
        clock: EventClock | None = None,
    ) -> None:
        self._clock = clock or EventClock(settings.replay)
        self._settings, self._writer, self._kind, self._consumer = settings, writer, kind, consumer
        self._ledger = CompactedTable(settings, writer, kind.ledger, set_aside)
        self._days = Days(settings.timezone)
        self._loaded: dict[int, _Loaded] = {}
        self._end_when_idle: dict[TP, int | None] = {}
        """The end of each partition that had no backlog at the last check."""
        self._lock = asyncio.Lock()

    # -- events ------------------------------------------------------------------------------------------------------

    async def process(self, chunk: Chunk) -> None:
        """Processes the events of a chunk. Returns when the chunk is done: its alerts and ledger records are acknowledged."""
        accepted = await self._accept(chunk)
        self._clock.observe(accepted)
        async for events in self._with_known_policies(accepted, chunk):
            async with self._cases_of(chunk.tp.partition) as cases:
                await self._write(chunk.tp.partition, self._apply(cases, events, chunk))
        chunk.done()

    async def _accept(self, chunk: Chunk) -> list[AcceptedEvent]:
        """Returns the valid events of a chunk."""
        return await accepted_events(self._settings, self._writer, self._kind.topic, self._kind.event, chunk)

    async def _with_known_policies(
        self, accepted: Sequence[AcceptedEvent], chunk: Chunk
    ) -> AsyncIterator[Sequence[AcceptedEvent]]:
        """Yields the events of a chunk, in parts if this release cannot apply the policy of some.

        The events before these are yielded. The others wait for a newer release; if another worker gets the chunk meanwhile, they
        are left to it.
        """
        if (policies := self._kind.policies) is None:
            yield accepted
            return
        await policies.wait_until_current()
        times = [policies.time_of(one.kafka_ms, one.observed_us) for one in accepted]
        known = policies.known_before(times)
        yield accepted[:known]
        if known < len(accepted) and await policies.wait_until_known(times, chunk.tracker):
            yield accepted[known:]

    def _apply(self, cases: PartitionCases, accepted: Iterable[AcceptedEvent], chunk: Chunk) -> Changes:
        changes = Changes()
        changed = set()
        for one in accepted:
            event = one.event
            fact = self._kind.fact_of(one)
            if self._settings.replay:  # as if each event had arrived when it was observed
                cases.before_event_in_replay(fact, changes)
            try:
                is_new = cases.add(fact, changes)
            except NeedsUpgradeFinish:  # the ledger cannot hold the fact before the upgrade is finished
                rejected = Rejected("needs_upgrade_finish")
                changes.messages.append(rejection(self._kind.topic, chunk, one.record, rejected))
                continue
            if is_new:
                changed.add(event.case_id)
                if self._settings.replay:
                    cases.after_event_in_replay(event.case_id, changes)
        if not self._settings.replay:
            for case_id in sorted(changed):
                cases.after_events(case_id, _now_us(), changes)
        return changes

    async def _write(self, partition: int, changes: Changes) -> None:
        """Writes alerts and dead letters, then ledger records; returns when all are acknowledged.

        If the worker dies in between, the alerts are raised again under the same ids. In the other order they would be lost.
        """
        await self._writer.write(changes.messages)
        await self._ledger.write(partition, changes.records)

    # -- the clock ---------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Checks, once a second, the cases whose slot or day has ended, and removes those that were closed long ago."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if self._watches():
                for tp, as_of_us in (await self._ready()).items():
                    await self._check_due_cases(tp.partition, as_of_us)

    def _watches(self) -> bool:
        """Returns whether cases are checked by the clock now."""
        return not self._settings.replay and datetime.now(UTC) < self._settings.sunset

    async def _ready(self) -> dict[TP, int]:
        """Returns the partitions with due cases and without a backlog, each with the instant as of which to check it (Unix time in µs)."""
        idle = [tp for tp in self._assigned() if await self._has_no_backlog(tp)]
        ends = await self._ends([tp for tp in idle if self._has_due_cases(tp.partition)])
        # A changed end means that reports have arrived. Another worker may have processed them while this one was paused.
        return {tp: _now_us() for tp, end in ends.items() if self._end_when_idle[tp] == end}

    def _assigned(self) -> list[TP]:
        """Returns the assigned partitions of the source topic."""
        topic = self._settings.topic(self._kind.topic.name)
        return [tp for tp in sorted(self._consumer().assignment()) if tp.topic == topic]

    def _check(self, cases: PartitionCases, case_id: str, as_of_us: int, changes: Changes) -> None:
        """Checks a case as of an instant."""
        cases.check(case_id, as_of_us, changes)

    async def _check_due_cases(self, partition: int, as_of_us: int) -> None:
        async with self._cases_of(partition) as cases:
            due = cases.due(_now_us())
            for first in range(0, len(due), CASES_PER_WRITE):
                changes = Changes()
                for case_id in due[first : first + CASES_PER_WRITE]:
                    self._check(cases, case_id, as_of_us, changes)
                await self._write(partition, changes)
                await asyncio.sleep(0)

    def _has_due_cases(self, partition: int) -> bool:
        """Returns whether a case may be due. It may if the cases of the partition are not loaded."""
        loaded = self._loaded.get(partition)
        if loaded is None or loaded.generation != self._consumer().app.consumer_generation_id:
            return True
        return bool(loaded.cases.due(_now_us()))

    async def _has_no_backlog(self, tp: TP) -> bool:
        """Returns whether every record of a partition was processed at this check and at the one before.

        A report that waits in the topic is not missing. One check is not enough, since fetched records may be on their way to
        the agent.
        """
        before, self._end_when_idle[tp] = self._end_when_idle.get(tp), None
        consumer = self._consumer()
        try:
            position = await consumer.position(tp)  # the offset after the fetched records and after transaction markers
            end = consumer.highwater(tp)
        except Exception as error:  # Faust and aiokafka raise different errors while the partition is being revoked
            log.debug("the position of %s-%d is not known: %s", tp.topic, tp.partition, type(error).__name__)
            return False
        tracker = consumer.trackers.get(tp)
        unprocessed = tracker is not None and tracker.records > 0
        if position is not None and end is not None and position >= end and not unprocessed:
            self._end_when_idle[tp] = position
        return before is not None and before == self._end_when_idle[tp]

    async def _ends(self, tps: list[TP]) -> dict[TP, int]:
        """Returns the current end offsets of partitions, or none of them if the broker does not answer."""
        if not tps:
            return {}
        try:
            return await self._consumer().end_offsets(tps)
        except KafkaError as error:
            name = type(error).__name__
            log.warning("cases cannot be checked for missing reports (%s); retrying", name, extra=outage_mark(error))
            return {}

    # -- the cases of a partition ------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _cases_of(self, partition: int) -> AsyncIterator[PartitionCases]:
        """Gives exclusive access to the cases of a partition.

        They are read from the ledger if the partition was assigned since the last time, and also if the last access ended
        with an exception, since its changes may not be in the ledger.
        """
        async with self._lock:
            generation = self._consumer().app.consumer_generation_id
            loaded = self._loaded.pop(partition, None)
            if loaded is None or loaded.generation != generation:
                cases = PartitionCases(self._kind, self._days)
                cases.restore(await self._ledger.read(partition), _now_us())
                self._clock.reach(cases.latest_us())
                loaded = _Loaded(generation, cases)
            yield loaded.cases
            self._loaded[partition] = loaded


def _now_us() -> int:
    return time.time_ns() // 1000
