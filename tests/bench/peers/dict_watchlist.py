"""The watchlist of the Python peers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ninezero.agents.logic.watchlist.entries import Entry


class DictWatchlist:
    """A watchlist in a dict for each domain.

    Args:
        lines: the lines of a file with lists (`feed.write_watchlist`).
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lists: list[dict[str, Any]] = []
        self._places: dict[str, dict[str, int | list[int]]] = {}
        """The place of the entry that has a token, or those of several: list number << 32 | line number."""
        place = 0
        for line in lines:
            if line.startswith("{"):
                place = len(self._lists) << 32
                self._lists.append(json.loads(line))
                continue
            for pair in line.split():
                domain, _, token = pair.partition(":")
                places = self._places.setdefault(domain, {})
                before = places.get(token, [])
                places[token] = [*([before] if isinstance(before, int) else before), place] if before != [] else place
            place += 1
        self.common_keys = frozenset(key for about in self._lists for key in about["keys"])

    def find_valid(self, domain: str, token: str, at_us: int) -> Sequence[Entry]:
        """Returns the entries of a token that are valid at a time, as `WatchlistIndex.find_valid` does."""
        found = self._places.get(domain, {}).get(token)
        if found is None:
            return ()
        entries = []
        for place in [found] if isinstance(found, int) else found:
            about = self._lists[place >> 32]
            if about["from_us"] <= at_us < about["to_us"]:
                entries.append(
                    Entry(about["authority"], about["list"], f"{about['batch']}:{place & 0xFFFFFFFF}", about["category"],
                          about["from_us"], about["to_us"], {domain: (token,)}, 1, about["batch"], 1)
                )  # fmt: skip
        return entries
