"""The watchlist projection: records of the watchlist topic become entries of the watchlist index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ninezero.agents.logic.watchlist.entries import EntryColumns, ListName
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import WatchlistEntry
from ninezero.schemas.times import NO_START_US, all_unix_micros
from ninezero.streams import metrics
from ninezero.streams.kafka.watchlist_state import MalformedEntry


class WatchlistProjection:
    """Applies records of the watchlist topic to an index. The watchlist replica drives it."""

    def __init__(self) -> None:
        self.index = WatchlistIndex()

    def stage(self, name: ListName, put: Mapping[str, WatchlistEntry], remove: Sequence[str]) -> None:
        """Stages what the list's next switch adds and removes.

        Raises:
            MalformedEntry: an entry has a malformed token.
        """
        self.index.stage_removals(name, remove)
        try:
            self.index.stage(name, _columns(put))
        except (ValueError, KeyError, OverflowError):
            if len(put) == 1:
                raise MalformedEntry(name, next(iter(put))) from None
            for entry_id, record in put.items():
                self.stage(name, {entry_id: record}, ())

    def switch(self, name: ListName, floor: int) -> None:
        """Applies what is staged and drops the entries below the floor, in one step."""
        self.index.switch(name, floor)

    def size(self, name: ListName) -> int:
        """Returns the number of entries on a list."""
        return self.index.size(name)

    def has(self, name: ListName, entry_id: str) -> bool:
        """Returns whether a list has an entry."""
        return self.index.get(name, entry_id) is not None

    def remove_now(self, name: ListName, entry_id: str) -> None:
        """Removes an entry without a switch, whether it is live or staged."""
        self.index.remove_now(name, entry_id)

    def tidy(self, limit: int, gone: list[tuple[ListName, str]] | None = None) -> bool:
        """Removes dead rows among the next `limit` rows. Returns whether there may be more. See `WatchlistIndex.remove_dead`."""
        return self.index.remove_dead(limit, gone)

    def measure(self) -> None:
        """Sets the metric of entries by category."""
        for category, count in self.index.count_by_category().items():
            metrics.watchlist_entries.labels(category).set(count)


def _columns(put: Mapping[str, WatchlistEntry]) -> EntryColumns:
    records = put.values()
    count = len(records)
    starts = all_unix_micros((record.valid_from for record in records), NO_START_US)
    ends = all_unix_micros((record.valid_to for record in records), NO_START_US)
    return EntryColumns(
        entry_ids=list(put),
        categories=[record.category for record in records],
        from_us=np.fromiter(starts, np.int64, count),
        to_us=np.fromiter(ends, np.int64, count),
        tokens=[record.tokens for record in records],
        sequences=[record.sequence for record in records],
        batch_ids=[record.batch_id for record in records],
        first_sequences=[record.first_sequence for record in records],
    )
