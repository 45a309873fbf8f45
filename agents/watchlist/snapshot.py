"""The watchlist topic, read once from its beginning to its end: for the command line and the doctor."""

from __future__ import annotations

from typing import NamedTuple

from ninezero.schemas.events import Manifest, Removal, WatchlistEntry
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.internal_records import InternalRecords
from ninezero.streams.kafka.list_register import read_list_register
from ninezero.streams.kafka.register import read_register
from ninezero.streams.kafka.topics import WATCHLIST
from ninezero.streams.kafka.watchlist_state import ListName, split_key
from ninezero.streams.settings import Settings


class EntryKey(NamedTuple):
    """The list of an entry, and its id."""

    authority: str
    list: str
    entry_id: str


class WatchlistSnapshot(NamedTuple):
    """The lists as the topic has them now."""

    manifests: dict[ListName, Manifest]
    """The latest manifest of each list."""
    entries: dict[EntryKey, WatchlistEntry]
    """The live entries that were asked for."""
    missing: list[ListName]
    """The registered lists that the topic lacks, or lacks the last batch of."""
    merged: dict[EntryKey, str]
    """For an entry that was asked for and was merged into another one: the id of that one."""


async def read_snapshot(settings: Settings, which: str = "") -> WatchlistSnapshot:
    """Reads the manifests of all lists, and the live entries that have a token or an entry id, or had that id.

    Args:
        which: a token, or the id of an entry; no entries are returned without it.

    Raises:
        KafkaUnreachable: the broker does not answer.
        TopicsMissing: the topic is missing.
        UnreadableRecord: a record that is needed for the answer cannot be read.
    """
    manifests: dict[ListName, Manifest] = {}
    matching: dict[bytes, WatchlistEntry] = {}
    merged: dict[EntryKey, str] = {}
    quoted, ending = f'"{which}"'.encode(), f"|{which}".encode()
    followed: set[bytes] = (
        set()
    )  # keys of entries that a matching one was merged into: their records follow its removal
    await kafka.require_topics(settings, [WATCHLIST])
    set_aside = (await read_register(settings)).set_aside
    registered = await read_list_register(
        settings, set_aside
    )  # before the manifests, which are written together with it
    records = InternalRecords(WATCHLIST, set_aside)
    tp = kafka.TopicPartition(settings.topic(WATCHLIST.name), 0)
    async with kafka.connected(kafka.consumer(settings, isolation_level="read_committed")) as reader:
        async for record in kafka.read_to_end(reader, [tp]):
            wanted = bool(which) and (quoted in (record.value or b"") or record.key.endswith(ending))
            wanted = wanted or record.key in followed
            if not wanted and record.key not in matching and not record.key.endswith(b"|"):
                continue
            if records.is_set_aside(record):
                continue
            matching.pop(record.key, None)
            value = records.decode(record)
            listed = EntryKey(*split_key(record.key)[0], split_key(record.key)[1])
            merged.pop(listed, None)
            if isinstance(value, Manifest):
                manifests[split_key(record.key)[0]] = value
            elif isinstance(value, WatchlistEntry):
                matching[record.key] = value
            elif isinstance(value, Removal) and value.merged_into is not None:
                merged[listed] = value.merged_into
                followed.add(f"{listed.authority}|{listed.list}|{value.merged_into}".encode())
    live = {}
    for key, entry in matching.items():
        name, entry_id = split_key(key)
        manifest = manifests.get(name)
        if manifest is not None and manifest.floor <= entry.sequence <= manifest.sequence:
            live[EntryKey(*name, entry_id)] = entry
    return WatchlistSnapshot(manifests, live, registered.missing(manifests), merged)
