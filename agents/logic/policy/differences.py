"""What changes for people when one policy follows another, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.rules import OUTCOMES, RULES
from ninezero.schemas.policies import HOME_OF_SITE

_DONE = {
    "refer": "referred",
    "quarantine": "sent to quarantine",
    "turn_back": "turned back",
    "hold": "held",
    "clear": "cleared",
}
"""What happens to people with each outcome."""

ORIGINS_SHOWN = 12
"""Exempt origins that a sentence names. More are counted."""


def differences(old: Policy, new: Policy) -> list[str]:
    """Returns how the decisions of one policy differ from those of another, one sentence each; empty if they do not differ."""
    return [*_thresholds(old, new), *_outcomes(old, new), *_origins(old, new)]


def _thresholds(old: Policy, new: Policy) -> Iterator[str]:
    if new.fever_c != old.fever_c:
        change = "more" if new.fever_c < old.fever_c else "fewer"
        yield (
            f"fever from {_celsius(old.fever_c)} to {_celsius(new.fever_c)}:"
            f" {change} people are {_fate(new, 'fever')}, or {_fate(new, 'fever_unconfirmed')} until the second reading"
        )
    faults = f"and the people are {_fate(new, 'temperature_implausible')}"
    if new.plausible_min_c != old.plausible_min_c:
        change = "more" if new.plausible_min_c > old.plausible_min_c else "fewer"
        yield (
            f"lowest plausible reading from {_celsius(old.plausible_min_c)} to {_celsius(new.plausible_min_c)}:"
            f" {change} low readings count as faults, {faults}"
        )
    if new.plausible_max_c != old.plausible_max_c:
        change = "more" if new.plausible_max_c < old.plausible_max_c else "fewer"
        yield (
            f"highest plausible reading from {_celsius(old.plausible_max_c)} to {_celsius(new.plausible_max_c)}:"
            f" {change} high readings count as faults, {faults}"
        )
    if new.max_list_age_s != old.max_list_age_s:
        change = "sooner" if new.max_list_age_s < old.max_list_age_s else "later"
        yield (
            f"lists are too old after {new.max_list_age_s:g} s instead of {old.max_list_age_s:g} s without a heartbeat:"
            f" in an outage everyone is {_fate(new, 'list_stale')} {change}"
        )


def _outcomes(old: Policy, new: Policy) -> Iterator[str]:
    for name, rule in RULES.items():
        before, after = old.outcome(rule), new.outcome(rule)
        if before == after:
            continue
        if after == "clear":
            meaning = "the rule does not apply any more"
        elif before == "clear":
            meaning = f"the rule applies, and more people are {_DONE[after]}"
        else:
            severity = "less" if OUTCOMES.index(after) > OUTCOMES.index(before) else "more"
            meaning = f"{severity} severe; people are {_DONE[after]} instead of {_DONE[before]}"
        yield f"{name} from {before} to {after}: {meaning}"


def _origins(old: Policy, new: Policy) -> Iterator[str]:
    if new.home != old.home:
        yield f"home from {_home(old)} to {_home(new)}: other people count as coming from elsewhere and need a pass"
    before, after = _effective(old.exempt_origins), _effective(new.exempt_origins)
    if added := after - before:
        yield f"exempt origins with {_named(added)}: people from there need no pass"
    if removed := before - after:
        yield f"exempt origins without {_named(removed)}: people from there need a pass, unless another entry covers them"


def _fate(policy: Policy, rule: str) -> str:
    return _DONE[policy.outcome(RULES[rule])]


def _celsius(degrees: float) -> str:
    return f"{degrees:.1f} °C" if round(degrees, 1) == degrees else f"{degrees:g} °C"


def _home(policy: Policy) -> str:
    return "the division of each site" if policy.home == HOME_OF_SITE else policy.home


def _effective(origins: Iterable[str]) -> set[str]:
    """Returns the exempt origins without those that a shorter one covers."""
    given = set(origins)
    return {
        one for one in given if not (one[:2] != one and one[:2] in given) and not (one[:4] != one and one[:4] in given)
    }


def _named(origins: set[str]) -> str:
    shown = sorted(origins)[:ORIGINS_SHOWN]
    more = f" and {len(origins) - len(shown)} more" if len(origins) > len(shown) else ""
    return f"{', '.join(shown)}{more}"
