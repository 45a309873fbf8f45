"""Records of the compacted watchlist topic. The key of an entry is `authority|list|entry_id`."""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

from ninezero.schemas.events.base import Count, Seq, Time

Category = Literal[
    "confirmed_case", "suspected_case", "close_contact", "risk_region_arrival", "quarantine_order", "health_pass"
]
CATEGORIES: frozenset[str] = frozenset(get_args(Category))


class WatchlistEntry(Struct, tag="entry", tag_field="record"):
    """The current state of one entry.

    `sequence` is the sequence of the batch that wrote it last, and `first_sequence` that of the batch that first listed it, under
    the entry id that it still has. `batch_id` is the batch that last changed it. Without `valid_from` the entry holds whenever
    something was observed.
    """

    sequence: Seq
    first_sequence: Seq
    batch_id: str
    category: Category
    tokens: dict[str, list[str]]
    valid_from: Time | None
    valid_to: Time


class Removal(Struct, tag="removal", tag_field="record"):
    """Removes an entry from its list, from the manifest of `sequence` on.

    `expired` is set if the entry reached the end of its validity, and not if a batch removed it. `merged_into` is the id of the
    entry that took its place, if a line of a batch was both.
    """

    sequence: Seq
    expired: bool = False
    merged_into: str | None = None


class Manifest(Struct, tag="manifest", tag_field="record"):
    """States when a list is complete (key `authority|list|`). Records with a sequence below `floor` are ignored."""

    sequence: Seq
    floor: Seq
    entries: Count
    key_ids: list[str]
    batch_id: str
    at: Time


class Heartbeat(Struct, tag="heartbeat", tag_field="record"):
    """Written every ten seconds (key `||`). It shows that records from the lists role still arrive."""

    at: Time


WatchlistRecord = WatchlistEntry | Removal | Manifest | Heartbeat
