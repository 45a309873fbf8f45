"""Everything that must follow from the records of a whole run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .decisions import Reason, decide
from .lists import Lists
from .records import Fault, read
from .terms import MINUTE, PUSHES, SEVERITY, Ambiguous, Record, at


@dataclass
class Decided:
    """A screened event: the expected outcome, alert and facts."""

    topic: str
    event: dict[str, Any]
    value: bytes
    reasons: tuple[Reason, ...]
    late: set[bool]
    """One value for each of its records: a resend may be late although the first was not."""

    @property
    def outcome(self) -> str:
        return max((r.outcome for r in self.reasons), key=SEVERITY.index, default="clear")

    @property
    def people(self) -> list[int]:
        return sorted({r.person for r in self.reasons if r.person is not None})

    @property
    def site_id(self) -> str:
        return str(self.event["site_id"])


@dataclass(frozen=True)
class Dead:
    fault: Fault
    size: int
    sha256: str


@dataclass
class Expected:
    """All results that must follow from the records that were sent."""

    lists: Lists = field(default_factory=Lists)
    events: dict[tuple[str, int], Decided] = field(default_factory=dict)
    dead: dict[tuple[str, int, int], Dead] = field(default_factory=dict)
    receipts: list[dict[str, Any]] = field(default_factory=list)

    def process(self, record: Record) -> None:
        """Processes one record, in the order of sending. Lists must not change any more when scans are sent."""
        event = read(record)
        if isinstance(event, Fault):
            where = (record.topic, record.partition, record.offset)
            self.dead[where] = Dead(event, len(record.value), hashlib.sha256(record.value).hexdigest())
            return
        if record.topic == PUSHES:
            receipt = self.lists.process(record, event)
            if receipt is not None:
                self.receipts.append(receipt)
            return
        late = record.at - at(event["observed_at"]) > 10 * MINUTE
        identity = (event["device_id"], event["seq"])
        known = self.events.get(identity)
        if known is None:
            reasons = decide(event, self.lists, record.at)
            self.events[identity] = Decided(record.topic, event, record.value, reasons, {late})
        elif known.value != record.value or known.topic != record.topic:
            raise Ambiguous("one identity with two contents")
        else:
            known.late.add(late)


def expect(records: Iterable[Record]) -> Expected:
    """Returns the results that must follow from these records, sent in this order."""
    expected = Expected()
    for record in records:
        expected.process(record)
    return expected
