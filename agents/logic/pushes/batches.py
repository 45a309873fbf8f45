"""Push batches: what every line does to its list, and whether a batch is applied, held or rejected (CONTRACT §5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from msgspec import UNSET, Struct, field

from ninezero.agents.logic.watchlist.index import KINDS, Entry, Watchlist
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
"""A receipt shows that many of its refused lines."""

SHRINK_FROM = 10
"""A `full` may take over half of a list only if the list is shorter than this."""

_STRONG = ("id", "passport", "pass")
_WEAK = ("phone", "plate")

Tokens = dict[str, tuple[str, ...]]


class Change(Struct):
    """What a batch does: its status, its lines' outcomes, and the entries to put and to remove.

    A `full` removes nothing by name: the floor of its manifest hides whatever it did not put.
    """

    status: BatchStatus = "applied"
    code: BatchCode | None = None
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    withdrawn: int = 0
    rejects: list[Reject] = field(default_factory=list)
    put: dict[str, Entry] = field(default_factory=dict)
    remove: dict[str, Entry] = field(default_factory=dict)


class Judge:
    """Judges one batch, its lines in order, at `now_us` (µs) against its list; changes nothing.

    `batch` is its first part, `count` the lines of all its parts, `applied` the last sequence that was applied to the
    list. A batch that is rejected, or held for its count, is so before any line: then `judged` is true at once.
    """

    def __init__(
        self,
        batch: PushBatch,
        count: int,
        now_us: int,
        watchlist: Watchlist,
        applied: int | None,
        confirmed: bool = False,
    ) -> None:
        self._batch, self._now, self._watchlist, self._confirmed = batch, now_us, watchlist, confirmed
        self._name = (batch.authority, batch.list)
        self._added: dict[tuple[str, str], dict[str, Entry]] = {}
        self._met: set[str] = set()
        """Entries of the list, as it was, that a line was about."""
        self._gone: set[str] = set()
        """Those of them that a line replaced or withdrew."""
        self._change = Change()
        if not batch.legal_basis:
            self._refuse("rejected", "no_legal_basis")
        elif batch.category not in CATEGORIES:
            self._refuse("rejected", "unknown_category")
        elif applied is not None and batch.sequence <= applied:
            self._refuse("rejected", "stale_sequence")
        elif batch.declared_lines != count and batch.mode != "withdraw" and not confirmed:
            self._refuse("held", "count_mismatch")
        self.judged = self._change.status != "applied"

    def take(self, lines: Sequence[PushLine]) -> None:
        """The next lines."""
        mode, category = self._batch.mode, self._batch.category
        act = self._withdraw if mode == "withdraw" else self._put
        for line in lines:
            code = line_code(line, mode, category, self._now) or act(line, _tokens(line))
            if code is not None:
                self._change.rejected += 1
                if self._change.rejected <= SHOWN_REJECTS:
                    self._change.rejects.append(Reject(line.line, code))

    def finish(self) -> Change:
        """The verdict, after the last line."""
        change = self._change
        if self._batch.mode == "full" and not self.judged:
            before = self._watchlist.live(self._name, self._now)
            change.withdrawn = before - len(self._met)
            if before and not change.put and not self._confirmed:
                self._refuse("held", "would_empty")
            elif before >= SHRINK_FROM and change.withdrawn * 2 > before and not self._confirmed:
                self._refuse("held", "would_shrink")
        return self._change

    def _refuse(self, status: BatchStatus, code: BatchCode) -> None:
        self._change = Change(status=status, code=code)

    def _put(self, line: PushLine, tokens: Tokens) -> None:
        entry = _entry(self._batch, line, tokens)
        fits = self._fits(tokens)
        if len(fits) == 1 and _same(fits[0], entry):
            self._change.duplicate += 1
            if self._batch.mode == "full":  # it stays under its own name, above the new floor
                self._change.put.setdefault(fits[0].entry_id, fits[0])
            return
        namesake = self._watchlist.get(self._name, entry.entry_id)  # a batch_id used again after its receipt was gone
        if namesake is not None and namesake.entry_id not in self._gone:
            fits = [*(old for old in fits if old.entry_id != namesake.entry_id), namesake]
        for old in fits:
            self._drop(old)
        self._change.put[entry.entry_id] = entry
        for kind, some in tokens.items():
            for token in some:
                self._added.setdefault((kind, token), {})[entry.entry_id] = entry
        self._change.accepted += 1

    def _withdraw(self, line: PushLine, tokens: Tokens) -> LineCode | None:
        fits = self._fits(tokens)
        for old in fits:
            self._drop(old)
        if not fits:
            return "not_listed"
        self._change.withdrawn += 1
        return None

    def _fits(self, tokens: Tokens) -> list[Entry]:
        """Live entries that the line is about: of the list, and of the batch's earlier lines."""
        strong = any(kind in tokens for kind in _STRONG)
        found: dict[str, Entry] = {}
        for kind in _STRONG if strong else _WEAK:
            for token in tokens.get(kind, ()):
                for entry in self._watchlist.find(kind, token):
                    if (
                        (entry.authority, entry.list) == self._name
                        and entry.to_us > self._now
                        and entry.entry_id not in self._gone
                    ):
                        found[entry.entry_id] = entry
                found |= self._added.get((kind, token), {})
        fits = [e for e in found.values() if strong or not any(kind in e.tokens for kind in _STRONG)]
        self._met.update(entry.entry_id for entry in fits if entry.sequence != self._batch.sequence)
        return fits

    def _drop(self, old: Entry) -> None:
        if old.sequence == self._batch.sequence:  # of an earlier line: nobody has seen it
            del self._change.put[old.entry_id]
            for kind, some in old.tokens.items():
                for token in some:
                    del self._added[kind, token][old.entry_id]
            return
        self._gone.add(old.entry_id)
        self._change.put.pop(old.entry_id, None)
        if self._batch.mode != "full":
            self._change.remove[old.entry_id] = old


def _tokens(line: PushLine) -> Tokens:
    given: dict[str, Any] = {kind: getattr(line.tokens, "pass_" if kind == "pass" else kind) for kind in KINDS}
    return {kind: tuple(sorted(set(some))) for kind, some in given.items() if some is not UNSET and some}


def _entry(batch: PushBatch, line: PushLine, tokens: Tokens) -> Entry:
    assert line.valid_from is not None and line.valid_to is not None
    return Entry(
        authority=batch.authority,
        list=batch.list,
        entry_id=f"{batch.batch_id}:{line.line}",
        category=cast(Category, batch.category),  # a batch of another is refused as a whole
        from_us=min(max(unix_micros(line.valid_from), 0), FOREVER_US),
        to_us=min(unix_micros(line.valid_to), FOREVER_US),
        tokens=tokens,
        sequence=batch.sequence,
    )


def _same(old: Entry, new: Entry) -> bool:
    return (old.tokens, old.from_us, old.to_us, old.category) == (new.tokens, new.from_us, new.to_us, new.category)
