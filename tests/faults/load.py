"""A seeded load, and what must come of it: fixed when an event is made, from the contract, in plain JSON.

It shares no code with the pipeline. Nothing is random about an outcome, so a passage has one, however often it is decided.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kafka import KafkaProducer

SHANGHAI = ZoneInfo("Asia/Shanghai")
SCANS, ARRIVALS, PUSHES = "checkpoint-scans", "station-arrivals", "watchlist-pushes"
Event = tuple[str, int]
"""Device and number."""


def token(n: int) -> str:
    return f"k1.{n:032x}"


# what a person shows → its rules, and the outcome of the worst
PEOPLE: list[tuple[dict[str, Any], tuple[str, ...], str]] = [
    ({"tokens": {"id": token(1000)}, "temperature_c": 36.5}, (), "clear"),
    ({"tokens": {"id": token(1001), "phone": token(1002)}, "temperature_c": 36.9, "origin": "370115"}, (), "clear"),
    ({"tokens": {"id": token(1)}, "temperature_c": 36.5}, ("confirmed_case",), "refer"),
    ({"tokens": {"passport": token(2)}, "temperature_c": 36.5}, ("close_contact",), "quarantine"),
    ({"tokens": {"id": token(1003)}, "temperature_c": 37.8}, ("fever_unconfirmed",), "hold"),
    ({"tokens": {"id": token(1004)}, "temperature_c": 38.4, "temperature_confirmed_c": 38.2}, ("fever",), "refer"),
    ({"tokens": {"id": token(1005)}, "temperature_c": 36.5, "origin": "370102"},
     ("outside_district_without_pass",), "turn_back"),
]  # fmt: skip
WORST = ("refer", "quarantine", "turn_back", "hold", "clear")
GARBAGE = ((b"{", "not_json"), (b"\xff\xfe", "not_json"), (b"{}", "schema_invalid"), (b" " * 1_100_000, "too_large"))


@dataclass
class Expected:
    """What the views must say of everything that Kafka acknowledged."""

    outcome: dict[Event, str] = field(default_factory=dict)
    """Of every event that was made; whether Kafka acknowledged it, `acknowledged` says."""
    acknowledged: set[Event] = field(default_factory=set)
    by_minute: dict[Event, tuple[str, str, Counter[str]]] = field(default_factory=dict)
    arrival: dict[Event, tuple[str, str, str, str]] = field(default_factory=dict)
    reasons: dict[Event, list[tuple[str, str, str]]] = field(default_factory=dict)
    garbage: dict[tuple[str, int, int], str] = field(default_factory=dict)
    """Topic, partition, offset → reason."""
    batches: dict[str, int] = field(default_factory=dict)
    """Batch → its accepted lines."""


class Load:
    """Devices at five sites and a health authority, sending at a rate. A device sends again what it has no answer for."""

    def __init__(self, kafka: str, prefix: str, seed: int) -> None:
        self.prefix, self.rng = prefix, random.Random(seed)
        self.run = f"{seed:x}"
        self.expected = Expected()
        self.rate = 300.0
        self.garbage = 0.01
        self.again = 0.02
        self.unsent: list[str] = []
        self.still: list[tuple[int, int | None]] = []
        """From when to when (Unix time in ms) nothing was sent."""
        self._seq: Counter[str] = Counter()
        self._start = datetime.now(UTC)
        self._old: list[tuple[str, bytes, bytes, Event]] = []
        self._lock = threading.Lock()
        self._sending = threading.Event()
        self._ending = threading.Event()
        self._pushed = 0.0
        self._batches = 0
        self._producer: Any = KafkaProducer(
            bootstrap_servers=kafka, acks="all", enable_idempotence=True, linger_ms=20, max_request_size=2 << 20,
            delivery_timeout_ms=300_000, max_block_ms=300_000, metadata_max_age_ms=2000,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def go(self) -> None:
        self._sending.set()
        if self.still and self.still[-1][1] is None:
            self.still[-1] = (self.still[-1][0], int(time.time() * 1000))

    def pause(self) -> None:
        """Stops sending; returns when Kafka has answered for everything."""
        self._sending.clear()
        self.still.append((int(time.time() * 1000), None))
        time.sleep(0.3)
        self._producer.flush(timeout=300)

    def stood_still(self, first: int, last: int) -> int:
        """For how long, between two times in ms, nothing was sent because a fault wanted it so."""
        return sum(max(0, min(last, end) - max(first, start)) for start, end in self.still if end is not None)

    def close(self) -> None:
        self._ending.set()
        self._sending.set()
        self._thread.join(30)
        self._producer.close()

    def made_again(self, topic: str, old: str) -> None:
        """A topic was deleted and made again, with nothing on the way: what was said of its offsets is of another one."""
        garbage = self.expected.garbage
        for place in [place for place in garbage if place[0] == topic]:
            garbage[old, place[1], place[2]] = garbage.pop(place)

    def push(self, name: str, category: str, lines: list[dict[str, list[str]]], sequence: int) -> None:
        """A batch, which must be applied with all its lines."""
        now = datetime.now(UTC)
        window = {"valid_from": _text(now - timedelta(days=20)), "valid_to": _text(now + timedelta(days=5))}
        batch = {
            "batch_id": f"{name}-{self.run}-{sequence}", "authority": "health", "pushed_by": "desk", "list": name,
            "category": category, "mode": "delta", "sequence": sequence, "issued_at": _text(now),
            "legal_basis": "order-1", "purpose": "epidemic_control", "declared_lines": len(lines),
            "lines": [{"line": n, "tokens": tokens, **window} for n, tokens in enumerate(lines, 1)],
        }  # fmt: skip
        self.expected.batches[batch["batch_id"]] = len(lines)
        self._send(PUSHES, b"health", json.dumps(batch).encode(), None, None)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ending.is_set():
            if not self._sending.wait(0.2):
                due = time.monotonic()
                continue
            for _ in range(max(1, int(self.rate * 0.05))):
                self._one()
            if time.monotonic() - self._pushed > 4:
                self._pushed = time.monotonic()
                self._batches += 1
                self.push("more", "suspected_case", [{"id": [token(2_000_000 + self._batches)]}], self._batches)
            due += 0.05
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due, time.monotonic() - 1)

    def _one(self) -> None:
        rng = self.rng
        if self._old and rng.random() < self.again:
            topic, key, value, event = rng.choice(self._old)
            self._send(topic, key, value, event, None)
        if rng.random() < self.garbage:
            value, reason = rng.choices(GARBAGE, (10, 10, 10, 1))[0]
            self._send(SCANS, f"s{rng.randrange(40)}".encode(), value, None, reason)
        site = f"s{rng.randrange(40)}"
        device = f"{site}-{self.run}"
        event = (device, self._seq[device])
        self._seq[device] += 1
        observed = self._start - timedelta(seconds=rng.randrange(2 * 86_400))
        head = {"device_id": device, "seq": event[1], "site_id": site, "observed_at": _text(observed)}
        if rng.random() < 0.15:
            topic, value = ARRIVALS, self._arrival(event, site, observed)
        else:
            topic, value = SCANS, self._scan(event, site, observed)
        raw = json.dumps(head | value).encode()
        self._send(topic, site.encode(), raw, event, None)
        self._old.append((topic, site.encode(), raw, event))
        del self._old[:-2000]

    def _scan(self, event: Event, site: str, observed: datetime) -> dict[str, Any]:
        chosen = self.rng.choices(PEOPLE, k=self.rng.choice((1, 1, 2, 4)))
        outcome = min((outcome for _, _, outcome in chosen), key=WORST.index)
        rules = [rule for _, some, _ in chosen for rule in some]
        minute = f"{observed:%Y-%m-%d %H:%M:00}"
        counts = Counter({"passages": 1, "people": len(chosen), outcome: 1, "fevers": rules.count("fever")})
        with self._lock:
            self.expected.by_minute[event] = (minute, site, counts)
        self._note(event, site, observed, outcome, rules)
        people = [{"role": "passenger", **shown} for shown, _, _ in chosen]
        return {"kind": self.rng.choice(("vehicle", "pedestrian")), "people": people}

    def _arrival(self, event: Event, site: str, observed: datetime) -> dict[str, Any]:
        shown, rules, outcome = self.rng.choice(PEOPLE)
        stage = self.rng.choice(("registered", "boarded", "delivered"))
        with self._lock:
            self.expected.arrival[event] = (_day(observed), site, "rail", stage)
        self._note(event, site, observed, outcome, list(rules))
        person = {"role": "traveller", **shown}
        return {"mode": "rail", "service": "G12", "stage": stage, "transfer_id": None, "destination": "370115"} | {
            "person": person
        }

    def _note(self, event: Event, site: str, observed: datetime, outcome: str, rules: list[str]) -> None:
        with self._lock:
            self.expected.outcome[event] = outcome
            self.expected.reasons[event] = [(_day(observed), site, rule) for rule in rules]

    def _send(self, topic: str, key: bytes, value: bytes, event: Event | None, reason: str | None) -> None:
        def acknowledged(meta: Any) -> None:
            with self._lock:
                if event is not None:
                    self.expected.acknowledged.add(event)
                if reason is not None:
                    self.expected.garbage[topic, meta.partition, meta.offset] = reason

        future = self._producer.send(self.prefix + topic, key=key, value=value)
        future.add_callback(acknowledged)
        future.add_errback(lambda error: self.unsent.append(type(error).__name__))


def _text(moment: datetime) -> str:
    return moment.isoformat()


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(SHANGHAI):%Y-%m-%d}"
