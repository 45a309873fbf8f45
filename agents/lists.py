"""The watchlist that the replica fills and the rules read."""

from __future__ import annotations

from agents.logic.batches import micros
from agents.logic.watchlist import Entry, ListName, Watchlist
from schemas.events import WatchlistEntry
from streams import metrics


class Lists:
    """Turns records of the watchlist topic into entries in memory."""

    def __init__(self) -> None:
        self.watchlist = Watchlist()

    def apply(self, name: ListName, put: dict[str, WatchlistEntry], remove: list[str]) -> None:
        """One manifest's worth of changes to one list, in one step."""
        entries = [
            Entry(
                authority=name[0],
                list=name[1],
                entry_id=entry_id,
                category=record.category,
                from_us=micros(record.valid_from),
                to_us=micros(record.valid_to),
                tokens={kind: tuple(some) for kind, some in record.tokens.items()},
                sequence=record.sequence,
            )
            for entry_id, record in put.items()
        ]
        self.watchlist.apply(name, entries, remove)

    def drop_below(self, name: ListName, floor: int) -> list[str]:
        """Takes the entries off a list whose sequence is below `floor`; their ids."""
        return self.watchlist.drop_below(name, floor)

    def size(self, name: ListName) -> int:
        """Number of entries on a list."""
        return len(self.watchlist.lists.get(name, ()))

    def measure(self) -> None:
        """Sets the gauge of entries by category."""
        for category, count in self.watchlist.by_category().items():
            metrics.watchlist_entries.labels(category).set(count)
