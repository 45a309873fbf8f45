"""Decides a push batch: whether it is applied, held or rejected, and what each of its lines does to the list (contract §5).

The lines of a batch that are the same entry are joined first (`schemas/joined_lines.py`). What is joined is then compared with the
list, in the order of the lines.

Nearly all lines are *plain*: they share no token with another line, and match at most one entry, which no other line matches. What
becomes of a plain line depends on no other line, so plain lines are decided by column, many together. The others are decided one
after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from msgspec import Struct, field

from ninezero.agents.logic.pushes.comparison import Comparison
from ninezero.agents.logic.pushes.line_columns import LineColumns, concatenate, line_columns
from ninezero.agents.logic.pushes.put_entries import PutEntries, PutLines
from ninezero.agents.logic.watchlist.columns import NONE, Array
from ninezero.agents.logic.watchlist.entries import Entry, split_entry_id
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import (
    CATEGORIES,
    BatchCode,
    BatchStatus,
    Category,
    HoldCode,
    PushBatch,
    PushLine,
    Reject,
)
from ninezero.schemas.joined_lines import STRONG, JoinedLine, LineJoiner, Tokens, identifying
from ninezero.schemas.line_codes import LINE_CODES

SHOWN_REJECTS = 1000
"""A receipt names this many of its rejected lines; it counts all."""

SHRINK_FROM = 10
"""A `full` that removes more than half of a list is held if the list has at least this many entries."""
SHRINK_ENTRIES = 1000
"""A `full` that removes more entries than this is held if they are more than a fifth of the list."""

MAX_SEQUENCE_AHEAD_MS = 86_400_000
"""A sequence number must not be further above the Kafka timestamp of its batch in ms. Otherwise one wrong number would block a list
for every later batch."""


_ALL = 1 << 40
"""More tokens than a batch has."""


class BatchChange(Struct):
    """The effect of a batch: its status, the counts of its lines, and the entries to put and to remove.

    A `full` removes an entry by name only if another entry takes its place: the floor of its manifest drops every entry that it did
    not put.
    """

    status: BatchStatus = "applied"
    code: BatchCode | None = None
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    withdrawn: int = 0
    rejects: list[Reject] = field(default_factory=list)
    leaving: int = 0
    """Number of entries that leave the list. They would leave it if the batch is held."""
    listed: int = 0
    """Number of entries on the list before. For a `full` without those that have expired but were not removed yet."""
    put: Mapping[str, Entry] = field(default_factory=dict)
    """Entries to write, by entry id."""
    remove: dict[str, Entry] = field(default_factory=dict)
    """Entries to remove, by entry id."""
    replaced: dict[str, Entry] = field(default_factory=dict)
    """Entries whose id is in `put`, as they are now; without those of plain lines, which `put` knows."""
    merged: dict[str, str] = field(default_factory=dict)
    """For ids in `remove`: the id of the entry that takes its place."""


class BatchDecider:
    """Decides one batch against its list. It changes nothing itself: `finish` returns the change.

    Args:
        batch: the first part of the batch.
        line_count: number of lines in all parts.
        now_us: Unix time in µs at which entries must not have expired.
        kafka_ms: Kafka timestamp of the batch, Unix time in ms.
        index: the watchlist.
        applied_sequence: the last sequence number applied to the list; None for a new list.
        confirmed: whether a second person has confirmed the batch, so that it is not held.
    """

    def __init__(
        self,
        batch: PushBatch,
        line_count: int,
        now_us: int,
        kafka_ms: int,
        index: WatchlistIndex,
        applied_sequence: int | None,
        confirmed: bool = False,
    ) -> None:
        self._batch, self._now_us, self._index = batch, now_us, index
        self._confirmed = confirmed or batch.mode == "withdraw"
        self._name = (batch.authority, batch.list)
        self._wrong_count = batch.declared_lines != line_count and not self._confirmed
        self._parts: list[LineColumns] = []
        """The lines."""
        self._steps: Iterator[None] | None = None
        """Decides the lines, from the first comparison on."""
        self._limit = 0
        """Number of tokens, or of lines one by one, in a step."""
        self._plain_matched = 0
        """Number of entries that plain lines match."""
        self._last_line = 0
        """The highest line number."""
        self._rejects: list[tuple[int, Reject]] = []
        """Rejected lines with their positions."""
        self._known_keys: set[str] | None = None if self._confirmed else index.key_ids_elsewhere(self._name)
        """Key ids on other lists. None if this does not matter, or a token has one of them."""
        self._has_tokens = False
        self._matched: set[str] = set()
        """Ids of entries that were on the list before the batch and that a line matched, without those of plain lines."""
        self._gone: set[str] = set()
        """Those of them that a line replaced or withdrew."""
        self._others: dict[str, Entry] = {}
        """Entries to put, without those of plain lines."""
        self._change = BatchChange()
        if not batch.legal_basis:
            self._stop("rejected", "no_legal_basis")
        elif batch.category not in CATEGORIES:
            self._stop("rejected", "unknown_category")
        elif applied_sequence is not None and batch.sequence <= applied_sequence:
            self._stop("rejected", "stale_sequence")
        elif batch.sequence > kafka_ms + MAX_SEQUENCE_AHEAD_MS:
            self._stop("rejected", "sequence_ahead")

    @property
    def needs_lines(self) -> bool:
        """True if the decision depends on the lines. It does not if the batch is rejected for its head alone."""
        return self._change.status == "applied"

    def decide_lines(self, lines: Sequence[PushLine]) -> None:
        """Adds the next lines of the batch, in their order."""
        self.add(line_columns(lines, self._index.parse_tokens))

    def add(self, lines: LineColumns) -> None:
        """Adds the next lines of the batch, in their order. They are decided after the last one."""
        self._parts.append(lines)

    def compare(self, limit: int) -> bool:
        """Decides some of the lines, after the last one was added. Returns whether there may be more.

        Args:
            limit: how many tokens are compared with the list, or how many lines are compared one by one, at most.
        """
        if self._steps is None:
            self._steps = self._decide()
        self._limit = limit
        return next(self._steps, self) is not self

    def finish(self) -> BatchChange:
        """Returns the decision, after the last line."""
        change = self._change
        if change.status != "applied":
            return change
        while self.compare(_ALL):
            pass
        self._rejects.sort(key=lambda reject: reject[0])
        change.rejects = [reject for _, reject in self._rejects[:SHOWN_REJECTS]]
        change.listed = self._index.size(self._name)
        change.leaving = len(change.remove) - len(change.merged)
        if self._batch.mode == "full":
            change.listed = self._index.count_unexpired(self._name, self._now_us)
            change.leaving = change.withdrawn = change.listed - len(self._matched) - self._plain_matched
        if not self._confirmed and (code := self._reason_to_hold()) is not None:
            self._stop("held", code)
        return self._change

    def _decide(self) -> Iterator[None]:
        """Decides all lines, and yields between steps."""
        if not self._parts:
            return
        lines = concatenate(self._parts)
        accepted = self._check(lines)
        comparison = Comparison(lines, accepted, self._index, self._name, self._now_us)
        while comparison.proceed(self._limit):
            yield
        yield from (self._withdraw if self._batch.mode == "withdraw" else self._put)(lines, accepted, comparison)

    def _check(self, lines: LineColumns) -> Array:
        """Finds the codes of the lines, and whether a token has a key id that another list has, too.

        Returns:
            for each line whether it has no code.
        """
        codes = lines.codes(self._batch.mode, self._batch.category, self._now_us)
        self._last_line = int(lines.numbers.max(initial=0))
        rejected = np.flatnonzero(codes)
        self._change.rejected += len(rejected)
        for position in rejected[:SHOWN_REJECTS].tolist():
            reject = Reject(int(lines.numbers[position]), LINE_CODES[codes[position] - 1])
            self._rejects.append((position, reject))
        if self._known_keys is not None and len(lines.tokens.codes):
            self._has_tokens = True
            keys = {self._index.key_id(number) for number in np.unique(lines.tokens.keys).tolist()}
            if not keys.isdisjoint(self._known_keys):
                self._known_keys = None
        accepted: Array = codes == 0
        return accepted

    def _withdraw(self, lines: LineColumns, accepted: Array, comparison: Comparison) -> Iterator[None]:
        """Removes the entries that the accepted lines match, line by line."""
        change, competing = self._change, comparison.competing()
        rows, numbers = comparison.rows().tolist(), lines.numbers.tolist()
        tokens = {one.position: one.tokens for one in lines.objects(accepted & competing, self._index.key_id)}
        for done, position in enumerate(np.flatnonzero(accepted).tolist(), 1):
            if position in tokens:
                entries = self._matches(tokens[position])
            else:
                entries = [] if rows[position] == NONE else [self._index.entry(rows[position])]
            for old in entries:
                self._gone.add(old.entry_id)
                change.remove[old.entry_id] = old
            if entries:
                change.withdrawn += 1
            else:
                change.rejected += 1
                if len(self._rejects) < 2 * SHOWN_REJECTS:
                    self._rejects.append((position, Reject(numbers[position], "not_listed")))
            if done % self._limit == 0:
                yield

    def _put(self, lines: LineColumns, accepted: Array, comparison: Comparison) -> Iterator[None]:
        """Puts the entries of the accepted lines."""
        change, rows, sharing = self._change, comparison.rows(), comparison.sharing() & accepted
        plain = accepted & ~sharing & ~comparison.competing()
        if self._index.has_entries_of(self._name, self._batch.batch_id):
            plain &= rows != NONE  # the id of a new entry then depends on the lines before it
        lines = lines.clamped()
        # 1. Lines that are not plain, one after the other.
        joiner = LineJoiner(self._batch.category, self._now_us)
        for done, line in enumerate(lines.objects(sharing, self._index.key_id), 1):
            joiner.add(line)
            if done % self._limit == 0:
                yield
        others = joiner.finish() + lines.objects(accepted & ~sharing & ~plain, self._index.key_id)
        change.rejected += len(joiner.refused)
        self._rejects += [(one.position, Reject(one.line, one.code)) for one in joiner.refused]
        for done, line in enumerate(sorted(others, key=lambda line: line.position), 1):
            self._put_line(line)
            if done % self._limit == 0:
                yield
        # 2. Plain lines, by column.
        lines, rows = lines.where(plain), rows[plain]
        unchanged = self._unchanged(lines, rows)
        self._plain_matched, repeated = int((rows != NONE).sum()), int(unchanged.sum())
        change.accepted += len(unchanged) - repeated
        change.duplicate += repeated
        put = PutLines(lines, rows, unchanged)
        if self._batch.mode != "full" and repeated:
            put = PutLines(lines.where(~unchanged), rows[~unchanged], unchanged[~unchanged])
        change.put = PutEntries(self._batch, self._index, put, self._others)

    def _unchanged(self, lines: LineColumns, rows: Array) -> Array:
        """Returns for each line whether the entry at its row is the same, as `_same` does. False where the row is NONE."""
        category, same = self._batch.category, np.zeros(len(rows), bool)
        at = np.flatnonzero(rows != NONE)
        at = at[self._index.have_windows(rows[at], lines.from_us[at], lines.to_us[at])]
        at = at[np.array([group.category == category for group in self._index.groups_of(rows[at])], bool)]
        equal = self._index.have_tokens_in_order(rows[at], lines.tokens, lines.starts[at], lines.counts[at])
        same[at[equal]] = True
        in_question = np.zeros(len(rows), bool)  # whether the tokens are the same in another order
        in_question[at[~equal]] = True
        for line in lines.objects(in_question, self._index.key_id):
            same[line.position] = _same(self._index.entry(int(rows[line.position])), line, category)
        return same

    def _reason_to_hold(self) -> HoldCode | None:
        change, full = self._change, self._batch.mode == "full"
        if self._wrong_count:
            return "count_mismatch"
        if full and change.listed and not change.put:
            return "would_empty"
        over_half = change.listed >= SHRINK_FROM and change.leaving * 2 > change.listed
        over_a_fifth = change.leaving > SHRINK_ENTRIES and change.leaving * 5 > change.listed
        if full and (over_half or over_a_fifth):
            return "would_shrink"
        return "unknown_key_ids" if self._known_keys is not None and self._has_tokens else None

    def _stop(self, status: BatchStatus, code: BatchCode) -> None:
        """The whole batch is held or rejected, so it changes nothing and counts nothing."""
        self._change = BatchChange(status, code, leaving=self._change.leaving, listed=self._change.listed)

    def _put_line(self, line: JoinedLine) -> None:
        """Puts the entry of a line, in place of the entries that the line matches. One of them keeps its id."""
        change, others = self._change, len(line.others or ())
        matches = self._matches(line.tokens)
        if len(matches) == 1 and _same(matches[0], line, self._batch.category):
            change.duplicate += 1 + others
            if self._batch.mode == "full":  # it stays as it is, above the new floor
                self._others[matches[0].entry_id] = matches[0]
            return
        change.accepted += 1
        change.duplicate += others
        kept = min(matches, key=_seniority) if matches else None
        entry = _entry(self._batch, line, kept or self._new_id(line.line))
        self._gone.update(old.entry_id for old in matches)
        for old in matches:
            if old is kept:
                change.replaced[old.entry_id] = old
            else:
                change.remove[old.entry_id], change.merged[old.entry_id] = old, entry.entry_id
        self._others[entry.entry_id] = entry

    def _matches(self, tokens: Tokens) -> list[Entry]:
        """Returns the unexpired entries of the list that a line matches, without those that an earlier line replaced or withdrew.

        Documents match by documents. A phone or a plate matches only where neither side has a document. What an earlier line put
        cannot match, because lines of the same entry are joined.
        """
        domains = identifying(tokens)
        found: dict[str, Entry] = {}
        for domain in domains:
            for token in tokens.get(domain, ()):
                for entry in self._index.find(domain, token):
                    if (
                        (entry.authority, entry.list) == self._name
                        and entry.to_us > self._now_us
                        and entry.entry_id not in self._gone
                        and (domains is STRONG or identifying(entry.tokens) is domains)
                    ):
                        found[entry.entry_id] = entry
        self._matched.update(found)
        return list(found.values())

    def _new_id(self, line: int) -> str:
        """Returns the id of a new entry: `batch_id:line`.

        A batch_id can be used again after its receipt has expired, and the earlier batch of that name may still have entries. They
        belong to other people and stay. The new entry then gets a line number that no line of this batch has.
        """
        entry_id = f"{self._batch.batch_id}:{line}"
        while self._index.get(self._name, entry_id) is not None:
            self._last_line += 1
            entry_id = f"{self._batch.batch_id}:{self._last_line}"
        return entry_id


def _seniority(entry: Entry) -> tuple[Any, ...]:
    """Of several entries that become one, the lowest in this order keeps its id."""
    return entry.first_sequence, split_entry_id(entry.entry_id).line, entry.entry_id


def _entry(batch: PushBatch, line: JoinedLine, identity: Entry | str) -> Entry:
    """Returns the entry of a line.

    Args:
        batch: the batch of the line.
        line: the line.
        identity: the entry whose id it keeps, or its new id.
    """
    return Entry(
        authority=batch.authority,
        list=batch.list,
        entry_id=identity if isinstance(identity, str) else identity.entry_id,
        category=cast(Category, batch.category),  # a batch of an unknown category is rejected before its lines
        from_us=line.from_us,
        to_us=line.to_us,
        tokens=line.tokens,
        sequence=batch.sequence,
        batch_id=batch.batch_id,
        first_sequence=batch.sequence if isinstance(identity, str) else identity.first_sequence,
    )


def _same(old: Entry, line: JoinedLine, category: str) -> bool:
    return (old.tokens, old.from_us, old.to_us, old.category) == (line.tokens, line.from_us, line.to_us, category)
