"""Pushed batches → the watchlist topic and a receipt, in one Kafka transaction a batch.

One process of the role is active (the topic has one partition). Its transactional id fences a predecessor that still
lives, and an aborted transaction leaves nothing that a replica could see. What is remembered besides the lists can be read
again from the topics: receipts, and where the parts of unfinished and held batches lie.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced
from faust.types import TP

from ninezero.agents.logic.pushes.batches import Change, Judge
from ninezero.agents.logic.pushes.parts import BatchName, Gathered, PartError, Parts
from ninezero.agents.logic.watchlist.index import Entry, ListName, pairs
from ninezero.agents.watchlist.corrections import Corrections
from ninezero.agents.watchlist.projection import WatchlistProjection
from ninezero.schemas.events import (
    ConfirmationCode,
    Heartbeat,
    Manifest,
    PushBatch,
    PushConfirmation,
    PushReceipt,
    Removal,
    WatchlistEntry,
    encode,
)
from ninezero.schemas.times import unix_micros
from ninezero.streams import metrics
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.access import LISTS_TRANSACTIONAL_ID
from ninezero.streams.kafka.deadletters import dead_letter
from ninezero.streams.kafka.decoding import Rejected, decode
from ninezero.streams.kafka.topics import DEAD_LETTERS, PUSHES, RECEIPTS, WATCHLIST
from ninezero.streams.kafka.transactions import Record, Transactions
from ninezero.streams.kafka.watchlist_replica import WatchlistReplica
from ninezero.streams.kafka.watchlist_state import split_key
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings
from ninezero.streams.transport.offset_tracker import Chunk, OffsetTracker

log = logging.getLogger("ninezero.pushes")

HEARTBEAT_SECONDS = 10.0

SWEEP_SECONDS = 10.0
"""How often what has expired is taken off the lists."""

SWEPT_AT_ONCE = 50_000
"""Entries that a sweep takes off a list: more wait for the next, so that a push never waits long for a sweep."""

NEVER = 2**31 - 1
"""A number of entries that no list reaches."""

TOMBSTONE_SECONDS = 600.0
"""A removal becomes a tombstone after this: longer than any transaction, so no delayed writer can follow."""


class _Kind(msgspec.Struct):
    """Tells a confirmation from a batch."""

    confirms: str | None = None


class _Gone(Exception):
    """A part is not on the topic any more."""


class Pushes:
    """Applies batches in order; remembers receipts, so that a batch sent again changes nothing."""

    def __init__(
        self, settings: Settings, replica: WatchlistReplica, lists: WatchlistProjection, writer: Writer
    ) -> None:
        self._settings, self._replica, self._lists, self._writer = settings, replica, lists, writer
        self._corrections = Corrections(settings, writer)
        self._transactions = Transactions(settings, LISTS_TRANSACTIONAL_ID)
        self._receipts: dict[BatchName, PushReceipt] = {}
        self._parts = Parts()
        self._rewritten: set[bytes] = set()
        """Entries that were written once more after a stranger's record of the same key. (The replica refuses both.)"""
        self._reader: Any = None
        self._taken: OffsetTracker | tuple[()] | None = None
        """Under which assignment it took over: that of the chunks, () before the first chunk, None if it did not."""
        self._lock = asyncio.Lock()

    async def take_chunk(self, chunk: Chunk) -> None:
        """Applies every batch of a chunk, one after the other. It is done when the corrections that follow are, too."""
        corrections = []
        async with self._lock:
            if self._taken not in ((), chunk.tracker):
                await self._take_over(chunk.start, chunk.tracker)
            self._taken = chunk.tracker
            for record in chunk.records:
                try:
                    withdrawn = await self._take(record)
                except Rejected as refused:
                    letter = dead_letter(PUSHES.name, chunk.tp.partition, record, refused)
                    metrics.dead_letters.labels(PUSHES.name, refused.reason).inc()
                    await self._writer.write([(DEAD_LETTERS, PUSHES.name.encode(), letter)])
                else:
                    corrections += [withdrawn] if withdrawn else []
        if corrections:
            self._corrections.after(corrections, chunk.done)
        else:
            chunk.done()

    async def stop(self) -> None:
        """Ends its connections."""
        await self._transactions.stop()
        await self._corrections.stop()
        if self._reader is not None:
            await self._reader.stop()

    async def beat(self, consumer: Any) -> None:
        """Writes a heartbeat every ten seconds while this process is the active one."""
        tp = TP(self._settings.topic(PUSHES.name), 0)
        while True:
            if tp not in consumer.assignment():
                await asyncio.sleep(0.2)
                continue
            await self._writer.write([(WATCHLIST, b"||", encode(Heartbeat(datetime.now(UTC))))])
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def sweep(self, consumer: Any) -> None:
        """Takes what has expired off the lists, and leaves tombstones for what is off them, while this process is active."""
        tp = TP(self._settings.topic(PUSHES.name), 0)
        while True:
            async with self._lock:
                if tp not in consumer.assignment():
                    self._taken = None
                elif not self._settings.replay:
                    try:
                        if self._taken is None:
                            await self._take_over(await consumer.position(tp), ())
                        await self._sweep(time.time())
                    except ProducerFenced:
                        self._taken = None  # another process was active in between
            await asyncio.sleep(SWEEP_SECONDS)

    async def corrected(self) -> None:
        """Raises what ended a correction, if anything does."""
        await self._corrections.watch()

    # -- taking over -------------------------------------------------------------------------------------------------

    async def _take_over(self, position: int, taken: OffsetTracker | tuple[()]) -> None:
        """Fences a predecessor, then reads what it left behind: receipts and lists to their ends, parts up to `position`."""
        await self._transactions.start()
        self._receipts.clear()
        async for record in self._read(RECEIPTS.name, 0, None):
            try:
                receipt = decode(PushReceipt, record.value)
            except (
                Rejected
            ) as refused:  # only this role writes there (ACL); a stranger's record must not stop the lists
                log.error("a receipt is left out: %s (offset %d)", refused.reason, record.offset)
                continue
            if receipt.confirmation is None:
                self._receipts[receipt.authority, receipt.batch_id] = receipt
        self._parts = Parts()
        async for record in self._read(PUSHES.name, 0, position):
            try:
                batch = decode(PushBatch, record.value)
                if (batch.authority, batch.batch_id) not in self._receipts:
                    self._parts.take(batch, record.offset, record.timestamp)
            except (Rejected, PartError):
                continue  # it has its dead letter
        await self._replica.wait_until_applied(await self._replica.end_offset())
        await self._mark_lost()
        self._taken = taken

    async def _mark_lost(self) -> None:
        """A list that receipts tell of has a manifest for ever; without one, the topic was emptied or made again. Nobody is
        to be told "clear" by the rest: it gets a manifest that only a `full` can fulfil."""
        told = {(r.authority, r.list) for r in self._receipts.values() if r.status == "applied"}
        lost = sorted(told - self._replica.manifests.keys())
        for name in lost:
            log.error("the list %s of %s is gone from its topic: push it again with --full", name[1], name[0])
        if lost:
            stated = encode(Manifest(0, 0, NEVER, [], "", datetime.now(UTC), lost=True))
            ends = await self._transactions.write((WATCHLIST, _prefix(name).encode(), stated) for name in lost)
            await self._replica.wait_until_applied(ends[WATCHLIST.name])

    async def _read(self, topic: str, first: int, end: int | None) -> AsyncIterator[Any]:
        """The committed records of a one-partition topic from `first` up to `end`, or to its end now."""
        if self._reader is None:
            self._reader = kafka.consumer(
                self._settings, isolation_level="read_committed", max_partition_fetch_bytes=8 << 20
            )  # fmt: skip
            await self._reader.start()
        tp = TopicPartition(self._settings.topic(topic), 0)
        async for record in kafka.read_to_end(self._reader, [tp], {tp: first}, None if end is None else {tp: end}):
            yield record

    # -- one record --------------------------------------------------------------------------------------------------

    async def _take(self, record: Any) -> tuple[ListName, set[str]] | None:
        """One record of the topic. What is withdrawn as a mistake by it: the list and its entries.

        Raises:
            Refused: the record is to be dead-lettered.
        """
        if decode(_Kind, record.value).confirms is not None:
            await self._confirm(decode(PushConfirmation, record.value))
            return None
        batch: PushBatch = decode(PushBatch, record.value)
        name = (batch.authority, batch.batch_id)
        known = self._receipts.get(name)
        if known is not None:
            await self._transactions.write([(RECEIPTS, batch.authority.encode(), encode(known))])
            return self._mistaken(
                batch, known, set(self._replica.removed_by((batch.authority, batch.list), batch.sequence))
            )
        manifest = self._replica.manifests.get((batch.authority, batch.list))
        if manifest is not None and manifest.lost and batch.mode != "full":
            raise Rejected("internal", "/mode")  # applied to what is left of the list, it would pass for the whole
        try:
            gathered = self._parts.take(batch, record.offset, record.timestamp)
        except PartError as error:
            raise Rejected("schema_invalid", error.path) from None
        if not gathered.complete:
            return None
        self._parts.forget(name)
        try:
            change, receipt = await self._judge(gathered, batch)
        except _Gone:
            log.warning("a part of a batch is older than its topic keeps: the batch waits for all its parts again")
            return None
        return self._mistaken(batch, receipt, set(change.remove))

    def _mistaken(self, batch: PushBatch, receipt: PushReceipt, entries: set[str]) -> tuple[ListName, set[str]] | None:
        mistake = batch.mode == "withdraw" and batch.withdraw_reason == "mistake" and receipt.status == "applied"
        return ((batch.authority, batch.list), entries) if mistake and entries else None

    async def _confirm(self, said: PushConfirmation) -> None:
        """A second person's word for a held batch. Whatever comes of it, the batch's receipt says it."""
        receipt = self._receipts.get((said.authority, said.confirms))
        if receipt is None:
            raise Rejected("schema_invalid", "/confirms")
        manifest = self._replica.manifests.get((said.authority, receipt.list))
        code: ConfirmationCode | None = None
        gathered = None
        if receipt.confirmed and receipt.by == said.confirmed_by:
            pass  # the same word again is answered with the same receipt
        elif receipt.status != "held":
            code = "not_held"
        elif (gathered := await self._held(receipt)) is None:
            code = "gone"
        elif said.confirmed_by == receipt.by:
            code = "same_person"
        elif manifest is not None and manifest.sequence >= gathered.head.sequence:
            code = "overtaken"
        else:
            await self._judge(gathered, None, said)
            return
        # It names whose word it answers: one may be delivered, and answered, again after a restart.
        answer = msgspec.structs.replace(receipt, confirmation=code, by=said.confirmed_by)
        await self._transactions.write([(RECEIPTS, said.authority.encode(), encode(answer))])

    async def _held(self, receipt: PushReceipt) -> Gathered | None:
        """A held batch as it was judged; None if the topic does not have it any more."""
        parts, gathered = Parts(), None
        for place in receipt.places:
            try:
                record = await self._record(place)
            except _Gone:
                return None
            gathered = parts.take(decode(PushBatch, record.value), place, record.timestamp)
        return gathered

    # -- one batch ---------------------------------------------------------------------------------------------------

    async def _judge(
        self, gathered: Gathered, in_hand: PushBatch | None, confirmed: PushConfirmation | None = None
    ) -> tuple[Change, PushReceipt]:
        """Judges a complete batch, and writes what follows from it.

        Raises:
            _Gone: a part is not on the topic any more.
        """
        batch, name = gathered.head, (gathered.head.authority, gathered.head.list)
        now_us = unix_micros(batch.issued_at) if self._settings.replay else gathered.at_ms * 1000
        manifest = self._replica.manifests.get(name)
        applied = None if manifest is None else manifest.sequence
        judge = Judge(batch, len(gathered.lines), now_us, self._lists.watchlist, applied, confirmed is not None)
        if not judge.judged:
            for part, offset in sorted(gathered.places.items()):
                judge.take((in_hand if in_hand and in_hand.part == part else await self._part(offset)).lines)
                await asyncio.sleep(0)
        change = judge.finish()
        receipt = _receipt(gathered, change, confirmed)
        ends = await self._transactions.write(self._records(batch, change, manifest, receipt))
        self._receipts[batch.authority, batch.batch_id] = receipt
        metrics.events.labels(PUSHES.name, receipt.status).inc()
        if WATCHLIST.name in ends:
            await self._replica.wait_until_applied(ends[WATCHLIST.name])
        return change, receipt

    async def _part(self, offset: int) -> PushBatch:
        batch: PushBatch = decode(PushBatch, (await self._record(offset)).value)
        return batch

    async def _record(self, offset: int) -> Any:
        async for record in self._read(PUSHES.name, offset, offset + 1):
            return record
        raise _Gone

    def _records(
        self, batch: PushBatch, change: Change, manifest: Manifest | None, receipt: PushReceipt
    ) -> Iterator[Record]:
        """What an applied batch puts on its list, and the receipt of any."""
        if change.status == "applied":
            name = (batch.authority, batch.list)
            prefix, removal = _prefix(name), encode(Removal(batch.sequence))
            for entry_id in change.remove:
                yield WATCHLIST, (prefix + entry_id).encode(), removal
            for entry in change.put.values():
                yield WATCHLIST, (prefix + entry.entry_id).encode(), _record(entry, batch.sequence)
            floor = batch.sequence if batch.mode == "full" else 0 if manifest is None else manifest.floor
            entries, keys = self._after(name, change, whole=batch.mode == "full")
            stated = Manifest(batch.sequence, floor, entries, keys, batch.batch_id, datetime.now(UTC))
            yield WATCHLIST, prefix.encode(), encode(stated)
        yield RECEIPTS, batch.authority.encode(), encode(receipt)

    def _after(self, name: ListName, change: Change, *, whole: bool) -> tuple[int, list[str]]:
        """Number of entries and key ids of a list after a change; `whole`: nothing stays but what the change puts."""
        watchlist = self._lists.watchlist
        counts = {} if whole else watchlist.key_counts(name)
        for entry in () if whole else change.remove.values():
            _count(counts, entry, -1)
        for entry in change.put.values():
            _count(counts, entry, 1)
        entries = len(change.put) if whole else watchlist.size(name) - len(change.remove) + len(change.put)
        return entries, sorted(key for key, count in counts.items() if count)

    # -- what has expired --------------------------------------------------------------------------------------------

    async def _sweep(self, now: float) -> None:
        records: list[Record] = []
        for name, manifest in self._replica.manifests.items():
            ended = self._lists.watchlist.expired(name, int(now * 1_000_000), SWEPT_AT_ONCE)
            gone = {i: entry for i in ended if (entry := self._lists.watchlist.get(name, i)) is not None}
            if gone:
                entries, keys = self._after(name, Change(remove=gone), whole=False)
                prefix, removal = _prefix(name), encode(Removal(manifest.sequence, expired=True))
                records += [(WATCHLIST, (prefix + entry_id).encode(), removal) for entry_id in gone]
                stated = msgspec.structs.replace(manifest, entries=entries, key_ids=keys)
                records.append((WATCHLIST, prefix.encode(), encode(stated)))
        for key in self._replica.overwritten.keys() - self._rewritten:
            entry = self._lists.watchlist.get(*split_key(key))
            if entry is not None:
                records.append((WATCHLIST, key, _record(entry, entry.sequence)))
        self._rewritten |= self._replica.overwritten.keys()
        self._replica.overwritten.clear()
        for key in self._replica.due_tombstones(now - TOMBSTONE_SECONDS, SWEPT_AT_ONCE):
            records.append((WATCHLIST, key, None))
        if records:
            ends = await self._transactions.write(records)
            await self._replica.wait_until_applied(ends[WATCHLIST.name])


