"""One case under follow-up at home: from its events, in any order, to what it adds to each district's day.

Events order by (observed_at, device_id, seq). The first `opened` counts, and its district is the case's: the case counts
there as opened, open, overdue and closed. A visit counts on its own day in its own district, whatever came of it. A case is
overdue on a day before which it was opened, at whose end it is open, and on which nobody tried to visit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from ninezero.agents.logic.cases.cases import GRACE_US, MAX_VERSION, Alarm, Key, Outlook, in_order, once
from ninezero.agents.logic.days import ONE_DAY, Days, each
from ninezero.schemas.case_facts import FollowupFact
from ninezero.schemas.rows import NEVER, FollowupCase

REACHED = ("seen_well", "seen_symptomatic")


@dataclass
class Course:
    """What became of a case, as far as its events tell."""

    opened: FollowupFact | None = None
    closed: FollowupFact | None = None
    first_visit_us: int = 0
    visited: set[date] = field(default_factory=set)
    ill: list[Alarm] = field(default_factory=list)
    counts: dict[Key, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    last_us: int = 0

    @property
    def open(self) -> bool:
        """Whether the case is followed up now."""
        return self.opened is not None and self.closed is None


def course(facts: Iterable[FollowupFact], days: Days) -> Course:
    """Follows a case through its events."""
    case = Course()
    for fact in in_order(facts):
        day = days.of(fact.observed_us)
        here = case.counts[day, fact.district]
        if fact.type == "visit":  # it was made, in order or not
            here["visits"] += 1
            here["reached"] += fact.visit in REACHED
            case.visited.add(day)
        opening = fact.type == "opened" and case.opened is None
        if not (opening or (case.open and fact.type != "opened")):
            here["anomalies"] += 1
            continue
        case.last_us = fact.observed_us
        if opening:
            here["opened"] += 1
            case.opened = fact
        elif fact.type == "closed":
            assert case.opened is not None
            case.counts[day, case.opened.district]["closed"] += 1
            case.closed = fact
        else:
            case.first_visit_us = case.first_visit_us or fact.observed_us
            if fact.visit == "seen_symptomatic":
                case.ill.append(Alarm("symptoms", day, None, fact.district, fact.observed_us))
    return case


def summarise(case_id: str, facts: list[FollowupFact], days: Days) -> FollowupCase:
    """The row of a case: what it adds to each (day, district), and since which day it is open without a further event."""
    case = course(facts, days)
    ordered = in_order(facts)
    last = days.of(case.last_us or ordered[-1].observed_us)
    opened = days.of(case.opened.observed_us) if case.opened else NEVER
    if case.opened is not None:
        for day in each(opened, last):
            if case.closed is None or case.closed.observed_us >= days.end(day):
                here = case.counts[day, case.opened.district]
                here["open_at_end"] += 1
                here["overdue"] += opened < day and day not in case.visited
    rows = [(day, district, +counted) for (day, district), counted in sorted(case.counts.items()) if +counted]

    def column(name: str) -> list[int]:
        return [counted[name] for _, _, counted in rows]

    return FollowupCase(
        case_id=case_id,
        version=min(sum(fact.version for fact in ordered), MAX_VERSION),
        open=int(case.open),
        closed_on=NEVER if case.open else last,
        district=case.opened.district if case.opened else "",
        since=last + ONE_DAY,
        opened_on=opened,
        batch_id=case.opened.batch_id if case.opened else "",
        first_visit=case.first_visit_us // 1_000_000,
        closed_as=case.closed.closed if case.closed else "",
        days=[day for day, _, _ in rows],
        districts=[district for _, district, _ in rows],
        opened=column("opened"),
        visits=column("visits"),
        reached=column("reached"),
        closed=column("closed"),
        overdue=column("overdue"),
        open_at_end=column("open_at_end"),
        anomalies=column("anomalies"),
    )


def outlook(facts: list[FollowupFact], days: Days, now_us: int) -> Outlook:
    """What staff must have been told of a case by now: symptoms at once, and each day that passed without a visit.

    Nothing is asked for after closing.
    """
    case = course(facts, days)
    if case.opened is None or case.closed is not None:
        return Outlook(once(case.ill), None, (case.closed or in_order(facts)[-1]).observed_us)
    found = once(case.ill)
    for day in each(days.of(case.opened.observed_us) + ONE_DAY, days.of(now_us)):
        if days.end(day) + GRACE_US <= now_us and day not in case.visited:
            found.append(Alarm("visit_overdue", day, None, case.opened.district, days.end(day)))
    return Outlook(found, days.end(days.of(now_us - GRACE_US)) + GRACE_US, None)
