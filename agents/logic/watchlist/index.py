"""The watchlist index: the entries of every list in memory, found by token. One worker holds ten million of them.

Entries are rows of columns. Rows that one batch wrote to one list, and one batch had first listed, share a group (`groups.py`).
A row matches while its group is live. New rows are staged under a group that is not live yet, slice by slice. `switch` applies them by changing the state of a few
groups, however many rows these have. Dead rows are removed slice by slice later (`remove_dead`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ninezero.agents.logic.watchlist.columns import NONE, Array, Column, Rows
from ninezero.agents.logic.watchlist.entries import (
    NO_LINE,
    Entry,
    EntryColumns,
    ListName,
    columns_of,
    split_entry_id,
    split_entry_ids,
)
from ninezero.agents.logic.watchlist.groups import DEAD, LIVE, STAGED, Group, GroupKey, Groups, ListState
from ninezero.agents.logic.watchlist.hash_table import FoundRows, HashTable, tag, tags_of
from ninezero.agents.logic.watchlist.tokens import DOMAIN_NUMBER, ParsedTokens, TokenStore


class FoundEntries(NamedTuple):
    """Entries that a look-up of many tokens found. One element for each token and entry."""

    positions: Array
    """Position of the token among those that were looked up."""
    rows: Array
    """The entry's row (`WatchlistIndex.entry`), as long as the index does not change."""
    categories: Array
    """Position of its category in CATEGORIES."""