def _prefix(name: ListName) -> str:
    return f"{name[0]}|{name[1]}|"


def _count(counts: dict[str, int], entry: Entry, sign: int) -> None:
    for _, token in pairs(entry.tokens):
        key_id = token.partition(".")[0]
        counts[key_id] = counts.get(key_id, 0) + sign


def _record(entry: Entry, sequence: int) -> bytes:
    return encode(
        WatchlistEntry(
            sequence=sequence,
            category=entry.category,
            tokens={kind: list(some) for kind, some in entry.tokens.items()},
            valid_from=datetime.fromtimestamp(entry.from_us / 1_000_000, UTC),
            valid_to=datetime.fromtimestamp(entry.to_us / 1_000_000, UTC),
        )
    )


def _receipt(gathered: Gathered, change: Change, confirmed: PushConfirmation | None) -> PushReceipt:
    batch = gathered.head
    return PushReceipt(
        batch_id=batch.batch_id,
        authority=batch.authority,
        list=batch.list,
        category=batch.category,
        mode=batch.mode,
        status=change.status,
        code=change.code,
        lines_declared=batch.declared_lines,
        accepted=change.accepted,
        duplicate=change.duplicate,
        rejected=change.rejected,
        withdrawn=change.withdrawn,
        rejects=change.rejects,
        issued_at=batch.issued_at,
        at=datetime.now(UTC),
        by=batch.pushed_by if confirmed is None else confirmed.confirmed_by,
        confirmed=confirmed is not None,
        places=[place for _, place in sorted(gathered.places.items())] if change.status == "held" else [],
    )
