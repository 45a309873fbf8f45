"""Decision table, version 1: what to advise about the people in front of a checkpoint, and why.

Every rule that applies to a person is a reason; the outcome is the most severe of all. The fever threshold of 37.3 °C is
that of China's COVID-19 control guidance of 2020 (re-measured before it counts as fever).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET

from ninezero.agents.logic.watchlist.index import KINDS, Entry, Watchlist
from ninezero.schemas.events import Arrival, Matched, Person, Scan

TABLE = 1

FEVER_C = 37.3
PLAUSIBLE_C = (30.0, 45.0)

OUTCOMES = ("refer", "quarantine", "turn_back", "hold", "clear")
"""Most severe first."""

RULES: dict[str, str] = {
    "no_identity": "hold",
    "unknown_key": "hold",
    "list_stale": "hold",
    "confirmed_case": "refer",
    "suspected_case": "refer",
    "quarantine_order": "refer",
    "close_contact": "quarantine",
    "risk_region_arrival": "quarantine",
    "weak_match": "hold",
    "health_code_red": "refer",
    "health_code_yellow": "quarantine",
    "no_temperature": "hold",
    "temperature_implausible": "hold",
    "fever": "refer",
    "fever_unconfirmed": "hold",
    "outside_province_without_pass": "quarantine",
    "outside_district_without_pass": "turn_back",
}
"""Every rule and its outcome."""

_SEVERITY = {rule: OUTCOMES.index(outcome) for rule, outcome in RULES.items()}
_PASSES = "health_pass"
_CODES = {"red": "health_code_red", "yellow": "health_code_yellow"}


@dataclass(slots=True)
class Why:
    """One reason: person's index (None: the plate), rule, and the entries with the domain that matched."""

    person: int | None
    rule: str
    entries: list[tuple[Matched, Entry]] = field(default_factory=list)


@dataclass(slots=True)
class Verdict:
    """Outcome and reasons, sorted by person (plate last) and rule. `clear` has none."""

    outcome: str
    reasons: list[Why]

    @property
    def people(self) -> list[int]:
        """Indices of the people with a reason."""
        return sorted({why.person for why in self.reasons if why.person is not None})


CLEAR = Verdict("clear", [])


def decide_scan(scan: Scan, at_us: int, watchlist: Watchlist, home: str, stale: bool) -> Verdict:
    """Decides a passage observed at `at_us` (µs); `stale`: the last heartbeat of the list is too old."""
    reasons: list[Why] = []
    inbound = scan.direction == "in"
    for index, person in enumerate(scan.people):
        _judge(reasons, index, person, at_us, watchlist, home, inbound, stale)
        if person.temperature_c is None and person.temperature_confirmed_c is None:
            reasons.append(Why(index, "no_temperature"))
    if scan.plate is not None:
        _judge_plate(reasons, scan.plate, at_us, watchlist)
    return _verdict(reasons)


def decide_arrival(arrival: Arrival, at_us: int, watchlist: Watchlist, home: str, stale: bool) -> Verdict:
    """Decides an arrival at any stage: the table without plate and `no_temperature`, always inbound."""
    reasons: list[Why] = []
    _judge(reasons, 0, arrival.person, at_us, watchlist, home, True, stale)
    return _verdict(reasons)


