"""A checkpoint device: identities in, tokens out through the outbox, outcomes back.

    with Device(settings, site_id="road-01", device_id="road-01-a") as device:
        ticket = device.scan("vehicle", [Traveller("driver", id="11010519491231002X", temperature_c=36.5)], plate="鲁A12345")
        print(ticket.wait(5))

An event is on disk before `scan` returns. One thread sends in order and waits for Kafka's acknowledgement, one reads the
outcomes of the device's site back. A broker that is away is waited for. No identity is kept, logged or sent.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from types import TracebackType
from typing import Any, Literal, NamedTuple
from weakref import WeakValueDictionary

import msgspec

from ninezero.schemas.events import (
    Arrival,
    Disposition,
    FollowupEvent,
    Identifier,
    Person,
    QuarantineEvent,
    Scan,
    encode,
)
from ninezero.streams.edge.device.answers import Answer, Ticket
from ninezero.streams.edge.device.clock import Clock
from ninezero.streams.edge.device.outbox import New, Outbox
from ninezero.streams.edge.device.travellers import Passage, Traveller, identify
from ninezero.streams.edge.device.uplink import Uplink
from ninezero.streams.edge.documents import checks as identity
from ninezero.streams.edge.documents.key_ring import KeyRing, KeyRingError
from ninezero.streams.edge.documents.normal_forms import normalise
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


class DeviceError(UserError):
    """The event was *not* accepted: one line, what is wrong and what to do; no value is quoted."""


class Status(NamedTuple):
    """How the device is: `connected` to Kafka, events waiting, room for events, `problem` in a line or empty."""

    connected: bool
    waiting: int
    capacity: int
    unanswered: int
    clock_off_seconds: float
    too_late: int
    problem: str


class Device:
    """One device at one site. Thread-safe. `on_answer` gets every answer, late ones and those of an earlier run too.

    Raises:
        OutboxError: the outbox cannot be used.
        KeyRingError: the key ring cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        site_id: str,
        device_id: str,
        on_answer: Callable[[Answer], None] | None = None,
        capacity: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self.site_id, self.device_id = _identifier(site_id, "site"), _identifier(device_id, "device")
        self._ring = None if settings.keys is None else KeyRing.load(settings.keys)
        self._clock = clock or Clock()
        self._on_answer = on_answer or (lambda _: None)
        path = settings.outbox / f"{device_id}.sqlite"
        self.outbox = Outbox(path, device_id) if capacity is None else Outbox(path, device_id, capacity)
        self._tickets: WeakValueDictionary[int, Ticket] = WeakValueDictionary()
        self._uplink = Uplink(settings, self.outbox, self._clock, site_id, device_id, self._outcome)

    def scan(
        self,
        kind: Literal["vehicle", "pedestrian"],
        people: Sequence[Traveller],
        *,
        plate: str | None = None,
        direction: Literal["in", "out"] = "in",
    ) -> Ticket:
        """One passage. On disk when it returns.

        Raises:
            DeviceError: it breaks the contract (nobody in it, over 80 people, an unknown role, …).
            OutboxError: the outbox or the disk is full. KeyRingError: the active key is past its end.
        """
        return self.scan_all([Passage(kind=kind, people=list(people), plate=plate, direction=direction)])[0]

    def scan_all(self, passages: Iterable[Passage]) -> list[Ticket]:
        """Several passages at once, all accepted or none."""
        return self._accept([(Scan, self._passage(passage)) for passage in passages])

    def arrive(self, traveller: Traveller, **fields: Any) -> Ticket:
        """One traveller at one stage: the fields of Arrival beside."""
        return self._accept([(Arrival, {**fields, "person": self._person(traveller)})])[0]

    def report(self, event: type[msgspec.Struct], **fields: Any) -> int:
        """Any other event of the contract by its fields; fills in device, number, site and time. Its number."""
        return self._accept([(event, fields)])[0].seq

    def status(self) -> Status:
        """How the device is."""
        fill = self.outbox.fill()
        return Status(
            self._uplink.connected, fill.events, fill.capacity, fill.unanswered, self._clock.off_ms() / 1000,
            self._uplink.too_late, self._uplink.problem,
        )  # fmt: skip

    def flush(self, seconds: float) -> bool:
        """Waits until Kafka has everything; whether it has."""
        deadline = time.monotonic() + seconds
        while self.outbox.fill().events and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.outbox.fill().events

    def close(self) -> None:
        """Stops. What Kafka has not acknowledged stays in the outbox."""
        self._uplink.close()
        self.outbox.close()

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # -- what is seen becomes an event -------------------------------------------------------------------------------

    def _passage(self, seen: Passage) -> dict[str, Any]:
        people = [self._person(traveller) for traveller in seen.people]
        token = None
        if seen.plate is not None:
            normal = normalise("plate", seen.plate)
            token = self._keys().token("plate", normal) if normal else None
            if people:  # a passage has no flags of its own: its first person's list takes them
                people[0].quality += identity.check("plate", seen.plate, self._today())
        return {"kind": seen.kind, "direction": seen.direction, "plate": token, "people": people}

    def _person(self, traveller: Traveller) -> Person:
        return identify(traveller, self._keys(), self._today())

    def _keys(self) -> KeyRing:
        if self._ring is None:
            raise KeyRingError("NINEZERO_KEYS is not set: name the key ring of this deployment")
        return self._ring

    def _today(self) -> date:
        return self._clock.now().date()

    def _accept(self, events: list[tuple[type[msgspec.Struct], dict[str, Any]]]) -> list[Ticket]:
        made: list[New] = []
        tickets: list[Ticket] = []
        for kind, fields in events:
            whole = {"device_id": self.device_id, "observed_at": self._clock.now(), **fields}
            if "site_id" in kind.__struct_fields__:
                whole.setdefault("site_id", self.site_id)
            key = whole.get("case_id", self.site_id)
            made.append(New(EVENTS[kind].name, str(key).encode(), self._maker(kind, whole, tickets)))
        self.outbox.add(made, self._clock.boot, self._clock.ticks())
        self._uplink.wake()
        return tickets

    def _maker(
        self, kind: type[msgspec.Struct], fields: dict[str, Any], tickets: list[Ticket]
    ) -> Callable[[int], bytes]:
        """Checks the event now, so that nothing that the workers would refuse is accepted; it gets its number later."""
        event = _checked(kind, fields)

        def make(seq: int) -> bytes:
            event.seq = seq
            ticket = self._tickets[seq] = Ticket(seq)  # before anything can be sent, or answered
            tickets.append(ticket)
            return encode(event)

        return make

    def _outcome(self, seq: int, outcome: str, people: list[int]) -> None:
        answer = Answer(seq, outcome, tuple(people))  # type: ignore[arg-type]  # the wire type says str; workers write the outcomes of the contract only (agents/logic/policy/rules.py)
        ticket = self._tickets.get(seq)
        if ticket is not None:
            ticket.settle(answer)
        self._on_answer(answer)


def _checked(kind: type[msgspec.Struct], fields: dict[str, Any]) -> Any:
    """The event, checked as the workers check it."""
    try:
        return msgspec.convert(msgspec.to_builtins({**fields, "seq": 0}), kind)
    except msgspec.ValidationError as error:
        path = str(error).rpartition("`$")[2].rstrip("`").removeprefix(".") if "`$" in str(error) else "a field"
        raise DeviceError(f"the event was NOT accepted: it breaks the contract at {path}") from None
    except (TypeError, ValueError):
        raise DeviceError("the event was NOT accepted: a field has the wrong type") from None


def _identifier(text: str, what: str) -> str:
    try:
        return msgspec.convert(text, Identifier)
    except msgspec.ValidationError:
        raise DeviceError(
            f"the {what}'s name is wrong: use letters, digits, '.', '_' and '-', at most 64, no eleven digits in a row"
        ) from None
