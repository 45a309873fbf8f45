"""Sends scans and prints their outcomes: events that are ready to send, or passages with identities as staff see them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from ninezero.agents.cli.console import CommandError
from ninezero.schemas.events import Outcomes, Scan
from ninezero.schemas.faults import describe
from ninezero.streams.edge.device.answers import Answer, QualityFinding, Ticket
from ninezero.streams.edge.device.device import Device, DeviceError
from ninezero.streams.edge.device.outbox import OutboxError
from ninezero.streams.edge.device.travellers import Passage
from ninezero.streams.edge.documents.key_ring import KeyRingError
from ninezero.streams.edge.gate.scan_again import scan_again
from ninezero.streams.kafka.decoding import Rejected, decode
from ninezero.streams.kafka.sync import TopicsMissing, consumer, producer
from ninezero.streams.kafka.topics import OUTCOMES, SCANS
from ninezero.streams.settings import Settings

WAIT_SECONDS = 10.0
"""A scan without an outcome after this time is reported as not checked."""


class Event(NamedTuple):
    """A Scan event as it was read, and decoded."""

    value: bytes
    scan: Scan


def read_events(lines: Iterable[bytes]) -> list[Event]:
    """Reads one Scan event a line; blank lines are skipped.

    Raises:
        CommandError: a line is not a valid Scan.
    """
    events = []
    for number, line in enumerate(lines, 1):
        if value := line.strip():
            try:
                events.append(Event(value, decode(Scan, value)))
            except Rejected as rejected:
                raise CommandError(
                    f"line {number}: {rejected.reason}: {_fault(value, rejected)}: correct it, nothing was sent"
                ) from None
    return events


def _fault(value: bytes, rejected: Rejected) -> str:
    """Returns where a Scan event is wrong and what is expected there."""
    try:
        msgspec.json.decode(value, type=Scan)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return describe(Scan, error)
    return f"{rejected.path.lstrip('/') or 'the event'} is not as docs/reference/events.md describes it"


def send_events(settings: Settings, events: list[Event]) -> int:
    """Sends events and prints the outcome of each.

    Returns:
        The number of events that had no outcome after `WAIT_SECONDS`.

    Raises:
        KafkaUnreachable: no broker answers.
        TopicsMissing: the topics are missing.
    """
    from kafka import TopicPartition
    from kafka.errors import KafkaTimeoutError

    limits = {"max_block_ms": 10_000, "request_timeout_ms": 10_000, "delivery_timeout_ms": 15_000}
    with (
        contextlib.closing(consumer(settings)) as reader,
        contextlib.closing(producer(settings, linger_ms=5, **limits)) as writer,
    ):
        name = settings.topic(OUTCOMES.name)
        if not {name, settings.topic(SCANS.name)} <= reader.topics():
            raise TopicsMissing
        partitions = [TopicPartition(name, p) for p in reader.partitions_for_topic(name) or ()]
        reader.assign(partitions)
        for partition in partitions:
            reader.seek(partition, reader.end_offsets([partition])[partition])
        with contextlib.suppress(
            KafkaTimeoutError
        ):  # the broker does not answer: events without an outcome are not checked
            for value, event in events:
                writer.send(settings.topic(SCANS.name), key=event.site_id.encode(), value=value)
            writer.flush(timeout=15)
        waiting = {(event.device_id, event.seq) for _, event in events}
        found: dict[tuple[str, int], tuple[str, list[int]]] = {}
        deadline = time.monotonic() + WAIT_SECONDS
        while waiting and time.monotonic() < deadline:
            for records in reader.poll(timeout_ms=200).values():
                for record in records:
                    with contextlib.suppress(Rejected):  # only workers can write to this topic (ACL)
                        for device, seq, outcome, people in decode(Outcomes, record.value).outcomes:
                            if (device, seq) in waiting:
                                waiting.discard((device, seq))
                                found[device, seq] = (outcome, people)
    for _, event in events:
        outcome, people = found.get((event.device_id, event.seq), ("not checked", []))
        findings = [
            QualityFinding(index, None, flag) for index, person in enumerate(event.people) for flag in person.quality
        ]
        print(f"{event.device_id} {event.seq}: {_outcome_text(outcome, people, findings)}")
    return len(waiting)


class SendCounts(NamedTuple):
    """Result of `PassageSender.send`."""

    not_accepted: int
    """Lines that were not stored in the outbox, so nothing of them was sent."""
    unchecked: int
    """Passages without an outcome `WAIT_SECONDS` after the last line."""
    problem: str = ""
    """Why the device could not send or read outcomes, and the remedy; empty if it knows no reason."""

    def __str__(self) -> str:
        """The summary of what went wrong."""
        lines = "1 line was" if self.not_accepted == 1 else f"{self.not_accepted:,} lines were"
        scans = "1 scan was" if self.unchecked == 1 else f"{self.unchecked:,} scans were"
        parts = [f"{lines} not accepted"] * bool(self.not_accepted) + [f"{scans} not checked"] * bool(self.unchecked)
        why = f"; {self.problem}" if self.unchecked and self.problem else ""
        return f"{', '.join(parts)}: do not read that as clear{why}"


class PassageSender:
    """Sends passages, one a line, and prints each answer as soon as it arrives."""

    def __init__(self, settings: Settings, site_id: str, device_id: str) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, _SentLine] = {}
        self._early: dict[int, Answer] = {}
        self._device = Device(settings, site_id=site_id, device_id=device_id, on_answer=self._on_answer)

    def send(self, lines: Iterable[bytes]) -> SendCounts:
        """Sends lines as they arrive, then waits for the remaining answers."""
        not_accepted = 0
        read = msgspec.json.Decoder(Passage).decode
        with self._device:
            for number, line in enumerate(lines, 1):
                try:
                    if line.strip():
                        self._on_sent(number, self._device.scan_all([read(line)])[0])
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                    not_accepted += 1
                    print(f"line {number}: NOT accepted: {describe(Passage, error)}", flush=True)
                except (DeviceError, OutboxError, KeyRingError) as error:
                    not_accepted += 1
                    print(f"line {number}: {error}", flush=True)
            deadline = time.monotonic() + WAIT_SECONDS
            while self._waiting and time.monotonic() < deadline:
                time.sleep(0.02)
            with self._lock:
                for seq, (number, findings) in self._waiting.items():
                    text = _outcome_text("not checked", (), findings)
                    print(f"line {number}, {self._device.device_id} {seq}: {text}")
                return SendCounts(not_accepted, len(self._waiting), self._device.status().problem)

    def _on_sent(self, number: int, ticket: Ticket) -> None:
        with self._lock:
            self._waiting[ticket.seq] = _SentLine(number, ticket.findings)
            if ticket.seq in self._early:
                self._print(self._early.pop(ticket.seq))

    def _on_answer(self, answer: Answer) -> None:
        with self._lock:
            if answer.seq in self._waiting:
                self._print(answer)
            else:
                self._early[answer.seq] = answer  # its line number is not stored yet, or an earlier run sent it

    def _print(self, answer: Answer) -> None:
        number, findings = self._waiting.pop(answer.seq)
        text = _outcome_text(answer.outcome, answer.people, findings)
        print(f"line {number}, {self._device.device_id} {answer.seq}: {text}", flush=True)


class _SentLine(NamedTuple):
    """A line of which the answer is awaited, and what should be scanned again."""

    number: int
    findings: tuple[QualityFinding, ...]


def _outcome_text(outcome: str, people: Iterable[int], findings: Iterable[QualityFinding]) -> str:
    """Returns the outcome, whom it concerns, and what should be scanned again: the reasons in both languages, then the flags."""
    found, concerned = list(findings), ", ".join(map(str, people))
    text = f"{outcome}{f' (person {concerned})' if concerned else ''}"
    again = scan_again(found, first_person=0)
    return text if again is None else f"{text}; {again} [{', '.join(dict.fromkeys(one.flag for one in found))}]"
