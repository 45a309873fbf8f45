"""The records of entries on the watchlist topic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import cast

from ninezero.agents.logic.pushes.put_entries import PutEntries
from ninezero.agents.logic.watchlist.entries import Entry, ListName
from ninezero.schemas.events import Category, PushBatch, WatchlistEntry, encode
from ninezero.schemas.times import NO_START_US
from ninezero.streams.kafka.records import OutgoingRecord, internal_record
from ninezero.streams.kafka.topics import WATCHLIST

_TOKENS = '"tokens":'
_NO_TOKENS = f"{_TOKENS}{{}}"
"""Where the tokens belong in an encoded entry without tokens. A string cannot contain it, because its quotes are escaped there."""


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
        valid_from=None if entry.from_us == NO_START_US else _time(entry.from_us),
        valid_to=_time(entry.to_us),
    )
    return internal_record(WATCHLIST, record_key((entry.authority, entry.list), entry.entry_id), value)


def put_records(batch: PushBatch, put: Mapping[str, Entry]) -> Iterator[OutgoingRecord]:
    """Yields the record of each entry that a batch puts, as `entry_record` returns it."""
    form = WATCHLIST.format
    assert form is not None
    if not isinstance(put, PutEntries):
        others = put.values()
    elif form.written != form.current.number:
        for entry in put.entries():
            yield entry_record(entry, batch.sequence)
        others = put.others.values()
    else:
        yield from _encoded(batch, put)
        others = put.others.values()
    for entry in others:
        yield entry_record(entry, batch.sequence)


def _encoded(batch: PushBatch, put: PutEntries) -> Iterator[OutgoingRecord]:
    """Yields the records of the entries that `put` makes of lines, in the current format.

    The records of a batch differ in little but the digests of their tokens, so these are filled into templates.
    """
    assert WATCHLIST.format is not None
    headers, prefix = WATCHLIST.format.headers, f"{batch.authority}|{batch.list}|"
    category = cast(Category, batch.category)  # a batch of an unknown category is rejected before its lines

    @lru_cache(maxsize=20_000)
    def template(batch_id: str, first_sequence: int, from_us: int, to_us: int, form: bytes) -> str:
        start = None if from_us == NO_START_US else _time(from_us)
        entry = WatchlistEntry(batch.sequence, first_sequence, batch_id, category, {}, start, _time(to_us))
        before, _, after = encode(entry).decode().replace("%", "%%").partition(_NO_TOKENS)
        tokens: dict[str, list[str]] = {}
        for domain, key in put.domains_and_keys(form):
            tokens.setdefault(domain, []).append(f"{key}.%s")
        return f"{before}{_TOKENS}{encode(tokens).decode()}{after}"

    for some in put.made():
        for entry_id, batch_id, first_sequence, from_us, to_us, form, digests in some:
            value = template(batch_id, first_sequence, from_us, to_us, form) % digests
            yield OutgoingRecord(WATCHLIST, f"{prefix}{entry_id}".encode(), value.encode(), headers)


def _time(unix_us: int) -> datetime:
    return datetime.fromtimestamp(unix_us / 1_000_000, UTC)
