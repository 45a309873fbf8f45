"""A case in quarantine: what it adds to each site and day, and what staff must know about it.

The order of the events is (observed_at, device_id, seq), whatever the order of their arrival. The first `admitted` counts. A
transfer counts as out at the site that reports it and as in at the other one. `am` ends at the local noon, `pm` at midnight.
A reading is due in each slot at whose end the case is present (two measurements and two reports a day: China's guidance of
2020). An event before the admission or after the release changes nothing and is an anomaly. A transfer or release that is
reported by another site than the case's own counts at the reporting site. The balance of both sites then fails, which shows
the error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from ninezero.agents.logic.cases.alarms import GRACE_US, Alarm, CaseStatus, first_of_each
from ninezero.agents.logic.cases.facts import DayCounts, case_version, distinct_in_order, encode_facts
from ninezero.agents.logic.days import ONE_DAY, Days, date_range
from ninezero.schemas.case_facts import QuarantineFact
from ninezero.schemas.rows import OPEN, QuarantineCase, QuarantineKept

SLOTS = ("am", "pm")

COUNTS = ("admitted", "released", "transferred_in", "transferred_out", "present", "due_am", "due_pm", "done_am", "done_pm",
          "misplaced", "anomalies", "fever", "symptoms")  # fmt: skip
"""The counts of a case for each (day, site). `fever` and `symptoms` are alerts, at most one each a day and slot."""


class Stay(NamedTuple):
    """A case is at a site after `from_us`, up to and including `to_us` (Unix time in µs; None: until now)."""

    site_id: str
    from_us: int
    to_us: int | None


@dataclass
class QuarantineHistory:
    """A case as its events describe it. Times are Unix time in µs.

    Attributes:
        stays: the sites where it was, in order.
        readings: the (day, slot) pairs that have a reading.
        illness: the alarms about fever and symptoms.
        counts: what its events add to each day and site.
        last_us: the time of the last event that was no anomaly.
        released_us: when it was released, if it was.
    """

    stays: list[Stay] = field(default_factory=list)
    readings: set[tuple[date, str]] = field(default_factory=set)
    illness: list[Alarm] = field(default_factory=list)
    counts: DayCounts = field(default_factory=DayCounts)
    last_us: int = 0
    released_us: int | None = None

    @property
    def open(self) -> bool:
        """True if the case is in quarantine now."""
        return bool(self.stays) and self.released_us is None

    def site_before(self, instant_us: int) -> str | None:
        """Returns the site where the case is just before an instant, by the events strictly before it."""
        for stay in reversed(self.stays):
            if stay.from_us < instant_us:
                return stay.site_id if stay.to_us is None or instant_us <= stay.to_us else None
        return None

    def enter(self, site_id: str, at_us: int) -> None:
        """Begins a stay."""
        self.stays.append(Stay(site_id, at_us, None))

    def leave(self, at_us: int) -> None:
        """Ends the current stay."""
        self.stays[-1] = self.stays[-1]._replace(to_us=at_us)


def history(facts: Iterable[QuarantineFact], days: Days) -> QuarantineHistory:
    """Returns the history of a case, given its facts in any order."""
    case = QuarantineHistory()
    for fact in distinct_in_order(facts):
        _add(case, fact, days)
    return case


def _add(case: QuarantineHistory, fact: QuarantineFact, days: Days) -> None:
    day = days.of(fact.observed_us)
    counts = case.counts.at(day, fact.site_id)
    admission = fact.type == "admitted" and not case.stays
    # A transfer without a destination is ignored: the case stays where it is rather than being at no site.
    no_destination = fact.type == "transferred" and not fact.to_site_id
    if not (admission or (case.open and fact.type != "admitted")) or no_destination:
        counts["anomalies"] += 1
        return
    case.last_us = fact.observed_us
    if admission:
        counts["admitted"] += 1
        case.enter(fact.site_id, fact.observed_us)
    elif fact.type == "transferred":
        counts["transferred_out"] += 1
        counts["misplaced"] += case.stays[-1].site_id != fact.site_id
        case.counts.at(day, fact.to_site_id)["transferred_in"] += 1
        case.leave(fact.observed_us)
        case.enter(fact.to_site_id, fact.observed_us)
    elif fact.type == "released":
        counts["released"] += 1
        counts["misplaced"] += case.stays[-1].site_id != fact.site_id
        case.leave(fact.observed_us)
        case.released_us = fact.observed_us
        return
    if fact.type == "reading":
        case.readings.add((day, fact.slot or days.slot(fact.observed_us)))
    case.illness += _illness(fact, days)


def _illness(fact: QuarantineFact, days: Days) -> list[Alarm]:
    """Returns the alarms about fever and symptoms that a fact reports."""
    day, slot = days.of(fact.observed_us), fact.slot or days.slot(fact.observed_us)
    found = [rule for rule, reported in (("fever", fact.fever), ("symptoms", fact.symptoms)) if reported]
    return [Alarm(rule, day, slot, fact.site_id, fact.observed_us) for rule in found]


def summarise(case_id: str, facts: list[QuarantineFact], days: Days) -> QuarantineCase:
    """Returns the row of a case: its facts, and what it adds to each day and site up to its last event.

    If it is still open, the row also has its site and the day after its last event. Each day from then on counts the same, so
    the views add these days.
    """
    case = history(facts, days)
    ordered = distinct_in_order(facts)
    last = days.of(case.last_us or ordered[-1].observed_us)
    if case.stays:
        for day in date_range(days.of(case.stays[0].from_us), last):
            for slot in SLOTS:
                site = case.site_before(days.slot_end(day, slot))
                if site is not None:
                    counts = case.counts.at(day, site)
                    counts[f"due_{slot}"] += 1
                    counts[f"done_{slot}"] += (day, slot) in case.readings
                    counts["present"] += slot == "pm"
    for alarm in first_of_each(alarm for fact in ordered for alarm in _illness(fact, days)):
        case.counts.at(alarm.day, alarm.place)[alarm.rule] += 1
    return QuarantineCase(
        case_id=case_id,
        version=case_version(ordered),
        closed_on=OPEN if case.open else last,
        site_id=case.stays[-1].site_id if case.open else "",
        since=last + ONE_DAY,
        facts=encode_facts(ordered),
        **case.counts.columns("sites", COUNTS),
    )


def keep(cases: Iterable[QuarantineCase], begins: date, ends: date, today: date) -> QuarantineKept:
    """Returns the sum of the counts of cases that are about to be deleted, without their numbers.

    Args:
        cases: the cases that closed from `begins` on, before `ends`; also open cases, whose counts then end with `today`.
        begins: where the row before ended.
        ends: where the next row begins.
        today: the current local day.
    """
    kept = DayCounts()
    for case in cases:
        columns = [getattr(case, name) for name in COUNTS]
        for day, site, *counts in zip(case.days, case.sites, *columns, strict=True):
            kept.add(day, site, dict(zip(COUNTS, counts, strict=True)))
        if case.closed_on == OPEN:
            for day in date_range(case.since, today):
                kept.add(day, case.site_id, {"present": 1, "due_am": 1, "due_pm": 1})
    return QuarantineKept(begins=begins, ends=ends, **kept.columns("sites", COUNTS))


def status(facts: list[QuarantineFact], days: Days, now_us: int) -> CaseStatus:
    """Returns the status of a case at `now_us` (Unix time in µs). The same facts always give the same alarms.

    Fever and symptoms give an alarm when they are reported. A missing reading gives one when its slot and the grace period
    have ended, as long as the case is open: after the release no reading is missing.
    """
    case = history(facts, days)
    if not case.open:
        closed = case.released_us if case.released_us is not None else max(fact.observed_us for fact in facts)
        return CaseStatus(first_of_each(case.illness), None, closed)
    alarms = first_of_each(case.illness)
    for day in date_range(days.of(case.stays[0].from_us), days.of(now_us)):
        for slot in SLOTS:
            end = days.slot_end(day, slot)
            site = case.site_before(end) if end + GRACE_US <= now_us and (day, slot) not in case.readings else None
            if site is not None:
                alarms.append(Alarm("reading_missed", day, slot, site, end))
    current = days.of(now_us - GRACE_US)
    next_us = min(end for slot in SLOTS if (end := days.slot_end(current, slot) + GRACE_US) > now_us)
    return CaseStatus(alarms, next_us, None)
