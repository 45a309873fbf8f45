"""A seeded load, and the expected result of each event, which is fixed when the event is made, by the contract.

It shares no code with the pipeline. The same event always has the same outcome, however often it is decided.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kafka import KafkaProducer

from tests.transfers import transfer_event

from .reports import Cases, disposition

SHANGHAI = ZoneInfo("Asia/Shanghai")
SCANS, ARRIVALS, PUSHES = "checkpoint-scans", "station-arrivals", "watchlist-pushes"
DISPOSITIONS, QUARANTINE, FOLLOWUPS = "dispositions", "quarantine-events", "followup-events"
Event = tuple[str, int]
"""Device and sequence number."""


def token(n: int) -> str:
    return f"k1.{n:032x}"


# what a person shows, the rules that apply, and the most severe outcome
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
LISTED_SECONDS = 2.0
"""Longest time after its receipt until a batch matches on every worker."""

WORST = ("refer", "quarantine", "turn_back", "hold", "clear")
KINDS = (SCANS, ARRIVALS, DISPOSITIONS, QUARANTINE, FOLLOWUPS)
TOPICS = (*KINDS, PUSHES)
LISTED = 2_000_000
"""Tokens from this number on belong to people who are listed while the load runs."""
GARBAGE = ((b"{", "not_json"), (b"\xff\xfe", "not_json"), (b"{}", "schema_invalid"), (b" " * 1_100_000, "too_large"))


@dataclass
class Expected:
    """The expected content of the views, by event. Only events that Kafka acknowledged count."""

    outcome: dict[Event, str] = field(default_factory=dict)
    """Outcome of every scan and arrival of the load, acknowledged or not."""
    acknowledged: set[Event] = field(default_factory=set)
    dispositions: dict[Event, tuple[str, str, str, str, int]] = field(default_factory=dict)
    """Day, site, kind of the scan, action, and whether it overrides the outcome for a reason."""
    of: dict[Event, Event] = field(default_factory=dict)
    """The scan of each disposition."""
    expired: set[Event] = field(default_factory=set)
    """Events that Kafka deleted before they were read."""
    quarantine: dict[Event, dict[str, Any]] = field(default_factory=dict)
    followups: dict[Event, dict[str, Any]] = field(default_factory=dict)
    by_minute: dict[Event, tuple[str, str, Counter[str]]] = field(default_factory=dict)
    arrival: dict[Event, tuple[str, str, str, str]] = field(default_factory=dict)
    transfer: dict[Event, dict[str, Any]] = field(default_factory=dict)
    """The transfer event of each arrival that boards or leaves a transfer."""
    reasons: dict[Event, list[tuple[str, str, str]]] = field(default_factory=dict)
    garbage: dict[tuple[str, int, int], str] = field(default_factory=dict)
    """Reason of each bad record, by topic, partition and offset."""
    batches: dict[str, int] = field(default_factory=dict)
    """Number of accepted lines of each batch."""

    @property
    def screened(self) -> set[Event]:
        """Acknowledged events that must have an outcome."""
        return self.acknowledged & self.outcome.keys()


class Load:
    """Devices and a health authority that send at a given rate. Some events are sent again."""

    def __init__(self, kafka: str, prefix: str, seed: int) -> None:
        self.prefix, self.rng = prefix, random.Random(seed)
        self.run = f"{seed:x}"
        self.expected = Expected()
        self.rate = 300.0
        self.garbage = 0.01
        self.resends = 0.02
        self.unsent: list[str] = []
        self.pauses: list[tuple[int, int | None]] = []
        """Periods in which nothing was sent (Unix time in ms)."""
        self._seq: Counter[str] = Counter()
        self._start = datetime.now(UTC)
        self._old: list[tuple[str, bytes, bytes, Event]] = []
        self._lock = threading.Lock()
        self._sending = threading.Event()
        self._ending = threading.Event()
        self._pushed = 0.0
        self._batches = 0
        self._cases = Cases(self.rng, self._start)
        self._scans: list[tuple[Event, str, str]] = []
        self.receipts: Container[str] = ()
        """Batches that have a receipt, as far as the observer has seen."""
        self._waiting: dict[str, tuple[int, float]] = {}
        """For each batch, the number of the person that it lists, and when its receipt was seen (0: not yet)."""
        self._listed: list[int] = []
        self._producer: Any = KafkaProducer(
            bootstrap_servers=kafka, acks="all", enable_idempotence=True, linger_ms=20, max_request_size=2 << 20,
            delivery_timeout_ms=300_000, max_block_ms=300_000, metadata_max_age_ms=2000,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def go(self) -> None:
        self._sending.set()
        if self.pauses and self.pauses[-1][1] is None:
            self.pauses[-1] = (self.pauses[-1][0], int(time.time() * 1000))

    def spoil(self) -> None:
        """Sends bad records only, to every partition. Returns when Kafka has acknowledged them."""
        for topic in TOPICS:
            for n in range(20):
                value, reason = GARBAGE[n % 3]
                self._send(topic, f"s{n}".encode(), value, None, reason)
        self._producer.flush(timeout=60)

    def pause(self) -> None:
        """Stops sending. Returns when Kafka has acknowledged everything."""
        self._sending.clear()
        self.pauses.append((int(time.time() * 1000), None))
        time.sleep(0.3)
        self._producer.flush(timeout=300)

    def paused_for(self, first: int, last: int) -> int:
        """Returns for how many ms between two times nothing was sent because a fault required that."""
        return sum(max(0, min(last, end) - max(first, start)) for start, end in self.pauses if end is not None)

    def close(self) -> None:
        self._ending.set()
        self._sending.set()
        self._thread.join(30)
        self._producer.close()

    def recreated(self, topic: str, old: str) -> None:
        """Moves what is expected of a topic to the name `old`, because the topic was recreated. Nothing may be in flight."""
        garbage = self.expected.garbage
        for place in [place for place in garbage if place[0] == topic]:
            garbage[old, place[1], place[2]] = garbage.pop(place)

    def push(self, name: str, category: str, lines: list[dict[str, list[str]]], sequence: int) -> str:
        """Sends a batch, which must be applied with all its lines. Returns its id."""
        now = datetime.now(UTC)
        window = {"valid_from": _text(now - timedelta(days=20)), "valid_to": _text(now + timedelta(days=5))}
        batch: dict[str, Any] = {
            "batch_id": f"{name}-{self.run}-{sequence}", "authority": "health", "pushed_by": "desk", "list": name,
            "category": category, "mode": "delta", "sequence": sequence, "issued_at": _text(now),
            "legal_basis": "order-1", "purpose": "epidemic_control", "declared_lines": len(lines),
            "lines": [{"line": n, "tokens": tokens, **window} for n, tokens in enumerate(lines, 1)],
        }  # fmt: skip
        self.expected.batches[batch["batch_id"]] = len(lines)
        self._send(PUSHES, b"health", json.dumps(batch).encode(), None, None)
        return str(batch["batch_id"])

    def _see_receipts(self) -> None:
        """Lets people appear who are on a list for certain by now."""
        for batch, (person, seen) in list(self._waiting.items()):
            if seen and time.monotonic() - seen > LISTED_SECONDS:
                self._listed.append(person)
                del self._waiting[batch]
            elif not seen and batch in self.receipts:
                self._waiting[batch] = (person, time.monotonic())

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ending.is_set():
            if not self._sending.wait(0.2):
                due = time.monotonic()
                continue
            for _ in range(max(1, int(self.rate * 0.05))):
                self._one()
            if time.monotonic() - self._pushed > 2:
                self._pushed = time.monotonic()
                self._batches += 1
                batch = self.push("more", "suspected_case", [{"id": [token(LISTED + self._batches)]}], self._batches)
                self._waiting[batch] = (LISTED + self._batches, 0.0)
            self._see_receipts()
            due += 0.05
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due, time.monotonic() - 1)

    def _one(self) -> None:
        rng = self.rng
        if self._old and rng.random() < self.resends:
            self._send(*rng.choice(self._old), None)
        if rng.random() < self.garbage:
            value, reason = rng.choices(GARBAGE, (10, 10, 10, 1))[0]
            self._send(rng.choice(TOPICS), f"s{rng.randrange(40)}".encode(), value, None, reason)
        topic = rng.choices(KINDS, (60, 12, 10, 13, 5))[0]
        if topic in (QUARANTINE, FOLLOWUPS):
            fields = self._cases.quarantine() if topic == QUARANTINE else self._cases.followup()
            event = self._number(fields.get("site_id") or fields["district"])
            noted, key = self.expected.quarantine if topic == QUARANTINE else self.expected.followups, fields["case_id"]
            with self._lock:
                noted[event] = fields = {"device_id": event[0], "seq": event[1]} | fields
        else:
            key = f"s{rng.randrange(40)}"
            event = self._number(key)
            observed = self._start - timedelta(seconds=rng.randrange(2 * 86_400))
            fields = {"device_id": event[0], "seq": event[1], "site_id": key, "observed_at": _text(observed)}
            if topic == DISPOSITIONS and self._scans:
                fields |= self._disposition(event, observed)
            elif topic == ARRIVALS:
                fields |= self._arrival(event, key, observed)
            else:
                topic, fields = SCANS, fields | self._scan(event, key, observed)
        raw = json.dumps(fields).encode()
        self._send(topic, key.encode(), raw, event, None)
        self._old.append((topic, key.encode(), raw, event))
        del self._old[:-2000]

    def _number(self, site: str) -> Event:
        """Returns the next event number of the device at a site."""
        device = f"{site}-{self.run}"
        self._seq[device] += 1
        return device, self._seq[device] - 1

    def _people(self, count: int) -> list[tuple[dict[str, Any], tuple[str, ...], str]]:
        """Returns random people. Sometimes one of them was listed a moment ago."""
        chosen = self.rng.choices(PEOPLE, k=count)
        if self._listed and self.rng.random() < 0.1:
            tokens = {"id": token(self.rng.choice(self._listed[-3:]))}
            chosen[0] = ({"tokens": tokens, "temperature_c": 36.5}, ("suspected_case",), "refer")
        return chosen

    def _disposition(self, event: Event, observed: datetime) -> dict[str, Any]:
        of, site, kind = self.rng.choice(self._scans)
        fields = disposition(self.rng, of)
        with self._lock:
            self.expected.of[event] = of
            self.expected.dispositions[event] = (
                _day(observed),
                site,
                kind,
                fields["action"],
                int(bool(fields["override"])),
            )
        return fields | {"site_id": site}

    def _scan(self, event: Event, site: str, observed: datetime) -> dict[str, Any]:
        chosen = self._people(self.rng.choice((1, 1, 2, 4)))
        outcome = min((outcome for _, _, outcome in chosen), key=WORST.index)
        rules = [rule for _, some, _ in chosen for rule in some]
        minute = f"{observed:%Y-%m-%d %H:%M:00}"
        counts = Counter({"passages": 1, "people": len(chosen), outcome: 1, "fevers": rules.count("fever")})
        with self._lock:
            self.expected.by_minute[event] = (minute, site, counts)
        self._note(event, site, observed, outcome, rules)
        people = [{"role": "passenger", **shown} for shown, _, _ in chosen]
        kind = self.rng.choice(("vehicle", "pedestrian"))
        self._scans.append((event, site, kind))
        del self._scans[:-500]
        return {"kind": kind, "people": people}

    def _arrival(self, event: Event, site: str, observed: datetime) -> dict[str, Any]:
        [(shown, rules, outcome)] = self._people(1)
        stage = self.rng.choice(("registered", "boarded", "delivered"))
        transfer = self.rng.choice((None, f"t-{self._seq.total() // 40:x}"))
        with self._lock:
            self.expected.arrival[event] = (_day(observed), site, "rail", stage)
            if transfer is not None and stage != "registered":
                self.expected.transfer[event] = transfer_event(
                    stage, observed, event[1], transfer=transfer, site=site, device=event[0]
                )
        self._note(event, site, observed, outcome, list(rules))
        person = {"role": "traveller", **shown}
        return {"mode": "rail", "service": "G12", "stage": stage, "transfer_id": transfer, "destination": "370115"} | {
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
