"""The records that follow from a decided batch, and from entries that expired: entries, removals, manifests and receipts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import NamedTuple

import msgspec

from ninezero.agents.logic.pushes.batches import BatchChange
from ninezero.agents.logic.pushes.parts import GatheredBatch
from ninezero.agents.logic.watchlist.entries import Entry, ListName, token_pairs
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import (
    Manifest,
    PushBatch,
    PushConfirmation,
    PushReceipt,
    Removal,
    WatchlistEntry,
    encode,
)
from ninezero.schemas.times import NO_START_US
from ninezero.streams.kafka.records import OutgoingRecord, internal_record
from ninezero.streams.kafka.topics import RECEIPTS, WATCHLIST

UNREACHABLE_SIZE = 2**31 - 1
"""A number of entries that no list reaches: the manifest of a lost list states it, so the list is never complete."""


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
        for entry in change.put.values():
            yield entry_record(entry, batch.sequence)
        if full:
            floor, totals = batch.sequence, totals_of(change)
        else:
            floor, totals = 0 if manifest is None else manifest.floor, totals_after(name, change, index)
        after = Manifest(batch.sequence, floor, totals.entries, totals.key_ids, batch.batch_id, datetime.now(UTC))
        yield internal_record(WATCHLIST, record_key(name), after)
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


def lost_list_record(name: ListName) -> OutgoingRecord:
    """Returns the manifest of a list that is gone from its topic. Only a `full` makes the list complete again."""
    manifest = Manifest(0, 0, UNREACHABLE_SIZE, [], "", datetime.now(UTC), lost=True)
    return internal_record(WATCHLIST, record_key(name), manifest)


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
    return _totals(len(change.put), {}, BatchChange(put=change.put))


def totals_after(name: ListName, change: BatchChange, index: WatchlistIndex) -> ListTotals:
    """Returns the totals of a list after a change to its present entries."""
    size = index.size(name) - len(change.remove) - len(change.replaced) + len(change.put)
    return _totals(size, index.key_counts(name), change)


def _totals(entries: int, key_counts: dict[str, int], change: BatchChange) -> ListTotals:
    for entry in chain(change.remove.values(), change.replaced.values()):
        _count_keys(key_counts, entry, -1)
    for entry in change.put.values():
        _count_keys(key_counts, entry, 1)
    return ListTotals(entries, sorted(key_id for key_id, count in key_counts.items() if count))


def _count_keys(key_counts: dict[str, int], entry: Entry, sign: int) -> None:
    for _, token in token_pairs(entry.tokens):
        key_id = token.partition(".")[0]
        key_counts[key_id] = key_counts.get(key_id, 0) + sign


def record_key(name: ListName, entry_id: str = "") -> bytes:
    """Returns the key of an entry on the watchlist topic. Without an entry id: of the list's manifest."""
    return f"{name[0]}|{name[1]}|{entry_id}".encode()


def entry_record(entry: Entry, sequence: int) -> OutgoingRecord:
    """Returns the record of an entry.

    Args:
        entry: the entry.
        sequence: sequence number of the batch that writes it.
    """
    value = WatchlistEntry(
        sequence=sequence,
        first_sequence=entry.first_sequence,
        batch_id=entry.batch_id,
        category=entry.category,
        tokens={domain: list(some) for domain, some in entry.tokens.items()},
        valid_from=None if entry.from_us == NO_START_US else datetime.fromtimestamp(entry.from_us / 1_000_000, UTC),
        valid_to=datetime.fromtimestamp(entry.to_us / 1_000_000, UTC),
    )
    return internal_record(WATCHLIST, record_key((entry.authority, entry.list), entry.entry_id), value)
