"""Operators who write policies and their uses at random: good ones, bad ones, too late, twice and out of order."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from .oracle import DEFAULTS, POLICIES, Policies, Record
from .rendering import rfc3339

NAMES = ("winter", "spring.a", "s-2")
PEOPLE = ("li", "wang", "zhou")
OUTCOMES = ("clear", "hold", "turn_back", "quarantine", "refer")
HOMES = ("site", "site", "370115", "370102", "420106")
EXEMPT = ("37", "3701", "370102", "42", "420106", "US", "HK", "99")
STEPS = (0, 1, 999, 20_000, 59_999, 60_000, 61_000, 600_000)
"""Milliseconds between two records, and from a record to what it states."""


def policy(rng: random.Random, name: str, version: int) -> dict[str, Any]:
    """Returns a policy that is allowed, often at a bound of a range."""
    chosen = rng.sample(list(DEFAULTS), rng.choice((0, 1, 3, len(DEFAULTS))))
    return {
        "policy": name,
        "version": version,
        "author": rng.choice(PEOPLE),
        "legal_basis": "JN-2026-17",
        "fever_c": rng.choice((36.0, 36.9, 37.0, 37.2, 37.3, 37.4, 38, 39.0)),
        "plausible_c": [rng.choice((25, 30.0, 34.5, 35)), rng.choice((42, 42.5, 45.0, 50))],
        "max_list_age_s": rng.choice((30, 300, 300.5, 900)),
        "outcomes": {rule: rng.choice(OUTCOMES[OUTCOMES.index(DEFAULTS[rule][1]) :]) for rule in chosen},
        "home": rng.choice(HOMES),
        "exempt_origins": rng.sample(EXEMPT, rng.choice((0, 0, 1, 2))),
    }


def spoiled(rng: random.Random, good: dict[str, Any]) -> dict[str, Any]:
    """Returns a policy with one value that is just out of its range or below its floor."""
    rule = rng.choice([rule for rule, (_, floor) in DEFAULTS.items() if floor != "clear"])
    below = rng.choice(OUTCOMES[: OUTCOMES.index(DEFAULTS[rule][1])])
    faults: tuple[dict[str, Any], ...] = (
        {"fever_c": rng.choice((35.9, 39.1, -1.0))},
        {"plausible_c": rng.choice(([24.9, 45], [35.1, 45], [30, 41.9], [30, 50.1], [45, 30]))},
        {"max_list_age_s": rng.choice((29, 901, 0))},
        {"outcomes": good["outcomes"] | {rule: below}},
    )
    return good | rng.choice(faults)


@dataclass
class Operators:
    """What operators write to the topic `policies`, and the model of it.

    Args:
        rng: the source of everything random.
        model: the model, which gets every record.
        now_ms: the Kafka timestamp of the first record.
    """

    rng: random.Random
    model: Policies
    now_ms: int
    records: list[Record] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)
    """Why the model refuses each record."""

    def write(self, key: str, value: dict[str, Any] | None) -> Record:
        raw = b"" if value is None else json.dumps(value).encode()
        record = Record(POLICIES, 0, len(self.records), self.now_ms, key.encode(), raw)
        self.records.append(record)
        self.reasons.append(self.model.process(record))
        return record

    def elapse(self) -> None:
        """Lets some time pass before the next record."""
        self.now_ms += self.rng.choice(STEPS)

    def act(self) -> Record:
        """Writes one record, some time after the last one."""
        rng = self.rng
        self.elapse()
        name, version = rng.choice(NAMES), rng.randint(1, 2)
        key, chance = f"{name}|{version}", rng.random()
        known = f"{name}@{version}" in self.model.policies
        if chance < (0.1 if known else 0.75):
            good = policy(rng, name, version)
            return self.write(key, spoiled(rng, good) if rng.random() < 0.15 else good)
        if chance < 0.12:
            return self.write(rng.choice((key, f"{key}|use")), None)
        return self.write(f"{key}|use", self._use(f"{name}@{version}"))

    def _use(self, label: str) -> dict[str, Any]:
        rng = self.rng
        known = self.model.policies.get(label)
        others = [one for one in PEOPLE if known is None or one != known.author]
        approver = rng.choice(others) if rng.random() < 0.9 or known is None else known.author
        mine = [use for use in self.model.uses if use.label == label]
        if mine and rng.random() < 0.5:  # another end of the last interval, which may have passed
            ends = rng.choice((None, self._near(), self._near(), mine[-1].begins + rng.choice((-1000, 0, 1000))))
            return self._value(mine[-1].status, mine[-1].begins, ends, approver)
        status = rng.choice(("active", "active", "active", "shadow"))
        begins = self._near()
        if self.model.uses and rng.random() < 0.15:
            begins = rng.choice(self.model.uses).begins
        ends = begins + rng.choice((-1, 0, 1000, 61_000_000, 600_000_000)) if rng.random() < 0.4 else None
        return self._value(status, begins, ends, approver)

    def _near(self) -> int:
        """Returns a time in µs about now, mostly a permitted one for an activation."""
        rng = self.rng
        sign = rng.choice((-1, 1, 1, 1, 1)) if not self.model.replay else rng.choice((-1, 1))
        more = 60_000 if sign > 0 and rng.random() < 0.6 else 0
        return (self.now_ms + sign * rng.choice(STEPS) + more) * 1000 + rng.choice((0, 0, 0, 1, 500, 999))

    @staticmethod
    def _value(status: str, begins: int, ends: int | None, approver: str) -> dict[str, Any]:
        return {
            "status": status,
            "effective_from": rfc3339(begins),
            "effective_to": None if ends is None else rfc3339(ends),
            "approved_by": approver,
        }
