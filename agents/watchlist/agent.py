"""The push agent: pushed batches → the watchlist topic and a receipt, in one Kafka transaction for each batch.

`watchlist-pushes` has one partition, so one process of the role is active. Its transactional id fences a predecessor that still
runs. An aborted transaction leaves nothing that a replica could read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Set
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiokafka.errors import KafkaError, ProducerFenced
from faust.types import TP

from ninezero.agents.logic.pushes.batches import BatchChange, BatchDecider
from ninezero.agents.logic.pushes.parts import GatheredBatch, PartError
from ninezero.agents.logic.watchlist.entries import ListName
from ninezero.agents.watchlist.batch_records import batch_records, list_entry, list_record, receipt_of
from ninezero.agents.watchlist.corrections import Corrections, MistakenEntries
from ninezero.agents.watchlist.projection import WatchlistProjection
from ninezero.agents.watchlist.push_state import PushState
from ninezero.agents.watchlist.sweep import Sweep
from ninezero.agents.watchlist.topic_reader import RecordExpired, TopicReader
from ninezero.schemas.events import ConfirmationCode, Heartbeat, PushBatch, PushConfirmation, PushReceipt, encode
from ninezero.schemas.formats import NeedsUpgradeFinish
from ninezero.schemas.times import unix_micros
from ninezero.streams import metrics
from ninezero.streams.kafka.access import LISTS_TRANSACTIONAL_ID
from ninezero.streams.kafka.dead_letters import dead_letter
from ninezero.streams.kafka.decoding import Rejected, decode
from ninezero.streams.kafka.internal_records import Position
from ninezero.streams.kafka.records import OutgoingRecord, internal_record
from ninezero.streams.kafka.topics import DEAD_LETTERS, PUSHES, RECEIPTS, WATCHLIST
from ninezero.streams.kafka.transactions import Transactions
from ninezero.streams.kafka.watchlist_replica import WatchlistReplica
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings
from ninezero.streams.transport.offset_tracker import Chunk, OffsetTracker

log = logging.getLogger("ninezero.pushes")

HEARTBEAT_SECONDS = 10.0
"""Time between two heartbeats on the watchlist topic."""

SWEEP_SECONDS = 10.0
"""Time between two sweeps."""

COMPARED_TOKENS = 4_000
"""Tokens of a batch that are compared with their list, or lines that are compared one by one, without giving the event loop a turn."""

CLOCK_ALLOWANCE_MS = 60_000
"""How far the clock of this process may be ahead of the broker's when it drops the parts of an incomplete batch."""


class _RecordKind(msgspec.Struct):
    """Only the field that distinguishes a confirmation from a batch."""

    confirms: str | None = None


