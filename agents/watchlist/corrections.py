"""Corrections: a withdrawal for `mistake` retracts every alert of the last 72 hours in which its entries were a reason."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from aiokafka import TopicPartition

from ninezero.agents.logic.watchlist.entries import ListName
from ninezero.schemas.events import Alert, Correction, decoder, encode
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.records import OutgoingRecord
from ninezero.streams.kafka.topics import ALERTS
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings

log = logging.getLogger("ninezero.corrections")

SETTLE_SECONDS = 3.0
"""Time between a withdrawal and its corrections. A withdrawn entry may match for two seconds more, and those alerts count too."""

SEARCHED_IDS = 100
"""With more entry ids than this, every alert is decoded: searching its bytes for each id would take longer."""


class MistakenEntries(NamedTuple):
    """Entries that were on a list by mistake."""

    list_name: ListName
    entry_ids: set[str]


class Corrections:
    """Reads the alerts and writes the corrections. An alert that has a correction gets no second one."""

    def __init__(self, settings: Settings, writer: Writer) -> None:
        self._settings, self._writer = settings, writer
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()
        """One correction runs at a time: two that read before either has written would both correct an alert."""
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self, mistakes: Sequence[MistakenEntries], done: Callable[[], None]) -> None:
        """Corrects in the background, then calls `done`."""
        task = asyncio.create_task(self._run(mistakes, done))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def watch(self) -> None:
        """Raises the error that ended a correction. Never returns otherwise."""
        await self._failed

    async def stop(self) -> None:
        """Cancels running corrections. Their chunks are not done, so they are corrected after the next start."""
        for task in self._tasks:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _run(self, mistakes: Sequence[MistakenEntries], done: Callable[[], None]) -> None:
        await asyncio.sleep(SETTLE_SECONDS)
        async with self._lock:
            await self._correct(mistakes)
        done()

    async def _correct(self, mistakes: Sequence[MistakenEntries]) -> None:
        sites: dict[str, str] = {}  # site of each alert to correct, by alert id
        corrected: set[str] = set()
        quoted_ids = [f'"{entry_id}"'.encode() for mistake in mistakes for entry_id in mistake.entry_ids]
        decode_all = len(quoted_ids) > SEARCHED_IDS
        async for value in self._alert_values():
            if value is None or b'"case_id"' in value:  # a CareAlert (of a case or a transfer) has no reason
                continue
            with contextlib.suppress(ValueError, RecursionError):  # only workers may write alerts (ACL)
                if b'"correction_of"' in value:
                    corrected.add(decoder(Correction).decode(value).correction_of)
                elif decode_all or any(quoted in value for quoted in quoted_ids):
                    alert = decoder(Alert).decode(value)
                    if any(_has_reason(alert, mistake) for mistake in mistakes):
                        sites[alert.alert_id] = alert.site_id
        now = datetime.now(UTC)
        await self._writer.write(
            OutgoingRecord(ALERTS, site.encode(), encode(Correction(alert_id, site, now, "mistake")))
            for alert_id, site in sites.items()
            if alert_id not in corrected
        )
        log.info("%d alerts corrected", len(sites.keys() - corrected))

    async def _alert_values(self) -> AsyncIterator[bytes | None]:
        """Yields the values on the alert topic that are not older than its retention, up to its end now."""
        name = self._settings.topic(ALERTS.name)
        tps = [TopicPartition(name, number) for number in range(await self._writer.partition_count(name))]
        since_ms = int(time.time() * 1000) - (ALERTS.hours or 0) * 3_600_000
        async with kafka.connected(kafka.consumer(self._settings)) as reader:
            ends = await reader.end_offsets(tps)
            found = await reader.offsets_for_times(dict.fromkeys(tps, since_ms))
            start = {tp: ends[tp] if first is None else first.offset for tp, first in found.items()}
            async for record in kafka.read_to_end(reader, tps, start):
                yield record.value


def _has_reason(alert: Alert, mistake: MistakenEntries) -> bool:
    """Returns whether a mistaken entry is among the reasons of an alert."""
    return any(
        (entry.authority, entry.list) == mistake.list_name and entry.entry_id in mistake.entry_ids
        for reason in alert.reasons
        for entry in reason.entries
    )
