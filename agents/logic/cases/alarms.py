"""Alarms: what staff must know about a case, and the identifier under which they are alerted of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

GRACE_US = 600 * 1_000_000
"""Time after the end of its slot or day within which a report may still arrive, in µs. A later one is a late event."""

NOT_DELIVERED = "not_delivered"
"""The rule about transfers. There is at most one alarm of it for each transfer."""

ALERT_ID = re.compile("[0-9a-f]{32}")
"""The form of an alert id."""


class Alarm(NamedTuple):
    """Something that staff must know about a case.

    `day` and `slot` are those that it is about, `place` is the site or district, `at_us` is when it began (Unix time in µs).
    """

    rule: str
    day: date
    slot: str | None
    place: str
    at_us: int


class CaseStatus(NamedTuple):
    """A case at an instant. Times are Unix time in µs.

    Attributes:
        alarms: everything that staff must know by then.
        next_us: when the next alarm could arise without a further event; None if the case is not open.
        closed_us: when the case was closed; None if it is open. A case that was never opened is closed by its last event.
    """

    alarms: list[Alarm]
    next_us: int | None
    closed_us: int | None


def first_of_each(alarms: Iterable[Alarm]) -> list[Alarm]:
    """Returns the first alarm of each rule, day and slot. A second one at another place or time is left out."""
    first: dict[tuple[str, date, str | None], Alarm] = {}
    for alarm in alarms:
        first.setdefault((alarm.rule, alarm.day, alarm.slot), alarm)
    return list(first.values())


def alert_id(case_id: str, alarm: Alarm) -> str:
    """Returns the id of the alert of an alarm. It depends on the case, the rule, the day and the slot only.

    The day of a transfer changes if an earlier boarding becomes known. It is no part of the id, so a transfer has one alert.
    """
    day = "" if alarm.rule == NOT_DELIVERED else alarm.day.isoformat()
    identity = "|".join((case_id, alarm.rule, day, alarm.slot or ""))
    return hashlib.sha256(identity.encode()).hexdigest()[:32]
