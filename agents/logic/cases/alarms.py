"""What quarantine and follow-up share: the order of a case's events, and what staff are to be told of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple, TypeVar

from ninezero.schemas.case_facts import FollowupFact, QuarantineFact

GRACE_US = 600 * 1_000_000
"""A report may arrive ten minutes after its slot has closed before it is missed: what comes later is a late event."""

MAX_VERSION = 2**64 - 1
"""A case of two million events changes no more: a row that ClickHouse refuses would stop everyone's."""

Fact = TypeVar("Fact", QuarantineFact, FollowupFact)

Key = tuple[date, str]
"""A local day, and a site or district."""


class Alarm(NamedTuple):
    """What staff are told of a case: the rule, the local day and slot it is about, the site or district, since when (µs)."""

    rule: str
    day: date
    slot: str | None
    place: str
    at_us: int


class Outlook(NamedTuple):
    """A case at an instant: what staff must have been told by then, when to look again, and when it was closed (µs).

    An open case has no `closed_us`, one that is not open no `next_us`. One that was never opened closes with its last event.
    """

    alarms: list[Alarm]
    next_us: int | None
    closed_us: int | None


def in_order(facts: Iterable[Fact]) -> list[Fact]:
    """Each event once, with the content that came first, as they were observed."""
    once: dict[tuple[str, int], Fact] = {}
    for fact in facts:
        known = once.get((fact.device_id, fact.seq))
        if known is None or fact.version > known.version:
            once[fact.device_id, fact.seq] = fact
    return sorted(once.values(), key=lambda fact: (fact.observed_us, fact.device_id, fact.seq))


def once(alarms: Iterable[Alarm]) -> list[Alarm]:
    """One alarm a rule, day and slot: the first, wherever a second was found."""
    first: dict[tuple[str, date, str | None], Alarm] = {}
    for alarm in alarms:
        first.setdefault(alarm[:3], alarm)
    return list(first.values())


ALERT_ID = re.compile("[0-9a-f]{32}")


def alert_id(case_id: str, alarm: Alarm) -> str:
    """The same for the same case, rule, day and slot, whoever finds it and how often."""
    what = "|".join((case_id, alarm.rule, alarm.day.isoformat(), alarm.slot or ""))
    return hashlib.sha256(what.encode()).hexdigest()[:32]
