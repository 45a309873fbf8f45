"""The decision table, version 1 (§3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .lists import Entry, Lists
from .terms import FIVE, REFERRED, Ambiguous, at


@dataclass(frozen=True)
class Reason:
    person: int | None
    rule: str
    outcome: str
    entries: tuple[tuple[str, str, str, str, str, str, int], ...] = ()
    """(matched, category, authority, list, batch_id, entry_id, valid_to), sorted by (authority, list, entry_id)."""


def _listed(entries: Iterable[Entry], tokens: Mapping[str, str], kinds: tuple[str, ...]) -> tuple[Any, ...]:
    """The entries that have a token of one of these kinds, each with the first kind that matches."""
    found = []
    for entry in entries:
        matched = next((kind for kind in kinds if entry.has(kind, tokens.get(kind))), None)
        if matched is not None:
            found.append(
                (matched, entry.category, entry.authority, entry.list, entry.batch_id, entry.entry_id, entry.valid_to)
            )
    return tuple(sorted(found, key=lambda one: (one[2], one[3], one[5])))


def _temperature_rules(first: float | None, confirmed: float | None, is_scan: bool) -> Iterable[tuple[str, str]]:
    if is_scan and first is None and confirmed is None:
        yield "no_temperature", "hold"
    if any(value is not None and not 30.0 <= value <= 45.0 for value in (first, confirmed)):
        yield "temperature_implausible", "hold"
    first, confirmed = (v if v is not None and 30.0 <= v <= 45.0 else None for v in (first, confirmed))  # R4
    if confirmed is not None:
        if confirmed >= 37.3:
            yield "fever", "refer"
    elif first is not None and first >= 37.3:
        yield "fever_unconfirmed", "hold"


def _origin_rules(origin: str | None, home: str) -> Iterable[tuple[str, str]]:
    if origin is None or origin == "CN" or origin == home:
        return
    if origin[:2] == home[:2]:
        yield "outside_district_without_pass", "turn_back"
    else:
        yield "outside_province_without_pass", "quarantine"


def _person(index: int, person: Mapping[str, Any], event: _Event, lists: Lists, home: str) -> list[Reason]:
    tokens: dict[str, str] = person["tokens"]
    valid = event.valid(lists)
    plain: list[tuple[str, str]] = []
    reasons: list[Reason] = []
    if "id" not in tokens and "passport" not in tokens:
        plain.append(("no_identity", "hold"))
    if any(lists.lacks_key(text, event.decided_at) for text in tokens.values()):
        plain.append(("unknown_key", "hold"))
    for category in FIVE:
        found = _listed((e for e in valid if e.category == category), tokens, ("id", "passport"))
        if found:
            outcome = "refer" if category in REFERRED else "quarantine"
            reasons.append(Reason(index, category, outcome, found))
    weak = _listed((e for e in valid if e.category in FIVE), tokens, ("phone",))
    if weak and not reasons:
        reasons.append(Reason(index, "weak_match", "hold", weak))
    code = person.get("health_code", "none")
    if code in ("red", "yellow"):
        plain.append((f"health_code_{code}", "refer" if code == "red" else "quarantine"))
    confirmed = person.get("temperature_confirmed_c")
    plain.extend(_temperature_rules(person["temperature_c"], confirmed, event.is_scan))
    has_pass = _listed((e for e in valid if e.category == "health_pass"), tokens, ("pass", "id"))
    if event.direction == "in" and not has_pass:
        plain.extend(_origin_rules(person.get("origin"), home))
    return reasons + [Reason(index, rule, outcome) for rule, outcome in plain]


@dataclass(frozen=True)
class _Event:
    is_scan: bool
    direction: str
    observed_at: int
    decided_at: int

    def valid(self, lists: Lists) -> list[Entry]:
        expired = [entry for entries in lists.expired.values() for entry in entries]
        valid = [
            e
            for e in lists.all() + expired
            if (e.valid_from is None or e.valid_from <= self.observed_at) and self.observed_at < e.valid_to
        ]
        if any(e.valid_to <= self.decided_at for e in valid):
            raise Ambiguous("an entry that was valid when observed and has expired by the worker's clock")
        return valid


def decide(event: Mapping[str, Any], lists: Lists, decided_at: int, home: str = "370115") -> tuple[Reason, ...]:
    """Returns every reason for one scan or arrival, sorted by person (null last) and rule."""
    is_scan = "people" in event
    direction = event.get("direction", "in") if is_scan else "in"
    frame = _Event(is_scan, direction, at(event["observed_at"]), decided_at)
    people = event["people"] if is_scan else [event["person"]]
    reasons = [r for index, person in enumerate(people) for r in _person(index, person, frame, lists, home)]
    plate = event.get("plate") if is_scan else None
    if plate is not None:
        if lists.lacks_key(plate, decided_at):
            reasons.append(Reason(None, "unknown_key", "hold"))
        found = _listed((e for e in frame.valid(lists) if e.category in FIVE), {"plate": plate}, ("plate",))
        if found:
            reasons.append(Reason(None, "weak_match", "hold", found))
    return tuple(sorted(reasons, key=lambda r: (r.person is None, r.person or 0, r.rule)))
