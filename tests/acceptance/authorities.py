"""Random people, and the health authorities that push lists of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from . import oracle
from .oracle import CATEGORIES, DAY, MINUTE, SECOND
from .rendering import MS, render, rfc3339

TOKEN_KINDS = ("id", "passport", "phone", "pass")
SHORT = 9 * MINUTE
"""Time from the start of the pushes to the end of the short windows. Everything must be decided before."""
CANARY = "CanaryField"
"""Part of every name and text that must never appear in a dead letter."""


@dataclass
class Crowd:
    """People and plates. Each has a text for each kind of identity, from which tokens under any key are made."""

    rng: random.Random
    people: list[dict[str, str]] = field(default_factory=list)
    plates: list[str] = field(default_factory=list)
    keys: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def born(cls, rng: random.Random, size: int = 240) -> Crowd:
        crowd = cls(rng, keys={name: rng.randbytes(32) for name in ("k1", "k2", "k9")})
        for number in range(size):
            person = {"id": f"370115{rng.randrange(10**11):011d}X"}
            if rng.random() < 0.4:
                person["passport"] = f"CHN/E{rng.randrange(10**8):08d}"
            if rng.random() < 0.7:
                person["phone"] = f"86138{rng.randrange(10**8):08d}"
            if rng.random() < 0.4:
                person["pass"] = f"JN-{rng.randrange(10**8):08d}"
            if number % 10 == 9 and "phone" in crowd.people[-1]:
                person["phone"] = crowd.people[-1]["phone"]  # a family shares one
            crowd.people.append(person)
        crowd.plates = [f"鲁A·{rng.randrange(10**5):05d}" for _ in range(60)]
        return crowd

    def token(self, domain: str, text: str, key_id: str = "k1") -> str:
        return oracle.token(key_id, self.keys[key_id], domain, oracle.normalise(text))

    def stranger(self) -> dict[str, str]:
        rng = self.rng
        texts = {kind: f"{rng.randrange(10**15)}" for kind in TOKEN_KINDS if rng.random() < 0.6}
        return texts or {"id": f"{rng.randrange(10**15)}"}


@dataclass
class PushedList:
    """One list of one authority; `people` are indexes of the crowd that only this list's category may name."""

    authority: str
    name: str
    category: str
    people: list[int]
    plates: list[str]
    key_ids: tuple[str, ...] = ("k1",)


@dataclass
class Window:
    """A valid line that was pushed, kept so that scans can be made at the ends of its window."""

    tokens: dict[str, list[str]]
    valid_from: int
    valid_to: int


