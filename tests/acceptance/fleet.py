"""A deployment with two screening workers, a pusher and a device that share no code with it, and one model of all of them."""

from __future__ import annotations

import json
import random
import subprocess
import time
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import KafkaProducer

from tests.support import NINEZERO, System, free_port, wait_for

from . import oracle
from .client import Tail
from .oracle import MIB, PUSHES, SCANS, SECOND, Fault, Lists, Record
from .rendering import rfc3339
from .test_acceptance import _entry

PARTITIONS = 4
SECOND_WORKER = "screening-2"
Reasons = tuple[tuple[int | None, str, tuple[Any, ...]], ...]


class Fleet(System):
    """One process for each role. Screening has two processes in one group."""

    def __init__(self, kafka: str, folder: Path, **extra: str) -> None:
        super().__init__(kafka, f"chdb://{folder}/ch", folder, **extra)
        self.second_http = free_port(4)
        self.kills = 0
        """How often a role was killed, or ended by itself: so often an event may be decided once more."""

    def start(self, *roles: str) -> None:
        super().start(*(role for role in roles if role != SECOND_WORKER))
        if SECOND_WORKER in roles:
            env = self.env | {"NINEZERO_HTTP": f"127.0.0.1:{self.second_http}"}
            with (self.folder / f"{SECOND_WORKER}.log").open("ab") as log:
                process = subprocess.Popen([NINEZERO, "worker", "screening"], env=env, stdout=log, stderr=log)
                self.workers[SECOND_WORKER] = process

    def kill(self, role: str) -> None:
        super().kill(role)
        self.kills += 1

    def ready(self, role: str) -> bool:
        if role != SECOND_WORKER:
            return super().ready(role)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.second_http}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def wait_ready(self, seconds: float = 40) -> None:
        """Waits until both screening workers have lists and partitions."""
        for role in ("screening", SECOND_WORKER):
            wait_for(lambda role=role: self.ready(role), seconds, f"{role} to be ready")


