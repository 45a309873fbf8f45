"""The rules by which records of the watchlist topic change the lists.

Changes of a list are staged until its manifest and then applied in one step, so a scan sees all of a batch or none of it. A
record that follows a manifest but belongs before it comes from a delayed writer; it changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from itertools import chain, islice
from typing import Any, NamedTuple, Protocol

import msgspec

from ninezero.schemas.events import Heartbeat, Identifier, Manifest, Removal, WatchlistEntry
from ninezero.schemas.times import MAX_AHEAD_SECONDS
from ninezero.streams.kafka.internal_records import InternalRecords, Position
from ninezero.streams.kafka.topics import WATCHLIST

SLICE_RECORDS = 2000
"""Records that are applied, or rows that are cleaned up, without giving the event loop a turn. They take about 10 ms, so outcomes
do not wait until a list of millions is read."""

MAX_PENDING_TOMBSTONES = 200_000
"""Maximum number of keys that are collected for tombstones. Further removed entries stay in memory, where nothing matches them."""

HEARTBEAT_KEY = b"||"

MERGED_SECONDS = 72 * 3600.0 + 600.0
"""An entry that was merged into another has its tombstone after this time. Until then an alert may name it, and a withdrawal of
the other entry for `mistake` corrects that alert. An alert is kept for 72 hours."""

NO_BATCH = -1
"""Stands in place of a sequence for an entry that no batch removed."""

ListName = tuple[str, str]
"""Authority and list."""


class MalformedEntry(Exception):
    """An entry cannot be stored.

    Attributes:
        key: the key of its record.
    """

    def __init__(self, name: ListName, entry_id: str) -> None:
        super().__init__()
        self.key = f"{name[0]}|{name[1]}|{entry_id}".encode()


class _Merged(NamedTuple):
    """The fate of an entry that was merged into another."""

    into: str
    """Id of the other entry."""
    at: float
    """Unix time in seconds."""


class ListStore(Protocol):
    """The store of the entries of the lists. It knows keys and sequences of the topic, and the meaning of an entry."""

    def stage(self, name: ListName, put: Mapping[str, WatchlistEntry], remove: Sequence[str]) -> None:
        """Prepares entries that the next switch of a list adds and removes. No id is in both. May raise MalformedEntry."""

    def switch(self, name: ListName, floor: int) -> None:
        """Applies what is staged for a list and removes entries with a sequence below `floor`, in one step."""

    def size(self, name: ListName) -> int:
        """Returns the number of entries of a list."""

    def has(self, name: ListName, entry_id: str) -> bool:
        """Returns whether a list has an entry."""

    def remove_now(self, name: ListName, entry_id: str) -> None:
        """Removes an entry, live or staged, without waiting for a switch."""

    def tidy(self, limit: int, gone: list[tuple[ListName, str]] | None = None) -> bool:
        """Frees the memory of at most `limit` removed entries and adds them to `gone`. Returns whether more are left."""


class WatchlistState:
    """The state that results from the records of the topic up to an offset.

    Attributes:
        manifests: the latest manifest of each list.
        version: offset of the latest manifest; -1 before the first.
        heartbeat: Kafka timestamp of the latest heartbeat, Unix time in seconds; None before the first.
        overwritten: keys of live entries that another writer has overwritten on the topic; they must be written again.
        caught_up: whether the end of the topic was reached once.

    Args:
        lists: where the entries are.
        on_change: is called when a list has changed.
        tracks_removals: whether to remember removed entries until they have tombstones, for the process that writes these.
        set_aside: the records to pass over.
    """

    def __init__(
        self,
        lists: ListStore,
        on_change: Callable[[], None] = lambda: None,
        tracks_removals: bool = False,
        set_aside: Set[Position] = frozenset(),
    ) -> None:
        self._records = InternalRecords(WATCHLIST, set_aside)
        self._lists = lists
        self._on_change = on_change
        self._tracks_removals = tracks_removals
        self._removed: dict[bytes, tuple[int, float]] = {}
        """Keys of removed entries without a tombstone: the sequence that removed each, and when (Unix time in seconds; 0 if a
        tombstone may be written immediately)."""
        self._merged: dict[bytes, _Merged] = {}
        """Keys of entries that were merged into others, until they have tombstones."""
        self._pending: dict[ListName, dict[str, WatchlistEntry | Removal]] = {}
        """Records of the current call of `apply` that are not staged yet."""
        self.manifests: dict[ListName, Manifest] = {}
        self.version = -1
        self.heartbeat: float | None = None
        self._heartbeat_read = 0.0
        """When the latest heartbeat was read, by the monotonic clock, in seconds."""
        self.overwritten: dict[bytes, None] = {}
        self.caught_up = False

    @property
    def complete(self) -> bool:
        """True if every list has as many entries as its manifest states, and there is a list."""
        return self.caught_up and bool(self.manifests) and all(map(self.has_all_entries, self.manifests))

    def has_all_entries(self, name: ListName) -> bool:
        """Returns whether a list has a manifest, and as many entries as it states."""
        return name in self.manifests and self._lists.size(name) == self.manifests[name].entries

    def heartbeat_age(self, now: float | None = None) -> float:
        """Returns the seconds since the last heartbeat; infinite before the first, and if it is too far in the future.

        Args:
            now: Unix time in seconds; the current time without it.
        """
        if self.heartbeat is None or self.heartbeat_ahead(now) > MAX_AHEAD_SECONDS:
            return float("inf")
        return self.heartbeat_silence(now)

    def heartbeat_silence(self, now: float | None = None) -> float:
        """Returns the seconds since the last heartbeat, by the clock of this machine or, if it was set back, by the time since it was read."""
        by_clock = (now or time.time()) - (self.heartbeat or 0.0)
        return max(by_clock, time.monotonic() - self._heartbeat_read)

    def heartbeat_ahead(self, now: float | None = None) -> float:
        """Returns the seconds by which the last heartbeat is in the future of this machine's clock; 0 if it is not."""
        return 0.0 if self.heartbeat is None else max(0.0, self.heartbeat - (now or time.time()))

    def removed_by(self, name: ListName, sequence: int) -> list[str]:
        """Returns the ids of the entries that a batch removed from a list and that have no tombstones yet.

        Args:
            name: the list.
            sequence: the sequence of the batch.
        """
        prefix = f"{name[0]}|{name[1]}|".encode()
        return [
            key[len(prefix) :].decode()
            for key, (by, _) in self._removed.items()
            if by == sequence and key.startswith(prefix)
        ]

    def merged_into(self, name: ListName, entry_ids: Set[str]) -> set[str]:
        """Returns the ids of the entries that were merged into some entries, directly or through others, and have no tombstones yet.

        Args:
            name: the list.
            entry_ids: the ids of the entries.
        """
        prefix = f"{name[0]}|{name[1]}|".encode()
        before: dict[str, list[str]] = {}
        for key, merged in self._merged.items():
            if key.startswith(prefix):
                before.setdefault(merged.into, []).append(key[len(prefix) :].decode())
        found: set[str] = set()
        following = list(entry_ids)
        while following:
            more = [entry_id for entry_id in before.get(following.pop(), ()) if entry_id not in found]
            found.update(more)
            following += more
        return found

    def due_tombstones(self, removed_before: float, merged_before: float, limit: int) -> list[bytes]:
        """Returns keys without a live entry whose tombstones are due.

        Args:
            removed_before: Unix time in seconds; entries that were removed before it are due.
            merged_before: Unix time in seconds; entries that were merged into others before it are due.
            limit: maximum number of keys.
        """
        removed = (key for key, (_, at) in self._removed.items() if at < removed_before)
        merged = (key for key, (_, at) in self._merged.items() if at < merged_before)
        due = (key for key in chain(removed, merged) if not self._lists.has(*split_key(key)))
        return list(islice(due, limit))

    def apply(self, records: Sequence[Any]) -> None:
        """Applies the next records of the topic. Entries and removals take effect with the manifest of their list.

        Raises:
            UnreadableRecord: a record cannot be read. The records after it are not applied.
        """
        records = self._records.remaining(records)
        try:
            self._apply(records)
        except MalformedEntry as error:
            raise self._records.unreadable(next(one for one in records if one.key == error.key)) from None

    def _apply(self, records: Sequence[Any]) -> None:
        decode = self._records.decode
        names: dict[bytes, ListName] = {}
        for record in records:
            value = decode(record)
            prefix, _, entry = (record.key or b"").rpartition(b"|")
            try:
                if (name := names.get(prefix)) is None:
                    name = names[prefix] = _validated_name(record.key or b"")
                entry_id = entry.decode()
            except ValueError:
                raise self._records.unreadable(record) from None
            if isinstance(value, WatchlistEntry):
                manifest = self.manifests.get(name)
                if manifest is not None and value.sequence <= manifest.sequence:
                    self._ignore_delayed(name, entry_id, record.key)
                else:
                    self._pending.setdefault(name, {})[entry_id] = value
                    if self._removed or self._merged:
                        self._removed.pop(record.key, None)
                        self._merged.pop(record.key, None)
            elif isinstance(value, Heartbeat):
                self.heartbeat, self._heartbeat_read = record.timestamp / 1000, time.monotonic()
            elif isinstance(value, Manifest):
                self._stage(name)
                self._switch(name, value, record.offset)
            elif value is None:
                self._apply_tombstone(name, entry_id, record.key)
            else:
                self._apply_removal(name, entry_id, value, record)
        for name in list(self._pending):
            self._stage(name)

    def clean_up(self) -> None:
        """Frees the memory of some removed entries, and collects their keys for tombstones."""
        gone: list[tuple[ListName, str]] | None = [] if self._tracks_removals else None
        if len(self._removed) < MAX_PENDING_TOMBSTONES:
            self._lists.tidy(SLICE_RECORDS, gone)
        for name, entry_id in gone or ():
            key = f"{name[0]}|{name[1]}|{entry_id}".encode()
            if key not in self._merged:
                self._removed.setdefault(key, (NO_BATCH, 0.0))

    def _ignore_delayed(self, name: ListName, entry_id: str, key: bytes) -> None:
        """Handles a record that belongs before a manifest which was read already: it comes from a delayed writer."""
        if self._lists.has(name, entry_id):
            self.overwritten[key] = None
        elif self._tracks_removals and key not in self._merged:
            self._removed.setdefault(key, (NO_BATCH, 0.0))

    def _apply_removal(self, name: ListName, entry_id: str, removal: Removal, record: Any) -> None:
        manifest = self.manifests.get(name)
        if manifest is not None and removal.sequence < manifest.sequence:
            self._ignore_delayed(name, entry_id, record.key)
            return
        if self._tracks_removals and removal.merged_into is not None:
            self._merged[record.key] = _Merged(removal.merged_into, record.timestamp / 1000)
        elif self._tracks_removals:
            sequence = NO_BATCH if removal.expired else removal.sequence
            self._removed[record.key] = (sequence, record.timestamp / 1000)
        self._pending.setdefault(name, {})[entry_id] = removal

    def _apply_tombstone(self, name: ListName, entry_id: str, key: bytes) -> None:
        """Applies a tombstone. In a complete list it changes nothing, because a removal came before it.

        While the topic is read from its beginning it removes the entry: compaction may have deleted that removal meanwhile.
        """
        self._removed.pop(key, None)
        self._merged.pop(key, None)
        if not (self.caught_up and self.has_all_entries(name)):
            self._stage(name)
            self._lists.remove_now(name, entry_id)
        elif self._lists.has(name, entry_id):
            self.overwritten[key] = None

    def _stage(self, name: ListName) -> None:
        records = self._pending.pop(name, {})
        put = {key: value for key, value in records.items() if isinstance(value, WatchlistEntry)}
        self._lists.stage(name, put, [key for key in records if key not in put])

    def _switch(self, name: ListName, manifest: Manifest, offset: int) -> None:
        self._lists.switch(name, manifest.floor)
        self.manifests[name] = manifest
        self.version = offset
        self._on_change()


def _validated_name(key: bytes) -> ListName:
    """Returns the list of a record's key in a form that logs and metrics may show; two empty strings for a heartbeat.

    Raises:
        ValueError: it is not a key of the watchlist topic.
    """
    name = split_key(key)[0]
    return name if name == ("", "") else msgspec.convert(name, tuple[Identifier, Identifier])


def split_key(key: bytes) -> tuple[ListName, str]:
    """Returns the list and the entry id of a record's key; the id is empty for a manifest.

    Raises:
        ValueError: it is not a key of the watchlist topic.
    """
    authority, name, entry_id = key.decode().split("|", 2)
    return (authority, name), entry_id
