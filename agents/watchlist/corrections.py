"""Corrections: a withdrawal for `mistake` takes back every alert of the last 72 hours in which its entries were a reason."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime

from aiokafka import TopicPartition

from ninezero.agents.logic.watchlist.index import ListName
from ninezero.schemas.events import Alert, Correction, decoder, encode
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.topics import ALERTS
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings

log = logging.getLogger("ninezero.corrections")

SETTLED_SECONDS = 3.0
"""A withdrawn entry matches for at most two seconds more: the alerts of those are there by then."""

Withdrawn = tuple[ListName, set[str]]
"""A list, and ids of entries that were on it by mistake."""


class Corrections:
    """Reads the alerts and writes what takes them back. An alert that has its correction gets no second one."""

    def __init__(self, settings: Settings, writer: Writer) -> None:
        self._settings, self._writer = settings, writer
        self._tasks: set[asyncio.Task[None]] = set()
        self._one = asyncio.Lock()
        """One at a time: two that read before either has written would both take an alert back."""
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def after(self, withdrawn: list[Withdrawn], done: Callable[[], None]) -> None:
        """Corrects in the background, then calls `done`."""
        task = asyncio.create_task(self._correct(withdrawn, done))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def watch(self) -> None:
        """Raises what ended a correction, if anything does."""
        await self._failed

    async def stop(self) -> None:
        """Drops what is under way: its batch is not done, and comes again."""
        for task in self._tasks:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def _correct(self, withdrawn: list[Withdrawn], done: Callable[[], None]) -> None:
        await asyncio.sleep(SETTLED_SECONDS)
        async with self._one:
            await self._take_back(withdrawn)
        done()

    async def _take_back(self, withdrawn: list[Withdrawn]) -> None:
        found: dict[str, str] = {}
        corrected: set[str] = set()
        wanted = [f'"{entry}"'.encode() for _, entries in withdrawn for entry in entries]
        async for value in self._alerts():
            if value is None or b'"case_id"' in value:  # a CareAlert: no list entry is a reason of it
                continue
            with contextlib.suppress(ValueError, RecursionError):  # no alert of ours: only workers write there (ACL)
                if b'"correction_of"' in value:
                    corrected.add(decoder(Correction).decode(value).correction_of)
                elif len(wanted) > 100 or any(entry in value for entry in wanted):
                    alert = decoder(Alert).decode(value)
                    if any(_concerns(alert, name, entries) for name, entries in withdrawn):
                        found[alert.alert_id] = alert.site_id
        now = datetime.now(UTC)
        await self._writer.write(
            (ALERTS, site.encode(), encode(Correction(alert_id, site, now, "mistake")))
            for alert_id, site in found.items()
            if alert_id not in corrected
        )
        log.info("%d alerts taken back", len(found.keys() - corrected))

    async def _alerts(self) -> AsyncIterator[bytes | None]:
        """The values on the topic of the alerts that are not older than it keeps them."""
        name = self._settings.topic(ALERTS.name)
        tps = [TopicPartition(name, number) for number in range(await self._writer.partition_count(name))]
        since_ms = int(time.time() * 1000) - (ALERTS.hours or 0) * 3_600_000
        async with kafka.connected(kafka.consumer(self._settings)) as reader:
            ends = await reader.end_offsets(tps)
            found = await reader.offsets_for_times(dict.fromkeys(tps, since_ms))
            start = {tp: ends[tp] if first is None else first.offset for tp, first in found.items()}
            async for record in kafka.read_to_end(reader, tps, start):
                yield record.value


def _concerns(alert: Alert, name: ListName, entries: Iterable[str]) -> bool:
    return any(
        (entry.authority, entry.list) == name and entry.entry_id in entries
        for reason in alert.reasons
        for entry in reason.entries
    )
