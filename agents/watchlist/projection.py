"""The watchlist that the replica fills and the rules read."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt

from ninezero.agents.logic.watchlist.index import ListName, Slice, Watchlist
from ninezero.schemas.events import WatchlistEntry
from ninezero.streams import metrics

log = logging.getLogger("ninezero.lists")


class WatchlistProjection:
    """Turns records of the watchlist topic into entries in memory."""

    def __init__(self) -> None:
        self.watchlist = Watchlist()

    def stage(self, name: ListName, put: Mapping[str, WatchlistEntry], remove: Sequence[str]) -> None:
        """Prepares what the list's next switch puts on it and takes off it."""
        self.watchlist.stage_removals(name, remove)
        try:
            self._stage(name, put)
        except (ValueError, KeyError, OverflowError):
            if len(put) == 1:
                log.error("an entry of list %s has a token of a wrong form; it is left out", "/".join(name))
            else:
                for entry_id, record in put.items():
                    self.stage(name, {entry_id: record}, ())

    def switch(self, name: ListName, floor: int) -> None:
        """Applies what is staged, and drops what is below the floor; all in one step."""
        self.watchlist.switch(name, floor)

    def size(self, name: ListName) -> int:
        """Number of entries on a list."""
        return self.watchlist.size(name)

    def has(self, name: ListName, entry_id: str) -> bool:
        """Whether a list has an entry."""
        return self.watchlist.get(name, entry_id) is not None

    def remove_now(self, name: ListName, entry_id: str) -> None:
        """Takes an entry off at once, live or staged."""
        self.watchlist.remove_now(name, entry_id)

    def tidy(self, limit: int, gone: list[tuple[ListName, str]] | None = None) -> bool:
        """Clears away some of what is off the lists; whether there may be more."""
        return self.watchlist.tidy(limit, gone)

    def measure(self) -> None:
        """Sets the gauge of entries by category."""
        for category, count in self.watchlist.by_category().items():
            metrics.watchlist_entries.labels(category).set(count)

    def _stage(self, name: ListName, put: Mapping[str, WatchlistEntry]) -> None:
        records = put.values()
        self.watchlist.stage(
            name,
            Slice(
                entry_ids=list(put),
                categories=[record.category for record in records],
                from_us=_micros([record.valid_from for record in records]),
                to_us=_micros([record.valid_to for record in records]),
                tokens=[record.tokens for record in records],
                sequences=[record.sequence for record in records],
            ),
        )


def _micros(times: Sequence[datetime]) -> npt.NDArray[np.int64]:
    """Unix times in µs, as `batches.micros` gives them one by one; a µs off at times from the year 2106 on."""
    rounded: npt.NDArray[np.float64] = np.rint(np.array([time.timestamp() for time in times]) * 1_000_000)
    return rounded.astype(np.int64)
