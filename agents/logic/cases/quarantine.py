"""A case in quarantine: what it adds to each site and day, and what staff must know about it.

The order of the events is (observed_at, device_id, seq), whatever the order of their arrival. The first `admitted` counts. A
transfer counts as out at the site that reports it and as in at the other one. `am` ends at the local noon, `pm` at midnight.
A reading is due in each slot at whose end the case is present (two measurements and two reports a day: China's guidance of
2020), up to the last day of its term. An event before the admission or after the release changes nothing and is an anomaly, but
the fever and the symptoms that it reports give an alarm all the same. A transfer or release that is reported by another site than
the case's own counts at the reporting site. The balance of both sites then fails, which shows the error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from ninezero.agents.logic.cases.alarms import GRACE_US, Alarm, CaseStatus, first_of_each
from ninezero.agents.logic.cases.facts import DayCounts, case_version, distinct_in_order, encode_facts
from ninezero.agents.logic.cases.terms import Term, next_morning, term_alarms
from ninezero.agents.logic.days import ONE_DAY, Days, date_range
from ninezero.schemas.case_facts import QuarantineFact
from ninezero.schemas.rows import NEVER, OPEN, QuarantineCase, QuarantineKept

SLOTS = ("am", "pm")

COUNTS = ("admitted", "released", "transferred_in", "transferred_out", "present", "due_am", "due_pm", "done_am", "done_pm",
          "misplaced", "anomalies", "release_due", "term_exceeded")  # fmt: skip
"""The counts of a case for each (day, site)."""


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
        term: its term, once it was admitted.
        readings: the (day, slot) pairs that have a reading.
        illness: the alarms about fever and symptoms.
        counts: what its events add to each day and site.
        last_us: the time of the last event that was no anomaly.
        released_us: when it was released, if it was.
    """

    stays: list[Stay] = field(default_factory=list)
    term: Term | None = None
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
    case.illness += _illness(fact, days)
    if not _is_valid(case, fact, day):
        counts["anomalies"] += 1
        return
    case.last_us = fact.observed_us
    if fact.type == "admitted":
        counts["admitted"] += 1
        case.term = Term.of(day, fact.term_days)
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
    elif fact.type == "reading":
        case.readings.add((day, fact.slot or days.slot(fact.observed_us)))


def _is_valid(case: QuarantineHistory, fact: QuarantineFact, day: date) -> bool:
    """Returns whether a fact is no anomaly. A valid extension is applied to the term of the case."""
    if fact.type == "admitted":
        return not case.stays
    if not case.open:
        return False
    if fact.type == "extended":
        return case.term is not None and case.term.extend(day, fact.term_days)
    # A transfer without a destination is ignored: the case stays where it is rather than being at no site.
    return fact.type != "transferred" or bool(fact.to_site_id)


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
    if case.term is not None:
        for day in date_range(case.term.begins, last):
            _count_day(case, day, case.term.last_day, days)
    return QuarantineCase(
        case_id=case_id,
        version=case_version(ordered),
        closed_on=OPEN if case.open else last,
        site_id=case.stays[-1].site_id if case.open else "",
        since=last + ONE_DAY,
        last_day=case.term.last_day if case.term else NEVER,
        facts=encode_facts(ordered),
        **case.counts.columns("sites", COUNTS),
    )


def _count_day(case: QuarantineHistory, day: date, last_day: date, days: Days) -> None:
    """Counts what is due on a day of a case, where the case is, and whether its term ends or is exceeded."""
    for slot in SLOTS:
        site = case.site_before(days.slot_end(day, slot))
        if site is not None:
            counts = case.counts.at(day, site)
            counts[f"due_{slot}"] += day <= last_day
            counts[f"done_{slot}"] += day <= last_day and (day, slot) in case.readings
            counts["present"] += slot == "pm"
            counts["term_exceeded"] += slot == "pm" and day > last_day
    site = case.site_before(days.morning(day)) if day == last_day else None
    if site is not None:
        case.counts.at(day, site)["release_due"] += 1


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
                kept.add(day, case.site_id, open_day(day, case.last_day))
    return QuarantineKept(begins=begins, ends=ends, **kept.columns("sites", COUNTS))


def open_day(day: date, last_day: date) -> dict[str, int]:
    """Returns the counts of a day on which a case is open and has no event, given the last day of its term.

    The view `quarantine_days` (schemas/sql/001_base.sql) adds the same counts.
    """
    if day > last_day:
        return {"present": 1, "term_exceeded": 1}
    return {"present": 1, "due_am": 1, "due_pm": 1, "release_due": int(day == last_day)}


def status(facts: list[QuarantineFact], days: Days, now_us: int) -> CaseStatus:
    """Returns the status of a case at `now_us` (Unix time in µs). The same facts always give the same alarms.

    Fever and symptoms give an alarm when they are reported, whatever the state of the case. A missing reading gives one when its
    slot and the grace period have ended, and the term gives them at 08:00 of its last day and of each later day, as long as the
    case is open: after the release no reading is missing.
    """
    case = history(facts, days)
    alarms = first_of_each(case.illness)
    if not case.open or case.term is None:
        closed = case.released_us if case.released_us is not None else max(fact.observed_us for fact in facts)
        return CaseStatus(alarms, None, closed)
    for day in date_range(case.term.begins, min(days.of(now_us), case.term.last_day)):
        for slot in SLOTS:
            end = days.slot_end(day, slot)
            site = case.site_before(end) if end + GRACE_US <= now_us and (day, slot) not in case.readings else None
            if site is not None:
                alarms.append(Alarm("reading_missed", day, slot, site, end))
    alarms += term_alarms(case.term, days, now_us, case.site_before)
    return CaseStatus(alarms, _next_alarm(case.term, days, now_us), None)


def _next_alarm(term: Term, days: Days, now_us: int) -> int:
    """Returns when the next alarm about an open case could arise without a further event (Unix time in µs)."""
    day = days.of(now_us - GRACE_US)
    slot_ends = [days.slot_end(day, slot) + GRACE_US for slot in SLOTS] if day <= term.last_day else []
    return min(at for at in (*slot_ends, next_morning(term, days, now_us)) if at > now_us)
