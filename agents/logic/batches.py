"""Delta batches: what each line of a push does to its list."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from msgspec import UNSET, Struct

from agents.logic.watchlist import KINDS, Entry, ListName, Watchlist
from schemas.events import CATEGORIES, TOKEN_PATTERN, BatchCode, LineCode, PushBatch, PushLine, Reject

MAX_TERM_US = 2_419_200 * 1_000_000
"""Longest window of an entry that is no health pass: 28 days, in µs."""

FOREVER_US = 253_370_764_800 * 1_000_000
"""The year 9999, in µs: later ends are cut to it, since no calendar of ours goes further."""

_TOKEN = re.compile(TOKEN_PATTERN)
_STRONG = ("id", "passport", "pass")
_WEAK = ("phone", "plate")


class Change(Struct):
    """What a batch does: its status, its lines' outcomes, and the entries to put and to remove."""

    status: str = "applied"
    code: BatchCode | None = None
    accepted: int = 0
    duplicate: int = 0
    rejects: list[Reject] = []
    put: dict[str, Entry] = {}
    remove: list[str] = []


def delta(batch: PushBatch, now_us: int, watchlist: Watchlist, last_sequence: int | None) -> Change:
    """Judges a whole delta batch at `now_us` (µs) against its list; changes nothing."""
    if not batch.legal_basis:
        return Change(status="rejected", code="no_legal_basis")
    if batch.category not in CATEGORIES:
        return Change(status="rejected", code="unknown_category")
    if last_sequence is not None and batch.sequence <= last_sequence:
        return Change(status="rejected", code="stale_sequence")
    if batch.declared_lines != len(batch.lines):
        return Change(status="held", code="count_mismatch")
    name: ListName = (batch.authority, batch.list)
    live = _Live(watchlist, name, now_us)
    change = Change()
    for line in batch.lines:
        tokens = _tokens(line)
        code = _fault(line, tokens, batch.category, now_us)
        if code is not None:
            change.rejects.append(Reject(line.line, code))
            continue
        entry = _entry(batch, line, tokens)
        fits = live.fits(tokens)
        if len(fits) == 1 and _same(fits[0], entry):
            change.duplicate += 1
            continue
        for old in fits:
            live.drop(old)
            change.put.pop(old.entry_id, None)
            change.remove.append(old.entry_id)
        live.add(entry)
        change.put[entry.entry_id] = entry
        change.accepted += 1
    change.remove = [entry_id for entry_id in change.remove if entry_id not in change.put]
    return change


class _Live:
    """The list as it stands while a batch is judged: live entries of the watchlist with the batch's own changes."""

    def __init__(self, watchlist: Watchlist, name: ListName, now_us: int) -> None:
        self._watchlist, self._name, self._now = watchlist, name, now_us
        self._added: dict[tuple[str, str], dict[str, Entry]] = {}
        self._dropped: set[int] = set()

    def fits(self, tokens: dict[str, tuple[str, ...]]) -> list[Entry]:
        """Live entries that the line is about."""
        strong = any(kind in tokens for kind in _STRONG)
        found: dict[str, Entry] = {}
        for kind in _STRONG if strong else _WEAK:
            for token in tokens.get(kind, ()):
                for entry in (
                    *self._watchlist.found[kind].get(token, ()),
                    *self._added.get((kind, token), {}).values(),
                ):
                    if (
                        (entry.authority, entry.list) == self._name
                        and entry.to_us > self._now
                        and id(entry) not in self._dropped
                        and (strong or not any(k in entry.tokens for k in _STRONG))
                    ):
                        found[entry.entry_id] = entry
        return list(found.values())

    def add(self, entry: Entry) -> None:
        for kind, some in entry.tokens.items():
            for token in some:
                self._added.setdefault((kind, token), {})[entry.entry_id] = entry

    def drop(self, entry: Entry) -> None:
        self._dropped.add(id(entry))


def _tokens(line: PushLine) -> dict[str, tuple[str, ...]]:
    given: dict[str, Any] = {kind: getattr(line.tokens, "pass_" if kind == "pass" else kind) for kind in KINDS}
    return {kind: tuple(sorted(set(some))) for kind, some in given.items() if some is not UNSET and some}


def _fault(line: PushLine, tokens: dict[str, tuple[str, ...]], category: str, now_us: int) -> LineCode | None:
    if not tokens:
        return "no_token"
    if not all(_TOKEN.match(token) for some in tokens.values() for token in some):
        return "bad_token"
    if line.valid_from is None or line.valid_to is None:
        return "no_window"
    first, last = micros(line.valid_from), micros(line.valid_to)
    if first >= last:
        return "bad_window"
    if last <= now_us:
        return "expired"
    if last - first > MAX_TERM_US and category != "health_pass":
        return "term_too_long"
    return None


def _entry(batch: PushBatch, line: PushLine, tokens: dict[str, tuple[str, ...]]) -> Entry:
    assert line.valid_from is not None and line.valid_to is not None
    return Entry(
        authority=batch.authority,
        list=batch.list,
        entry_id=f"{batch.batch_id}:{line.line}",
        category=batch.category,
        from_us=max(micros(line.valid_from), 0),
        to_us=min(micros(line.valid_to), FOREVER_US),
        tokens=tokens,
        sequence=batch.sequence,
    )


def _same(old: Entry, new: Entry) -> bool:
    return (old.tokens, old.from_us, old.to_us, old.category) == (new.tokens, new.from_us, new.to_us, new.category)


def micros(time: datetime) -> int:
    """Unix time in µs."""
    return round(time.timestamp() * 1_000_000)
