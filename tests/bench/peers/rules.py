"""The decision table as a team would write it for one event at a time. A test proves that it agrees with `policy/reference.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from ninezero.agents.logic.policy.decision import Decision, Match, RuleHit, sort_hits
from ninezero.agents.logic.watchlist.entries import Entry
from ninezero.schemas.events import Matched, Scan

FEVER_C, PLAUSIBLE_MIN_C, PLAUSIBLE_MAX_C = 37.3, 30.0, 45.0

OUTCOMES = ("refer", "quarantine", "turn_back", "hold", "clear")
"""Every outcome, most severe first."""

RULES = {
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
_CLEAR = Decision("clear", [])


def decide_scan(scan: Scan, observed_us: int, index: Any, home: str, stale: bool) -> Decision:
    """Decides one passage. Arguments as `reference.decide_scan`."""
    hits: list[RuleHit] = []
    inbound = scan.direction == "in"
    for number, person in enumerate(scan.people):
        _check_tokens(hits, number, person.tokens, observed_us, index)
        if stale:
            hits.append(RuleHit(number, "list_stale"))
        if person.health_code == "red":
            hits.append(RuleHit(number, "health_code_red"))
        elif person.health_code == "yellow":
            hits.append(RuleHit(number, "health_code_yellow"))
        _check_temperature(hits, number, person.temperature_c, person.temperature_confirmed_c)
        origin = person.origin
        if inbound and origin is not None and origin not in ("CN", home) and not _has_pass(person.tokens, observed_us, index):  # fmt: skip
            near = origin[:2] == home[:2]
            hits.append(RuleHit(number, "outside_district_without_pass" if near else "outside_province_without_pass"))
    if scan.plate is not None:
        if index.common_keys is not None and scan.plate.partition(".")[0] not in index.common_keys:
            hits.append(RuleHit(None, "unknown_key"))
        if found := _concerning(("plate", index.find_valid("plate", scan.plate, observed_us))):
            hits.append(RuleHit(None, "weak_match", found))
    if not hits:
        return _CLEAR
    return Decision(OUTCOMES[min(_SEVERITY[hit.rule] for hit in hits)], sort_hits(hits))


def _check_tokens(hits: list[RuleHit], number: int, tokens: Any, observed_us: int, index: Any) -> None:
    if tokens.id is UNSET and tokens.passport is UNSET:
        hits.append(RuleHit(number, "no_identity"))
    if index.common_keys is not None:
        for token in (tokens.id, tokens.passport, tokens.phone, tokens.pass_):
            if token is not UNSET and token.partition(".")[0] not in index.common_keys:
                hits.append(RuleHit(number, "unknown_key"))
                break
    by_id = index.find_valid("id", tokens.id, observed_us) if tokens.id is not UNSET else ()
    by_passport = index.find_valid("passport", tokens.passport, observed_us) if tokens.passport is not UNSET else ()
    # Most people are on no list, so matches are made only where a look-up has found an entry.
    if (by_id or by_passport) and (strong := _concerning(("id", by_id), ("passport", by_passport))):
        for category in {match.entry.category for match in strong}:
            hits.append(RuleHit(number, category, [match for match in strong if match.entry.category == category]))
    elif tokens.phone is not UNSET and (weak := _concerning(("phone", index.find_valid("phone", tokens.phone, observed_us)))):  # fmt: skip
        hits.append(RuleHit(number, "weak_match", weak))


def _check_temperature(hits: list[RuleHit], number: int, first: float | None, second: float | None) -> None:
    if first is None and second is None:
        hits.append(RuleHit(number, "no_temperature"))
        return
    implausible = False
    if first is not None and not PLAUSIBLE_MIN_C <= first <= PLAUSIBLE_MAX_C:
        first, implausible = None, True
    if second is not None and not PLAUSIBLE_MIN_C <= second <= PLAUSIBLE_MAX_C:
        second, implausible = None, True
    if implausible:
        hits.append(RuleHit(number, "temperature_implausible"))
    if second is not None:
        if second >= FEVER_C:
            hits.append(RuleHit(number, "fever"))
    elif first is not None and first >= FEVER_C:
        hits.append(RuleHit(number, "fever_unconfirmed"))


def _has_pass(tokens: Any, observed_us: int, index: Any) -> bool:
    return any(
        entry.category == "health_pass"
        for domain, token in (("pass", tokens.pass_), ("id", tokens.id))
        if token is not UNSET
        for entry in index.find_valid(domain, token, observed_us)
    )


def _concerning(*found: tuple[Matched, Sequence[Entry]]) -> list[Match]:
    """Returns each entry that is not a pass once, with the first domain in which it was found, sorted as in an alert."""
    matches: dict[tuple[str, str, str], Match] = {}
    for domain, entries in found:
        for entry in entries:
            if entry.category != "health_pass":
                matches.setdefault((entry.authority, entry.list, entry.entry_id), Match(domain, entry))
    return [matches[key] for key in sorted(matches)] if matches else []
