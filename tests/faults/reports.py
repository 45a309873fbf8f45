"""What staff report, seeded: dispositions, quarantine and follow-ups. A case's events come in the order of their time."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

BEGIN = timedelta(hours=20)
"""So long before the load's start the first cases began."""


@dataclass
class Case:
    """An open case: where it is, and when it was last heard of."""

    id: str
    place: str
    at: datetime


class Cases:
    """Makes the next event of some case: who is admitted is read, moved and released, who is followed up is visited."""

    def __init__(self, rng: random.Random, start: datetime) -> None:
        self._rng, self._start = rng, start
        self._staying: list[Case] = []
        self._at_home: list[Case] = []

    def quarantine(self) -> dict[str, Any]:
        rng = self._rng
        empty = dict.fromkeys(("slot", "temperature_c", "symptoms", "to_site_id", "term_days", "reason"))
        case, new = self._next(self._staying, "q")
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
        self._staying.remove(case)
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

    def _next(self, going: list[Case], places: str) -> tuple[Case, bool]:
        """An open case some time later, or a new one. Whose next event would lie in the future is left as it is."""
        rng = self._rng
        if going and rng.random() > 0.12:
            case = rng.choice(going)
            case.at += timedelta(seconds=rng.randrange(60, 10_000))
            if case.at < self._start:
                return case, False
            going.remove(case)
        at = self._start - BEGIN + timedelta(seconds=rng.randrange(10_000))
        case = Case(f"c.{rng.getrandbits(128):032x}", f"{places}{rng.randrange(5)}", at)
        going.append(case)
        return case, True


def disposition(rng: random.Random, of: tuple[str, int]) -> dict[str, Any]:
    """What staff did about a scan."""
    return {
        "of": {"device_id": of[0], "seq": of[1]},
        "action": rng.choice(("released", "turned_back", "referred", "sent_to_quarantine")),
        "override": rng.choice((None, None, "remeasured", "document_shown")),
    }