def alert_id(device_id: str, seq: int, reasons: Iterable[Why]) -> str:
    """Depends on the event and the (person, rule) pairs only, so that a resend gives the same."""
    text = "\n".join([device_id, str(seq), *(f"{why.person} {why.rule}" for why in reasons)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _judge(
    reasons: list[Why],
    index: int,
    person: Person,
    at_us: int,
    watchlist: Watchlist,
    home: str,
    inbound: bool,
    stale: bool,
) -> None:
    tokens = person.tokens
    known = watchlist.common_keys
    if tokens.id is UNSET and tokens.passport is UNSET:
        reasons.append(Why(index, "no_identity"))
    if known is not None:
        for token in (tokens.id, tokens.passport, tokens.phone, tokens.pass_):
            if token is not UNSET and token[: token.index(".")] not in known:
                reasons.append(Why(index, "unknown_key"))
                break
    if stale:
        reasons.append(Why(index, "list_stale"))
    _judge_lists(reasons, index, tokens, at_us, watchlist)
    if person.health_code in _CODES:
        reasons.append(Why(index, _CODES[person.health_code]))
    _judge_temperature(reasons, index, person)
    if inbound and person.origin is not None and person.origin not in ("CN", home):
        rule = "outside_district_without_pass" if person.origin[:2] == home[:2] else "outside_province_without_pass"
        if not _has_pass(tokens, at_us, watchlist):
            reasons.append(Why(index, rule))


def _judge_lists(reasons: list[Why], index: int, tokens: Any, at_us: int, watchlist: Watchlist) -> None:
    by_id = watchlist.valid("id", tokens.id, at_us) if tokens.id is not UNSET else ()
    by_passport = watchlist.valid("passport", tokens.passport, at_us) if tokens.passport is not UNSET else ()
    # Nearly everyone is on no list: what follows is for the few.
    if (by_id or by_passport) and (strong := _matches(("id", by_id), ("passport", by_passport))):
        for category in sorted({entry.category for _, entry in strong}):
            reasons.append(Why(index, category, _sorted(m for m in strong if m[1].category == category)))
    elif (
        tokens.phone is not UNSET
        and (by_phone := watchlist.valid("phone", tokens.phone, at_us))
        and (weak := _matches(("phone", by_phone)))
    ):
        reasons.append(Why(index, "weak_match", _sorted(weak)))


def _judge_plate(reasons: list[Why], plate: str, at_us: int, watchlist: Watchlist) -> None:
    if watchlist.common_keys is not None and plate[: plate.index(".")] not in watchlist.common_keys:
        reasons.append(Why(None, "unknown_key"))
    if (by_plate := watchlist.valid("plate", plate, at_us)) and (weak := _matches(("plate", by_plate))):
        reasons.append(Why(None, "weak_match", _sorted(weak)))


def _judge_temperature(reasons: list[Why], index: int, person: Person) -> None:
    first, confirmed = person.temperature_c, person.temperature_confirmed_c
    low, high = PLAUSIBLE_C
    if first is not None and not low <= first <= high:
        first = None
        reasons.append(Why(index, "temperature_implausible"))
    if confirmed is not None and not low <= confirmed <= high:
        confirmed = None
        if not reasons or reasons[-1].rule != "temperature_implausible" or reasons[-1].person != index:
            reasons.append(Why(index, "temperature_implausible"))
    if confirmed is not None:
        if confirmed >= FEVER_C:
            reasons.append(Why(index, "fever"))
    elif first is not None and first >= FEVER_C:
        reasons.append(Why(index, "fever_unconfirmed"))


def _has_pass(tokens: Any, at_us: int, watchlist: Watchlist) -> bool:
    return any(
        token is not UNSET and any(entry.category == _PASSES for entry in watchlist.valid(kind, token, at_us))
        for kind, token in (("pass", tokens.pass_), ("id", tokens.id))
    )


def _matches(*valid: tuple[Matched, Sequence[Entry]]) -> list[tuple[Matched, Entry]]:
    """Of valid entries by domain those that are no health passes, each once, with the first domain that matches."""
    found: dict[tuple[str, str, str], tuple[Matched, Entry]] = {}
    for kind, entries in valid:
        for entry in entries:
            if entry.category != _PASSES:
                found.setdefault((entry.authority, entry.list, entry.entry_id), (kind, entry))
    return list(found.values())


def _sorted(matches: Iterable[tuple[Matched, Entry]]) -> list[tuple[Matched, Entry]]:
    return sorted(matches, key=lambda m: (m[1].authority, m[1].list, m[1].entry_id, KINDS.index(m[0])))


def _verdict(reasons: list[Why]) -> Verdict:
    if not reasons:
        return CLEAR
    reasons.sort(key=lambda why: (why.person is None, why.person or 0, why.rule))
    return Verdict(OUTCOMES[min(_SEVERITY[why.rule] for why in reasons)], reasons)
