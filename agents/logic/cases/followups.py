"""A case under follow-up at home: what it adds to each district and day, and what staff must know about it.

The order of the events is (observed_at, device_id, seq), whatever the order of their arrival. The first `opened` counts, and
its district is the case's: the case counts there as opened, open, overdue and closed. A visit counts on its own day in its
own district, whatever its result. A case is overdue on a day if it was opened before that day, is open at its end, and
nobody tried to visit on it; after the last day of its term no visit is due. Symptoms that a visit reports give an alarm whatever
the state of the case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from ninezero.agents.logic.cases.alarms import GRACE_US, Alarm, CaseStatus, first_of_each
from ninezero.agents.logic.cases.facts import DayCounts, case_version, distinct_in_order, encode_facts
from ninezero.agents.logic.cases.terms import Term, next_morning, term_alarms
from ninezero.agents.logic.days import ONE_DAY, Days, date_range
from ninezero.schemas.case_facts import FollowupFact
from ninezero.schemas.rows import NEVER, OPEN, FollowupCase, FollowupKept

REACHED = ("seen_well", "seen_symptomatic")

COUNTS = (
    "opened",
    "visits",
    "reached",
    "closed",
    "overdue",
    "open_at_end",
    "anomalies",
    "release_due",
    "term_exceeded",
)
"""The counts of a case for each (day, district)."""


class Delay(NamedTuple):
    """The time from a push to the first visit of a case in s, and the day and district in which the case was opened."""

    day: date
    district: str
    seconds: int


@dataclass
class FollowupHistory:
    """A case as its events describe it. Times are Unix time in µs.

    Attributes:
        opened, closed: the facts that opened and closed it, if any.
        term: its term, once it was opened.
        first_visit_us: the time of the first visit while it was open, or 0.
        visited: the days on which somebody tried to visit.
        illness: the alarms about symptoms.
        counts: what its events add to each day and district.
        last_us: the time of the last event that was no anomaly.
    """

    opened: FollowupFact | None = None
    closed: FollowupFact | None = None
    term: Term | None = None
    first_visit_us: int = 0
    visited: set[date] = field(default_factory=set)
    illness: list[Alarm] = field(default_factory=list)
    counts: DayCounts = field(default_factory=DayCounts)
    last_us: int = 0

    @property
    def open(self) -> bool:
        """True if the case is followed up now."""
        return self.opened is not None and self.closed is None

    def is_open_at(self, instant_us: int) -> bool:
        """Returns whether the case is followed up just before an instant, by the events strictly before it."""
        opened, closed = self.opened, self.closed
        return (
            opened is not None
            and opened.observed_us < instant_us
            and (closed is None or closed.observed_us >= instant_us)
        )


def history(facts: Iterable[FollowupFact], days: Days) -> FollowupHistory:
    """Returns the history of a case, given its facts in any order."""
    case = FollowupHistory()
    for fact in distinct_in_order(facts):
        _add(case, fact, days)
    return case


def _add(case: FollowupHistory, fact: FollowupFact, days: Days) -> None:
    day = days.of(fact.observed_us)
    counts = case.counts.at(day, fact.district)
    if fact.type == "visit":  # a visit counts even if it is an anomaly: it was made
        counts["visits"] += 1
        counts["reached"] += fact.visit in REACHED
        case.visited.add(day)
    case.illness += _illness(fact, days)
    if not _is_valid(case, fact, day):
        counts["anomalies"] += 1
        return
    case.last_us = fact.observed_us
    if fact.type == "opened":
        counts["opened"] += 1
        case.opened, case.term = fact, Term.of(day, fact.term_days)
    elif fact.type == "closed":
        assert case.opened is not None
        case.counts.at(day, case.opened.district)["closed"] += 1
        case.closed = fact
    elif fact.type == "visit":
        case.first_visit_us = case.first_visit_us or fact.observed_us


def _is_valid(case: FollowupHistory, fact: FollowupFact, day: date) -> bool:
    """Returns whether a fact is no anomaly. A valid extension is applied to the term of the case."""
    if fact.type == "opened":
        return case.opened is None
    if not case.open:
        return False
    return fact.type != "extended" or (case.term is not None and case.term.extend(day, fact.term_days))


def _illness(fact: FollowupFact, days: Days) -> list[Alarm]:
    """Returns the alarm about symptoms that a fact reports, if it does."""
    if fact.visit != "seen_symptomatic":
        return []
    return [Alarm("symptoms", days.of(fact.observed_us), None, fact.district, fact.observed_us)]


def summarise(case_id: str, facts: list[FollowupFact], days: Days) -> FollowupCase:
    """Returns the row of a case: its facts, and what it adds to each day and district up to its last event.

    If it is still open, the row also has the day after its last event. Each day from then on counts the same, so the views
    add these days.
    """
    case = history(facts, days)
    ordered = distinct_in_order(facts)
    last = days.of(case.last_us or ordered[-1].observed_us)
    opened_on = days.of(case.opened.observed_us) if case.opened else NEVER
    if case.opened is not None and case.term is not None:
        for day in date_range(opened_on, last):
            counts = case.counts.at(day, case.opened.district)
            if case.is_open_at(days.end(day)):
                counts["open_at_end"] += 1
                counts["overdue"] += opened_on < day <= case.term.last_day and day not in case.visited
                counts["term_exceeded"] += day > case.term.last_day
            counts["release_due"] += day == case.term.last_day and case.is_open_at(days.morning(day))
    return FollowupCase(
        case_id=case_id,
        version=case_version(ordered),
        closed_on=OPEN if case.open else last,
        district=case.opened.district if case.opened else "",
        since=last + ONE_DAY,
        last_day=case.term.last_day if case.term else NEVER,
        opened_on=opened_on,
        batch_id=case.opened.batch_id if case.opened else "",
        first_visit=case.first_visit_us // 1_000_000,
        closed_as=case.closed.closed if case.closed else "",
        facts=encode_facts(ordered),
        **case.counts.columns("districts", COUNTS),
    )


def keep(cases: Iterable[FollowupCase], delays: Iterable[Delay], begins: date, ends: date, today: date) -> FollowupKept:
    """Returns the sum of the counts of cases that are about to be deleted, without their numbers.

    Args:
        cases: the cases that closed from `begins` on, before `ends`; also open cases, whose counts then end with `today`.
        delays: the delays of these cases.
        begins: where the row before ended.
        ends: where the next row begins.
        today: the current local day.
    """
    kept, closings = DayCounts(), Counter[tuple[date, str, str]]()
    for case in cases:
        columns = [getattr(case, name) for name in COUNTS]
        for day, district, *counts in zip(case.days, case.districts, *columns, strict=True):
            kept.add(day, district, dict(zip(COUNTS, counts, strict=True)))
        if case.closed_on == OPEN:
            for day in date_range(case.since, today):
                kept.add(day, case.district, open_day(day, case.last_day))
        elif case.opened_on != NEVER:
            closings[case.closed_on, case.district, case.closed_as] += 1
    ordered = sorted(delays)
    return FollowupKept(
        begins=begins,
        ends=ends,
        **kept.columns("districts", COUNTS),
        closing_days=[day for day, _, _ in closings],
        closing_districts=[district for _, district, _ in closings],
        closing_ways=[way for _, _, way in closings],
        closings=list(closings.values()),
        delay_days=[delay.day for delay in ordered],
        delay_districts=[delay.district for delay in ordered],
        delays=[delay.seconds for delay in ordered],
    )


def open_day(day: date, last_day: date) -> dict[str, int]:
    """Returns the counts of a day on which a case is open and has no event, given the last day of its term.

    The view `followup_days` (schemas/sql/001_base.sql) adds the same counts.
    """
    if day > last_day:
        return {"open_at_end": 1, "term_exceeded": 1}
    return {"open_at_end": 1, "overdue": 1, "release_due": int(day == last_day)}


def status(facts: list[FollowupFact], days: Days, now_us: int) -> CaseStatus:
    """Returns the status of a case at `now_us` (Unix time in µs). The same facts always give the same alarms.

    Symptoms give an alarm when they are reported, whatever the state of the case. A day without a visit gives one when it and the
    grace period have ended, and the term gives them at 08:00 of its last day and of each later day, as long as the case is open:
    after it was closed no visit is overdue.
    """
    case = history(facts, days)
    alarms = first_of_each(case.illness)
    if case.opened is None or case.closed is not None or case.term is None:
        closing = case.closed or distinct_in_order(facts)[-1]
        return CaseStatus(alarms, None, closing.observed_us)
    district, term = case.opened.district, case.term
    for day in date_range(term.begins + ONE_DAY, min(days.of(now_us), term.last_day)):
        if days.end(day) + GRACE_US <= now_us and day not in case.visited:
            alarms.append(Alarm("visit_overdue", day, None, district, days.end(day)))
    alarms += term_alarms(term, days, now_us, lambda at_us: district if case.is_open_at(at_us) else None)
    return CaseStatus(alarms, _next_alarm(term, days, now_us), None)


def _next_alarm(term: Term, days: Days, now_us: int) -> int:
    """Returns when the next alarm about an open case could arise without a further event (Unix time in µs)."""
    day = days.of(now_us - GRACE_US)
    morning = next_morning(term, days, now_us)
    return min(days.end(day) + GRACE_US, morning) if day <= term.last_day else morning
