"""One case in quarantine: from its events, in any order, to what it adds to each site's day, and to what is missing.

Events order by (observed_at, device_id, seq) and the first `admitted` counts. A transfer is out at the site it names and
in at the other. `am` ends at the local noon, `pm` at midnight; a reading is due in each slot at whose end the case is
present ("two measurements, two reports" a day, China's guidance of 2020). What is observed of a case before it is admitted
or after it is released changes nothing and is an anomaly. A transfer or a release that names a site where the case is not
is taken at its word at that site: the balance fails there, and where the case was, and both show.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from ninezero.agents.logic.cases.cases import GRACE_US, MAX_VERSION, Alarm, Key, Outlook, in_order, once
from ninezero.agents.logic.days import ONE_DAY, Days, each
from ninezero.schemas.case_facts import QuarantineFact
from ninezero.schemas.rows import NEVER, QuarantineCase

SLOTS = ("am", "pm")


class Stay(NamedTuple):
    """A case is at a site after `from_us`, up to and with `to_us` (None: still)."""

    site_id: str
    from_us: int
    to_us: int | None


@dataclass
class Course:
    """What became of a case, as far as its events tell."""

    stays: list[Stay] = field(default_factory=list)
    readings: set[tuple[date, str]] = field(default_factory=set)
    ill: list[Alarm] = field(default_factory=list)
    counts: dict[Key, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    last_us: int = 0
    released_us: int | None = None

    @property
    def open(self) -> bool:
        """Whether the case is in quarantine now."""
        return bool(self.stays) and self.released_us is None

    def at(self, instant: int) -> str | None:
        """The site where the case is just before an instant, by the events strictly before it."""
        for stay in reversed(self.stays):
            if stay.from_us < instant:
                return stay.site_id if stay.to_us is None or instant <= stay.to_us else None
        return None


def course(facts: Iterable[QuarantineFact], days: Days) -> Course:
    """Follows a case through its events."""
    case = Course()
    for fact in in_order(facts):
        day = days.of(fact.observed_us)
        here = case.counts[day, fact.site_id]
        entering = fact.type == "admitted" and not case.stays
        nowhere = fact.type == "transferred" and not fact.to_site_id  # a case must not drop out of sight
        if not (entering or (case.open and fact.type != "admitted")) or nowhere:
            here["anomalies"] += 1
            continue
        case.last_us = fact.observed_us
        if entering:
            here["admitted"] += 1
            case.stays.append(Stay(fact.site_id, fact.observed_us, None))
        elif fact.type == "transferred":
            here["transferred_out"] += 1
            here["misplaced"] += case.stays[-1].site_id != fact.site_id
            case.counts[day, fact.to_site_id]["transferred_in"] += 1
            _leave(case, fact.observed_us)
            case.stays.append(Stay(fact.to_site_id, fact.observed_us, None))
        elif fact.type == "released":
            here["released"] += 1
            here["misplaced"] += case.stays[-1].site_id != fact.site_id
            _leave(case, fact.observed_us)
            case.released_us = fact.observed_us
            continue
        slot = fact.slot or days.slot(fact.observed_us)
        if fact.type == "reading":
            case.readings.add((day, slot))
        for rule, found in (("fever", fact.fever), ("symptoms", fact.symptoms)):
            if found:
                case.ill.append(Alarm(rule, day, slot, fact.site_id, fact.observed_us))
    return case


def summarise(case_id: str, facts: list[QuarantineFact], days: Days) -> QuarantineCase:
    """The row of a case: what it adds to each (day, site), and where it is since which day, if it is still open.

    The days after its last event are not in it: as things stand they are all alike. The version grows with every event
    that is new, and with every content that turns out to have come earlier.
    """
    case = course(facts, days)
    ordered = in_order(facts)
    last = days.of(case.last_us or ordered[-1].observed_us)
    if case.stays:
        for day in each(days.of(case.stays[0].from_us), last):
            for slot in SLOTS:
                site = case.at(days.slot_end(day, slot))
                if site is not None:
                    case.counts[day, site][f"due_{slot}"] += 1
                    case.counts[day, site][f"done_{slot}"] += (day, slot) in case.readings
                    case.counts[day, site]["present"] += slot == "pm"
    rows = [(day, site, +counted) for (day, site), counted in sorted(case.counts.items()) if +counted]

    def column(name: str) -> list[int]:
        return [counted[name] for _, _, counted in rows]

    return QuarantineCase(
        case_id=case_id,
        version=min(sum(fact.version for fact in ordered), MAX_VERSION),
        open=int(case.open),
        closed_on=NEVER if case.open else last,
        site_id=case.stays[-1].site_id if case.open else "",
        since=last + ONE_DAY,
        days=[day for day, _, _ in rows],
        sites=[site for _, site, _ in rows],
        admitted=column("admitted"),
        released=column("released"),
        transferred_in=column("transferred_in"),
        transferred_out=column("transferred_out"),
        present=column("present"),
        due_am=column("due_am"),
        due_pm=column("due_pm"),
        done_am=column("done_am"),
        done_pm=column("done_pm"),
        misplaced=column("misplaced"),
        anomalies=column("anomalies"),
    )


def outlook(facts: list[QuarantineFact], days: Days, now_us: int) -> Outlook:
    """What staff must have been told of a case by now. The same events give the same alarms.

    Fever and symptoms at once; a reading that is missing when its slot and the grace have passed, while the case is open:
    nothing is asked for after its release.
    """
    case = course(facts, days)
    if not case.open:
        closed = case.released_us if case.released_us is not None else max(fact.observed_us for fact in facts)
        return Outlook(once(case.ill), None, closed)
    found = once(case.ill)
    for day in each(days.of(case.stays[0].from_us), days.of(now_us)):
        for slot in SLOTS:
            end = days.slot_end(day, slot)
            site = case.at(end) if end + GRACE_US <= now_us and (day, slot) not in case.readings else None
            if site is not None:
                found.append(Alarm("reading_missed", day, slot, site, end))
    last = days.of(now_us - GRACE_US)
    soon = min(end for slot in SLOTS if (end := days.slot_end(last, slot) + GRACE_US) > now_us)
    return Outlook(found, soon, None)


def _leave(case: Course, at_us: int) -> None:
    case.stays[-1] = case.stays[-1]._replace(to_us=at_us)