class WatchlistIndex:
    """The live entries of all lists. Changes are synchronous, so a scan sees all of a batch or nothing of it."""

    def __init__(self) -> None:
        self.common_keys: frozenset[str] | None = None
        """Key ids that occur on every list that is not empty; None if all lists are empty."""
        self._lists: dict[ListName, ListState] = {}
        self._groups = Groups()
        self._tokens = TokenStore()
        self._table = HashTable()
        self._group = Column(np.uint32)
        self._line = Column(np.int32)
        self._from_us = Column(np.int64)
        self._to_us = Column(np.int64)
        self._first_token = Column(np.uint32)
        """For each entry, the row of its first token."""
        self._rows = Rows(self._table.link, self._group, self._line, self._from_us, self._to_us, self._first_token)
        self._categories: Counter[str] = Counter()
        """Number of live entries by category."""
        self._dead = 0
        """Number of dead rows that are not removed yet."""
        self._next_to_sweep = 1
        """Row at which the search for dead rows goes on."""

    # -- look-ups by the rules -----------------------------------------------------------------------------------------

    def find_valid(self, domain: str, token: str, at_us: int) -> Sequence[Entry]:
        """Returns the entries that have a token in a domain and are valid at a time.

        Args:
            domain: one of DOMAINS.
            token: the token.
            at_us: Unix time in µs.
        """
        rows = self._tokens.owners(domain, token)
        if not rows:
            return ()
        return [
            self.entry(row)
            for row in rows
            if self._is_live(row) and self._from_us.view[row] <= at_us < self._to_us.view[row]
        ]

    def find(self, domain: str, token: str) -> Sequence[Entry]:
        """Returns the entries that have a token in a domain, whether they are valid now or not."""
        return [self.entry(row) for row in self._tokens.owners(domain, token) if self._is_live(row)]

    def find_all_valid(self, domains: Array, tokens: Sequence[str], at_us: Array) -> FoundEntries:
        """Finds the entries that have tokens and are valid at the time of each, as `find_valid` does for one.

        Args:
            domains: position of each token's domain in DOMAINS.
            tokens: the tokens.
            at_us: for each token, Unix time in µs.
        """
        positions, rows = self._tokens.owners_of_all(domains, tokens)
        groups, at_us = self._group.array[rows], at_us[positions]
        valid = (self._from_us.array[rows] <= at_us) & (at_us < self._to_us.array[rows])
        valid &= self._groups.states.array[groups] == LIVE
        return FoundEntries(positions[valid], rows[valid], self._groups.categories.array[groups[valid]])

    # -- look-ups by list ----------------------------------------------------------------------------------------------

    def get(self, name: ListName, entry_id: str) -> Entry | None:
        """Returns the live entry with an id, or None."""
        batch, line = split_entry_id(entry_id)
        for row in self._table.find(tag(entry_id, hash(name))):
            if self._is_live(row) and self._line.view[row] == line:
                group = self._groups.by_number[self._group.view[row]]
                if group.name == name and group.key.first_batch == batch:
                    return self.entry(row)
        return None

    def size(self, name: ListName) -> int:
        """Returns the number of entries on a list."""
        return self._lists[name].size if name in self._lists else 0

    def key_counts(self, name: ListName) -> dict[str, int]:
        """Returns the number of tokens on a list by key id."""
        counts = self._lists[name].tokens_by_key if name in self._lists else {}
        return {self._tokens.key_ids[key]: count for key, count in counts.items() if count}

    def key_ids_elsewhere(self, name: ListName) -> set[str] | None:
        """Returns the key ids of the tokens on all lists but one. None if no other list has an entry."""
        others = [state.tokens_by_key for other, state in self._lists.items() if other != name and state.size]
        if not others:
            return None
        return {self._tokens.key_ids[key] for counts in others for key, count in counts.items() if count}

    def count_by_category(self) -> dict[str, int]:
        """Returns the number of entries on all lists by category."""
        return dict(self._categories)

    def count_unexpired(self, name: ListName, now_us: int) -> int:
        """Returns the number of entries on a list that have not expired at `now_us` (Unix time in µs)."""
        return int(np.count_nonzero(self._on(name) & (self._to_us.array[: self._rows.end] > now_us)))

    def expired(self, name: ListName, now_us: int, limit: int) -> list[str]:
        """Returns the ids of at most `limit` entries on a list that have expired at `now_us` (Unix time in µs)."""
        rows = np.flatnonzero(self._on(name) & (self._to_us.array[: self._rows.end] <= now_us))[:limit]
        return [self._entry_id(row) for row in rows.tolist()]

    def entries(self, name: ListName) -> Iterator[Entry]:
        """Yields every entry of a list, in no order. The list must not change meanwhile."""
        return (self.entry(row) for row in np.flatnonzero(self._on(name)).tolist())

    # -- look-ups of many entries by their rows --------------------------------------------------------------------------

    def parse_tokens(self, domains: Array, texts: Sequence[str]) -> ParsedTokens:
        """Parses tokens, given the number of each one's domain, without storing them.

        Raises:
            ValueError: a text does not have the form of a token.
        """
        return self._tokens.parse(domains, texts)

    def key_id(self, number: int) -> str:
        """Returns the key id of a number, as parsed tokens state it."""
        return self._tokens.key_ids[number]

    def search(self, name: ListName, tokens: ParsedTokens, now_us: int) -> FoundRows:
        """Finds the rows of the entries of a list that have tokens, each in its domain, and have not expired at `now_us`.

        Rows stay valid until the list is switched.
        """
        positions, rows = self._tokens.search(tokens)
        found = self._live_groups(name)[self._group.array[rows]] & (self._to_us.array[rows] > now_us)
        return FoundRows(positions[found], rows[found])

    def have_domain_below(self, rows: Array, number: int) -> Array:
        """Returns for each row whether its entry has a token of a domain whose number is below `number`."""
        owned = self._tokens.rows_of_owners(self._first_token.array[rows])
        found = np.zeros(len(rows), bool)
        found[owned.positions[self._tokens.domains_of(owned.rows) < number]] = True
        return found

    def have_windows(self, rows: Array, from_us: Array, to_us: Array) -> Array:
        """Returns for each row whether its entry has a window."""
        found: Array = (self._from_us.array[rows] == from_us) & (self._to_us.array[rows] == to_us)
        return found

    def have_tokens_in_order(self, rows: Array, tokens: ParsedTokens, starts: Array, counts: Array) -> Array:
        """Returns for each row whether its entry has just `counts[i]` tokens from position `starts[i]` on, stored in that order."""
        return self._tokens.owned_in_order(self._first_token.array[rows], tokens, starts, counts)

    def groups_of(self, rows: Array) -> list[GroupKey]:
        """Returns what the entry of each row has in common with others."""
        by_number = self._groups.by_number
        return [by_number[number].key for number in self._group.array[rows].tolist()]

    def entry_ids(self, rows: Array) -> list[str]:
        """Returns the entry id of each row."""
        return [self._entry_id(row) for row in rows.tolist()]

    def key_counts_of(self, rows: Array) -> Counter[str]:
        """Returns the number of tokens of some rows' entries by key id."""
        owned = self._tokens.rows_of_owners(self._first_token.array[rows]).rows
        return self.count_keys(self._tokens.keys_of(owned))

    def count_keys(self, keys: Array) -> Counter[str]:
        """Returns the number of tokens by key id, given the key number of each."""
        return Counter({self.key_id(key): count for key, count in zip(*_count_values(keys), strict=True)})

    def has_entries_of(self, name: ListName, batch_id: str) -> bool:
        """Returns whether a list may have an entry that a batch of an id first listed."""
        return any(group.key.first_batch == batch_id for group in self._list(name).live.values())

    # -- staging -------------------------------------------------------------------------------------------------------

    def stage(self, name: ListName, put: EntryColumns) -> None:
        """Stages entries for the list's next switch. They replace live and staged entries of the same ids.

        Raises:
            ValueError: a token does not have the form of one. Nothing is staged.
            KeyError: a domain is unknown. Nothing is staged.
        """
        if not put.entry_ids:
            return
        # Tokens are parsed before anything changes, because this may raise.
        owners, domains, counts, texts = _flatten(put)
        parsed = self.parse_tokens(np.repeat(np.array(domains, np.uint32), counts), texts)
        groups, lines = self._assign_groups(name, put)
        tags = tags_of(put.entry_ids, hash(name))
        self._displace(name, put.entry_ids, tags, lines)
        rows = self._rows.allocate(len(lines))
        self._group.array[rows], self._line.array[rows] = groups, lines
        self._from_us.array[rows], self._to_us.array[rows] = put.from_us, put.to_us
        self._first_token.array[rows] = NONE
        self._table.add(rows, tags)
        if texts:
            self._add_tokens(rows, groups, np.repeat(np.array(owners), counts), parsed)
        for number, count in zip(*_count_values(groups), strict=True):
            self._groups.by_number[number].rows += count

    def stage_removals(self, name: ListName, entry_ids: Sequence[str]) -> None:
        """Stages removals for the list's next switch. A staged entry of such an id is dropped immediately."""
        if entry_ids:
            entry_ids = list(dict.fromkeys(entry_ids))
            lines = np.array([split_entry_id(entry_id).line for entry_id in entry_ids], np.int64)
            self._displace(name, entry_ids, tags_of(entry_ids, hash(name)), lines)

    # -- changes of what matches ---------------------------------------------------------------------------------------

    def switch(self, name: ListName, floor: int = 0) -> None:
        """Applies in one step what is staged for a list, and drops the entries below the floor.

        Args:
            name: the list.
            floor: lowest sequence number of entries that stay. The highest floor ever given holds.
        """
        state = self._list(name)
        if floor > state.floor:
            state.floor = floor
            for group in list(state.live.values()):
                if group.key.sequence < floor:
                    self._drop(group)
        if state.leaving:
            rows = np.unique(np.concatenate(state.leaving))
            self._kill(rows[self._groups.states.array[self._group.array[rows]] == LIVE])
            state.leaving.clear()
        for group in state.staged.values():
            if group.key.sequence >= state.floor and group.rows:
                self._groups.states.array[group.number] = LIVE
                state.live[group.number] = group
                state.add_totals(group)
                self._categories[group.key.category] += group.rows
            else:
                self._mark_dead(group)
        state.staged.clear()
        self._refresh_common_keys()

    def apply(self, name: ListName, put: Iterable[Entry], remove: Iterable[str]) -> None:
        """Removes entries from a list by id, adds entries to it, and switches it. The last entry of an id counts."""
        self.stage_removals(name, list(remove))
        self.stage(name, columns_of({entry.entry_id: entry for entry in put}.values()))
        self.switch(name)

    def remove_now(self, name: ListName, entry_id: str) -> None:
        """Removes an entry without a switch, whether it is live or staged."""
        tags, lines = tags_of([entry_id], hash(name)), np.array([split_entry_id(entry_id).line])
        rows = self._rows_of_ids(name, [entry_id], tags, lines)
        self._kill(rows)
        state = self._list(name)
        state.leaving = [some[~np.isin(some, rows)] for some in state.leaving]  # the rows may soon be another entry's
        self._refresh_common_keys()

    def remove_dead(self, limit: int, gone: list[tuple[ListName, str]] | None = None) -> bool:
        """Removes the dead rows among the next `limit` rows. Returns whether there may be more.

        Args:
            limit: number of rows to check.
            gone: receives list and entry id of each removed row whose id has no other row, live or staged.
        """
        if not self._dead:
            return False
        end = min(self._next_to_sweep + limit, self._rows.end)
        numbers = self._group.array[self._next_to_sweep : end]
        dead = (numbers != NONE) & (self._groups.states.array[numbers] == DEAD)
        rows = self._next_to_sweep + np.flatnonzero(dead)
        self._next_to_sweep = end if end < self._rows.end else 1
        if len(rows):
            self._table.remove(rows)
            if gone is not None:
                gone += self._without_other_row(rows)
            self._tokens.remove(self._tokens.rows_of_owners(self._first_token.array[rows]).rows)
            for number, count in zip(*_count_values(self._group.array[rows]), strict=True):
                group = self._groups.by_number[number]
                group.rows -= count
                if not group.rows:
                    self._groups.delete(group)
            self._group.array[rows] = NONE
            self._rows.free(rows)
            self._dead -= len(rows)
        return self._dead > 0

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _is_live(self, row: int) -> bool:
        return bool(self._groups.states.view[self._group.view[row]] == LIVE)

    def _on(self, name: ListName) -> Array:
        """Returns for each row whether it is live on a list."""
        found: Array = self._live_groups(name)[self._group.array[: self._rows.end]]
        return found

    def _live_groups(self, name: ListName) -> Array:
        """Returns for each number of a group whether it is live on a list."""
        live = np.zeros(len(self._groups), bool)
        live[list(self._list(name).live)] = True
        return live

    def entry(self, row: int) -> Entry:
        """Returns the entry of a row."""
        group, line = self._groups.by_number[self._group.view[row]], self._line.view[row]
        key = group.key
        authority, name = group.name
        return Entry(
            authority,
            name,
            key.first_batch if line == NO_LINE else f"{key.first_batch}:{line}",
            key.category,
            self._from_us.view[row],
            self._to_us.view[row],
            self._tokens.of_owner(self._first_token.view[row]),
            key.sequence,
            key.batch,
            key.first_sequence,
        )

    def _entry_id(self, row: int) -> str:
        batch, line = self._groups.by_number[self._group.view[row]].key.first_batch, self._line.view[row]
        return batch if line == NO_LINE else f"{batch}:{line}"

    def _rows_of_ids(self, name: ListName, entry_ids: Sequence[str], tags: Array, lines: Array) -> Array:
        """Returns the live and staged rows of entry ids on a list."""
        positions, rows = self._table.search(tags)
        chosen = self._groups.states.array[self._group.array[rows]] != DEAD
        chosen &= self._line.array[rows] == lines[positions]
        positions, rows = positions[chosen], rows[chosen]
        same = [
            (group := self._groups.by_number[number]).name == name
            and group.key.first_batch == split_entry_id(entry_ids[position]).batch
            for position, number in zip(positions.tolist(), self._group.array[rows].tolist(), strict=True)
        ]
        found: Array = rows[np.array(same, bool)]
        return found

    def _displace(self, name: ListName, entry_ids: Sequence[str], tags: Array, lines: Array) -> None:
        """Drops the staged rows of entry ids, and marks their live rows to leave at the next switch."""
        rows = self._rows_of_ids(name, entry_ids, tags, lines)
        staged = self._groups.states.array[self._group.array[rows]] == STAGED
        self._kill(rows[staged])
        if not staged.all():
            self._list(name).leaving.append(rows[~staged])

    def _without_other_row(self, rows: Array) -> list[tuple[ListName, str]]:
        """Returns list and id of those rows whose id has no other row. The rows are no longer in the table."""
        by_list: dict[ListName, list[str]] = {}
        for row, number in zip(rows.tolist(), self._group.array[rows].tolist(), strict=True):
            by_list.setdefault(self._groups.by_number[number].name, []).append(self._entry_id(row))
        found = []
        for name, ids in by_list.items():
            lines = np.array([split_entry_id(entry_id).line for entry_id in ids])
            others = self._rows_of_ids(name, ids, tags_of(ids, hash(name)), lines)
            kept = {self._entry_id(row) for row in others.tolist()}
            found += [(name, entry_id) for entry_id in ids if entry_id not in kept]
        return found

    def _kill(self, rows: Array) -> None:
        """Moves rows to dead groups of the same batches."""
        if not len(rows):
            return
        owned = self._tokens.rows_of_owners(self._first_token.array[rows])
        before = self._group.array[rows]
        self._count_tokens(before[owned.positions], self._tokens.keys_of(owned.rows), -1)
        numbers, counts = _count_values(before)
        dead_numbers = np.zeros(len(numbers), np.uint32)
        for n, (number, count) in enumerate(zip(numbers, counts, strict=True)):
            group = self._groups.by_number[number]
            dead = self._groups.new(group.name, group.key, DEAD)
            dead_numbers[n], dead.rows = dead.number, count
            group.rows -= count
            state = self._lists[group.name]
            if group.number in state.live:
                state.size -= count
                self._categories[group.key.category] -= count
                if not group.rows:
                    del state.live[group.number]
                    self._mark_dead(group)
        self._group.array[rows] = dead_numbers[np.searchsorted(np.array(numbers), before)]
        self._dead += len(rows)

    def _add_tokens(self, rows: Array, groups: Array, owners: Array, parsed: ParsedTokens) -> None:
        """Stores the tokens of new rows. `owners` holds for each token the position of its row in `rows`."""
        stored = self._tokens.add(rows[owners], parsed)
        starts = np.flatnonzero(np.append(True, owners[1:] != owners[:-1]))
        self._first_token.array[rows[owners[starts]]] = stored[starts]
        self._count_tokens(groups[owners], parsed.keys, 1)

    # -- groups and lists ----------------------------------------------------------------------------------------------

    def _list(self, name: ListName) -> ListState:
        return self._lists.setdefault(name, ListState())

    def _assign_groups(self, name: ListName, put: EntryColumns) -> tuple[Array, Array]:
        """Returns the number of each entry's staged group, and its line."""
        first_batches, lines = split_entry_ids(put.entry_ids)
        staged = self._list(name).staged
        columns: list[Sequence[Any]] = [
            put.batch_ids,
            put.categories,
            put.sequences,
            first_batches,
            put.first_sequences,
        ]
        if all(len(set(column)) == 1 for column in columns):  # nearly always
            columns = [column[:1] for column in columns]
        keys = list(map(GroupKey, *columns))
        for key in dict.fromkeys(keys):
            if key not in staged:
                staged[key] = self._groups.new(name, key, STAGED)
        numbers = np.array([staged[key].number for key in keys])
        return (np.repeat(numbers, len(lines)) if len(keys) == 1 else numbers), np.array(lines)

    def _count_tokens(self, groups: Array, keys: Array, sign: int) -> None:
        """Adds tokens to the counts of their groups, and to those of the list where the group is live."""
        for pair, count in zip(*_count_values(groups.astype(np.int64) << 32 | keys), strict=True):
            group, key = self._groups.by_number[pair >> 32], pair & 0xFFFF_FFFF
            group.tokens_by_key[key] += sign * count
            if self._groups.states.array[group.number] == LIVE:
                self._lists[group.name].tokens_by_key[key] += sign * count

    def _drop(self, group: Group) -> None:
        """Takes a live group off its list."""
        state = self._lists[group.name]
        del state.live[group.number]
        state.subtract_totals(group)
        self._categories[group.key.category] -= group.rows
        self._mark_dead(group)

    def _mark_dead(self, group: Group) -> None:
        self._groups.states.array[group.number] = DEAD
        self._dead += group.rows
        if not group.rows:
            self._groups.delete(group)

    def _refresh_common_keys(self) -> None:
        sets = [
            {key for key, count in state.tokens_by_key.items() if count} for state in self._lists.values() if state.size
        ]
        common = set.intersection(*sets) if sets else None
        self.common_keys = None if common is None else frozenset(self._tokens.key_ids[key] for key in common)


def _flatten(put: EntryColumns) -> tuple[list[int], list[int], list[int], list[str]]:
    """Returns owner, domain number and number of tokens for each (entry, domain) pair, and all tokens in their order."""
    owners: list[int] = []
    domains: list[int] = []
    counts: list[int] = []
    texts: list[str] = []
    for n, tokens in enumerate(put.tokens):
        for domain, some in tokens.items():
            owners.append(n)
            domains.append(DOMAIN_NUMBER[domain])
            counts.append(len(some))
            texts += some
    return owners, domains, counts, texts


def _count_values(values: Array) -> tuple[list[int], list[int]]:
    """Returns the distinct values, ascending, and how often each occurs."""
    distinct, counts = np.unique(values, return_counts=True)
    return distinct.tolist(), counts.tolist()
