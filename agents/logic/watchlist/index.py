"""The watchlist in memory: entries of every list, found by token; ten million of them in a worker.

Entries are rows of columns (`columns.py`). Rows that one batch put on one list share a *group*, and a row matches as long
as its group is live: so a list is switched, and what is below a floor dropped, by the state of a few groups, however
many rows they have. New rows are staged under a group that is not live yet, slice by slice; dead rows are cleared away
slice by slice too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from ninezero.agents.logic.watchlist.columns import NONE, Array, Column, Rows, Table, tag, tags
from ninezero.agents.logic.watchlist.tokens import KIND, KINDS, Tokens
from ninezero.schemas.events import Category

__all__ = ["KINDS", "Entry", "ListName", "Slice", "Watchlist", "pairs"]

ListName = tuple[str, str]
"""(authority, list)"""

_DEAD, _STAGED, _LIVE = 0, 1, 2
_NO_LINE = -1
_LINES = 2**31


class Entry(Struct, gc=False, frozen=True):
    """One entry. The window is `from_us <= t < to_us` in µs of Unix time; `tokens` maps a domain to its tokens."""

    authority: str
    list: str
    entry_id: str
    category: Category
    from_us: int
    to_us: int
    tokens: dict[str, tuple[str, ...]]
    sequence: int

    @property
    def batch_id(self) -> str:
        """The batch that brought the entry."""
        return self.entry_id.rpartition(":")[0]


class Slice(NamedTuple):
    """Entries to stage, a list a field; no entry id twice."""

    entry_ids: Sequence[str]
    categories: Sequence[Category]
    from_us: Sequence[int] | Array
    to_us: Sequence[int] | Array
    tokens: Sequence[Mapping[str, Sequence[str]]]
    sequences: Sequence[int]


class _Group:
    """What the rows of one batch on one list have in common."""

    __slots__ = ("batch", "category", "keys", "name", "number", "rows", "sequence")

    def __init__(self, number: int, name: ListName, batch: str, category: Category, sequence: int) -> None:
        self.number, self.name, self.batch = number, name, batch
        self.category, self.sequence = category, sequence
        self.rows = 0
        self.keys: Counter[int] = Counter()
        """Tokens by key number."""


class _List:
    """One list: its live groups with their totals, and what its next switch will do."""

    def __init__(self) -> None:
        self.live: dict[int, _Group] = {}
        self.size = 0
        self.keys: Counter[int] = Counter()
        self.floor = 0
        self.staged: dict[tuple[str, str, int], _Group] = {}
        self.leaving: list[Array] = []
        """Rows that a staged record replaces or removes."""


class Watchlist:
    """All live lists. Changes are synchronous, so a scan sees a batch wholly or not at all."""

    def __init__(self) -> None:
        self.common_keys: frozenset[str] | None = None
        """Key ids that every non-empty list has; None when all lists are empty."""
        self._lists: dict[ListName, _List] = {}
        self._tokens = Tokens()
        self._table = Table()
        self._group = Column(np.uint32)
        self._line = Column(np.int32)
        self._from = Column(np.int64)
        self._to = Column(np.int64)
        self._first = Column(np.uint32)
        """Of each entry the row of its first token."""
        self._rows = Rows(self._table.link, self._group, self._line, self._from, self._to, self._first)
        self._groups: list[_Group | None] = [None]
        self._spare: list[int] = []
        self._state = Column(np.uint8)
        """Of each group: dead, staged or live."""
        self._categories: Counter[str] = Counter()
        self._dead = 0
        """Dead rows that are not cleared away yet."""
        self._broom = 1

    # -- what the rules ask --------------------------------------------------------------------------------------------

    def valid(self, kind: str, token: str, at_us: int) -> Sequence[Entry]:
        """Entries of the token's domain that are valid at a time (µs)."""
        rows = self._tokens.owners(kind, token)
        if not rows:
            return ()
        return [self._entry(r) for r in rows if self._is_live(r) and self._from.view[r] <= at_us < self._to.view[r]]

    def may_list(self, tokens: Sequence[str]) -> Array:
        """Of each token whether an entry may have it; where this is false, none has, valid or not, in any domain."""
        return self._tokens.may_have(tokens)

    def find(self, kind: str, token: str) -> Sequence[Entry]:
        """Entries that have the token in that domain, whatever their window."""
        return [self._entry(row) for row in self._tokens.owners(kind, token) if self._is_live(row)]

    def get(self, name: ListName, entry_id: str) -> Entry | None:
        """The live entry of that id."""
        batch, line = _split(entry_id)
        for row in self._table.find(tag(entry_id, hash(name))):
            group = self._groups[self._group.view[row]]
            if group and self._is_live(row) and (group.name, group.batch, self._line.view[row]) == (name, batch, line):
                return self._entry(row)
        return None

    # -- totals --------------------------------------------------------------------------------------------------------

    def size(self, name: ListName) -> int:
        """Number of entries on a list."""
        return self._lists[name].size if name in self._lists else 0

    def key_counts(self, name: ListName) -> dict[str, int]:
        """Tokens of a list by key id."""
        keys = self._lists[name].keys if name in self._lists else {}
        return {self._tokens.key_ids[key]: count for key, count in keys.items() if count}

    def key_ids(self, name: ListName) -> list[str]:
        """Key ids that occur on a list, sorted."""
        return sorted(self.key_counts(name))

    def by_category(self) -> dict[str, int]:
        """Number of entries by category."""
        return dict(self._categories)

    def live(self, name: ListName, now_us: int) -> int:
        """Entries of a list that have not ended at `now_us` (µs)."""
        return int(np.count_nonzero(self._on(name) & (self._to.array[: self._rows.end] > now_us)))

    def expired(self, name: ListName, now_us: int, limit: int) -> list[str]:
        """Ids of at most `limit` entries of a list that have ended at `now_us` (µs)."""
        rows = np.flatnonzero(self._on(name) & (self._to.array[: self._rows.end] <= now_us))[:limit]
        return [self._entry_id(row) for row in rows.tolist()]

    def entries(self, name: ListName) -> Iterator[Entry]:
        """Every entry of a list, in no order. The list must not change meanwhile."""
        return (self._entry(row) for row in np.flatnonzero(self._on(name)).tolist())

    # -- changes -------------------------------------------------------------------------------------------------------

    def apply(self, name: ListName, put: Iterable[Entry], remove: Iterable[str]) -> None:
        """Takes entries off a list by entry id, then puts entries on it: at once, with what is staged for the list."""
        self.stage_removals(name, list(remove))
        some = list({entry.entry_id: entry for entry in put}.values())
        if some:
            ids, categories, froms, tos, tokens, sequences = zip(
                *((e.entry_id, e.category, e.from_us, e.to_us, e.tokens, e.sequence) for e in some), strict=True
            )
            self.stage(name, Slice(ids, categories, froms, tos, tokens, sequences))
        self.switch(name)

    def clear(self, name: ListName) -> None:
        """Empties a list."""
        mine = self._list(name)
        for group in list(mine.live.values()):
            self._drop(group)
        mine.leaving.clear()
        self._refresh_keys()

    def drop_below(self, name: ListName, floor: int) -> None:
        """Drops the entries of a list whose sequence is below the floor, live or staged; what is staged is applied."""
        self.switch(name, floor)

    def stage(self, name: ListName, put: Slice) -> None:
        """Prepares entries that the list's next switch puts on it. The last of an id counts.

        Raises:
            ValueError: a token has not the form of one; nothing is staged.
            KeyError: a domain is none; likewise.
        """
        if not put.entry_ids:
            return
        owners: list[int] = []
        kinds: list[int] = []
        counts: list[int] = []
        texts: list[str] = []
        for n, tokens in enumerate(put.tokens):
            for kind, some in tokens.items():
                owners.append(n)
                kinds.append(KIND[kind])
                counts.append(len(some))
                texts += some
        checked = self._tokens.check(np.repeat(np.array(kinds, np.uint32), counts), texts)
        groups, lines = self._place(name, put)
        marks = tags(put.entry_ids, hash(name))
        self._displace(name, put.entry_ids, marks, lines)
        rows = self._rows.take(len(lines))
        self._group.array[rows], self._line.array[rows] = groups, lines
        self._from.array[rows], self._to.array[rows] = put.from_us, put.to_us
        self._first.array[rows] = NONE
        self._table.add(rows, marks)
        if texts:
            owned = np.repeat(np.array(owners), counts)
            made = self._tokens.add(rows[owned], texts, checked)
            starts = np.flatnonzero(np.append(True, owned[1:] != owned[:-1]))
            self._first.array[rows[owned[starts]]] = made[starts]
            self._count(groups[owned], checked[1] >> 3, 1)
        for number, many in zip(*_counted(groups), strict=True):
            self._known(number).rows += many

    def stage_removals(self, name: ListName, entry_ids: Sequence[str]) -> None:
        """Prepares removals for the list's next switch. An entry that is staged is so no longer."""
        if entry_ids:
            entry_ids = list(dict.fromkeys(entry_ids))
            lines = np.array([_split(entry_id)[1] for entry_id in entry_ids], np.int64)
            self._displace(name, entry_ids, tags(entry_ids, hash(name)), lines)

    def switch(self, name: ListName, floor: int = 0) -> None:
        """Applies in one step what is staged for a list, and drops what is below the floor."""
        mine = self._list(name)
        if floor > mine.floor:
            mine.floor = floor
            for group in list(mine.live.values()):
                if group.sequence < floor:
                    self._drop(group)
        if mine.leaving:
            rows = np.unique(np.concatenate(mine.leaving))
            self._kill(rows[self._state.array[self._group.array[rows]] == _LIVE])
            mine.leaving.clear()
        for group in mine.staged.values():
            if group.sequence >= mine.floor and group.rows:
                self._state.array[group.number] = _LIVE
                mine.live[group.number] = group
                self._total(group, group.rows, group.keys)
            else:
                self._bury(group)
        mine.staged.clear()
        self._refresh_keys()

    def remove_now(self, name: ListName, entry_id: str) -> None:
        """Takes an entry off at once, live or staged."""
        rows = self._namesakes(name, [entry_id], tags([entry_id], hash(name)), np.array([_split(entry_id)[1]]))
        self._kill(rows)
        mine = self._list(name)
        mine.leaving = [some[~np.isin(some, rows)] for some in mine.leaving]  # the rows may soon be another entry's
        self._refresh_keys()

    def tidy(self, limit: int, gone: list[tuple[ListName, str]] | None = None) -> bool:
        """Clears away dead rows among the next `limit` rows; whether there may be more.

        `gone` gets name and id of each such entry that has no other row, live or staged.
        """
        if not self._dead:
            return False
        end = min(self._broom + limit, self._rows.end)
        numbers = self._group.array[self._broom : end]
        rows = self._broom + np.flatnonzero((numbers != NONE) & (self._state.array[numbers] == _DEAD))
        self._broom = end if end < self._rows.end else 1
        if len(rows):
            self._table.remove(rows)
            if gone is not None:
                gone += self._last_of_their_name(rows)
            self._tokens.remove(self._tokens.all_of(self._first.array[rows])[1])
            for number, many in zip(*_counted(self._group.array[rows]), strict=True):
                group = self._known(number)
                group.rows -= many
                if not group.rows:
                    self._forget(group)
            self._group.array[rows] = NONE
            self._rows.give_back(rows)
            self._dead -= len(rows)
        return self._dead > 0

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _is_live(self, row: int) -> bool:
        return bool(self._state.view[self._group.view[row]] == _LIVE)

    def _on(self, name: ListName) -> Array:
        """Of each row whether it is on the list."""
        live = np.zeros(len(self._groups), bool)
        live[list(self._list(name).live)] = True
        return live[self._group.array[: self._rows.end]]

    def _entry(self, row: int) -> Entry:
        group = self._known(self._group.view[row])
        return Entry(
            *group.name, self._entry_id(row), group.category, self._from.view[row], self._to.view[row],
            self._tokens.of(self._first.view[row]), group.sequence,
        )  # fmt: skip

    def _entry_id(self, row: int) -> str:
        batch, line = self._known(self._group.view[row]).batch, self._line.view[row]
        return batch if line == _NO_LINE else f"{batch}:{line}"

    def _namesakes(self, name: ListName, entry_ids: Sequence[str], marks: Array, lines: Array) -> Array:
        """Rows, live or staged, of those ids."""
        places, rows = self._table.search(marks)
        alive = self._state.array[self._group.array[rows]] != _DEAD
        alive &= self._line.array[rows] == lines[places]
        places, rows = places[alive], rows[alive]
        same = [
            (group := self._known(number)).name == name and group.batch == _split(entry_ids[place])[0]
            for place, number in zip(places.tolist(), self._group.array[rows].tolist(), strict=True)
        ]
        chosen: Array = rows[np.array(same, bool)]
        return chosen

    def _displace(self, name: ListName, entry_ids: Sequence[str], marks: Array, lines: Array) -> None:
        rows = self._namesakes(name, entry_ids, marks, lines)
        staged = self._state.array[self._group.array[rows]] == _STAGED
        self._kill(rows[staged])
        if not staged.all():
            self._list(name).leaving.append(rows[~staged])

    def _last_of_their_name(self, rows: Array) -> list[tuple[ListName, str]]:
        """(list, id) of the rows, which the table has no more, if it has none other of that id."""
        by_list: dict[ListName, list[str]] = {}
        for row, number in zip(rows.tolist(), self._group.array[rows].tolist(), strict=True):
            by_list.setdefault(self._known(number).name, []).append(self._entry_id(row))
        found = []
        for name, ids in by_list.items():
            lines = np.array([_split(entry_id)[1] for entry_id in ids])
            kept = {self._entry_id(r) for r in self._namesakes(name, ids, tags(ids, hash(name)), lines).tolist()}
            found += [(name, entry_id) for entry_id in ids if entry_id not in kept]
        return found

    def _kill(self, rows: Array) -> None:
        """Moves rows to dead groups of the same batches."""
        if not len(rows):
            return
        places, tokens = self._tokens.all_of(self._first.array[rows])
        was = self._group.array[rows]
        self._count(was[places], self._tokens.keys_of(tokens), -1)
        numbers, counts = _counted(was)
        tombs = np.zeros(len(numbers), np.uint32)
        for n, (number, many) in enumerate(zip(numbers, counts, strict=True)):
            group = self._known(number)
            tomb = self._new_group(group.name, group.batch, group.category, group.sequence, _DEAD)
            tombs[n], tomb.rows = tomb.number, many
            group.rows -= many
            mine = self._lists[group.name]
            if group.number in mine.live:
                mine.size -= many
                self._categories[group.category] -= many
                if not group.rows:
                    del mine.live[group.number]
                    self._bury(group)
        self._group.array[rows] = tombs[np.searchsorted(np.array(numbers), was)]
        self._dead += len(rows)

    # -- groups --------------------------------------------------------------------------------------------------------

    def _list(self, name: ListName) -> _List:
        return self._lists.setdefault(name, _List())

    def _known(self, number: int) -> _Group:
        group = self._groups[number]
        assert group is not None
        return group

    def _place(self, name: ListName, put: Slice) -> tuple[Array, Array]:
        """Group number and line of each entry."""
        batches, lines = _split_all(put.entry_ids)
        staged = self._list(name).staged
        if len(set(batches)) == len(set(put.categories)) == len(set(put.sequences)) == 1:  # as a slice nearly always is
            keys = [(batches[0], put.categories[0], put.sequences[0])]
        else:
            keys = list(zip(batches, put.categories, put.sequences, strict=True))
        for key in dict.fromkeys(keys):
            if key not in staged:
                staged[key] = self._new_group(name, *key, _STAGED)
        numbers = np.array([staged[key].number for key in keys])
        return (np.repeat(numbers, len(lines)) if len(keys) == 1 else numbers), np.array(lines)

    def _new_group(self, name: ListName, batch: str, category: Category, sequence: int, state: int) -> _Group:
        number = self._spare.pop() if self._spare else len(self._groups)
        group = _Group(number, name, batch, category, sequence)
        if number == len(self._groups):
            self._groups.append(group)
            if number == len(self._state):
                self._state.grow(number * 2)
        self._groups[number] = group
        self._state.array[number] = state
        return group

    def _count(self, groups: Array, keys: Array, sign: int) -> None:
        """Counts tokens by key, of their groups and (where these are live) of the list."""
        for pair, many in zip(*_counted(groups.astype(np.int64) << 32 | keys), strict=True):
            group = self._known(pair >> 32)
            group.keys[pair & 0xFFFF_FFFF] += sign * many
            if self._state.array[group.number] == _LIVE:
                self._lists[group.name].keys[pair & 0xFFFF_FFFF] += sign * many

    def _total(self, group: _Group, rows: int, keys: Mapping[int, int]) -> None:
        mine = self._lists[group.name]
        mine.size += rows
        mine.keys.update(keys)
        self._categories[group.category] += rows

    def _drop(self, group: _Group) -> None:
        """Takes a live group off its list."""
        del self._lists[group.name].live[group.number]
        self._total(group, -group.rows, {key: -many for key, many in group.keys.items()})
        self._bury(group)

    def _bury(self, group: _Group) -> None:
        self._state.array[group.number] = _DEAD
        self._dead += group.rows
        if not group.rows:
            self._forget(group)

    def _forget(self, group: _Group) -> None:
        self._groups[group.number] = None
        self._spare.append(group.number)

    def _refresh_keys(self) -> None:
        sets = [{key for key, many in mine.keys.items() if many} for mine in self._lists.values() if mine.size]
        common = set.intersection(*sets) if sets else None
        self.common_keys = None if common is None else frozenset(self._tokens.key_ids[key] for key in common)


