"""Quarantine and follow-up events of a scenario: admissions, readings, releases, and visits at home."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, NamedTuple

from ninezero.agents.demo.records import Day, split
from ninezero.agents.demo.scenario_file import QUARANTINE_DAYS, Spec
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.records import OutgoingRecord

FOLLOWED_DAYS = 5
"""Days on which a person who came home is visited, and the term of the follow-up."""
VISIT_MISSED = 0.004
"""Fraction of the visits that do not take place."""
READING_MISSED = 0.004
"""Fraction of the readings in quarantine that nobody takes."""


EXTENDED_ON = 10
"""The day of a stay on which some terms are extended."""
EXTENDED_DAYS = 17
"""The new term of those, in days."""


class _Stay(NamedTuple):
    """The stay of one case in quarantine.

    `first` is the number of its first day. It lasts for `term` days, and the case leaves on the day `leaves`, counted from the first.
    """

    case: str
    site: str
    first: int
    term: int = QUARANTINE_DAYS
    leaves: int = QUARANTINE_DAYS


class _Visit(NamedTuple):
    """One follow-up event that is due on a day. `batch_id` is the pushed batch that caused it, if any."""

    case: str
    type: str
    batch_id: str | None


class CaseEvents:
    """Generates the case events of each day.

    Args:
        spec: the scenario.
        rng: the generator that the whole scenario draws from.
        report: makes a record from (topic, key, device, time, fields).
    """

    def __init__(self, spec: Spec, rng: random.Random, report: Callable[..., OutgoingRecord]) -> None:
        self._spec, self._random, self._report = spec, rng, report
        p, last = spec.published, spec.days - 1
        released = [rng.randrange(spec.days - QUARANTINE_DAYS) for _ in range(p.quarantine_released)]
        remaining = [last - rng.randrange(QUARANTINE_DAYS) for _ in range(p.quarantine_remaining)]
        sites = spec.quarantine_sites()
        stays = [_Stay(self._new_case(), rng.choice(sites), first) for first in (*released, *remaining)]
        self._stays = _with_other_terms(stays, last)
        self._followed = split(p.followed_up, [1.0] * (spec.days - 1) + [0.0])
        self._visits: dict[int, list[_Visit]] = {}

    def add_to(self, day: Day, n: int) -> None:
        """Appends the events of the n-th day to its reports."""
        for stay in self._stays:
            if stay.first <= n <= stay.first + stay.leaves:
                day.reports += self._quarantine_events(day.day, n - stay.first, stay)
                day.release_due += n == stay.first + stay.term
                day.term_exceeded += n > stay.first + stay.term
                day.overnight += stay.first + stay.term < n < stay.first + stay.leaves
        day.release_due += sum(self._followed[n - FOLLOWED_DAYS : n - FOLLOWED_DAYS + 1]) if n >= FOLLOWED_DAYS else 0
        for number in range(self._followed[n]):
            case = self._new_case()
            batch_id = day.batch_ids[number % len(day.batch_ids)] if day.batch_ids and number % 2 else None
            self._plan(n, _Visit(case, "opened", batch_id))
            for after in range(FOLLOWED_DAYS):
                if self._random.random() >= VISIT_MISSED:
                    self._plan(n + after, _Visit(case, "visit", None))
            self._plan(n + FOLLOWED_DAYS, _Visit(case, "closed", None))
        for visit in self._visits.pop(n, ()):
            day.reports.append(self._followup_event(day.day, visit))

    def _new_case(self) -> str:
        return f"c.{self._random.getrandbits(128):032x}"

    def _plan(self, n: int, visit: _Visit) -> None:
        if n < self._spec.days:
            self._visits.setdefault(n, []).append(visit)

    def _quarantine_events(self, day: date, n: int, stay: _Stay) -> Iterator[OutgoingRecord]:
        """Yields the events of the n-th day of a stay, counted from 0."""
        rng = self._random
        blank = dict.fromkeys(("slot", "temperature_c", "symptoms", "to_site_id", "term_days", "reason"))

        def event(hour: int, type_: str, **fields: Any) -> OutgoingRecord:
            given = {**blank, "case_id": stay.case, "site_id": stay.site, "type": type_, **fields}
            return self._report(topics.QUARANTINE, stay.case, f"{stay.site}-a", self._time(day, hour), **given)

        if n == 0:
            yield event(7, "admitted", term_days=QUARANTINE_DAYS)
        if n == EXTENDED_ON and stay.term > QUARANTINE_DAYS:
            yield event(11, "extended", term_days=stay.term)
        if n == stay.leaves:
            yield event(9, "released", reason="completed")
            return
        for slot, hour in (("am", 8), ("pm", 15)):
            if rng.random() >= READING_MISSED:
                fever = rng.random() < 0.002
                temperature = 37.4 if fever else 36 + rng.randrange(11) / 10
                yield event(hour, "reading", slot=slot, temperature_c=temperature, symptoms=fever)

    def _followup_event(self, day: date, visit: _Visit) -> OutgoingRecord:
        rng = self._random
        hour = {"opened": 8, "visit": 10 + rng.randrange(8), "closed": 19}[visit.type]
        time = self._time(day, hour)
        result = rng.choices(("seen_well", "seen_symptomatic", "not_reached", "refused"), (960, 4, 30, 6))[0]
        source = "push" if visit.batch_id else "declared"
        fields = {
            "case_id": visit.case,
            "district": self._spec.district,
            "type": visit.type,
            "batch_id": visit.batch_id,
            "source": source if visit.type == "opened" else None,
            "visit": result if visit.type == "visit" else None,
            "closed": "completed" if visit.type == "closed" else None,
            "term_days": FOLLOWED_DAYS if visit.type == "opened" else None,
        }
        device = f"{self._spec.district}-team-{rng.randrange(20)}"
        return self._report(topics.FOLLOWUPS, visit.case, device, time, **fields)

    def _time(self, day: date, hour: int) -> str:
        rng = self._random
        return f"{day.isoformat()}T{hour:02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}{self._spec.utc_offset}"


def _with_other_terms(stays: list[_Stay], last: int) -> list[_Stay]:
    """Returns stays of which some are extended and some leave two days late, of those that end at least three days before the day `last`."""
    early = [n for n, stay in enumerate(stays) if stay.first + EXTENDED_DAYS <= last]
    changed = dict(enumerate(stays))
    for n in early[::10]:
        changed[n] = stays[n]._replace(term=EXTENDED_DAYS, leaves=EXTENDED_DAYS)
    for n in early[1::10]:
        changed[n] = stays[n]._replace(leaves=QUARANTINE_DAYS + 2)
    return list(changed.values())
