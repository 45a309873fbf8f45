"""Pushed batches → the watchlist topic and a receipt, in one Kafka transaction a batch.

One process of the role is active (the topic has one partition). Its transactional id fences a predecessor that still
lives, and an aborted transaction leaves nothing that a replica could see.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from aiokafka import TopicPartition
from faust.types import TP

from agents.lists import Lists
from agents.logic.batches import Change, Judge, micros
from agents.logic.watchlist import Entry
from schemas.events import Heartbeat, Manifest, PushBatch, PushReceipt, Removal, WatchlistEntry, decoder, encode
from streams import kafka, metrics, topics
from streams.chunks import Chunk, Ledger
from streams.deadletters import Refused, dead_letter, take
from streams.kafka import Writer
from streams.replica import Replica
from streams.settings import Settings

log = logging.getLogger("ninezero.pushes")

HEARTBEAT_SECONDS = 10.0


class Pushes:
    """Applies batches in order; remembers receipts, so that a batch sent again changes nothing."""

    def __init__(self, settings: Settings, replica: Replica, lists: Lists, writer: Writer) -> None:
        self._settings, self._replica, self._lists, self._writer = settings, replica, lists, writer
        self._receipts: dict[str, bytes] = {}
        self._producer: Any = None
        self._ledger: Ledger | None = None

    async def take_chunk(self, chunk: Chunk) -> None:
        """Applies every batch of a chunk, one after the other."""
        if chunk.ledger is not self._ledger:
            await self._take_over(chunk.ledger)
        for record in chunk.records:
            try:
                batch: PushBatch = take(PushBatch, record.value)
                if batch.mode != "delta" or batch.parts != 1:
                    raise Refused("internal", "/mode")  # not applied in part, and not passed over in silence
            except Refused as refused:
                letter = dead_letter(topics.PUSHES.name, record, refused)
                metrics.dead_letters.labels(topics.PUSHES.name, refused.reason).inc()
                await self._writer.send([(topics.DEAD_LETTERS, topics.PUSHES.name.encode(), letter)])
                continue
            await self._apply(batch, record.timestamp)
        chunk.done()

    async def stop(self) -> None:
        """Ends the producer."""
        if self._producer is not None:
            await self._producer.stop()

    async def beat(self, consumer: Any) -> None:
        """Writes a heartbeat every ten seconds while this process is the active one."""
        tp = TP(self._settings.topic(topics.PUSHES.name), 0)
        while True:
            if tp not in consumer.assignment():
                await asyncio.sleep(0.2)
                continue
            await self._writer.send([(topics.WATCHLIST, b"||", encode(Heartbeat(datetime.now(UTC))))])
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _take_over(self, ledger: Ledger) -> None:
        """Fences a predecessor, then reads what it left behind: receipts and lists, to their ends."""
        await self.stop()
        self._producer = kafka.producer(
            self._settings,
            transactional_id=self._settings.topic_prefix + "ninezero-lists",
            transaction_timeout_ms=300_000,
        )
        await self._producer.start()
        await self._read_receipts()
        await self._replica.reached(await self._replica.end())
        self._ledger = ledger

    async def _read_receipts(self) -> None:
        self._receipts.clear()
        reader = kafka.consumer(self._settings, isolation_level="read_committed", auto_offset_reset="earliest")
        await reader.start()
        try:
            tp = TopicPartition(self._settings.topic(topics.RECEIPTS.name), 0)
            reader.assign([tp])
            end = (await reader.end_offsets([tp]))[tp]
            while await reader.position(tp) < end:
                for record in (await reader.getmany(tp, timeout_ms=500)).get(tp, ()):
                    self._receipts.setdefault(decoder(PushReceipt).decode(record.value).batch_id, record.value)
        finally:
            await reader.stop()

    async def _apply(self, batch: PushBatch, timestamp_ms: int) -> None:
        known = self._receipts.get(batch.batch_id)
        if known is not None:
            await self._writer.send([(topics.RECEIPTS, batch.authority.encode(), known)])
            return
        name = (batch.authority, batch.list)
        now_us = micros(batch.issued_at) if self._settings.replay else timestamp_ms * 1000
        manifest = self._replica.manifests.get(name)
        applied = None if manifest is None else manifest.sequence
        judge = Judge(batch, len(batch.lines), now_us, self._lists.watchlist, applied)
        if not judge.judged:
            judge.take(batch.lines)
        change = judge.finish()
        receipt = encode(_receipt(batch, change))
        records = self._records(batch, change, manifest) if change.status == "applied" else []
        last = None
        async with self._producer.transaction():
            pending = [
                await self._producer.send(self._settings.topic(topics.WATCHLIST.name), value, key, partition=0)
                for key, value in records
            ]
            pending.append(
                await self._producer.send(
                    self._settings.topic(topics.RECEIPTS.name), receipt, batch.authority.encode(), partition=0
                )
            )
            written = await asyncio.gather(*pending)
            if records:
                last = written[len(records) - 1].offset
        self._receipts[batch.batch_id] = receipt
        if last is not None:
            await self._replica.reached(last + 1)

    def _records(self, batch: PushBatch, change: Change, manifest: Manifest | None) -> list[tuple[bytes, bytes]]:
        prefix = f"{batch.authority}|{batch.list}|"
        records = [((prefix + entry_id).encode(), encode(Removal(batch.sequence))) for entry_id in change.remove]
        records += [((prefix + e.entry_id).encode(), encode(_record(e))) for e in change.put.values()]
        entries = {e.entry_id: e for e in self._lists.watchlist.entries((batch.authority, batch.list))}
        after = {k: v for k, v in entries.items() if k not in set(change.remove)} | change.put
        keys = {t.partition(".")[0] for e in after.values() for some in e.tokens.values() for t in some}
        floor = 0 if manifest is None else manifest.floor
        stated = Manifest(batch.sequence, floor, len(after), sorted(keys), batch.batch_id, datetime.now(UTC))
        return [*records, (prefix.encode(), encode(stated))]


def _record(entry: Entry) -> WatchlistEntry:
    return WatchlistEntry(
        sequence=entry.sequence,
        category=entry.category,  # type: ignore[arg-type]  # checked with the batch
        tokens={kind: list(some) for kind, some in entry.tokens.items()},
        valid_from=datetime.fromtimestamp(entry.from_us / 1_000_000, UTC),
        valid_to=datetime.fromtimestamp(entry.to_us / 1_000_000, UTC),
    )


def _receipt(batch: PushBatch, change: Change) -> PushReceipt:
    return PushReceipt(
        batch_id=batch.batch_id,
        authority=batch.authority,
        list=batch.list,
        category=batch.category,
        mode=batch.mode,
        status=change.status,  # type: ignore[arg-type]  # one of the three
        code=change.code,
        lines_declared=batch.declared_lines,
        accepted=change.accepted,
        duplicate=change.duplicate,
        rejected=change.rejected,
        withdrawn=change.withdrawn,
        rejects=change.rejects,
        issued_at=batch.issued_at,
        at=datetime.now(UTC),
    )
