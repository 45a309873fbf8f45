"""The records of a scenario, day by day."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from ninezero.streams.kafka.records import OutgoingRecord


@dataclass
class Day:
    """The records of one local day, in the order in which they are sent: batches, events, reports."""

    day: date
    batches: list[OutgoingRecord] = field(default_factory=list)
    batch_ids: list[str] = field(default_factory=list)
    events: list[OutgoingRecord] = field(default_factory=list)
    """Scans and arrivals, with resends and malformed records among them. Each but the malformed ones gets an outcome."""
    valid: int = 0
    """Number of different valid events."""
    resent: int = 0
    malformed: int = 0
    transfers: int = 0
    """Number of transfers that begin."""
    left_behind: int = 0
    """Number of people who board one and are never delivered, each from another transfer."""
    release_due: int = 0
    """Number of cases that are open on the last day of their term, which is this day."""
    term_exceeded: int = 0
    """Number of cases that are open at 08:00 although their last day is over."""
    overnight: int = 0
    """Number of those that are still open at the end of the day."""
    reports: list[OutgoingRecord] = field(default_factory=list)
    """Dispositions, quarantine events and follow-up events, which get no outcome."""


def split(total: int, weights: list[float]) -> list[int]:
    """Splits a total into whole numbers in proportion to weights."""
    whole, cuts, reached = sum(weights), [], 0.0
    for weight in weights:
        reached += weight
        cuts.append(round(total * reached / whole))
    return [b - a for a, b in zip([0, *cuts], cuts, strict=False)]
