"""Lists, batches and their receipts (§5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .terms import CATEGORIES, DAY, MAX_TERM, STRONG, TOKEN, Ambiguous, Record, at

Tokens = Mapping[str, frozenset[str]]
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Entry:
    """One entry of a list. The window is half open; without a start it holds whenever something was observed."""

    authority: str
    list: str
    category: str
    batch_id: str
    """The batch that last changed it."""
    line: int
    """The line that first listed it."""
    tokens: dict[str, frozenset[str]]
    valid_from: int | None
    valid_to: int
    first_batch: str = ""
    first_sequence: int = 0
    merged: frozenset[str] = frozenset()
    """The ids of the entries that were merged into it."""

    @property
    def entry_id(self) -> str:
        return f"{self.first_batch}:{self.line}"

    @property
    def ids(self) -> frozenset[str]:
        """Every id that it had."""
        return self.merged | {self.entry_id}

    def has(self, kind: str, token_: str | None) -> bool:
        return token_ is not None and token_ in self.tokens.get(kind, _NONE)

    def is_same_subject(self, tokens: Tokens) -> bool:
        """Returns whether both share an id, passport or pass token; or, where neither has any of these, a phone or plate (§5)."""
        if any(self.tokens.get(kind, _NONE) & tokens.get(kind, _NONE) for kind in STRONG):
            return True
        if any(self.tokens.get(kind) or tokens.get(kind) for kind in STRONG):
            return False
        return any(self.tokens.get(kind, _NONE) & tokens.get(kind, _NONE) for kind in ("phone", "plate"))


def line_code(line: Mapping[str, Any], category: str, now: int, mode: str = "delta") -> str | None:
    """Returns the first code of §5 that applies to a line, or None for a valid line."""
    tokens = [text for texts in line["tokens"].values() for text in texts]
    if not tokens:
        return "no_token"
    if any(TOKEN.fullmatch(text) is None for text in tokens):
        return "bad_token"
    if mode == "withdraw":
        return None  # R22
    if "valid_to" not in line:
        return "no_window"
    start, end = _start(line), at(line["valid_to"])
    if start is not None and start >= end:
        return "bad_window"
    if end <= now:
        return "expired"
    return "term_too_long" if _too_long(start, end, category, now) else None


def _start(line: Mapping[str, Any]) -> int | None:
    return None if line.get("valid_from") is None else at(line["valid_from"])


def _too_long(start: int | None, end: int, category: str, now: int) -> bool:
    return category != "health_pass" and end - (now if start is None else start) > MAX_TERM


def _earliest(entries: Iterable[Entry]) -> int | None:
    starts = [entry.valid_from for entry in entries]
    return None if None in starts else min(start for start in starts if start is not None)


def _has_gap(entries: Sequence[Entry]) -> bool:
    """Returns whether some instant between the first start and the last end is in no window and touches none."""
    ordered = sorted(entries, key=lambda entry: -1 if entry.valid_from is None else entry.valid_from)
    return any(
        later.valid_from is not None and later.valid_from > max(entry.valid_to for entry in ordered[:n])
        for n, later in enumerate(ordered)
        if n
    )


@dataclass
class Joined:
    """What the lines of one batch become before they are compared with the list (R31)."""

    groups: list[list[Entry]] = field(default_factory=list)
    """The lines of each entry, in their order, as entries."""
    refused: dict[int, str] = field(default_factory=dict)
    """Code by line number."""


def join(lines: Sequence[Entry], category: str, now: int) -> Joined:
    """Joins lines that have no code of their own. Each is given as the entry that it would be alone."""
    joined, waiting = Joined(), list(lines)
    place = {entry.line: n for n, entry in enumerate(lines)}
    while True:
        left: list[Entry] = []
        for line in waiting:
            same = [group for group in joined.groups if any(one.is_same_subject(line.tokens) for one in group)]
            everyone = [*(one for group in same for one in group), line]
            if same and _has_gap(everyone):
                left.append(line)
            elif same and _too_long(_earliest(everyone), max(one.valid_to for one in everyone), category, now):
                joined.refused[line.line] = "term_too_long"
            else:
                others = [group for group in joined.groups if group not in same]
                together = sorted(everyone, key=lambda one: place[one.line])
                joined.groups = sorted([*others, together], key=lambda group: place[group[0].line])
        if len(left) == len(waiting):
            joined.refused |= {line.line: "bad_window" for line in left}
            return joined
        waiting = left


@dataclass
class Trial:
    """The effect of a batch on a list: the entries after it, and the counts of its receipt."""

    after: list[Entry]
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("accepted", "duplicate", "rejected", "withdrawn"), 0)
    )
    rejects: list[dict[str, Any]] = field(default_factory=list)
    withdrawn: list[Entry] = field(default_factory=list)
    meant: set[str] = field(default_factory=set)
    """The ids of the entries that a line of the batch matches."""
    kept: int = 0
    """Number of entries that a line matched, among those that were there before."""

    def reject(self, line: int, code: str) -> None:
        self.counts["rejected"] += 1
        self.rejects.append({"line": line, "code": code})

    def withdraw(self, line: int, tokens: Tokens) -> None:
        same = [entry for entry in self.after if entry.is_same_subject(tokens)]
        if not same:
            self.reject(line, "not_listed")
            return
        self.counts["withdrawn"] += 1
        self.withdrawn += same
        self.after = [entry for entry in self.after if entry not in same]

    def put(self, group: Sequence[Entry], sequence: int) -> None:
        """Applies the lines of one entry, which are joined."""
        tokens: dict[str, frozenset[str]] = {}
        for one in group:
            tokens |= {kind: tokens.get(kind, _NONE) | some for kind, some in one.tokens.items()}
        start, end = _earliest(group), max(one.valid_to for one in group)
        new = replace(group[0], tokens=tokens, valid_from=start, valid_to=end, first_sequence=sequence)
        same = [entry for entry in self.after if entry.is_same_subject(tokens) and entry.entry_id not in self.meant]
        self.counts["duplicate"] += len(group) - 1
        self.kept += len(same)
        shape = (new.tokens, new.valid_from, new.valid_to)
        if any((e.tokens, e.valid_from, e.valid_to) == shape for e in same):
            assert len(same) == 1, "what is equal to an entry and fits another would mean that these two fit"
            if same[0].category != new.category:
                raise Ambiguous("the same tokens and window in one list under two categories")
            self.counts["duplicate"] += 1
            self.meant.add(same[0].entry_id)
            return
        self.counts["accepted"] += 1
        self.after = [entry for entry in self.after if entry not in same]
        if same:
            senior = min(same, key=lambda entry: (entry.first_sequence, entry.line))
            merged = frozenset(name for entry in same for name in entry.ids) - {senior.entry_id}
            first = {"first_batch": senior.first_batch, "line": senior.line, "first_sequence": senior.first_sequence}
            new = replace(new, merged=merged, **first)
        if any(entry.entry_id == new.entry_id for entry in self.after):
            raise Ambiguous("a batch_id that is used again")
        self.after.append(new)
        self.meant.add(new.entry_id)

    def drop_the_rest(self, before: int) -> None:
        """The end of a `full` (R23), for a list of `before` entries."""
        self.after = [entry for entry in self.after if entry.entry_id in self.meant]
        self.counts["withdrawn"] = before - self.kept


@dataclass
class Batch:
    """A batch so far: the first head, the parts by number, and its last receipt."""

    head: dict[str, Any]
    parts: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    receipt: dict[str, Any] | None = None
    at: int = 0
    """The Kafka timestamp of the record that completed it."""
    first_at: int = 0
    """The Kafka timestamp of its first record."""

    def add(self, record: dict[str, Any]) -> None:
        if _head(record) != _head(self.head):
            raise Ambiguous("parts that differ in what they have in common")
        number = record.get("part", 1)
        if self.parts.setdefault(number, record["lines"]) != record["lines"]:
            raise Ambiguous("a part that comes twice with different lines")

    @property
    def complete(self) -> bool:
        return len(self.parts) == int(self.head.get("parts", 1))

    @property
    def lines(self) -> list[dict[str, Any]]:
        lines = [line for number in sorted(self.parts) for line in self.parts[number]]
        if len({line["line"] for line in lines}) != len(lines):
            raise Ambiguous("a line number used twice")
        return lines


def _head(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in ("part", "lines")}


@dataclass
class Lists:
    """Every list as it is now, and the state of the batches."""

    entries: dict[tuple[str, str], list[Entry]] = field(default_factory=dict)
    applied: dict[tuple[str, str], int] = field(default_factory=dict)
    batches: dict[tuple[str, str], Batch] = field(default_factory=dict)
    audit: list[tuple[str, str, str, str, str, int]] = field(default_factory=list)
    expired: dict[tuple[str, str], list[Entry]] = field(default_factory=dict)
    """Entries that had expired when their list was changed. Only `decide` uses them, where the contract does not define whether they are still there."""
    mistakes: list[Entry] = field(default_factory=list)
    """Entries that a withdrawal for `mistake` removed, in order."""

    def process(self, record: Record, value: dict[str, Any]) -> dict[str, Any] | None:
        """Processes one record of the topic of pushes. Returns its receipt, or None."""
        return self.confirm(record, value) if "confirms" in value else self.push(record, value)

    def push(self, record: Record, value: dict[str, Any]) -> dict[str, Any] | None:
        """Processes a batch or a part of one. Returns the receipt after the last part, else None."""
        batch = self.batches.setdefault((value["authority"], value["batch_id"]), Batch(value, first_at=record.at))
        if batch.receipt is not None:
            return batch.receipt  # R17
        batch.add(value)
        late = record.at - batch.first_at > DAY
        if not batch.complete and not late:
            return None
        batch.at = record.at
        status, code = ("rejected", "incomplete") if late else self.verdict(batch, record.at)
        action = "withdraw" if batch.head["mode"] == "withdraw" else "push"
        self._keep(batch.head["pushed_by"], action, batch.head)
        return self._answer(batch, status, code)

    def confirm(self, record: Record, word: dict[str, Any]) -> dict[str, Any]:
        """Processes the confirmation of a held batch. Returns the receipt that answers it.

        Its `confirmation` is the set of codes that may be named (R26), empty where the batch is applied.
        """
        batch = self.batches.get((word["authority"], word["confirms"]))
        if batch is None or batch.receipt is None:
            raise Ambiguous("a confirmation of what is not known")
        sequence, where = batch.head["sequence"], (batch.head["authority"], batch.head["list"])
        grounds = {
            ground
            for ground, applies in (
                ("not_held", batch.receipt["status"] != "held"),
                ("same_person", word["confirmed_by"] == batch.head["pushed_by"]),
                ("overtaken", where in self.applied and sequence <= self.applied[where]),
            )
            if applies
        }
        if grounds:
            return batch.receipt | {"confirmed": False, "confirmation": grounds}
        if self.trial(batch, batch.at) != self.trial(batch, record.at):
            raise Ambiguous("a window ended between a batch and its confirmation")
        self._keep(word["confirmed_by"], "confirm", batch.head)
        return self._answer(batch, "applied", None, confirmed=True)

    def verdict(self, batch: Batch, now: int) -> tuple[str, str | None]:
        """Returns the status and the code of a complete batch (R20)."""
        head = batch.head
        where = (head["authority"], head["list"])
        if not head.get("legal_basis"):
            return "rejected", "no_legal_basis"
        if head["category"] not in CATEGORIES:
            return "rejected", "unknown_category"
        if where in self.applied and head["sequence"] <= self.applied[where]:
            return "rejected", "stale_sequence"
        if head["sequence"] > now // 1000 + 86_400_000:
            return "rejected", "sequence_ahead"
        if head["mode"] == "withdraw":
            return "applied", None  # R21
        if head["declared_lines"] != len(batch.lines):
            return "held", "count_mismatch"
        if head["mode"] == "full":
            live, trial = len(self.live(where, now)), self.trial(batch, now)
            if live > 0 and not trial.after:
                return "held", "would_empty"
            leaving = trial.counts["withdrawn"]
            if (live >= 10 and 2 * leaving > live) or (leaving > 1000 and 5 * leaving > live):
                return "held", "would_shrink"
        if self.has_unknown_keys(batch, now):
            return "held", "unknown_key_ids"
        return "applied", None

    def has_unknown_keys(self, batch: Batch, now: int) -> bool:
        """Returns whether no token of a batch has a key that another list has, while there is one (R32)."""
        where = (batch.head["authority"], batch.head["list"])
        used = {
            text.partition(".")[0]
            for line in batch.lines
            if (texts := [text for some in line["tokens"].values() for text in some])
            and all(TOKEN.fullmatch(text) for text in texts)
            for text in texts
        }
        others = [e for name, entries in self.entries.items() if name != where for e in entries]
        expired = [e for name, entries in self.expired.items() if name != where for e in entries]
        answers = set()
        for some in ([e for e in others if e.valid_to > now], others, others + expired):
            known = {key_id for entry in some for key_id in key_ids(entry)}
            answers.add(bool(used) and bool(some) and not used & known)
        if len(answers) > 1:
            raise Ambiguous("whether what has expired still counts for the keys of a list")
        return answers.pop()

    def live(self, where: tuple[str, str], now: int) -> list[Entry]:
        return [entry for entry in self.entries.get(where, []) if entry.valid_to > now]

    def trial(self, batch: Batch, now: int) -> Trial:
        """Returns the effect that the batch would have now. Changes nothing."""
        head = batch.head
        where = (head["authority"], head["list"])
        live = self.live(where, now)
        trial, good = Trial(live), dict[int, Entry]()
        codes = {line["line"]: line_code(line, head["category"], now, head["mode"]) for line in batch.lines}
        for line in batch.lines:
            number, tokens = line["line"], {kind: frozenset(texts) for kind, texts in line["tokens"].items() if texts}
            if codes[number] is None and head["mode"] != "withdraw":
                about = (head["category"], head["batch_id"], number, tokens, _start(line), at(line["valid_to"]))
                good[number] = Entry(*where, *about, first_batch=head["batch_id"])
        joined = join(list(good.values()), head["category"], now)
        for line in batch.lines:
            number, tokens = line["line"], {kind: frozenset(texts) for kind, texts in line["tokens"].items() if texts}
            if (code := codes[number] or joined.refused.get(number)) is not None:
                trial.reject(number, code)
            elif head["mode"] == "withdraw":
                trial.withdraw(number, tokens)
        for group in joined.groups:
            trial.put(group, head["sequence"])
        if head["mode"] == "full":
            trial.drop_the_rest(len(live))
        return trial

    def _answer(self, batch: Batch, status: str, code: str | None, *, confirmed: bool = False) -> dict[str, Any]:
        head = batch.head
        trial = Trial([])
        if status == "applied":
            trial = self.trial(batch, batch.at)
            where = (head["authority"], head["list"])
            expired = self.expired.get(where, []) if head["mode"] != "full" else []
            expired += [entry for entry in self.entries.get(where, []) if entry.valid_to <= batch.at]
            self.expired[where], self.entries[where] = expired, trial.after
            self.applied[where] = head["sequence"]
            if head["mode"] == "withdraw" and head.get("withdraw_reason") == "mistake":
                self.mistakes += trial.withdrawn
        batch.receipt = {name: head[name] for name in ("batch_id", "authority", "list", "category", "mode")} | {
            "status": status,
            "code": code,
            "lines_declared": head["declared_lines"],
            **trial.counts,
            "rejects": trial.rejects[:1000],
            "sequence": self.applied.get((head["authority"], head["list"])),
            "confirmed": confirmed,
            "confirmation": set(),
        }
        return batch.receipt

    def _keep(self, who: str, action: str, head: dict[str, Any]) -> None:
        names = ("batch_id", "authority", "list", "declared_lines")
        self.audit.append((who, action, *(head[name] for name in names)))

    def all(self) -> list[Entry]:
        return [entry for entries in self.entries.values() for entry in entries]

    def lacks_key(self, token_: str, decided_at: int) -> bool:
        """Returns whether some non-empty list has no token of this token's key (R5)."""
        key_id = token_.partition(".")[0]

        every = [entries + self.expired.get(where, []) for where, entries in self.entries.items()]
        answers = {_lacks(entries, key_id, decided_at) for entries in every}
        if True in answers:
            return True
        if None in answers:
            raise Ambiguous("whether what has expired still counts for the keys of a list")
        return False


def _lacks(entries: list[Entry], key_id: str, now: int) -> bool | None:
    """Returns whether a list is not empty and lacks a key; None where this depends on which of its expired entries remain."""
    live = [entry for entry in entries if entry.valid_to > now]
    if any(key_id in key_ids(entry) for entry in live) or all(key_id in key_ids(entry) for entry in entries):
        return False
    return True if live and not any(key_id in key_ids(entry) for entry in entries) else None


def key_ids(entry: Entry) -> set[str]:
    """The key ids of an entry's tokens."""
    return {text.partition(".")[0] for texts in entry.tokens.values() for text in texts}
