"""The records that a sweep writes: removals of expired entries, entries written again, and tombstones."""

from __future__ import annotations

from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.watchlist.batch_records import expiry_records
from ninezero.agents.watchlist.entry_records import entry_record
from ninezero.streams.kafka.records import OutgoingRecord
from ninezero.streams.kafka.topics import WATCHLIST
from ninezero.streams.kafka.watchlist_replica import WatchlistReplica
from ninezero.streams.kafka.watchlist_state import MERGED_SECONDS, split_key

SWEEP_LIMIT = 50_000
"""Most entries that one sweep takes off a list. The rest waits for the next sweep, so that a push never waits long."""

TOMBSTONE_SECONDS = 600.0
"""A removal becomes a tombstone after this time. It is longer than any transaction, so no delayed writer can still write
then."""


class Sweep:
    """Builds the records of each sweep."""

    def __init__(self, replica: WatchlistReplica, index: WatchlistIndex) -> None:
        self._replica, self._index = replica, index
        self._rewritten: set[bytes] = set()
        """Keys of entries that were written again because a stale record took their place on the topic. Each is written once."""

    def records(self, now: float) -> list[OutgoingRecord]:
        """Returns the records to write in one transaction.

        Args:
            now: Unix time in seconds.
        """
        records: list[OutgoingRecord] = []
        for name, manifest in self._replica.manifests.items():
            ids = self._index.expired(name, int(now * 1_000_000), SWEEP_LIMIT)
            expired = {entry_id: entry for entry_id in ids if (entry := self._index.get(name, entry_id)) is not None}
            if expired:
                records += expiry_records(name, expired, manifest, self._index)
        for key in self._replica.overwritten.keys() - self._rewritten:
            entry = self._index.get(*split_key(key))
            if entry is not None:
                records.append(entry_record(entry, entry.sequence))
        self._rewritten |= self._replica.overwritten.keys()
        self._replica.overwritten.clear()
        for key in self._replica.due_tombstones(now - TOMBSTONE_SECONDS, now - MERGED_SECONDS, SWEEP_LIMIT):
            records.append(OutgoingRecord(WATCHLIST, key, None))
        return records
