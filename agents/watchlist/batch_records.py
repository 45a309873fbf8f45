"""The records that follow from a decided batch, and from entries that expired: entries, removals, manifests, registered lists and receipts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import NamedTuple, cast

import msgspec

from ninezero.agents.logic.pushes.batches import BatchChange
from ninezero.agents.logic.pushes.parts import GatheredBatch
from ninezero.agents.logic.pushes.put_entries import PutEntries
from ninezero.agents.logic.watchlist.entries import Entry, ListName, token_pairs
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.watchlist.entry_records import put_records, record_key
from ninezero.schemas.events import Category, Manifest, PushBatch, PushConfirmation, PushReceipt, Removal, encode
from ninezero.schemas.list_register import ListEntry, list_key
from ninezero.streams.kafka.records import OutgoingRecord, internal_record
from ninezero.streams.kafka.topics import LIST_REGISTER, RECEIPTS, WATCHLIST


class ListTotals(NamedTuple):
    """The statement of a manifest about the content of its list."""

    entries: int
    key_ids: list[str]


def batch_records(
    batch: PushBatch, change: BatchChange, manifest: Manifest | None, receipt: PushReceipt, index: WatchlistIndex
) -> Iterator[OutgoingRecord]:
    """Yields the records of a decided batch. They belong in one transaction.

    Args:
        batch: the head of the batch.
        change: what was decided about it. Only an applied batch changes its list.
        manifest: the manifest of its list before the batch, or None.
        receipt: its receipt.
        index: the watchlist before the batch.
    """
    if change.status == "applied":
        name, full = (batch.authority, batch.list), batch.mode == "full"
        for entry_id in change.remove:
            removal = Removal(batch.sequence, merged_into=change.merged.get(entry_id))
            yield internal_record(WATCHLIST, record_key(name, entry_id), removal)
        yield from put_records(batch, change.put)
        if full:
            floor, totals = batch.sequence, totals_of(change)
        else:
            floor, totals = 0 if manifest is None else manifest.floor, totals_after(name, change, index)
        after = Manifest(batch.sequence, floor, totals.entries, totals.key_ids, batch.batch_id, datetime.now(UTC))
        yield internal_record(WATCHLIST, record_key(name), after)
        yield list_record(list_entry(batch, receipt))
    yield OutgoingRecord(RECEIPTS, batch.authority.encode(), encode(receipt))


def expiry_records(
    name: ListName, expired: dict[str, Entry], manifest: Manifest, index: WatchlistIndex
) -> Iterator[OutgoingRecord]:
    """Yields the removals of expired entries of a list, and its new manifest."""
    for entry_id in expired:
        yield internal_record(WATCHLIST, record_key(name, entry_id), Removal(manifest.sequence, expired=True))
    totals = totals_after(name, BatchChange(remove=expired), index)
    after = msgspec.structs.replace(manifest, entries=totals.entries, key_ids=totals.key_ids)
    yield internal_record(WATCHLIST, record_key(name), after)


def list_entry(batch: PushBatch, receipt: PushReceipt) -> ListEntry:
    """Returns what the list register states after a batch was applied."""
    category = cast(Category, batch.category)
    return ListEntry(batch.authority, batch.list, category, batch.sequence, batch.batch_id, receipt.at)


def list_record(entry: ListEntry) -> OutgoingRecord:
    """Returns the record of a list on the list register."""
    return internal_record(LIST_REGISTER, list_key(entry), entry)


def receipt_of(
    gathered: GatheredBatch,
    change: BatchChange,
    applied_sequence: int | None,
    confirmation: PushConfirmation | None = None,
) -> PushReceipt:
    """Returns the receipt of a decided batch.

    Args:
        gathered: the batch.
        change: what was decided about it.
        applied_sequence: the last sequence number applied to its list before it; None for a new list.
        confirmation: the confirmation after which it was decided again, or None.
    """
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
        by=batch.pushed_by if confirmation is None else confirmation.confirmed_by,
        confirmed=confirmation is not None,
        places=gathered.offsets_in_order if change.status == "held" else [],
        sequence=batch.sequence if change.status == "applied" else applied_sequence,
        leaving=change.leaving,
        listed=change.listed,
    )


def totals_of(change: BatchChange) -> ListTotals:
    """Returns the totals of a list that holds only the entries that a change puts."""
    return ListTotals(len(change.put), _key_ids(_put_keys(change)))


def totals_after(name: ListName, change: BatchChange, index: WatchlistIndex) -> ListTotals:
    """Returns the totals of a list after a change to its present entries."""
    size = index.size(name) - len(change.remove) - len(change.replaced) + len(change.put)
    keys = Counter(index.key_counts(name))
    keys.update(_put_keys(change))
    keys.subtract(_keys_of(chain(change.remove.values(), change.replaced.values())))
    if isinstance(change.put, PutEntries):
        size -= len(change.put.replaced)
        keys.subtract(index.key_counts_of(change.put.replaced))
    return ListTotals(size, _key_ids(keys))


def _put_keys(change: BatchChange) -> Counter[str]:
    """Returns the number of tokens by key id of the entries that a change puts."""
    if isinstance(change.put, PutEntries):
        return change.put.key_counts() + _keys_of(change.put.others.values())
    return _keys_of(change.put.values())


def _keys_of(entries: Iterable[Entry]) -> Counter[str]:
    """Returns the number of tokens by key id."""
    return Counter(token.partition(".")[0] for entry in entries for _, token in token_pairs(entry.tokens))


def _key_ids(counts: Counter[str]) -> list[str]:
    return sorted(key_id for key_id, count in counts.items() if count)