class PushAgent:
    """Applies batches in the order of the topic. A batch that arrives again is answered with its receipt and changes nothing."""

    def __init__(
        self,
        settings: Settings,
        replica: WatchlistReplica,
        projection: WatchlistProjection,
        writer: Writer,
        set_aside: Set[Position] = frozenset(),
    ) -> None:
        self._settings, self._replica, self._writer = settings, replica, writer
        self._index = projection.index
        self._reader = TopicReader(settings)
        self._state = PushState(self._reader, self._index.parse_tokens, set_aside)
        self._sweep = Sweep(replica, self._index)
        self._corrections = Corrections(settings, writer)
        self._transactions = Transactions(settings, LISTS_TRANSACTIONAL_ID)
        self._active = False
        """True from the moment at which this process becomes the active one until its partition is revoked."""
        self._assignment: OffsetTracker | None = None
        """The offset tracker of the assignment under which it took over; None before the first chunk of it."""
        self._next_offset = 0
        """Offset up to which the pushed batches are processed."""
        self._lock = asyncio.Lock()
        """A chunk and a sweep do not write at the same time."""

    async def apply_chunk(self, chunk: Chunk) -> None:
        """Applies the batches of a chunk, one after the other. The chunk is done when its corrections are written, too."""
        mistakes = []
        async with self._lock:
            if not self._active or self._assignment not in (None, chunk.tracker):
                await self._take_over(chunk.start)
            self._assignment = chunk.tracker
            for record in chunk.records:
                try:
                    mistaken = await self._apply_record(record)
                except Rejected as rejected:
                    letter = dead_letter(PUSHES.name, chunk.tp.partition, record, rejected)
                    metrics.dead_letters.labels(PUSHES.name, rejected.reason).inc()
                    await self._writer.write([OutgoingRecord(DEAD_LETTERS, PUSHES.name.encode(), letter)])
                else:
                    mistakes += [mistaken] if mistaken else []
                self._next_offset = record.offset + 1
        if mistakes:
            self._corrections.start(mistakes, chunk.done)
        else:
            chunk.done()

    async def stop(self) -> None:
        """Closes its connections."""
        await self._transactions.stop()
        await self._corrections.stop()
        await self._reader.stop()

    async def send_heartbeats(self, consumer: Any) -> None:
        """Writes a heartbeat every HEARTBEAT_SECONDS while this process is the active one. Never returns."""
        tp = TP(self._settings.topic(PUSHES.name), 0)
        while True:
            if tp not in consumer.assignment():
                await asyncio.sleep(0.2)
                continue
            await self._writer.write([internal_record(WATCHLIST, b"||", Heartbeat(datetime.now(UTC)))])
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def sweep(self, consumer: Any) -> None:
        """Removes expired entries, drops incomplete batches, and writes tombstones while this process is the active one.

        Never returns.
        """
        tp = TP(self._settings.topic(PUSHES.name), 0)
        while True:
            async with self._lock:
                if tp not in consumer.assignment():
                    self._active = False
                elif not self._settings.replay:
                    try:
                        if not self._active:
                            await self._take_over(await consumer.position(tp))
                        if records := self._sweep.records(time.time()):
                            await self._write(records)
                        await self._drop_expired_parts()
                    except ProducerFenced:
                        self._active = False  # another process was active in between
            await asyncio.sleep(SWEEP_SECONDS)

    async def watch_corrections(self) -> None:
        """Raises the error that ended a correction. Never returns otherwise."""
        await self._corrections.watch()

    async def _take_over(self, position: int) -> None:
        """Becomes the active process: fences a predecessor, then reads what it left.

        Args:
            position: the first offset that is not processed yet.
        """
        self._active = False
        await self._transactions.start()
        await self._state.load(position)
        await self._replica.wait_until_applied(await self._replica.end_offset())
        await self._register_lists()
        self._active, self._assignment, self._next_offset = True, None, position

    async def _register_lists(self) -> None:
        """Registers lists that have no entry, and says which registered ones the topic `watchlist` lacks.

        Such a topic was emptied or recreated: a list that was applied has a manifest forever.
        """
        lists = self._state.lists
        if unregistered := self._state.unregistered_lists(self._replica.manifests, self._index):
            await self._write(map(list_record, unregistered))
            lists.entries |= {(entry.authority, entry.list): entry for entry in unregistered}
        for authority, name in lists.missing(self._replica.manifests):
            log.error(
                "the list %s of %s is gone from its topic, or its last batch: push it again with --full --again",
                name,
                authority,
            )

    def _is_lost(self, name: ListName) -> bool:
        """Returns whether a list lacks entries. Only a `full` makes it complete: anything else would make the rest look complete."""
        lists, replica = self._state.lists, self._replica
        return lists.needed(name) and (name in lists.missing(replica.manifests) or not replica.has_all_entries(name))

    async def _apply_record(self, record: Any) -> MistakenEntries | None:
        """Applies one record of the topic: a confirmation, or a part of a batch.

        Returns:
            the entries that the record withdraws as a mistake, or None.

        Raises:
            Rejected: the record has to be dead-lettered.
        """
        part = _decode_push(record.value)
        if isinstance(part, PushConfirmation):
            await self._confirm(part)
            return None
        name, list_name = (part.authority, part.batch_id), (part.authority, part.list)
        receipt = self._state.receipts.get(name)
        if receipt is not None:
            await self._transactions.write([OutgoingRecord(RECEIPTS, part.authority.encode(), encode(receipt))])
            return self._mistaken(part, receipt, set(self._replica.removed_by(list_name, part.sequence)))
        if part.mode != "full" and self._is_lost(list_name):
            raise Rejected("internal", "/mode")
        try:
            gathered = self._state.parts.add(part, record.offset, record.timestamp)
        except PartError as error:
            raise Rejected("schema_invalid", error.path) from None
        if gathered.has_expired(record.timestamp):
            await self._drop_incomplete(gathered)
            return None
        if not gathered.complete:
            self._state.keep_lines(record.offset, part)
            await asyncio.sleep(0)
            return None
        self._state.parts.remove(name)
        try:
            change, receipt = await self._apply_batch(gathered, last_part=part)
        except RecordExpired:
            log.warning("a part of a batch has expired on its topic: the batch waits for all its parts again")
            return None
        finally:
            self._state.forget_lines(gathered.offsets.values())
        return self._mistaken(part, receipt, set(change.remove))

    async def _confirm(self, confirmation: PushConfirmation) -> None:
        """Applies a held batch that a second person confirms. Every confirmation is answered with the receipt of its batch.

        Raises:
            Rejected: no batch of that id has a receipt, or its list is lost and the batch is not a `full`.
        """
        receipt = self._state.receipts.get((confirmation.authority, confirmation.confirms))
        if receipt is None:
            raise Rejected("schema_invalid", "/confirms")
        list_name = (confirmation.authority, receipt.list)
        applied = self._state.applied_sequence(list_name)
        code: ConfirmationCode | None = None
        if receipt.confirmed and receipt.by == confirmation.confirmed_by:
            pass  # the same confirmation again is answered with the same receipt
        elif receipt.status != "held":
            code = "not_held"
        elif (gathered := await self._state.read_held(receipt)) is None:
            code = "gone"
        elif confirmation.confirmed_by.casefold() == receipt.by.casefold():
            code = "same_person"
        elif applied is not None and applied >= gathered.head.sequence:
            code = "overtaken"
        elif gathered.head.mode != "full" and self._is_lost(list_name):
            raise Rejected("internal", "/confirms")
        else:
            await self._apply_batch(gathered, confirmation=confirmation)
            return
        # The answer names the person, because a confirmation may be delivered and answered again after a restart.
        answer = msgspec.structs.replace(receipt, confirmation=code, by=confirmation.confirmed_by)
        await self._transactions.write([OutgoingRecord(RECEIPTS, confirmation.authority.encode(), encode(answer))])

    async def _apply_batch(
        self,
        gathered: GatheredBatch,
        last_part: PushBatch | None = None,
        confirmation: PushConfirmation | None = None,
    ) -> tuple[BatchChange, PushReceipt]:
        """Decides a complete batch and writes what follows from it in one transaction.

        Args:
            gathered: the batch.
            last_part: the part that completed it, so that it need not be read again.
            confirmation: the confirmation of the batch, if it was held.

        Raises:
            RecordExpired: a part is not on the topic any more.
        """
        # 1. Decide.
        batch = gathered.head
        now_us = unix_micros(batch.issued_at) if self._settings.replay else gathered.kafka_ms * 1000
        list_name = (batch.authority, batch.list)
        manifest, applied = self._replica.manifests.get(list_name), self._state.applied_sequence(list_name)
        decider = BatchDecider(
            batch,
            len(gathered.lines),
            now_us,
            gathered.kafka_ms,
            self._index,
            applied,
            confirmed=confirmation is not None,
        )
        if decider.needs_lines:
            for number, offset in sorted(gathered.offsets.items()):
                if last_part is not None and last_part.part == number:
                    decider.decide_lines(last_part.lines)
                else:
                    decider.add(await self._state.read_lines(offset))
                    await asyncio.sleep(0)
            while decider.compare(COMPARED_TOKENS):
                await asyncio.sleep(0)
        change = decider.finish()
        # 2. Write. The receipt is in the same transaction.
        receipt = receipt_of(gathered, change, applied, confirmation)
        try:
            await self._write(batch_records(batch, change, manifest, receipt, self._index))
        except NeedsUpgradeFinish:  # the transaction was aborted
            change = BatchChange("rejected", "needs_upgrade_finish")
            receipt = receipt_of(gathered, change, applied, confirmation)
            await self._write(batch_records(batch, change, manifest, receipt, self._index))
        # 3. Remember.
        self._state.receipts[batch.authority, batch.batch_id] = receipt
        if receipt.status == "applied":
            self._state.lists.entries[list_name] = list_entry(batch, receipt)
        metrics.events.labels(PUSHES.name, receipt.status).inc()
        return change, receipt

    async def _drop_incomplete(self, gathered: GatheredBatch) -> None:
        """Drops the parts of a batch that was not complete in time, and answers it."""
        batch = gathered.head
        name = (batch.authority, batch.batch_id)
        applied = self._state.applied_sequence((batch.authority, batch.list))
        receipt = receipt_of(gathered, BatchChange("rejected", "incomplete"), applied)
        await self._transactions.write([OutgoingRecord(RECEIPTS, batch.authority.encode(), encode(receipt))])
        self._state.parts.remove(name)
        self._state.forget_lines(gathered.offsets.values())
        self._state.receipts[name] = receipt
        metrics.events.labels(PUSHES.name, receipt.status).inc()

    async def _drop_expired_parts(self) -> None:
        """Drops the batches that wait for parts since more than a day, unless a part of one may be among the unread records."""
        expired = self._state.parts.expired(int(time.time() * 1000) - CLOCK_ALLOWANCE_MS)
        if not expired:
            return
        try:
            unread = self._next_offset < await self._reader.end_offset(PUSHES)
        except KafkaError:  # the next sweep may get an answer
            return
        for gathered in () if unread else expired:
            await self._drop_incomplete(gathered)

    def _mistaken(self, batch: PushBatch, receipt: PushReceipt, entry_ids: set[str]) -> MistakenEntries | None:
        """Returns the entries that an applied withdrawal removed as a mistake, under every id that they had, or None."""
        mistake = batch.mode == "withdraw" and batch.withdraw_reason == "mistake" and receipt.status == "applied"
        if not mistake or not entry_ids:
            return None
        name = (batch.authority, batch.list)
        return MistakenEntries(name, entry_ids | self._replica.merged_into(name, entry_ids))

    async def _write(self, records: Any) -> None:
        """Writes records in one transaction, then waits until the replica has applied them."""
        ends = await self._transactions.write(records)
        if WATCHLIST.name in ends:
            await self._replica.wait_until_applied(ends[WATCHLIST.name])


def _decode_push(value: bytes | None) -> PushBatch | PushConfirmation:
    """Decodes a record of the topic.

    Raises:
        Rejected: as `decode`.
    """
    if value is not None and b'"confirms"' not in value and b"\\" not in value:  # nearly always: a part of a batch
        with contextlib.suppress(Rejected):  # below it is rejected with the path of its first fault
            part: PushBatch = decode(PushBatch, value)
            return part
    is_confirmation = decode(_RecordKind, value).confirms is not None
    decoded: PushBatch | PushConfirmation = decode(PushConfirmation if is_confirmation else PushBatch, value)
    return decoded
