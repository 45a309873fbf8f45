"""The rules of policy table version 1: what to advise about each person in a passage, and why.

Every rule that applies to a person or a plate is a rule hit. The outcome of the event is the most severe outcome of its hits, or
`clear` without any. This module is the reference; `fast_path.py` finds most of the clear events faster and must agree with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import UNSET, Struct

from ninezero.agents.logic.policy.thresholds import FEVER_C, PLAUSIBLE_MAX_C, PLAUSIBLE_MIN_C
from ninezero.agents.logic.watchlist.entries import Entry
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import Arrival, Category, Matched, Person, Scan
from ninezero.schemas.joined_lines import DOMAINS

TABLE_VERSION = 1
"""Version of the policy table, as alerts and decisions state it."""

OUTCOMES = ("refer", "quarantine", "turn_back", "hold", "clear")
"""Every outcome, most severe first."""

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
_EXEMPTION: Category = "health_pass"
"""Entries of this category are no match: they exempt a person from the rules of origin."""
_HEALTH_CODE_RULES = {"red": "health_code_red", "yellow": "health_code_yellow"}


class Match(Struct, frozen=True, gc=False):
    """A watchlist entry that matches a token, and the first domain in which it does."""

    domain: Matched
    entry: Entry


class RuleHit(Struct, frozen=True, gc=False):
    """One rule that applies to one person or to the plate."""

    person: int | None
    """Index of the person; None for the plate."""
    rule: str
    matches: Sequence[Match] = ()
    """Entries that made the rule apply, sorted by (authority, list, entry id). Empty for a rule that reads no list."""


class Decision(Struct, frozen=True, gc=False):
    """The outcome of one event and every rule hit that led to it, sorted by person (plate last) and rule."""

    outcome: str
    hits: list[RuleHit]

    @property
    def people(self) -> list[int]:
        """Indices of the people with a rule hit, ascending."""
        return sorted({hit.person for hit in self.hits if hit.person is not None})


CLEAR = Decision("clear", [])


def decide_scan(scan: Scan, observed_us: int, index: WatchlistIndex, home: str, stale: bool) -> Decision:
    """Decides one passage at a checkpoint.

    Args:
        scan: the decoded passage.
        observed_us: its `observed_at`, Unix time in µs. Entries match within their window.
        index: the watchlist.
        home: six-digit division code of the deployment's district.
        stale: whether the last heartbeat of the watchlist is too old.
    """
    hits: list[RuleHit] = []
    inbound = scan.direction == "in"
    for number, person in enumerate(scan.people):
        _check_person(hits, number, person, observed_us, index, home, inbound, stale)
        if person.temperature_c is None and person.temperature_confirmed_c is None:
            hits.append(RuleHit(number, "no_temperature"))
    if scan.plate is not None:
        _check_plate(hits, scan.plate, observed_us, index)
    return _decision(hits)


def decide_arrival(arrival: Arrival, observed_us: int, index: WatchlistIndex, home: str, stale: bool) -> Decision:
    """Decides one arrival at any stage. Arguments as `decide_scan`.

    An arrival is always inbound, has no plate and needs no temperature.
    """
    hits: list[RuleHit] = []
    _check_person(hits, 0, arrival.person, observed_us, index, home, True, stale)
    return _decision(hits)


def alert_id(device_id: str, seq: int, hits: Iterable[RuleHit]) -> str:
    """Returns the id of an alert. It depends on the event and its (person, rule) pairs only, so a resend gets the same id."""
    text = "\n".join([device_id, str(seq), *(f"{hit.person} {hit.rule}" for hit in hits)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _check_person(
    hits: list[RuleHit],
    number: int,
    person: Person,
    observed_us: int,
    index: WatchlistIndex,
    home: str,
    inbound: bool,
    stale: bool,
) -> None:
    tokens = person.tokens
    known_keys = index.common_keys
    if tokens.id is UNSET and tokens.passport is UNSET:
        hits.append(RuleHit(number, "no_identity"))
    if known_keys is not None:
        for token in (tokens.id, tokens.passport, tokens.phone, tokens.pass_):
            if token is not UNSET and token[: token.index(".")] not in known_keys:
                hits.append(RuleHit(number, "unknown_key"))
                break
    if stale:
        hits.append(RuleHit(number, "list_stale"))
    _check_lists(hits, number, tokens, observed_us, index)
    if person.health_code in _HEALTH_CODE_RULES:
        hits.append(RuleHit(number, _HEALTH_CODE_RULES[person.health_code]))
    _check_temperature(hits, number, person)
    if inbound and person.origin is not None and person.origin not in ("CN", home):
        rule = "outside_district_without_pass" if person.origin[:2] == home[:2] else "outside_province_without_pass"
        if not _has_pass(tokens, observed_us, index):
            hits.append(RuleHit(number, rule))


def _check_lists(hits: list[RuleHit], number: int, tokens: Any, observed_us: int, index: WatchlistIndex) -> None:
    by_id = index.find_valid("id", tokens.id, observed_us) if tokens.id is not UNSET else ()
    by_passport = index.find_valid("passport", tokens.passport, observed_us) if tokens.passport is not UNSET else ()
    # Nearly all people are on no list, so the matches are built only after a look-up has found an entry.
    if (by_id or by_passport) and (strong := _matches(("id", by_id), ("passport", by_passport))):
        for category in sorted({match.entry.category for match in strong}):
            hits.append(RuleHit(number, category, _sorted(m for m in strong if m.entry.category == category)))
    elif (
        tokens.phone is not UNSET
        and (by_phone := index.find_valid("phone", tokens.phone, observed_us))
        and (weak := _matches(("phone", by_phone)))
    ):
        hits.append(RuleHit(number, "weak_match", _sorted(weak)))


def _check_plate(hits: list[RuleHit], plate: str, observed_us: int, index: WatchlistIndex) -> None:
    if index.common_keys is not None and plate[: plate.index(".")] not in index.common_keys:
        hits.append(RuleHit(None, "unknown_key"))
    if (by_plate := index.find_valid("plate", plate, observed_us)) and (weak := _matches(("plate", by_plate))):
        hits.append(RuleHit(None, "weak_match", _sorted(weak)))


def _check_temperature(hits: list[RuleHit], number: int, person: Person) -> None:
    first, confirmed = person.temperature_c, person.temperature_confirmed_c
    implausible = False
    if first is not None and not PLAUSIBLE_MIN_C <= first <= PLAUSIBLE_MAX_C:
        first, implausible = None, True
    if confirmed is not None and not PLAUSIBLE_MIN_C <= confirmed <= PLAUSIBLE_MAX_C:
        confirmed, implausible = None, True
    if implausible:
        hits.append(RuleHit(number, "temperature_implausible"))
    if confirmed is not None:
        if confirmed >= FEVER_C:
            hits.append(RuleHit(number, "fever"))
    elif first is not None and first >= FEVER_C:
        hits.append(RuleHit(number, "fever_unconfirmed"))


def _has_pass(tokens: Any, observed_us: int, index: WatchlistIndex) -> bool:
    return any(
        token is not UNSET
        and any(entry.category == _EXEMPTION for entry in index.find_valid(domain, token, observed_us))
        for domain, token in (("pass", tokens.pass_), ("id", tokens.id))
    )


def _matches(*found: tuple[Matched, Sequence[Entry]]) -> list[Match]:
    """Returns each entry once, with the first domain in which it was found. Health passes are no matches."""
    matches: dict[tuple[str, str, str], Match] = {}
    for domain, entries in found:
        for entry in entries:
            if entry.category != _EXEMPTION:
                matches.setdefault((entry.authority, entry.list, entry.entry_id), Match(domain, entry))
    return list(matches.values())


def _sorted(matches: Iterable[Match]) -> list[Match]:
    return sorted(matches, key=lambda m: (m.entry.authority, m.entry.list, m.entry.entry_id, DOMAINS.index(m.domain)))


def _decision(hits: list[RuleHit]) -> Decision:
    if not hits:
        return CLEAR
    hits.sort(key=lambda hit: (hit.person is None, hit.person or 0, hit.rule))
    return Decision(OUTCOMES[min(_SEVERITY[hit.rule] for hit in hits)], hits)
