"""Sends scans and shows their outcomes, for `ninezero scan`: ready-made events, or passages as the staff see them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable

import msgspec

from ninezero.schemas.events import Outcomes, Scan
from ninezero.streams.edge.device.answers import Answer
from ninezero.streams.edge.device.device import Device, DeviceError
from ninezero.streams.edge.device.outbox import OutboxError
from ninezero.streams.edge.device.travellers import Passage
from ninezero.streams.edge.documents.key_ring import KeyRingError
from ninezero.streams.kafka.decoding import Rejected, decode
from ninezero.streams.kafka.sync import MISSING, KafkaUnreachable, consumer, producer
from ninezero.streams.kafka.topics import OUTCOMES, SCANS
from ninezero.streams.settings import Settings

WAIT_SECONDS = 10.0


def send_events(settings: Settings, events: list[tuple[bytes, Scan]]) -> int:
    """Sends ready-made events and prints an outcome for each; how many were not checked within ten seconds.

    Raises:
        KafkaUnreachable: no broker answers, or it has not the topics.
    """
    from kafka import TopicPartition
    from kafka.errors import KafkaTimeoutError

    patience = {"max_block_ms": 10_000, "request_timeout_ms": 10_000, "delivery_timeout_ms": 15_000}
    with (
        contextlib.closing(consumer(settings)) as reader,
        contextlib.closing(producer(settings, linger_ms=5, **patience)) as writer,
    ):
        name = settings.topic(OUTCOMES.name)
        if not {name, settings.topic(SCANS.name)} <= reader.topics():
            raise KafkaUnreachable(MISSING)
        tps = [TopicPartition(name, p) for p in reader.partitions_for_topic(name) or ()]
        reader.assign(tps)
        for tp in tps:
            reader.seek(tp, reader.end_offsets([tp])[tp])
        with contextlib.suppress(KafkaTimeoutError):  # a broker that went away: what has no outcome is not checked
            for value, event in events:
                writer.send(settings.topic(SCANS.name), key=event.site_id.encode(), value=value)
            writer.flush(timeout=15)
        waiting = {(event.device_id, event.seq) for _, event in events}
        found: dict[tuple[str, int], tuple[str, list[int]]] = {}
        deadline = time.monotonic() + WAIT_SECONDS
        while waiting and time.monotonic() < deadline:
            for records in reader.poll(timeout_ms=200).values():
                for record in records:
                    with contextlib.suppress(Rejected):  # only workers write there (ACL)
                        for device, seq, outcome, people in decode(Outcomes, record.value).outcomes:
                            if (device, seq) in waiting:
                                waiting.discard((device, seq))
                                found[device, seq] = (outcome, people)
    for _, event in events:
        outcome, people = found.get((event.device_id, event.seq), ("not checked", []))
        print(f"{event.device_id} {event.seq}: {_said(outcome, people)}")
    return len(waiting)


class Lines:
    """Passages a line, each answered as soon as its outcome is there."""

    def __init__(self, settings: Settings, site_id: str, device_id: str) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[int, int] = {}
        self._early: dict[int, Answer] = {}
        self._device = Device(settings, site_id=site_id, device_id=device_id, on_answer=self._say)

    def send(self, lines: Iterable[bytes]) -> tuple[int, int]:
        """Scans them as they come; (lines not accepted, passages not checked within ten seconds of the last)."""
        refused = 0
        read = msgspec.json.Decoder(Passage).decode
        with self._device:
            for number, line in enumerate(lines, 1):
                try:
                    if line.strip():
                        self._sent(number, self._device.scan_all([read(line)])[0].seq)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    refused += 1
                    print(f"line {number}: NOT accepted: it is no passage as the README has it", flush=True)
                except (DeviceError, OutboxError, KeyRingError) as error:
                    refused += 1
                    print(f"line {number}: {error}", flush=True)
            deadline = time.monotonic() + WAIT_SECONDS
            while self._numbers and time.monotonic() < deadline:
                time.sleep(0.02)
            with self._lock:
                for seq, number in self._numbers.items():
                    print(f"line {number}, {self._device.device_id} {seq}: not checked")
                return refused, len(self._numbers)

    def _sent(self, number: int, seq: int) -> None:
        with self._lock:
            self._numbers[seq] = number
            if seq in self._early:
                self._print(self._early.pop(seq))

    def _say(self, answer: Answer) -> None:
        with self._lock:
            if answer.seq in self._numbers:
                self._print(answer)
            else:
                self._early[answer.seq] = answer  # before its number is known, or of an earlier run

    def _print(self, answer: Answer) -> None:
        number = self._numbers.pop(answer.seq)
        print(f"line {number}, {self._device.device_id} {answer.seq}: {_said(answer.said, answer.people)}", flush=True)


def _said(outcome: str, people: Iterable[int]) -> str:
    whom = ", ".join(map(str, people))
    return f"{outcome}{f' (person {whom})' if whom else ''}"
