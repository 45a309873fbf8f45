"""The decision table (§3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .lists import Entry, Lists
from .policies import DEFAULT, Policy, place
from .terms import FIVE, SEVERITY, Ambiguous, at


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


def _temperature_rules(first: float | None, confirmed: float | None, is_scan: bool, policy: Policy) -> Iterable[str]:
    if is_scan and first is None and confirmed is None:
        yield "no_temperature"
    if any(value is not None and not policy.plausible(value) for value in (first, confirmed)):
        yield "temperature_implausible"
    first, confirmed = (value if policy.plausible(value) else None for value in (first, confirmed))  # R4
    if confirmed is not None:
        if confirmed >= policy.fever_c:
            yield "fever"
    elif first is not None and first >= policy.fever_c:
        yield "fever_unconfirmed"


def _person(index: int, person: Mapping[str, Any], event: _Event, lists: Lists) -> list[Reason]:
    tokens: dict[str, str] = person["tokens"]
    valid = event.valid(lists)
    plain: list[str] = []
    listed: list[tuple[str, Any]] = []
    if "id" not in tokens and "passport" not in tokens:
        plain.append("no_identity")
    if any(lists.lacks_key(text, event.decided_at) for text in tokens.values()):
        plain.append("unknown_key")
    for category in FIVE:
        found = _listed((e for e in valid if e.category == category), tokens, ("id", "passport"))
        if found:
            listed.append((category, found))
    weak = _listed((e for e in valid if e.category in FIVE), tokens, ("phone",))
    if weak and not listed:
        listed.append(("weak_match", weak))
    code = person.get("health_code", "none")
    if code in ("red", "yellow"):
        plain.append(f"health_code_{code}")
    if event.list_age_s > event.policy.max_list_age_s:
        plain.append("list_stale")
    confirmed = person.get("temperature_confirmed_c")
    plain.extend(_temperature_rules(person["temperature_c"], confirmed, event.is_scan, event.policy))
    has_pass = _listed((e for e in valid if e.category == "health_pass"), tokens, ("pass", "id"))
    from_outside = place(person.get("origin"), event.home, event.policy.exempt)
    if event.direction == "in" and not has_pass and from_outside is not None:
        plain.append(from_outside)
    return [event.reason(index, rule, found) for rule, found in listed] + [event.reason(index, rule) for rule in plain]


@dataclass(frozen=True)
class _Event:
    is_scan: bool
    direction: str
    observed_at: int
    decided_at: int
    policy: Policy
    home: str
    list_age_s: float

    def reason(self, person: int | None, rule: str, entries: Any = ()) -> Reason:
        return Reason(person, rule, self.policy.outcome(rule), entries)

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


def decide(
    event: Mapping[str, Any],
    lists: Lists,
    decided_at: int,
    policy: Policy = DEFAULT,
    home: str | None = None,
    list_age_s: float = 0.0,
) -> tuple[Reason, ...]:
    """Returns every reason for one scan or arrival, sorted by person (null last) and rule.

    Args:
        event: the scan or arrival.
        lists: the lists as they stand when it is decided.
        decided_at: the worker's clock.
        policy: the policy in force.
        home: the home of the event; by default that of the policy.
        list_age_s: the age of the last heartbeat of the watchlist.
    """
    is_scan = "people" in event
    direction = event.get("direction", "in") if is_scan else "in"
    frame = _Event(is_scan, direction, at(event["observed_at"]), decided_at, policy, home or policy.home, list_age_s)
    people = event["people"] if is_scan else [event["person"]]
    reasons = [r for index, person in enumerate(people) for r in _person(index, person, frame, lists)]
    plate = event.get("plate") if is_scan else None
    if plate is not None:
        if lists.lacks_key(plate, decided_at):
            reasons.append(frame.reason(None, "unknown_key"))
        found = _listed((e for e in frame.valid(lists) if e.category in FIVE), {"plate": plate}, ("plate",))
        if found:
            reasons.append(frame.reason(None, "weak_match", found))
    applied = (r for r in reasons if r.outcome != "clear")  # such a rule does not apply
    return tuple(sorted(applied, key=lambda r: (r.person is None, r.person or 0, r.rule)))


def outcome_of(reasons: Iterable[Reason]) -> str:
    """Returns the most severe outcome."""
    return max((r.outcome for r in reasons), key=SEVERITY.index, default="clear")