def windows(rng: random.Random, base: int, category: str) -> tuple[int, int]:
    """A window, in whole milliseconds; those that end soon end at `base + SHORT`."""
    past = base - rng.randrange(12 * DAY) // MS * MS
    kinds = [
        (past, base + rng.randrange(DAY, 15 * DAY) // MS * MS),
        (past, base + rng.randrange(DAY, 15 * DAY) // MS * MS),
        (base - 2 * 60 * MINUTE, base + 20 * DAY),
        (base + 3 * MINUTE, base + 10 * DAY),  # not valid yet, but for a clock ahead
        (base + DAY, base + 2 * DAY),  # not valid yet
        (past, base + SHORT),
        (base - DAY, base - DAY + oracle.MAX_TERM),  # as long as may be
    ]
    if category == "health_pass":
        kinds += [(base - 30 * DAY, base + 300 * DAY)] * 3
    return rng.choice(kinds)


@dataclass
class Authorities:
    """Writes the delta batches of one to three authorities for all six categories."""

    rng: random.Random
    run: str
    crowd: Crowd
    base: int
    good: list[Window] = field(default_factory=list)
    batches: int = 0

    def lists(self) -> list[PushedList]:
        rng, everyone = self.rng, list(range(len(self.crowd.people)))
        names = [f"{self.run}-health.{n}" for n in range(rng.randint(1, 3))]
        found = []
        for category in CATEGORIES:
            keys = ("k1", "k2") if category == "suspected_case" else ("k1",)
            people = rng.sample(everyone, 50)
            found.append(PushedList(rng.choice(names), f"l-{category}", category, people, self.crowd.plates[:40], keys))
        # A list of several categories, each with people and plates of its own.
        mixed = rng.sample(everyone, 48)
        authority = rng.choice(names)
        for number, category in enumerate(CATEGORIES):
            people, plates = mixed[number * 8 : number * 8 + 8], self.crowd.plates[40 + number * 3 : 43 + number * 3]
            found.append(PushedList(authority, "mixed", category, people, plates))
        return found

    def _tokens(self, target: PushedList) -> dict[str, list[str]]:
        """Returns tokens of one person, of some or all kinds, with or without a plate, or the token of a plate alone."""
        rng, crowd = self.rng, self.crowd
        person = crowd.people[rng.choice(target.people)]
        kinds = [kind for kind in TOKEN_KINDS if kind in person]
        texts = [(kind, person[kind]) for kind in kinds if rng.random() < 0.7] or [("id", person["id"])]
        chance = rng.random()
        if chance < 0.12:
            texts = [("plate", rng.choice(target.plates))]
        elif chance < 0.2:
            texts.append(("plate", rng.choice(target.plates)))
        elif chance < 0.3 and "phone" in person:
            texts = [("phone", person["phone"])]
        return {kind: [crowd.token(kind, text, key) for key in target.key_ids] for kind, text in texts}

    def _line(self, target: PushedList, sent: list[dict[str, Any]]) -> dict[str, Any]:
        rng = self.rng
        again = [line for line in sent if "code" not in line]
        if again and rng.random() < 0.2:
            old = rng.choice(again)
            line = {name: old[name] for name in ("tokens", "valid_from", "valid_to")}
            if rng.random() < 0.4:  # the same subject under another window replaces
                start, end = windows(rng, self.base, target.category)
                line |= {"valid_from": rfc3339(start), "valid_to": rfc3339(end)}
            return line
        start, end = windows(rng, self.base, target.category)
        line = {"tokens": self._tokens(target), "valid_from": rfc3339(start, rng), "valid_to": rfc3339(end, rng)}
        self.good.append(Window(line["tokens"], start, end))
        return line

    def _bad_line(self, target: PushedList) -> dict[str, Any]:
        rng, base = self.rng, self.base
        tokens = self._tokens(target)
        kind = next(iter(tokens))
        good = tokens[kind][0]
        bad = rng.choice(
            (good[:-1], good + "0", good.upper(), good[3:], "k-1" + good[2:], "a" * 17 + good[2:], "370115199001011234")
        )
        window = {"valid_from": rfc3339(base - DAY), "valid_to": rfc3339(base + DAY)}
        later, past = rfc3339(base + 2 * DAY), rfc3339(base - MINUTE)
        long = {"valid_from": rfc3339(base - DAY), "valid_to": rfc3339(base - DAY + oracle.MAX_TERM + SECOND)}
        choices: list[dict[str, Any]] = [
            {"tokens": {}, **window},
            {"tokens": {kind: []}, **window},
            {"tokens": {**tokens, kind: [bad]}, **window},
            {"tokens": {**tokens, kind: [good, bad]}, **window},
            {"tokens": tokens, "valid_to": window["valid_to"]},
            {"tokens": tokens, "valid_from": window["valid_from"]},
            {"tokens": tokens},
            {"tokens": tokens, "valid_from": later, "valid_to": window["valid_to"]},
            {"tokens": tokens, "valid_from": later, "valid_to": later},
            {"tokens": tokens, "valid_from": window["valid_from"], "valid_to": past},
            {"tokens": tokens, **long},  # good for a health pass, and then an entry like any other
            # A line with two faults gets the first code in the order of §5.
            {"tokens": {}},
            {"tokens": {kind: [bad]}, "valid_to": past},
            {"tokens": tokens, "valid_to": past},
            {"tokens": tokens, "valid_from": past, "valid_to": rfc3339(base - 2 * MINUTE)},
            {"tokens": tokens, "valid_from": rfc3339(base - 40 * DAY), "valid_to": past},
        ]
        return rng.choice(choices) | {"code": "bad"}

    def _batch(self, target: PushedList, sequence: int, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns the parts of one batch."""
        rng = self.rng
        self.batches += 1
        step = rng.choice((1, 1, 3))
        numbered = [
            {"line": 1 + step * n, **{k: v for k, v in line.items() if k != "code"}} for n, line in enumerate(lines)
        ]
        parts = rng.choice((1, 1, 2, 3)) if len(lines) > 3 else 1
        common = {
            "batch_id": f"{self.run}-b{self.batches}",
            "authority": target.authority,
            "pushed_by": "duty-officer",
            "list": target.name,
            "category": target.category,
            "mode": "delta",
            "sequence": sequence,
            "issued_at": rfc3339(self.base, rng),
            "legal_basis": "JN-2026-17",
            "purpose": "epidemic_control",
            "declared_lines": len(lines),
        }
        if parts == 1 and rng.random() < 0.5:
            return [common | {"lines": numbered}]
        size = -(-len(numbered) // parts)
        return [
            common | {"part": n + 1, "parts": parts, "lines": numbered[n * size : (n + 1) * size]} for n in range(parts)
        ]

    def _rejected(self, target: PushedList, sequence: int) -> Iterator[dict[str, Any]]:
        """Yields batches that are rejected as a whole, and records that are dead-lettered and get no receipt."""
        rng = self.rng
        lines = [self._line(target, []) for _ in range(3)]
        good = self._batch(target, sequence, lines)[:1]
        del self.good[-len(lines) :]
        batch = good[0] | {"lines": good[0]["lines"], "declared_lines": len(good[0]["lines"])}
        batch.pop("part", None), batch.pop("parts", None)
        spoilt: list[dict[str, Any]] = [
            {k: v for k, v in batch.items() if k != "legal_basis"},
            batch | {"legal_basis": None},
            batch | {"legal_basis": ""},
            batch | {"category": rng.choice(("political_view", "criminal_record", "ethnicity"))},
            batch | {"sequence": 0},
            batch | {"purpose": "law_enforcement"},
            batch | {"issued_at": "soon"},
            batch | {"lines": [*batch["lines"][:1], batch["lines"][1] | {"valid_from": "2026-02-30T00:00:00Z"}]},
            batch | {"lines": [batch["lines"][0] | {"tokens": {CANARY: ["x"]}}]},
            batch | {"lines": [batch["lines"][0] | {CANARY: "Zhang San"}]},
            batch | {"legal_basis": "because of the epidemic"},
            {k: v for k, v in batch.items() if k != "declared_lines"},
            batch | {CANARY: 1},
            batch | {"authority": "health bureau"},
            batch | {"mode": "merge"},
        ]
        for number, one in enumerate(spoilt):
            yield one | {"batch_id": f"{batch['batch_id']}x{number}"}

    def pushes(self) -> Iterator[tuple[str, bytes]]:
        """Yields the authority and the value of every PushBatch record, in order."""
        rng, sequences = self.rng, dict[tuple[str, str], int]()
        sent: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        targets = self.lists()
        for turn in range(3):
            for target in rng.sample(targets, len(targets)):
                where = (target.authority, target.name)
                sequences[where] = sequences.get(where, 0) + rng.randint(1, 3)
                before = sent.setdefault((*where, target.category), [])
                lines: list[dict[str, Any]] = []
                for _ in range(rng.randint(6, 24)):
                    bad = rng.random() < 0.15
                    lines.append(self._bad_line(target) if bad else self._line(target, before + lines))
                before.extend(lines)
                parts = self._batch(target, sequences[where], lines)
                rendered = [(target.authority, render(part, rng).encode()) for part in parts]
                yield from rendered
                if len(parts) == 1 and rng.random() < 0.3:
                    yield rendered[0]  # the same batch_id again
                if turn == 1 and rng.random() < 0.3:
                    # Rejected for good, so it may be sent with any sequence but a stale one.
                    for rejected in self._rejected(target, sequences[where] + 1000):
                        yield target.authority, render(rejected, rng).encode()
        for value in (b"", b"{", b"[]", b'{"lines": NaN}', b"\xff\xfe"):
            yield targets[0].authority, value
        # A list all of whose lines are rejected stays empty, and so lacks no key.
        empty = PushedList(
            targets[0].authority, "empty", "close_contact", targets[0].people, targets[0].plates, ("k9",)
        )
        for part in self._batch(empty, 1, [{"tokens": {}}]):
            yield empty.authority, render(part, rng).encode()