@dataclass
class World:
    """The fleet, the records that were sent to it, and the results of the model."""

    fleet: Fleet
    seed: int
    lists: Lists = field(default_factory=Lists)
    receipts: list[dict[str, Any]] = field(default_factory=list)
    dead: dict[tuple[str, int, int], Fault] = field(default_factory=dict)
    scans: dict[int, tuple[dict[str, Any], Record]] = field(default_factory=dict)
    """The scans by sequence number; all are of one device."""

    def __post_init__(self) -> None:
        kafka, prefix = self.fleet.env["NINEZERO_KAFKA"], self.fleet.prefix
        self.rng = random.Random(self.seed)
        self.producer: Any = KafkaProducer(bootstrap_servers=kafka, acks="all", max_request_size=3 * MIB, linger_ms=2)
        self.tail = Tail(kafka, prefix, ("push-receipts", "dead-letters", "screening-outcomes", "screening-alerts"))
        self._read = dict.fromkeys(self.tail.records, 0)
        self.outcomes: dict[int, tuple[str, int]] = {}
        """Outcome of each scan and its time, by sequence number."""
        self.alerts: dict[int, list[dict[str, Any]]] = {}
        self.corrections: list[tuple[bytes | None, dict[str, Any]]] = []
        self.answers: list[dict[str, Any]] = []
        self.answered_ms: dict[tuple[str, str], int] = {}
        """Kafka timestamp of the first receipt of each batch."""

    # --- sending ------------------------------------------------------------------------------------------------

    def push(self, value: bytes | dict[str, Any]) -> Record:
        """Sends a record to the topic of pushes, and passes it to the model when the broker has acknowledged it."""
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        meta = self.producer.send(self.fleet.prefix + PUSHES, key=b"office", value=raw).get(30)
        record = Record(PUSHES, meta.partition, meta.offset, meta.timestamp, b"office", raw)
        event = oracle.read(record)
        if isinstance(event, Fault):
            self.dead[PUSHES, record.partition, record.offset] = event
        elif (receipt := self.lists.process(record, event)) is not None:
            self.receipts.append(dict(receipt))
        return record

    def batch(self, authority: str, name: str, mode: str, *lines: dict[str, Any], **given: Any) -> dict[str, Any]:
        """Returns a batch of one part, with the next sequence number of its list."""
        return {
            "batch_id": f"{name}-{len(self.lists.batches)}",
            "authority": authority,
            "pushed_by": "li",
            "list": name,
            "category": "close_contact",
            "mode": mode,
            "sequence": self.lists.applied.get((authority, name), 0) + 1,
            "issued_at": rfc3339(now() // 1000 * 1000),
            "legal_basis": "JN-2026-17",
            "purpose": "epidemic_control",
            "declared_lines": len(lines),
            "lines": [{"line": number, **line} for number, line in enumerate(lines, 1)],
        } | given

    def scan(self, event: dict[str, Any], partition: int) -> Any:
        """Sends a scan to a partition and returns the future."""
        raw = json.dumps(event).encode()
        key = event["site_id"].encode()
        return self.producer.send(self.fleet.prefix + SCANS, key=key, value=raw, partition=partition)

    def scan_all(self, events: Iterable[dict[str, Any]]) -> list[int]:
        """Sends scans to every partition in turn and returns their sequence numbers."""
        sent = [(event, self.scan(event, n % PARTITIONS)) for n, event in enumerate(events)]
        self.producer.flush()
        for event, future in sent:
            self.note(event, future)
        return [event["seq"] for event, _ in sent]

    def note(self, event: dict[str, Any], future: Any) -> Record:
        """Stores a scan that the broker has acknowledged."""
        meta = future.get(30)
        record = Record(SCANS, meta.partition, meta.offset, meta.timestamp, None, b"")
        self.scans[event["seq"]] = (event, record)
        return record

    # --- reading ------------------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Reads new records."""
        self.tail.poll()
        for topic, records in self.tail.records.items():
            for record in records[self._read[topic] :]:
                self._store(topic, record, json.loads(record.value))
            self._read[topic] = len(records)

    def _store(self, topic: str, record: Record, answer: dict[str, Any]) -> None:
        if topic == "push-receipts":
            self.answers.append(answer)
            self.answered_ms.setdefault((answer["authority"], answer["batch_id"]), record.timestamp_ms)
        elif topic == "screening-outcomes":
            for _, seq, outcome, _ in answer["outcomes"]:
                self.outcomes.setdefault(seq, (outcome, oracle.at(answer["at"])))
        elif topic == "screening-alerts" and "correction_of" in answer:
            self.corrections.append((record.key, answer))
        elif topic == "screening-alerts":
            self.alerts.setdefault(answer["seq"], []).append(answer)

    def until(self, done: Any, seconds: float, what: str) -> None:
        """Reads until `done()`."""

        def polled() -> bool:
            self.poll()
            return bool(done())

        wait_for(polled, seconds, what)

    def rest(self, seconds: float) -> None:
        """Reads for a number of seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.poll()

    def wait_answered(self, seconds: float = 30) -> None:
        """Waits until every batch has the receipts of the model, and two seconds more (§5)."""
        try:
            self.until(lambda: not self.missing_receipts(), seconds, f"receipts (seed {self.seed})")
        except AssertionError as error:
            missing = self.missing_receipts()
            self.receipts = [one for one in self.receipts if one not in missing]  # the next test has its own
            lines = [f"missing {sorted(_allowed(one), key=str)}" for one in missing]
            raise AssertionError("\n".join([str(error), *lines, *self.unexpected_receipts()])) from None
        time.sleep(2)

    # --- comparing ----------------------------------------------------------------------------------------------

    def missing_receipts(self) -> list[Any]:
        found = {_receipt_content(answer) for answer in self.answers}
        return [one for one in self.receipts if not found & _allowed(one)]

    def unexpected_receipts(self, batch_id: str = "") -> list[str]:
        """Returns the receipts that the model does not have, each with those that it has for the batch."""
        allowed = {content for one in self.receipts for content in _allowed(one) | _when_repeated(one)}
        lines = []
        for answer in self.answers:
            if _receipt_content(answer) not in allowed and batch_id in ("", answer["batch_id"]):
                mine = [one for one in self.receipts if all(one[n] == answer[n] for n in ("authority", "batch_id"))]
                lines += [
                    f"unexpected {_receipt_content(answer)}",
                    *(f"  expected {sorted(_allowed(one), key=str)}" for one in mine),
                ]
        return lines

    def changed_receipts(self) -> list[str]:
        """Returns receipts of a batch that have the same status but different contents (§5)."""
        first: dict[Any, dict[str, Any]] = {}
        return [
            f"{first[_receipt_content(answer)]}\n  and {answer}"
            for answer in self.answers
            if answer.get("confirmation") is None and first.setdefault(_receipt_content(answer), answer) != answer
        ]

    def decided(self, seq: int) -> tuple[str, Reasons]:
        """Returns the outcome of a scan and the reasons of its alert."""
        outcome = self.outcomes[seq][0]
        if outcome == "clear":
            return outcome, ()
        reasons = self.alerts[seq][0]["reasons"]
        return outcome, tuple((r["person"], r["rule"], tuple(_entry(e) for e in r["entries"])) for r in reasons)

    def expected(self, seq: int) -> tuple[str, Reasons]:
        """Returns what the model decides about a scan, at the time at which it was decided.

        Raises:
            Ambiguous: it depends on what had just expired.
        """
        event, record = self.scans[seq]
        reasons = oracle.decide(event, self.lists, max(self.outcomes[seq][1], record.at))
        outcome = oracle.Decided(SCANS, event, b"", reasons, set()).outcome
        return outcome, tuple((r.person, r.rule, r.entries) for r in reasons)

    def wait_decided(self, seqs: Iterable[int], seconds: float = 40) -> None:
        """Waits until every scan has its outcome, and its alert if it needs one."""
        wanted = set(seqs)

        def all_there() -> bool:
            return all(
                seq in self.outcomes and (self.outcomes[seq][0] == "clear" or seq in self.alerts) for seq in wanted
            )

        self.until(all_there, seconds, f"outcomes (seed {self.seed})")


def now() -> int:
    """Returns the Unix time in µs."""
    return int(time.time() * 1000) * 1000


def window(seconds: float = 86_400) -> dict[str, str]:
    """Returns a window that began a day ago and ends after this time from now."""
    moment = now()
    return {"valid_from": rfc3339(moment - 86_400 * SECOND), "valid_to": rfc3339(moment + int(seconds * SECOND))}


_NAMES = ("batch_id", "authority", "list", "category", "mode", "status", "code")
_NUMBERS = ("lines_declared", "accepted", "duplicate", "rejected", "withdrawn")


def _receipt_content(answer: dict[str, Any]) -> tuple[Any, ...]:
    rejects = tuple((reject["line"], reject["code"]) for reject in answer["rejects"])
    code = answer.get("confirmation")
    confirmed = answer.get("confirmed", False) and code is None
    return (*(answer[name] for name in (*_NAMES, *_NUMBERS)), rejects, confirmed, code)


def _allowed(receipt: dict[str, Any]) -> set[tuple[Any, ...]]:
    """Returns a receipt of the model, once for every code that a rejected confirmation may have (R26)."""
    return {_receipt_content(receipt | {"confirmation": code}) for code in receipt["confirmation"] or (None,)}


def _when_repeated(receipt: dict[str, Any]) -> set[tuple[Any, ...]]:
    """Returns the other receipts of a confirmed batch whose confirmation is delivered twice, as after a kill (R26)."""
    return {_receipt_content(receipt | {"confirmation": "not_held"})} if receipt["confirmed"] else set()