def _split(entry_id: str) -> tuple[str, int]:
    """Batch and line of an entry id; an id of another form is a batch of its own, without a line."""
    batch, _, text = entry_id.rpartition(":")
    try:
        line = int(text)
    except ValueError:
        return entry_id, _NO_LINE
    if str(line) == text and 0 <= line < _LINES and batch:
        return batch, line
    return entry_id, _NO_LINE


def _split_all(entry_ids: Sequence[str]) -> tuple[Sequence[str], Sequence[int]]:
    """As `_split`, of many: quick when all have the usual form."""
    batches, _, texts = zip(*(entry_id.rpartition(":") for entry_id in entry_ids), strict=True)
    lines: Sequence[int] = ()
    with suppress(ValueError):
        lines = list(map(int, texts))
    if lines and tuple(map(str, lines)) == texts and min(lines) >= 0 and max(lines) < _LINES and all(batches):
        return batches, lines
    batches, lines = zip(*map(_split, entry_ids), strict=True)
    return batches, lines


def _counted(values: Array) -> tuple[list[int], list[int]]:
    """Distinct values, ascending, and how often each occurs."""
    distinct, counts = np.unique(values, return_counts=True)
    return distinct.tolist(), counts.tolist()


def pairs(tokens: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, str]]:
    """(domain, token) of each token of an entry or a line."""
    return ((kind, token) for kind, some in tokens.items() for token in some)
