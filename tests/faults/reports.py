"""Seeded events of staff: dispositions, quarantine and follow-up. The events of a case are in the order of their time."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

BEGIN = timedelta(hours=20)
"""Time before the start of the load at which the first cases begin."""


@dataclass
class Case:
    """An open case: its place, and the time of its last event."""

    id: str
    place: str
    at: datetime


class Cases:
    """Makes the next event of a random case, or the first event of a new one."""

    def __init__(self, rng: random.Random, start: datetime) -> None:
        self._rng, self._start = rng, start
        self._in_quarantine: list[Case] = []
        self._at_home: list[Case] = []

    def quarantine(self) -> dict[str, Any]:
        rng = self._rng
        empty = dict.fromkeys(("slot", "temperature_c", "symptoms", "to_site_id", "term_days", "reason"))
        case, new = self._next(self._in_quarantine, "q")
        event = {"case_id": case.id, "site_id": case.place, "observed_at": case.at.isoformat(), **empty}
        if new:
            return event | {"type": "admitted", "term_days": 14}
        kind = rng.choices(("reading", "transferred", "extended", "released"), (75, 8, 5, 12))[0]
        if kind == "reading":
            return event | {"type": kind, "temperature_c": rng.choice((None, 36.4, 37.2, 37.3)), "slot": rng.choice((None, "am", "pm")),
                            "symptoms": rng.choice((None, False, False, True))}  # fmt: skip
        if kind == "transferred":
            case.place = f"q{rng.randrange(5)}"
            return event | {"type": kind, "to_site_id": case.place}
        if kind == "extended":
            return event | {"type": kind, "term_days": 7}
        self._in_quarantine.remove(case)
        return event | {"type": kind, "reason": "completed"}

    def followup(self) -> dict[str, Any]:
        rng = self._rng
        empty = dict.fromkeys(("source", "batch_id", "visit", "closed"))
        case, new = self._next(self._at_home, "d")
        event = {"case_id": case.id, "district": case.place, "observed_at": case.at.isoformat(), **empty}
        if new:
            return event | {"type": "opened", "source": "declared"}
        if rng.random() < 0.8:
            seen = rng.choice(("seen_well", "seen_well", "seen_symptomatic", "not_reached", "refused"))
            return event | {"type": "visit", "visit": seen}
        self._at_home.remove(case)
        return event | {"type": "closed", "closed": rng.choice(("completed", "lost"))}

    def _next(self, open_cases: list[Case], places: str) -> tuple[Case, bool]:
        """Returns an open case at a later time, or a new one. A case whose next event would be in the future gets no more events."""
        rng = self._rng
        if open_cases and rng.random() > 0.12:
            case = rng.choice(open_cases)
            case.at += timedelta(seconds=rng.randrange(60, 10_000))
            if case.at < self._start:
                return case, False
            open_cases.remove(case)
        at = self._start - BEGIN + timedelta(seconds=rng.randrange(10_000))
        case = Case(f"c.{rng.getrandbits(128):032x}", f"{places}{rng.randrange(5)}", at)
        open_cases.append(case)
        return case, True


def disposition(rng: random.Random, of: tuple[str, int]) -> dict[str, Any]:
    """Returns the fields of a disposition of a scan."""
    return {
        "of": {"device_id": of[0], "seq": of[1]},
        "action": rng.choice(("released", "turned_back", "referred", "sent_to_quarantine")),
        "override": rng.choice((None, None, "remeasured", "document_shown")),
    }
