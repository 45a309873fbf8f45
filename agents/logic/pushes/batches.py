"""Decides a push batch: whether it is applied, held or rejected, and what each of its lines does to the list (contract §5).

The lines of a batch that are the same entry are joined first (`schemas/joined_lines.py`). What is joined is then compared with the
list, in the order of the lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from msgspec import Struct, field

from ninezero.agents.logic.watchlist.entries import Entry, split_entry_id, token_pairs
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import (
    CATEGORIES,
    BatchCode,
    BatchStatus,
    Category,
    HoldCode,
    LineCode,
    PushBatch,
    PushLine,
    Reject,
)
from ninezero.schemas.joined_lines import STRONG, JoinedLine, LineJoiner, Tokens, identifying, joinable, tokens_of
from ninezero.schemas.line_codes import line_code

SHOWN_REJECTS = 1000
"""A receipt names this many of its rejected lines; it counts all."""

SHRINK_FROM = 10
"""A `full` that removes more than half of a list is held if the list has at least this many entries."""
SHRINK_ENTRIES = 1000
"""A `full` that removes more entries than this is held if they are more than a fifth of the list."""

MAX_SEQUENCE_AHEAD_MS = 86_400_000
"""A sequence number must not be further above the Kafka timestamp of its batch in ms. Otherwise one wrong number would block a list
for every later batch."""


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
    put: dict[str, Entry] = field(default_factory=dict)
    """Entries to write, by entry id."""
    remove: dict[str, Entry] = field(default_factory=dict)
    """Entries to remove, by entry id."""
    replaced: dict[str, Entry] = field(default_factory=dict)
    """Entries whose id is in `put`, as they are now."""
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
        self._position = 0
        """Number of lines so far."""
        self._last_line = 0
        """The highest line number so far."""
        self._joiner = LineJoiner(batch.category, now_us)
        self._joined: list[JoinedLine] | None = None
        """What is still to be compared with the list, the next one last; None before the last line."""
        self._rejects: list[tuple[int, Reject]] = []
        """Rejected lines with their positions."""
        self._known_keys: set[str] | None = None if self._confirmed else index.key_ids_elsewhere(self._name)
        """Key ids on other lists. None if this does not matter, or a token has one of them."""
        self._has_tokens = False
        self._matched: set[str] = set()
        """Ids of entries that were on the list before the batch and that a line matched."""
        self._gone: set[str] = set()
        """Those of them that a line replaced or withdrew."""
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
        """Decides the next lines of the batch, in their order. Those to put are compared with the list only after the last one."""
        mode, category, change = self._batch.mode, self._batch.category, self._change
        for line in lines:
            code = line_code(line, mode, category, self._now_us)
            if self._known_keys is not None and code not in ("no_token", "bad_token"):
                self._look_for_known_key(line)
            if code is None and mode == "withdraw":
                code = self._withdraw(tokens_of(line))
            elif code is None:
                self._joiner.add(joinable(self._position, line))
            if code is not None:
                change.rejected += 1
                if change.rejected <= SHOWN_REJECTS:
                    self._rejects.append((self._position, Reject(line.line, code)))
            self._position += 1
            self._last_line = max(self._last_line, line.line)

    def compare(self, limit: int) -> bool:
        """Compares the next joined lines with the list. Returns whether there are more.

        Args:
            limit: how many of them, at most.
        """
        if self._joined is None:
            self._joined = self._joiner.finish()[::-1]
            self._change.rejected += len(self._joiner.refused)
            self._rejects += [(one.position, Reject(one.line, one.code)) for one in self._joiner.refused]
        for _ in range(min(limit, len(self._joined))):
            self._put(self._joined.pop())
        return bool(self._joined)

    def finish(self) -> BatchChange:
        """Returns the decision, after the last line."""
        change = self._change
        if change.status != "applied":
            return change
        while self.compare(self._position + 1):
            pass
        self._rejects.sort(key=lambda reject: reject[0])
        change.rejects = [reject for _, reject in self._rejects[:SHOWN_REJECTS]]
        change.listed = self._index.size(self._name)
        change.leaving = len(change.remove) - len(change.merged)
        if self._batch.mode == "full":
            change.listed = self._index.count_unexpired(self._name, self._now_us)
            change.leaving = change.withdrawn = change.listed - len(self._matched)
        if not self._confirmed and (code := self._reason_to_hold()) is not None:
            self._stop("held", code)
        return self._change

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

    def _look_for_known_key(self, line: PushLine) -> None:
        """Checks whether a token of a line has a key id that another list has, too."""
        self._has_tokens = True
        keys = {token.partition(".")[0] for _, token in token_pairs(tokens_of(line))}
        if self._known_keys is not None and not keys.isdisjoint(self._known_keys):
            self._known_keys = None

    def _put(self, line: JoinedLine) -> None:
        """Puts the entry of a line, in place of the entries that the line matches. One of them keeps its id."""
        change, others = self._change, len(line.others or ())
        matches = self._matches(line.tokens)
        if len(matches) == 1 and _same(matches[0], line, self._batch.category):
            change.duplicate += 1 + others
            if self._batch.mode == "full":  # it stays as it is, above the new floor
                change.put[matches[0].entry_id] = matches[0]
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
        change.put[entry.entry_id] = entry

    def _withdraw(self, tokens: Tokens) -> LineCode | None:
        """Removes the entries that a line matches."""
        matches = self._matches(tokens)
        if not matches:
            return "not_listed"
        for old in matches:
            self._gone.add(old.entry_id)
            self._change.remove[old.entry_id] = old
        self._change.withdrawn += 1
        return None

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
