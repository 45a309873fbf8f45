"""The state that the push agent keeps in memory besides the watchlist: registered lists, receipts of decided batches, and parts of
incomplete ones.

All are on their topics, so the process that takes over reads them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import cast

from ninezero.agents.logic.pushes.line_columns import LineColumns, TokenParser, line_columns
from ninezero.agents.logic.pushes.parts import BatchName, GatheredBatch, PartError, Parts
from ninezero.agents.logic.watchlist.entries import ListName
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.watchlist.topic_reader import RecordExpired, TopicReader
from ninezero.schemas.events import Category, Manifest, PushBatch, PushReceipt, decoder
from ninezero.schemas.list_register import ListEntry
from ninezero.streams.kafka.decoding import Rejected, decode
from ninezero.streams.kafka.internal_records import InternalRecords, Position
from ninezero.streams.kafka.list_register import RegisteredLists
from ninezero.streams.kafka.topics import LIST_REGISTER, PUSHES, RECEIPTS

MAX_KEPT_BYTES = 128 << 20
"""Size of the lines that wait in memory for the other parts of their batch. Those of earlier parts are read from the topic again."""


class PushState:
    """Registered lists, receipts and parts, as they are on the topics. Records in `set_aside` are passed over."""

    def __init__(self, reader: TopicReader, parse: TokenParser, set_aside: Set[Position] = frozenset()) -> None:
        self._reader, self._parse = reader, parse
        self._kept: dict[int, LineColumns] = {}
        """Lines of parts by their offsets, the oldest first."""
        self._kept_bytes = 0
        self._receipt_records = InternalRecords(RECEIPTS, set_aside, decoder(PushReceipt).decode)
        self.receipts: dict[BatchName, PushReceipt] = {}
        """The receipt of each batch that has one."""
        self._set_aside = set_aside
        self.lists = RegisteredLists(set_aside)
        """The lists that a batch was ever applied to."""
        self.parts = Parts()

    async def load(self, position: int) -> None:
        """Forgets everything, then reads the list register, all receipts, and the parts up to an offset.

        Args:
            position: the first offset of `watchlist-pushes` that is not processed yet.

        Raises:
            UnreadableRecord: a registered list or a receipt cannot be read. Without a receipt, its batch could be applied a second time.
        """
        self.lists = RegisteredLists(self._set_aside)
        self.lists.apply([record async for record in self._reader.read(LIST_REGISTER)])
        self.receipts.clear()
        async for record in self._reader.read(RECEIPTS):
            if self._receipt_records.is_set_aside(record):
                continue
            receipt = self._receipt_records.decode(record)
            if receipt.confirmation is None:
                self.receipts[receipt.authority, receipt.batch_id] = receipt
        self.parts = Parts()
        self._kept.clear()
        self._kept_bytes = 0
        async for record in self._reader.read(PUSHES, 0, position):
            try:
                batch = decode(PushBatch, record.value)
                if (batch.authority, batch.batch_id) not in self.receipts:
                    self.parts.add(batch, record.offset, record.timestamp)
            except (Rejected, PartError):
                continue  # its dead letter was written when it arrived

    def unregistered_lists(self, manifests: Mapping[ListName, Manifest], index: WatchlistIndex) -> list[ListEntry]:
        """Returns an entry for each list that a batch was applied to and of which the list register does not know that batch.

        It was applied by a release without a list register, or the list register was lost.

        Args:
            manifests: the manifests on the topic `watchlist`.
            index: the entries of that topic.
        """
        found: dict[ListName, ListEntry] = {}
        for receipt in self.receipts.values():
            name, sequence = (receipt.authority, receipt.list), receipt.sequence or 0
            if receipt.status == "applied" and _is_later(sequence, found.get(name)):
                found[name] = ListEntry(*name, cast(Category, receipt.category), sequence, receipt.batch_id, receipt.at)
        for name, manifest in manifests.items():
            if _is_later(manifest.sequence, found.get(name)):
                first = next(index.entries(name), None)
                category = None if first is None else first.category
                found[name] = ListEntry(*name, category, manifest.sequence, manifest.batch_id, manifest.at)
        known = self.lists.entries
        return [entry for name, entry in sorted(found.items()) if _is_later(entry.sequence, known.get(name))]

    def applied_sequence(self, name: ListName) -> int | None:
        """Returns the sequence of the last batch that was applied to a list; None for a new list."""
        entry = self.lists.entries.get(name)
        return None if entry is None else entry.sequence

    def keep_lines(self, offset: int, part: PushBatch) -> None:
        """Keeps the lines of the part at an offset until its batch is complete."""
        self.forget_lines([offset])  # a part that is delivered again
        self._kept[offset] = lines = line_columns(part.lines, self._parse)
        self._kept_bytes += lines.bytes
        while self._kept_bytes > MAX_KEPT_BYTES:
            self._kept_bytes -= self._kept.pop(next(iter(self._kept))).bytes

    def forget_lines(self, offsets: Iterable[int]) -> None:
        """Keeps the lines of the parts at some offsets no longer."""
        for offset in offsets:
            if (lines := self._kept.pop(offset, None)) is not None:
                self._kept_bytes -= lines.bytes

    async def read_lines(self, offset: int) -> LineColumns:
        """Returns the lines of the part at an offset, from the topic if they are not kept.

        Raises:
            RecordExpired: the topic does not have it any more.
        """
        if (kept := self._kept.get(offset)) is not None:
            return kept
        batch: PushBatch = decode(PushBatch, (await self._reader.read_one(PUSHES, offset)).value)
        return line_columns(batch.lines, self._parse)

    async def read_held(self, receipt: PushReceipt) -> GatheredBatch | None:
        """Returns a held batch as it was decided, or None if the topic does not have all of it any more."""
        parts, gathered = Parts(), None
        for offset in receipt.places:
            try:
                record = await self._reader.read_one(PUSHES, offset)
            except RecordExpired:
                return None
            gathered = parts.add(decode(PushBatch, record.value), offset, record.timestamp)
        return gathered


def _is_later(sequence: int, than: ListEntry | None) -> bool:
    return than is None or sequence > than.sequence
