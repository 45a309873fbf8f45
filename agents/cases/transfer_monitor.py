"""Monitors transfers: keeps each in the ledger, and alerts staff once if fewer people are delivered than boarded.

A boarding and a delivery are reported by different sites, so the screening role may have one and not the other. A transfer is
therefore judged as of an instant up to which everything that stations sent is screened, and its transfer events are processed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Set
from datetime import UTC, datetime
from typing import NamedTuple

from aiokafka.errors import KafkaError
from faust.types import TP

from ninezero.agents.cases.acceptance import AcceptedEvent
from ninezero.agents.cases.event_clock import EventClock
from ninezero.agents.cases.kinds import transfer_kind
from ninezero.agents.cases.monitor import CaseMonitor
from ninezero.agents.cases.partition_cases import KEEP_CLOSED_US, Changes, PartitionCases
from ninezero.streams import metrics
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.client import outage_mark
from ninezero.streams.kafka.group_progress import GroupProgress, Offsets
from ninezero.streams.kafka.internal_records import InternalRecords, Position
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings
from ninezero.streams.transport.consumer import Consumer
from ninezero.streams.transport.offset_tracker import Chunk

log = logging.getLogger("ninezero.cases")

WARN_SECONDS = 60.0
"""Time for which transfers wait for the screening role before a line is logged."""


class _Instant(NamedTuple):
    """An instant by the event clock, what stations had sent until then, and when it was noted (monotonic clock, in s)."""

    at_us: int
    ends: Offsets
    noted: float


class TransferMonitor(CaseMonitor):
    """Monitors the transfers of the assigned partitions.

    A transfer leaves the ledger 14 days after its first event. Devices may send an event up to 13 days late, so the events of a journey
    of a day cannot bring it back.
    """

    def __init__(
        self,
        settings: Settings,
        writer: Writer,
        consumer: Callable[[], Consumer],
        set_aside: Set[Position],
        arrivals: GroupProgress,
        clock: EventClock,
    ) -> None:
        """Prepares the monitor.

        Args:
            settings: the settings of the worker.
            writer: writes alerts and the ledger.
            consumer: returns the consumer of the transfer events.
            set_aside: the records to pass over.
            arrivals: how far the screening role has processed arrivals.
            clock: the clock by which transfers are judged.
        """
        super().__init__(settings, writer, transfer_kind(settings.transfer_hours), consumer, set_aside, clock)
        self._records = InternalRecords(topics.TRANSFERS, set_aside)
        self._arrivals = arrivals
        self._instant: _Instant | None = None
        self._warned = False

    async def _accept(self, chunk: Chunk) -> list[AcceptedEvent]:
        partition, order_ended = chunk.tp.partition, datetime.now(UTC) >= self._settings.sunset
        remaining = self._records.remaining(chunk.records, partition)
        events = [AcceptedEvent(self._records.decode(record, partition), record) for record in remaining]
        metrics.events.labels(topics.TRANSFERS.name, "order_ended" if order_ended else "recorded").inc(len(events))
        return [] if order_ended else events

    def _apply(self, cases: PartitionCases, accepted: Iterable[AcceptedEvent], chunk: Chunk) -> Changes:
        changes, changed, now_us = Changes(), set(), time.time_ns() // 1000
        oldest_us = 0 if self._settings.replay else now_us - KEEP_CLOSED_US
        for one in accepted:
            fact = self._kind.fact_of(one)
            # An older event can only come from a topic that is read again. Its transfer has left the ledger.
            if fact.observed_us > oldest_us and cases.add(fact, changes):
                changed.add(fact.transfer_id)
        for transfer_id in sorted(changed):
            cases.after_events(transfer_id, now_us, changes)
        return changes

    def _watches(self) -> bool:
        return datetime.now(UTC) < self._settings.sunset

    async def _ready(self) -> dict[TP, int]:
        if not any(self._has_due_cases(tp.partition) for tp in self._assigned()):
            self._instant = None
            return {}
        try:
            if self._instant is None:
                self._instant = _Instant(self._clock.now_us(), await self._arrivals.ends(), time.monotonic())
            instant = self._instant
            if not await self._arrivals.has_passed(instant.ends):
                self._warn(instant)
                return {}
        except KafkaError as error:
            name = type(error).__name__
            log.warning("transfers cannot be judged (%s); retrying", name, extra=outage_mark(error))
            return {}
        self._instant, self._warned = None, False
        # The transfer events of those arrivals are before these ends.
        ends = await self._ends(self._assigned())
        return {tp: instant.at_us for tp, end in ends.items() if await self._has_processed(tp, end)}

    def _warn(self, instant: _Instant) -> None:
        """Logs once that transfers wait for the screening role."""
        if not self._warned and time.monotonic() - instant.noted > WARN_SECONDS:
            self._warned = True
            log.warning("transfers are not judged until the screening role has processed the arrivals that wait")

    async def _has_processed(self, tp: TP, end: int) -> bool:
        """Returns whether this worker has processed a partition up to its end."""
        watermark = self._consumer().watermarks().get(tp)
        if watermark is not None:
            return watermark >= end
        return await self._has_no_backlog(tp) and self._end_when_idle[tp] == end

    def _check(self, cases: PartitionCases, transfer_id: str, as_of_us: int, changes: Changes) -> None:
        if self._settings.replay:
            cases.check_in_replay(transfer_id, as_of_us, time.time_ns() // 1000, changes)
        else:
            cases.check(transfer_id, as_of_us, changes)
