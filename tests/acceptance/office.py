"""A random health office: batches of every mode, in parts, repeated, stale, held and malformed, and confirmations.

It reads the model, never the pipeline, to address live entries and held batches. It sends nothing that the contract
leaves open.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .authorities import CANARY
from .oracle import CATEGORIES, DAY, MIB, MINUTE, SECOND, Ambiguous, Batch, Entry, Lists
from .rendering import rfc3339

KINDS = ("id", "passport", "pass", "phone", "plate")
SUBJECTS = 30
MS = 1000


def token(kind: str, subject: int, key_id: str = "k1") -> str:
    """Returns a token of a subject. Two neighbours have the same phone, three the same plate."""
    shared = {"phone": subject // 2, "plate": subject // 3}.get(kind, subject)
    return f"{key_id}.{KINDS.index(kind):x}{shared:031x}"


@dataclass
class Office:
    """Makes the next records for the topic of pushes. `clock` returns the Unix time in µs."""

    rng: random.Random
    run: str
    lists: Lists
    clock: Callable[[], int]
    soon: int = 20 * MINUTE
    """Shortest time for which a line is valid, in µs."""
    reasons: tuple[str, ...] = ("expired", "cleared")
    """Reasons of its withdrawals."""
    numbers: int = 0
    missing: list[dict[str, Any]] = field(default_factory=list)
    """Parts that were not sent with their batches."""
    sequences: dict[tuple[str, str], int] = field(default_factory=dict)
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """(category, line) of valid lines, to be sent again."""

    @property
    def names(self) -> list[tuple[str, str]]:
        return [(f"{self.run}-{authority}", name) for authority in ("cdc", "port") for name in ("cases", "mixed")]

    def act(self) -> list[bytes]:
        """Returns the records of one action: a batch or two, a repetition, a confirmation, or a malformed record."""
        rng = self.rng
        chance = rng.random()
        if chance < 0.12 and (again := self._again()):
            return again
        if chance < 0.3 and (word := self._word()):
            return [_bytes(word)]
        if chance < 0.36:
            return [self._spoilt()]
        if chance < 0.4 and self.missing:
            return [_bytes(self.missing.pop(0))]
        if chance < 0.5:
            return self._interleaved(self.batch(), self.batch(), whole=rng.random() < 0.8)
        return self._interleaved(self.batch(), [], whole=True)

    # --- batches ------------------------------------------------------------------------------------------------

    def batch(self, **given: Any) -> list[dict[str, Any]]:
        """Returns the parts of a new batch, in order."""
        rng = self.rng
        authority, _ = where = rng.choice(self.names)
        # Both authorities number their batches in the same way, so a batch_id is often used by both.
        self.numbers += rng.random() < 0.6
        while (authority, f"b{self.numbers}") in self.lists.batches:
            self.numbers += 1
        mode = rng.choices(("delta", "full", "withdraw"), (45, 30, 25))[0]
        category = rng.choice(CATEGORIES)
        last = self.sequences.get(where, 0)
        sequence = last + rng.choice((1, 1, 2, 40))
        if rng.random() < 0.07 and last:
            sequence = rng.randrange(last + 1)
        elif rng.random() < 0.03:
            sequence = self.clock() // MS + 86_400_000 + 60_000
            self.sequences[where] = last
            return self._parts(where, mode, category, sequence, given)
        self.sequences[where] = max(last, sequence)
        return self._parts(where, mode, category, sequence, given)

    def _parts(
        self, where: tuple[str, str], mode: str, category: str, sequence: int, given: dict[str, Any]
    ) -> list[dict[str, Any]]:
        rng, (authority, name) = self.rng, where
        lines = self._lines(where, mode, category)
        head = {
            "batch_id": f"b{self.numbers}",
            "authority": authority,
            "pushed_by": rng.choice(("li", "wang")),
            "list": name,
            "category": category if rng.random() < 0.96 else "criminal_record",
            "mode": mode,
            "sequence": sequence,
            "issued_at": rfc3339(self.clock() // MS * MS),
            "legal_basis": rng.choice((*("JN-2026-17",) * 25, "", None)),
            "purpose": "epidemic_control",
            "declared_lines": len(lines) + (rng.random() < 0.12),
            "withdraw_reason": rng.choice(self.reasons) if mode == "withdraw" else None,
        } | given
        parts = rng.choice((1, 1, 2, 3)) if len(lines) > 3 else 1
        size = max(1, -(-len(lines) // parts))
        return [head | {"part": n + 1, "parts": parts, "lines": lines[n * size : (n + 1) * size]} for n in range(parts)]

    def _lines(self, where: tuple[str, str], mode: str, category: str) -> list[dict[str, Any]]:
        rng = self.rng
        step = rng.choice((1, 1, 3))
        if mode == "withdraw":
            lines = [self._withdrawal(where) for _ in range(rng.choice((1, 2, 4, 9)))]
        else:
            lines = [self._line(where, category) for _ in range(rng.choice((0, 1, 3, 6, 12, 18)))]
            lines += [self._another_window(line) for line in lines if rng.random() < 0.1]
            if rng.random() < 0.06:
                lines = [self._under_key(line, "k3") for line in lines]
        if mode == "full" and rng.random() < 0.5:  # most of the list stays, so it is not held
            live = self.lists.live(where, self.clock())
            kept = [
                {
                    "tokens": {kind: sorted(some) for kind, some in entry.tokens.items()},
                    "valid_from": None if entry.valid_from is None else rfc3339(entry.valid_from),
                    "valid_to": rfc3339(entry.valid_to),
                }
                for entry in live
                if entry.category == category and rng.random() < 0.9
            ]
            lines = kept + lines
        return [{"line": 1 + n * step, **line} for n, line in enumerate(lines)]

    def _line(self, where: tuple[str, str], category: str) -> dict[str, Any]:
        rng, base = self.rng, self.clock() // MS * MS
        live = self.lists.live(where, self.clock())
        if live and rng.random() < 0.15:
            return self._renewal(live)
        known = [line for of, line in self.lines if of == category]
        if known and rng.random() < 0.25:
            line = rng.choice(known)
            return line if rng.random() < 0.6 else line | {"valid_to": rfc3339(base + self.soon + 3 * DAY)}
        window = self._window(category)
        line = {"tokens": self._tokens(), "valid_from": rfc3339(window[0]), "valid_to": rfc3339(window[1])}
        if rng.random() < 0.3:
            line = (
                line | {"valid_from": None}
                if rng.random() < 0.5
                else {k: v for k, v in line.items() if k != "valid_from"}
            )
        if rng.random() < 0.15:
            return self._bad_line(line, base)
        self.lines.append((category, line))
        return line

    def _renewal(self, live: list[Entry]) -> dict[str, Any]:
        """Returns a line of one or two entries of a list, which become one, with a new window."""
        tokens: dict[str, list[str]] = {}
        for entry in self.rng.sample(live, min(len(live), self.rng.choice((1, 1, 2)))):
            for kind, some in entry.tokens.items():
                tokens[kind] = sorted({*tokens.get(kind, ()), *some})
        return self._another_window({"tokens": tokens})

    def _another_window(self, line: dict[str, Any]) -> dict[str, Any]:
        """Returns a line of the same person whose window ends, and perhaps begins, at other times."""
        base = self.clock() // MS * MS
        line = {
            "tokens": line["tokens"],
            "valid_to": rfc3339(base + 2 * self.soon + self.rng.randrange(20 * DAY) // MS * MS),
        }
        if self.rng.random() < 0.6:
            line["valid_from"] = rfc3339(base - self.rng.randrange(8 * DAY) // MS * MS)
        return line

    def _under_key(self, line: dict[str, Any], key_id: str) -> dict[str, Any]:
        tokens = {
            kind: sorted({f"{key_id}.{text.partition('.')[2]}" for text in some})
            for kind, some in line["tokens"].items()
        }
        return line | {"tokens": tokens}

    def _window(self, category: str) -> tuple[int, int]:
        rng, base = self.rng, self.clock() // MS * MS
        start = base - rng.randrange(5 * DAY) // MS * MS
        if rng.random() < 0.1:
            start = base + rng.choice((2 * self.soon, DAY))  # not valid yet
            return start, start + 3 * DAY
        if rng.random() < 0.35:
            return start, base + self.soon + rng.randrange(self.soon) // MS * MS  # ends before this is over
        long = 300 * DAY if category == "health_pass" and rng.random() < 0.5 else 20 * DAY
        return start, base + DAY + rng.randrange(long) // MS * MS

    def _tokens(self) -> dict[str, list[str]]:
        rng, subject = self.rng, self.rng.randrange(SUBJECTS)
        keys = rng.choice((("k1",), ("k1",), ("k1", "k2")))
        kinds = rng.sample(KINDS, rng.choice((1, 1, 2, 3)))
        found = {kind: [token(kind, subject, key) for key in keys] for kind in kinds}
        if rng.random() < 0.1:  # a document of one and a document of another: a line that fits both
            found["id"] = [token("id", subject), token("id", rng.randrange(SUBJECTS))]
        return found

    def _bad_line(self, line: dict[str, Any], base: int) -> dict[str, Any]:
        kind = next(iter(line["tokens"]))
        good = line["tokens"][kind][0]
        past = {"valid_from": rfc3339(base - 2 * DAY), "valid_to": rfc3339(base - DAY)}
        return self.rng.choice(
            (
                line | {"tokens": {}},
                line | {"tokens": {kind: [good, "370115199001011234"]}},
                line | {"tokens": {kind: [good[:-1]]}},
                {name: value for name, value in line.items() if name != "valid_to"},
                line | {"valid_from": rfc3339(base + 3 * DAY), "valid_to": rfc3339(base + 2 * DAY)},
                line | {"valid_from": None, "valid_to": rfc3339(base + 29 * DAY)},
                line | past,
                line | {"valid_from": rfc3339(base - DAY), "valid_to": rfc3339(base + 28 * DAY)},
                {"tokens": {kind: ["x"]}} | past,
            )
        )

    def _withdrawal(self, where: tuple[str, str]) -> dict[str, Any]:
        rng = self.rng
        live = self.lists.live(where, self.clock())
        if live and rng.random() < 0.8:
            changed = [entry for entry in live if entry.merged] or [e for e in live if e.first_batch != e.batch_id]
            tokens = rng.choice(changed if changed and rng.random() < 0.5 else live).tokens
            kind = rng.choice(sorted(tokens))
            found = {kind: [rng.choice(sorted(tokens[kind]))]}
            return {"tokens": found if rng.random() < 0.6 else {k: sorted(some) for k, some in tokens.items()}}
        return {"tokens": self._tokens() if rng.random() < 0.8 else {}}

    # --- order and repetition ---------------------------------------------------------------------------

    def _interleaved(self, one: list[dict[str, Any]], other: list[dict[str, Any]], whole: bool) -> list[bytes]:
        """Returns the parts of one or two batches in any order, some twice. Unless `whole`, one part is missing."""
        records = [*one, *other]
        if len({(r["authority"], r["batch_id"]) for r in records}) < bool(one) + bool(other):
            records = one  # the same batch_id twice
        if not whole and len(one) > 1:
            missing = self.rng.choice(one)
            records.remove(missing)
            self.missing.append(missing)
        if self.rng.random() < 0.5:
            self.rng.shuffle(records)
        again = [record for record in records if self.rng.random() < 0.15]
        for record in again:
            records.insert(self.rng.randrange(len(records) + 1), record)
        return [_bytes(record) for record in records]

    def _answered(self) -> list[Batch]:
        """Returns the batches of this office that have a receipt."""
        own = dict.fromkeys(authority for authority, _ in self.names)
        return [batch for (who, _), batch in self.lists.batches.items() if who in own and batch.receipt is not None]

    def _again(self) -> list[bytes]:
        """Returns a batch that has a receipt again: all its parts, or one of them."""
        answered = self._answered()
        if not answered:
            return []
        batch = self.rng.choice(answered[-12:])
        records = parts_of(batch)
        return [_bytes(record) for record in records[: self.rng.choice((1, len(records)))]]

    def _word(self) -> dict[str, Any] | None:
        """Returns a confirmation, mostly of a held batch, mostly by another person."""
        rng = self.rng
        answered = self._answered()
        held = [batch for batch in answered if batch.receipt is not None and batch.receipt["status"] == "held"]
        if not answered:
            return None
        batch = rng.choice(held[-6:] if held and rng.random() < 0.85 else answered)
        now = self.clock()
        if batch in held and not self._settled(batch, now):
            return None
        who = batch.head["pushed_by"] if rng.random() < 0.2 else "chen"
        return confirmation(batch, who, now)

    def _settled(self, batch: Batch, now: int) -> bool:
        """Returns whether the time at which the batch is decided makes no difference to a confirmation: no window ends in between."""
        try:
            return self.lists.trial(batch, batch.at) == self.lists.trial(batch, now + self.soon // 2)
        except Ambiguous:
            return False

    def _spoilt(self) -> bytes:
        """Returns a record that is dead-lettered. Its valid form is never sent."""
        rng = self.rng
        record = self.batch()[0] | {"batch_id": "spoilt", "part": 1, "parts": 1}
        line = {"line": 1, "tokens": {"id": [token("id", 1)]}}
        word = {"confirms": "b1", "authority": record["authority"], "confirmed_by": "chen", "at": rfc3339(self.clock())}
        spoilt: tuple[Any, ...] = (
            record | {"purpose": "law_enforcement"},
            record | {"issued_at": "soon"},
            record | {CANARY: 1},
            record | {"mode": "merge"},
            record | {"part": 0},
            record | {"authority": "health bureau"},
            record | {"withdraw_reason": "because"},
            record | {"lines": [line | {"valid_from": "2026-02-30T00:00:00Z"}]},
            record | {"lines": [line | {"tokens": {"name": ["Zhang San"]}}]},
            {name: value for name, value in record.items() if name != "declared_lines"},
            word | {"confirmed_by": "Dr. Chen"},
            {name: value for name, value in word.items() if name != "confirmed_by"},
            word | {CANARY: 1},
        )
        good = json.dumps(record).encode()
        return rng.choice((*map(_bytes, spoilt), good[:-1], b"", good + b" " * (MIB + 1 - len(good))))


def parts_of(batch: Batch) -> list[dict[str, Any]]:
    """Returns the records of a batch as they were first sent."""
    return [batch.head | {"part": number, "lines": lines} for number, lines in sorted(batch.parts.items())]


def confirmation(batch: Batch, who: str, now: int) -> dict[str, Any]:
    """Returns the confirmation of a batch."""
    head = batch.head
    return {
        "confirms": head["batch_id"],
        "authority": head["authority"],
        "confirmed_by": who,
        "at": rfc3339(now // SECOND * SECOND),
    }


def person(rng: random.Random) -> dict[str, Any]:
    """Returns a person who may be listed."""
    subject = rng.randrange(SUBJECTS + 3)
    kinds = [kind for kind in KINDS[:4] if rng.random() < 0.5]
    key_id = rng.choices(("k1", "k2"), (9, 1))[0]
    return {
        "role": "driver",
        "tokens": {kind: token(kind, subject, key_id) for kind in kinds},
        "temperature_c": 36.5,
        "origin": rng.choice((None, None, "370102", "420106")),
    }


def scan(rng: random.Random, device_id: str, seq: int, site_id: str, at: int) -> dict[str, Any]:
    """Returns a passage that was observed at `at` (Unix time in µs)."""
    return {
        "device_id": device_id,
        "seq": seq,
        "site_id": site_id,
        "observed_at": rfc3339(at // MS * MS),
        "kind": "vehicle",
        "people": [person(rng) for _ in range(rng.choice((1, 1, 2)))],
        "plate": rng.choice((None, token("plate", rng.randrange(SUBJECTS)))),
    }


def _bytes(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode()
