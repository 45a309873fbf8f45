"""A checkpoint device: identities come in, events with pseudonyms go out through the outbox, and answers come back.

`ninezero.Device` is this class; docs/devices.md is its guide.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self
from weakref import WeakValueDictionary

import msgspec

from ninezero.schemas.events import (
    Arrival,
    Disposition,
    FollowupEvent,
    Identifier,
    Outcome,
    QuarantineEvent,
    Scan,
    encode,
)
from ninezero.schemas.faults import describe
from ninezero.streams import settings as settings_
from ninezero.streams.edge.device.answers import Answer, QualityFinding, Ticket
from ninezero.streams.edge.device.clock import Clock
from ninezero.streams.edge.device.outbox import CAPACITY, NewEvent, Outbox, erase
from ninezero.streams.edge.device.outbox_deployment import OutboxDeployment
from ninezero.streams.edge.device.outbox_place import outbox_file
from ninezero.streams.edge.device.travellers import Passage, Pseudonymised, Traveller, pseudonymise
from ninezero.streams.edge.device.uplink import Uplink
from ninezero.streams.edge.documents import checks
from ninezero.streams.edge.documents.key_ring import KeyRing, KeyRingError
from ninezero.streams.edge.documents.normal_forms import normalise
from ninezero.streams.edge.private_memory import keep_memory_private
from ninezero.streams.errors import UserError
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.topics import Topic
from ninezero.streams.settings import Settings

EVENTS: dict[type[msgspec.Struct], Topic] = {
    Scan: topics.SCANS,
    Arrival: topics.ARRIVALS,
    Disposition: topics.DISPOSITIONS,
    QuarantineEvent: topics.QUARANTINE,
    FollowupEvent: topics.FOLLOWUPS,
}
"""The topic of each event that a device sends."""


COMPARE_SECONDS = 5.0
"""Longest time that a device with a new outbox waits for Kafka when it is opened."""

FINDINGS_KEPT = 10_000
"""Events whose quality flags are kept in memory for their answers."""

_FINDINGS = msgspec.json.Decoder(tuple[QualityFinding, ...])


class DeviceError(UserError):
    """The event was *not* accepted, or a name is wrong: one line with the problem and the remedy. It quotes no value."""


class Status(NamedTuple):
    """The state of a device."""

    connected: bool
    """True if Kafka acknowledged events lately, or has none to acknowledge."""
    waiting: int
    """Events in the outbox that Kafka has not acknowledged."""
    capacity: int
    """Events that fit in the outbox."""
    unanswered: int
    """Events that Kafka has acknowledged and whose outcome has not arrived."""
    clock_offset_seconds: float
    """Seconds by which the device's clock is ahead of Kafka's; 0 before the first acknowledgement."""
    too_late: int
    """Events that reached Kafka more than 13 days late since the device was opened. The workers do not count them."""
    problem: str
    """The problem and its remedy in one line; empty if there is none."""
    problem_chinese: str = ""
    """The same in Chinese."""


class _GivenEvent(NamedTuple):
    """An event to accept: its type, its fields, and the faults in what was written."""

    kind: type[msgspec.Struct]
    fields: dict[str, Any]
    findings: tuple[QualityFinding, ...] = ()


class Device:
    """One device at one site. Thread-safe; one process at a time may open a device.

    Use it as a context manager, or call `close`. Two threads run in the background: one sends the events of the outbox in
    order and deletes those that Kafka has acknowledged, the other reads the outcomes of the site. While the broker is unreachable,
    events wait in the outbox. No identity is stored, logged or sent. The process leaves no core dump, and on Linux no other program of its
    user can read its memory.

    An identifier has 1 to 64 letters, digits, `.`, `_` and `-`. It begins with a letter or digit, and has no eleven digits
    in a row.

    Args:
        settings: the settings of the deployment; see `from_environment`.
        site_id: the site at which the device stands; an identifier.
        device_id: the device's own identifier. A device that lost its outbox needs a new one.
        on_answer: called with every answer, from a background thread. Also with answers that arrive after `Ticket.wait`
            has returned, and with those to events of an earlier run.
        capacity: events that may wait in the outbox.
        clock: replaces the machine's clock, for tests.

    Raises:
        DeviceError: `site_id` or `device_id` is not an identifier.
        KeyRingError: the key ring cannot be read.
        OutboxError: the outbox cannot be opened, another process has opened it, it belongs to another deployment, or it is new and Kafka
            has events of this device.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        site_id: str,
        device_id: str,
        on_answer: Callable[[Answer], None] | None = None,
        capacity: int = CAPACITY,
        clock: Clock | None = None,
    ) -> None:
        import_module("kafka")  # without the extra `edge` this fails here, not in the thread that sends
        self.site_id, self.device_id = _identifier(site_id, "site_id"), _identifier(device_id, "device_id")
        keep_memory_private()
        self._ring = None if settings.keys is None else KeyRing.load(settings.keys)
        self._clock = clock or Clock()
        self._on_answer = on_answer or (lambda _: None)
        path = outbox_file(settings, device_id)
        self._outbox = Outbox(path, device_id, capacity, OutboxDeployment.of(settings))
        self._tickets: WeakValueDictionary[int, Ticket] = WeakValueDictionary()
        self._findings = {seq: _FINDINGS.decode(text) for seq, text in self._outbox.findings().items()}
        """Of the latest events that have findings, by number. A ticket is gone if its holder has dropped it."""
        self._uplink = Uplink(settings, self._outbox, self._clock, site_id, device_id, self._resolve)
        if not (self._outbox.compared() and self._outbox.is_confirmed()):
            self._check_outbox(path)

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        site_id: str,
        device_id: str,
        on_answer: Callable[[Answer], None] | None = None,
        capacity: int = CAPACITY,
    ) -> Self:
        """Opens a device with the `NINEZERO_…` settings of the environment, or of `environ` instead.

        It needs `NINEZERO_KAFKA`, `NINEZERO_KEYS`, `NINEZERO_ORDER` and `NINEZERO_SUNSET`. The other arguments are those
        of the class.

        Raises:
            SettingsError: a setting is missing or wrong.
            DeviceError, KeyRingError, OutboxError: as the class.
        """
        settings = settings_.load(environ, edge=True)
        return cls(settings, site_id=site_id, device_id=device_id, on_answer=on_answer, capacity=capacity)

    def scan(
        self,
        kind: Literal["vehicle", "pedestrian"],
        people: Sequence[Traveller],
        *,
        plate: str | None = None,
        direction: Literal["in", "out"] = "in",
    ) -> Ticket:
        """Accepts one passage. It is on disk when this returns.

        Args:
            kind: `vehicle` or `pedestrian`.
            people: 1 to 80 people.
            plate: the vehicle's plate as written.
            direction: `in` or `out`.

        Raises:
            DeviceError: the passage breaks the contract (nobody in it, over 80 people, an unknown role, …).
            OutboxError: the outbox or the disk is full.
            KeyRingError: there is no key ring, or its active key is past its `not_after`.
        """
        return self.scan_all([Passage(kind=kind, people=list(people), plate=plate, direction=direction)])[0]

    def scan_all(self, passages: Iterable[Passage]) -> list[Ticket]:
        """Accepts several passages in one transaction, all or none, and returns their tickets in order.

        Raises:
            DeviceError, OutboxError, KeyRingError: as `scan`; none of the passages was accepted.
        """
        return self._accept([self._scan(passage) for passage in passages])

    def arrive(
        self,
        traveller: Traveller,
        *,
        mode: Literal["air", "rail", "coach", "ferry"],
        service: str,
        stage: Literal["registered", "boarded", "delivered"],
        transfer_id: str | None = None,
        destination: str | None = None,
    ) -> Ticket:
        """Accepts one traveller at one stage of the way from a station to a destination.

        Args:
            traveller: the person.
            mode: how they travelled.
            service: number of the flight, train, coach or ferry: 2 to 8 capital letters and digits.
            stage: `registered` at the station, `boarded` on the transfer, `delivered` at the destination.
            transfer_id: identifier of the transfer, if there is one.
            destination: six-digit division code of the destination.

        Raises:
            DeviceError, OutboxError, KeyRingError: as `scan`.
        """
        person, findings = self._pseudonymise(traveller, 0)
        fields = {
            "mode": mode, "service": service, "stage": stage, "transfer_id": transfer_id, "destination": destination,
            "person": person,
        }  # fmt: skip
        return self._accept([_GivenEvent(Arrival, fields, tuple(findings))])[0]

    def report(self, event: type[Disposition | QuarantineEvent | FollowupEvent], **fields: Any) -> int:
        """Accepts an event that gets no answer and returns its sequence number.

        Args:
            event: its type, from `ninezero.events`.
            fields: the fields of that type. `device_id`, `seq`, `site_id` and `observed_at` may be left out.

        Raises:
            DeviceError: the event breaks the contract.
            OutboxError: the outbox or the disk is full.
        """
        return self._accept([_GivenEvent(event, fields)])[0].seq

    def status(self) -> Status:
        """Returns the state of the device.

        Raises:
            OutboxError: the outbox cannot be read.
        """
        outbox, uplink = self._outbox.status(), self._uplink.status()
        return Status(
            connected=uplink.connected,
            waiting=outbox.waiting,
            capacity=outbox.capacity,
            unanswered=outbox.unanswered,
            clock_offset_seconds=self._clock.offset_ms() / 1000,
            too_late=uplink.too_late,
            problem=uplink.problem,
            problem_chinese=uplink.problem_chinese,
        )

    def flush(self, seconds: float) -> bool:
        """Waits up to `seconds` until Kafka has acknowledged everything. Returns whether it has."""
        deadline = time.monotonic() + seconds
        while self._outbox.status().waiting and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self._outbox.status().waiting

    def close(self) -> None:
        """Stops the device. Events that Kafka has not acknowledged stay in the outbox for the next start."""
        self._uplink.close()
        self._outbox.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _check_outbox(self, path: Path) -> None:
        """Waits until the outbox is known to be that of this deployment, and a new one to be the first one of this device.

        If Kafka cannot be asked now, the device starts: events wait in the outbox until it can.

        Raises:
            OutboxError: the outbox belongs to another deployment, or may do so, or Kafka has outcomes of this device.
        """
        self._uplink.wait_until_compared(COMPARE_SECONDS)
        if refusal := self._outbox.refusal():
            self.close()
            raise refusal
        if self._outbox.is_stopped() and not self._outbox.status().waiting:
            error = self._outbox.counter_behind()
            self.close()
            erase(path)  # it was never used, and must not be mistaken for the outbox that this device had
            raise error

    # -- from what the staff see to events ---------------------------------------------------------------------------

    def _scan(self, passage: Passage) -> _GivenEvent:
        people = [self._pseudonymise(traveller, index) for index, traveller in enumerate(passage.people)]
        findings = [finding for person in people for finding in person.findings]
        token = None
        if passage.plate is not None:
            normal = normalise("plate", passage.plate)
            token = self._key_ring().token("plate", normal) if normal else None
            flags = checks.check("plate", passage.plate, self._today())
            findings += [QualityFinding(None, "plate", flag) for flag in flags]
            if people:  # a scan has no flags of its own, so those of the plate go to its first person
                quality = people[0].person.quality
                quality += [flag for flag in flags if flag not in quality]
        fields = {
            "kind": passage.kind, "direction": passage.direction, "plate": token, "people": [person.person for person in people],
        }  # fmt: skip
        return _GivenEvent(Scan, fields, tuple(findings))

    def _pseudonymise(self, traveller: Traveller, index: int) -> Pseudonymised:
        return pseudonymise(traveller, self._key_ring(), self._today(), index)

    def _key_ring(self) -> KeyRing:
        if self._ring is None:
            raise KeyRingError(
                "NINEZERO_KEYS is not set: name the key ring of this deployment",
                chinese="没有设置 NINEZERO_KEYS：请指明本部署的密钥文件",
            )
        return self._ring

    def _today(self) -> date:
        return self._clock.now().date()

    def _accept(self, events: list[_GivenEvent]) -> list[Ticket]:
        new_events: list[NewEvent] = []
        tickets: list[Ticket] = []
        for given in events:
            fields = {"device_id": self.device_id, "observed_at": self._clock.now(), **given.fields}
            if "site_id" in given.kind.__struct_fields__:
                fields.setdefault("site_id", self.site_id)
            key = fields.get("case_id", self.site_id)
            encoder = self._encoder(given._replace(fields=fields), tickets)
            findings = msgspec.json.encode(given.findings).decode() if given.findings else ""
            new_events.append(NewEvent(EVENTS[given.kind].name, str(key).encode(), encoder, findings))
        self._outbox.append(new_events, self._clock.boot_id, self._clock.ticks_ms())
        self._uplink.wake()
        return tickets

    def _encoder(self, given: _GivenEvent, tickets: list[Ticket]) -> Callable[[int], bytes]:
        """Validates the event and returns the function that encodes it under the number that the outbox assigns."""
        event = _validate(given.kind, given.fields)

        def encode_as(seq: int) -> bytes:
            event.seq = seq
            if given.findings:
                self._findings[seq] = given.findings
                while len(self._findings) > FINDINGS_KEPT:
                    del self._findings[next(iter(self._findings))]
            ticket = self._tickets[seq] = Ticket(
                seq, given.findings
            )  # made here, before the event can be sent or answered
            tickets.append(ticket)
            return encode(event)

        return encode_as

    def _resolve(self, seq: int, outcome: Outcome, people: list[int]) -> None:
        answer = Answer(seq, outcome, tuple(people), self._findings.get(seq, ()))
        ticket = self._tickets.get(seq)
        if ticket is not None:
            ticket.resolve(answer)
        self._on_answer(answer)


def _validate(kind: type[msgspec.Struct], fields: dict[str, Any]) -> Any:
    """Returns the event with sequence number 0, validated by the same type as in the workers."""
    try:
        return msgspec.convert(msgspec.to_builtins({**fields, "seq": 0}), kind)
    except msgspec.ValidationError as error:
        fault = describe(kind, error)
        raise DeviceError(
            f"the event was NOT accepted: it breaks the contract at {fault}",
            chinese=f"没有接受：不符合规定（{fault.partition(':')[0]}）",
        ) from None
    except (TypeError, ValueError):
        raise DeviceError(
            "the event was NOT accepted: a field has the wrong type", chinese="没有接受：一个字段的类型不对"
        ) from None


def _identifier(text: str, name: str) -> str:
    try:
        return msgspec.convert(text, Identifier)
    except msgspec.ValidationError:
        raise DeviceError(
            f"the {name} is wrong: use letters, digits, '.', '_' and '-', at most 64, and no eleven digits in a row",
            chinese=f"{name} 不对：只用字母、数字和 . _ -，最多 64 个，不能连续有十一位数字",
        ) from None
