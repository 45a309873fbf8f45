"""Policies and the time at which each one holds (§3)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .terms import CATEGORIES, MINUTE, SEVERITY, Ambiguous, Record, at

POLICIES, REGISTER = "policies", "register"
NOTICE = MINUTE

DEFAULTS: dict[str, tuple[str, str]] = {
    "no_identity": ("hold", "hold"),
    "unknown_key": ("hold", "hold"),
    "list_stale": ("hold", "hold"),
    "confirmed_case": ("refer", "quarantine"),
    "suspected_case": ("refer", "quarantine"),
    "quarantine_order": ("refer", "quarantine"),
    "close_contact": ("quarantine", "hold"),
    "risk_region_arrival": ("quarantine", "hold"),
    "weak_match": ("hold", "hold"),
    "health_code_red": ("refer", "hold"),
    "health_code_yellow": ("quarantine", "hold"),
    "no_temperature": ("hold", "hold"),
    "temperature_implausible": ("hold", "hold"),
    "fever": ("refer", "hold"),
    "fever_unconfirmed": ("hold", "hold"),
    "outside_province_without_pass": ("quarantine", "clear"),
    "outside_district_without_pass": ("turn_back", "clear"),
}
"""Default outcome and floor of each rule."""
assert set(CATEGORIES) - {"health_pass"} <= DEFAULTS.keys()


@dataclass(frozen=True)
class Policy:
    label: str = "default@1"
    author: str = ""
    fever_c: float = 37.3
    plausible_c: tuple[float, float] = (30.0, 45.0)
    max_list_age_s: float = 300.0
    outcomes: Mapping[str, str] = field(default_factory=dict)
    home: str = "370115"
    exempt: tuple[str, ...] = ()

    def outcome(self, rule: str) -> str:
        return self.outcomes.get(rule, DEFAULTS[rule][0])

    def plausible(self, value: float | None) -> bool:
        return value is not None and self.plausible_c[0] <= value <= self.plausible_c[1]


DEFAULT = Policy()


def read_policy(value: Mapping[str, Any]) -> Policy:
    """Returns the policy of a record that has every field."""
    return Policy(
        f"{value['policy']}@{value['version']}",
        value["author"],
        value["fever_c"],
        (value["plausible_c"][0], value["plausible_c"][1]),
        value["max_list_age_s"],
        value["outcomes"],
        value["home"],
        tuple(value["exempt_origins"]),
    )


def out_of_bounds(policy: Policy) -> bool:
    """Returns whether a threshold is out of range or an outcome is below its floor (R35)."""
    if not policy.outcomes.keys() <= DEFAULTS.keys() or not set(policy.outcomes.values()) <= set(SEVERITY):
        raise Ambiguous("a rule or outcome that only a newer release may know")
    if not re.fullmatch("site|[0-9]{6}", policy.home):
        raise Ambiguous("a home that is neither `site` nor a division code")
    if not all(re.fullmatch("([0-9]{2}){1,3}|[A-Z]{2}", origin) for origin in policy.exempt):
        raise Ambiguous("an exempt origin of another form")
    low, high = policy.plausible_c
    below = any(SEVERITY.index(out) < SEVERITY.index(DEFAULTS[rule][1]) for rule, out in policy.outcomes.items())
    ranges = 36.0 <= policy.fever_c <= 39.0 and 25 <= low <= 35 and 42 <= high <= 50
    return below or not ranges or not 30 <= policy.max_list_age_s <= 900


@dataclass(frozen=True)
class Use:
    """An interval in which a policy is used. One that does not end after its beginning is empty."""

    label: str
    status: str
    begins: int
    ends: int | None
    approved_by: str

    def holds(self, moment: int) -> bool:
        return self.begins <= moment and (self.ends is None or moment < self.ends)


@dataclass
class Policies:
    """The records of the topic in their order. What is refused changes nothing."""

    default: Policy = DEFAULT
    replay: bool = False
    policies: dict[str, Policy] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    """Offset of each refused record, and why."""
    sites: dict[str, str] = field(default_factory=dict)
    """Division of each site of the register."""
    _first: dict[str, dict[str, Any]] = field(default_factory=dict)

    def process(self, record: Record) -> str | None:
        """Processes the next record of `policies`. Returns why it is refused."""
        assert record.key is not None
        name, version, *use = record.key.decode().split("|")
        label = f"{name}@{version}"
        if record.value == b"":
            why: str | None = "deleted"
        elif use:
            why = self._use(label, json.loads(record.value), record.at)
        else:
            why = self._policy(label, json.loads(record.value))
        if why is not None:
            self.refused.append((record.offset, why))
        return why

    def register(self, record: Record) -> None:
        """Processes the next record of `register`."""
        if (record.key or b"").startswith(b"site|"):
            site = json.loads(record.value)
            self.sites[site["site_id"]] = site["division"]

    def _policy(self, label: str, value: dict[str, Any]) -> str | None:
        if label == self.default.label or self._first.setdefault(label, value) != value:
            return "policy_changed"
        policy = read_policy(value)
        if policy.label != label:
            raise Ambiguous("a policy at the key of another one")
        if out_of_bounds(policy):
            return "policy_out_of_bounds"
        self.policies[label] = policy
        return None

    def _use(self, label: str, value: dict[str, Any], written: int) -> str | None:
        if label == self.default.label:
            raise Ambiguous("a use of the built-in policy")
        if label not in self.policies:
            return "policy_unknown"
        if value["approved_by"] == self.policies[label].author:
            return "self_approved"
        ends = None if value["effective_to"] is None else at(value["effective_to"])
        new = Use(label, value["status"], at(value["effective_from"]), ends, value["approved_by"])
        old = next((use for use in reversed(self.uses) if use.label == label), None)
        if old is not None and (old.ends is None or old.ends > written):
            same = (old.status, old.begins) == (new.status, new.begins)
            return self._end(old, new, written) if same else self._replace(old, new, written)
        return self._begin(None, new, written)

    def _end(self, old: Use, new: Use, written: int) -> str | None:
        """Sets when an interval ends. What has passed does not change, nor what workers may have decided already (R36)."""
        ends = new.ends
        if not self.replay:
            horizon = written + NOTICE if old.status == "active" else written
            if old.ends is not None and old.ends < horizon and ends != old.ends:
                return "too_soon"
            if old.begins < horizon and ends is not None and ends < horizon and ends != old.ends:
                ends = horizon
        self.uses[self.uses.index(old)] = replace(old, ends=ends)
        return None

    def _replace(self, old: Use, new: Use, written: int) -> str | None:
        if old.begins <= written:
            return "interval_begun"
        if old.status == "active" and not self.replay and old.begins < written + NOTICE:
            return "too_soon"  # R36
        return self._begin(old, new, written)

    def _begin(self, old: Use | None, new: Use, written: int) -> str | None:
        if new.status == "active":
            if not self.replay and new.begins < written + NOTICE:
                return "too_soon"
            if any(use.status == "active" and use.begins == new.begins and use is not old for use in self.uses):
                return "same_start"
        if old is None:
            self.uses.append(new)
        else:
            self.uses[self.uses.index(old)] = new
        return None

    def moment_of(self, record: Record, event: Mapping[str, Any]) -> int:
        """Returns the time by which an event is judged."""
        return at(event["observed_at"]) if self.replay else record.at

    def active(self, moment: int) -> Policy:
        """Returns the policy that decides about an event of this time."""
        held = [use for use in self.uses if use.status == "active" and use.holds(moment)]
        return self.policies[max(held, key=lambda use: use.begins).label] if held else self.default

    def shadows(self, moment: int) -> list[Policy]:
        """Returns the policies that are evaluated beside it, each once. It is no shadow of itself (R42)."""
        labels = {use.label for use in self.uses if use.status == "shadow" and use.holds(moment)}
        return [self.policies[label] for label in sorted(labels - {self.active(moment).label})]

    def home_of(self, policy: Policy, site_id: str) -> str:
        """Returns the home of a policy for the events of a site."""
        return (self.sites.get(site_id, "")[:6] or self.default.home) if policy.home == "site" else policy.home


def place(origin: str | None, home: str, exempt: Iterable[str] = ()) -> str | None:
    """Returns the rule about where someone comes from, without regard to passes and direction."""
    if origin is None or origin == "CN" or origin == home:
        return None
    if any(origin.startswith(one) if one.isdigit() else origin == one for one in exempt):
        return None
    return "outside_district_without_pass" if origin[:2] == home[:2] else "outside_province_without_pass"
