"""Decides a push batch: whether it is applied, held or rejected, and what each of its lines does to the list (contract §5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from msgspec import UNSET, Struct, field

from ninezero.agents.logic.watchlist.entries import DOMAINS, Entry, token_pairs
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import (
    CATEGORIES,
    BatchCode,
    BatchStatus,
    Category,
    LineCode,
    PushBatch,
    PushLine,
    Reject,
)
from ninezero.schemas.line_codes import line_code
from ninezero.schemas.times import FOREVER_US, unix_micros

SHOWN_REJECTS = 1000
"""A receipt names this many of its rejected lines; it counts all."""

SHRINK_FROM = 10
"""A `full` that removes more than half of a list is held if the list has at least this many entries."""

_STRONG = ("id", "passport", "pass")
_WEAK = ("phone", "plate")

Tokens = dict[str, tuple[str, ...]]


class BatchChange(Struct):
    """The effect of a batch: its status, the counts of its lines, and the entries to put and to remove.

    A `full` removes nothing by name: the floor of its manifest drops every entry that it did not put.
    """

    status: BatchStatus = "applied"
    code: BatchCode | None = None
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    withdrawn: int = 0
    rejects: list[Reject] = field(default_factory=list)
    put: dict[str, Entry] = field(default_factory=dict)
    """Entries to write, by entry id."""
    remove: dict[str, Entry] = field(default_factory=dict)
    """Entries to remove, by entry id."""


class BatchDecider:
    """Decides one batch against its list. It changes nothing itself: `finish` returns the change.

    Args:
        batch: the first part of the batch.
        line_count: number of lines in all parts.
        now_us: Unix time in µs at which entries must not have expired.
        index: the watchlist.
        applied_sequence: the last sequence number applied to the list; None for a new list.
        confirmed: whether a second person has confirmed the batch, so that it is not held.
    """

    def __init__(
        self,
        batch: PushBatch,
        line_count: int,
        now_us: int,
        index: WatchlistIndex,
        applied_sequence: int | None,
        confirmed: bool = False,
    ) -> None:
        self._batch, self._now_us, self._index, self._confirmed = batch, now_us, index, confirmed
        self._name = (batch.authority, batch.list)
        self._added: dict[tuple[str, str], dict[str, Entry]] = {}
        """Entries that earlier lines put, by (domain, token) and entry id."""
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
        elif batch.declared_lines != line_count and batch.mode != "withdraw" and not confirmed:
            self._stop("held", "count_mismatch")

    @property
    def needs_lines(self) -> bool:
        """True if the decision depends on the lines. It does not if the batch is rejected or held for its head alone."""
        return self._change.status == "applied"

    def decide_lines(self, lines: Sequence[PushLine]) -> None:
        """Decides the next lines of the batch, in their order."""
        mode, category = self._batch.mode, self._batch.category
        decide = self._withdraw if mode == "withdraw" else self._put
        for line in lines:
            code = line_code(line, mode, category, self._now_us) or decide(line, _tokens(line))
            if code is not None:
                self._change.rejected += 1
                if self._change.rejected <= SHOWN_REJECTS:
                    self._change.rejects.append(Reject(line.line, code))

    def finish(self) -> BatchChange:
        """Returns the decision, after the last line."""
        change = self._change
        if self._batch.mode == "full" and change.status == "applied":
            before = self._index.count_unexpired(self._name, self._now_us)
            change.withdrawn = before - len(self._matched)
            if before and not change.put and not self._confirmed:
                self._stop("held", "would_empty")
            elif before >= SHRINK_FROM and change.withdrawn * 2 > before and not self._confirmed:
                self._stop("held", "would_shrink")
        return self._change

    def _stop(self, status: BatchStatus, code: BatchCode) -> None:
        """The whole batch is held or rejected, so it changes nothing and counts nothing."""
        self._change = BatchChange(status=status, code=code)

    def _put(self, line: PushLine, tokens: Tokens) -> None:
        """Puts the entry of a line, in place of the entries that the line matches."""
        entry = _entry(self._batch, line, tokens)
        matches = self._matches(tokens)
        if len(matches) == 1 and _same(matches[0], entry):
            self._change.duplicate += 1
            if self._batch.mode == "full":  # it stays under its own id, above the new floor
                self._change.put.setdefault(matches[0].entry_id, matches[0])
            return
        # A batch_id can be used again after its receipt has expired. Then an entry of this id may exist.
        same_id = self._index.get(self._name, entry.entry_id)
        if same_id is not None and same_id.entry_id not in self._gone:
            matches = [*(old for old in matches if old.entry_id != same_id.entry_id), same_id]
        for old in matches:
            self._remove(old)
        self._change.put[entry.entry_id] = entry
        for pair in token_pairs(tokens):
            self._added.setdefault(pair, {})[entry.entry_id] = entry
        self._change.accepted += 1

    def _withdraw(self, line: PushLine, tokens: Tokens) -> LineCode | None:
        """Removes the entries that a line matches."""
        matches = self._matches(tokens)
        for old in matches:
            self._remove(old)
        if not matches:
            return "not_listed"
        self._change.withdrawn += 1
        return None

    def _matches(self, tokens: Tokens) -> list[Entry]:
        """Returns the unexpired entries that a line matches, of the list and of the batch's earlier lines.

        Documents match by documents. A phone or a plate matches only where neither side has a document.
        """
        strong = any(domain in tokens for domain in _STRONG)
        found: dict[str, Entry] = {}
        for domain in _STRONG if strong else _WEAK:
            for token in tokens.get(domain, ()):
                for entry in self._index.find(domain, token):
                    if (
                        (entry.authority, entry.list) == self._name
                        and entry.to_us > self._now_us
                        and entry.entry_id not in self._gone
                    ):
                        found[entry.entry_id] = entry
                found |= self._added.get((domain, token), {})
        matches = [e for e in found.values() if strong or not any(domain in e.tokens for domain in _STRONG)]
        self._matched.update(entry.entry_id for entry in matches if entry.sequence != self._batch.sequence)
        return matches

    def _remove(self, old: Entry) -> None:
        if old.sequence == self._batch.sequence:  # an earlier line of this batch put it
            del self._change.put[old.entry_id]
            for pair in token_pairs(old.tokens):
                del self._added[pair][old.entry_id]
            return
        self._gone.add(old.entry_id)
        self._change.put.pop(old.entry_id, None)
        if self._batch.mode != "full":
            self._change.remove[old.entry_id] = old


def _tokens(line: PushLine) -> Tokens:
    given: dict[str, Any] = {
        domain: getattr(line.tokens, "pass_" if domain == "pass" else domain) for domain in DOMAINS
    }
    return {domain: tuple(sorted(set(some))) for domain, some in given.items() if some is not UNSET and some}


def _entry(batch: PushBatch, line: PushLine, tokens: Tokens) -> Entry:
    assert line.valid_from is not None and line.valid_to is not None
    return Entry(
        authority=batch.authority,
        list=batch.list,
        entry_id=f"{batch.batch_id}:{line.line}",
        category=cast(Category, batch.category),  # a batch of an unknown category is rejected before its lines
        from_us=min(max(unix_micros(line.valid_from), 0), FOREVER_US),
        to_us=min(unix_micros(line.valid_to), FOREVER_US),
        tokens=tokens,
        sequence=batch.sequence,
    )


def _same(old: Entry, new: Entry) -> bool:
    return (old.tokens, old.from_us, old.to_us, old.category) == (new.tokens, new.from_us, new.to_us, new.category)
