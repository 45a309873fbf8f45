"""The watchlist in memory: entries of every list, found by token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from msgspec import Struct

KINDS = ("id", "passport", "pass", "phone", "plate")
"""Domains of tokens, in the order in which a match is named."""

ListName = tuple[str, str]
"""(authority, list)"""


class Entry(Struct, gc=False, frozen=True):
    """One entry. The window is `from_us <= t < to_us` in µs of Unix time; `tokens` maps a domain to its tokens."""

    authority: str
    list: str
    entry_id: str
    category: str
    from_us: int
    to_us: int
    tokens: dict[str, tuple[str, ...]]
    sequence: int

    @property
    def batch_id(self) -> str:
        """The batch that brought the entry."""
        return self.entry_id.rpartition(":")[0]


class Watchlist:
    """All live lists. Changes are synchronous, so a scan sees a batch wholly or not at all."""

    def __init__(self) -> None:
        self.lists: dict[ListName, dict[str, Entry]] = {}
        self.found: dict[str, dict[str, tuple[Entry, ...]]] = {kind: {} for kind in KINDS}
        self._key_ids: dict[ListName, dict[str, int]] = {}
        self.common_keys: frozenset[str] | None = None
        """Key ids that every non-empty list has; None when all lists are empty."""

    def apply(self, name: ListName, put: Iterable[Entry], remove: Iterable[str]) -> None:
        """Takes entries off a list by entry id, then puts entries on it."""
        entries = self.lists.setdefault(name, {})
        keys = self._key_ids.setdefault(name, {})
        for entry_id in remove:
            old = entries.pop(entry_id, None)
            if old is not None:
                self._unindex(old, keys)
        for entry in put:
            old = entries.get(entry.entry_id)
            if old is not None:
                self._unindex(old, keys)
            entries[entry.entry_id] = entry
            self._index(entry, keys)
        sets = [set(keys) for keys in self._key_ids.values() if keys]
        self.common_keys = frozenset(set.intersection(*sets)) if sets else None

    def drop_below(self, name: ListName, floor: int) -> list[str]:
        """Takes the entries off a list whose sequence is below `floor`; their ids."""
        gone = [entry_id for entry_id, entry in self.lists.get(name, {}).items() if entry.sequence < floor]
        self.apply(name, (), gone)
        return gone

    def size(self, name: ListName) -> int:
        """Number of entries on a list, ended ones included."""
        return len(self.lists.get(name, ()))

    def get(self, name: ListName, entry_id: str) -> Entry | None:
        """An entry by its id."""
        return self.lists.get(name, {}).get(entry_id)

    def expired(self, name: ListName, now_us: int, limit: int) -> list[str]:
        """Ids of at most `limit` entries that have ended at `now_us` (µs)."""
        found = (entry_id for entry_id, entry in self.lists.get(name, {}).items() if entry.to_us <= now_us)
        return list(islice(found, limit))

    def key_counts(self, name: ListName) -> dict[str, int]:
        """Key ids that occur on a list, each with its number of tokens."""
        return dict(self._key_ids.get(name, {}))

    def key_ids(self, name: ListName) -> list[str]:
        """Key ids that occur on a list, sorted."""
        return sorted(self._key_ids.get(name, ()))

    def valid(self, kind: str, token: str, at_us: int) -> list[Entry]:
        """Entries of the token's domain that are valid at a time (µs)."""
        return [entry for entry in self.found[kind].get(token, ()) if entry.from_us <= at_us < entry.to_us]

    def find(self, kind: str, token: str) -> tuple[Entry, ...]:
        """Entries that have the token in that domain, whatever their window."""
        return self.found[kind].get(token, ())

    def live(self, name: ListName, now_us: int) -> int:
        """Entries of a list that have not ended at `now_us` (µs)."""
        return sum(entry.to_us > now_us for entry in self.lists.get(name, {}).values())

    def by_category(self) -> dict[str, int]:
        """Number of entries by category."""
        counts: dict[str, int] = {}
        for entries in self.lists.values():
            for entry in entries.values():
                counts[entry.category] = counts.get(entry.category, 0) + 1
        return counts

    def _index(self, entry: Entry, keys: dict[str, int]) -> None:
        for kind, token in pairs(entry.tokens):
            index = self.found[kind]
            index[token] = (*index.get(token, ()), entry)
            key = token.partition(".")[0]
            keys[key] = keys.get(key, 0) + 1

    def _unindex(self, entry: Entry, keys: dict[str, int]) -> None:
        for kind, token in pairs(entry.tokens):
            index = self.found[kind]
            rest = tuple(e for e in index.get(token, ()) if e is not entry)
            if rest:
                index[token] = rest
            else:
                index.pop(token, None)
            key = token.partition(".")[0]
            keys[key] -= 1
            if not keys[key]:
                del keys[key]


def pairs(tokens: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, str]]:
    """(domain, token) of each token of an entry or a line."""
    return ((kind, token) for kind, some in tokens.items() for token in some)
