"""The list register remembers every list that a batch was applied to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.watchlist.batch_records import list_record
from ninezero.agents.watchlist.push_state import PushState
from ninezero.schemas.events import Manifest, PushReceipt
from ninezero.schemas.list_register import ListEntry
from ninezero.streams.kafka.internal_records import Position, UnreadableRecord
from ninezero.streams.kafka.list_register import RegisteredLists
from tests.unit.kafka.test_watchlist_state import Record

NOW = datetime(2026, 12, 1, tzinfo=UTC)
CONTACTS, CASES = (
    ListEntry("cdc", "contacts", "close_contact", 4, "b4", NOW),
    ListEntry("cdc", "cases", None, 7, "b7", NOW),
)


def topic(*entries: ListEntry) -> list[Any]:
    """Returns the records of the entries, at the offsets 0, 1, and so on."""
    records = map(list_record, entries)
    return [Record(n, r.key, r.value, headers=r.headers) for n, r in enumerate(records)]


def registered(records: Iterable[Any], **options: Any) -> RegisteredLists:
    lists = RegisteredLists(**options)
    lists.apply(records)
    return lists


def manifest(sequence: int) -> Manifest:
    return Manifest(sequence, 0, 0, [], f"b{sequence}", NOW + timedelta(days=1))


def test_a_list_is_missing_until_it_is_there_or_dropped() -> None:
    lists = registered(topic(CONTACTS, CASES))
    assert lists.missing({}) == [("cdc", "cases"), ("cdc", "contacts")]
    assert lists.missing({("cdc", "cases"): manifest(7)}) == [("cdc", "contacts")]
    assert lists.missing({("cdc", "cases"): manifest(6), ("cdc", "contacts"): manifest(9)}) == [("cdc", "cases")], (
        "the topic lost its last batch"
    )
    lists.apply(topic(ListEntry("cdc", "contacts", "close_contact", 4, "b4", NOW, dropped=True)))
    assert lists.missing({("cdc", "cases"): manifest(7)}) == [] and not lists.needed(("cdc", "contacts"))
    lists.apply(topic(CONTACTS))
    assert lists.missing({("cdc", "cases"): manifest(7)}) == [("cdc", "contacts")], "it was pushed again"


def test_a_damaged_record_ends_the_reading_unless_it_is_set_aside() -> None:
    records = topic(CONTACTS, CASES)
    records[0] = records[0]._replace(key=b"cdc|other")
    with pytest.raises(UnreadableRecord):
        registered(records)
    assert registered(records, set_aside={Position("list-register", 0, 0)}).missing({}) == [("cdc", "cases")]


def receipt(name: str, sequence: int, status: Any = "applied") -> PushReceipt:
    return PushReceipt(
        f"b{sequence}", "cdc", name, "close_contact", "delta", status, None, 1, 1, 0, 0, 0, [], NOW, NOW, sequence=sequence
    )  # fmt: skip


def test_a_list_is_registered_by_its_manifest_or_its_receipts_and_never_with_an_older_batch() -> None:
    """Releases without a list register wrote manifests and receipts alone."""
    index = WatchlistIndex()
    state = PushState(None, index.parse_tokens)  # type: ignore[arg-type]  # nothing is read
    later = manifest(1).at
    manifests = {("cdc", "contacts"): manifest(4), ("cdc", "cases"): manifest(8), ("cdc", "new"): manifest(2)}
    for one in (receipt("gone", 3), receipt("gone", 5), receipt("held", 9, "held"), receipt("contacts", 3)):
        state.receipts[one.authority, one.batch_id] = one
    state.lists = registered(topic(CONTACTS, CASES))
    assert state.unregistered_lists(manifests, index) == [
        ListEntry("cdc", "cases", None, 8, "b8", later), ListEntry("cdc", "gone", "close_contact", 5, "b5", NOW),
        ListEntry("cdc", "new", None, 2, "b2", later),
    ]  # fmt: skip
    assert (state.applied_sequence(("cdc", "contacts")), state.applied_sequence(("cdc", "held"))) == (4, None)
