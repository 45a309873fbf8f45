"""The reference: interprets the rules for one person or plate at a time. It is plain and slow; `columnar.py` must agree with it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from msgspec import UNSET, Struct

from ninezero.agents.logic.policy.conditions import (
    Both,
    ComesFrom,
    Compared,
    Condition,
    Constant,
    Given,
    Has,
    Known,
    Listed,
    Not,
    PersonIs,
    Shows,
)
from ninezero.agents.logic.policy.decision import Decision, Match, RuleHit, entries_behind, sort_hits
from ninezero.agents.logic.policy.origins import place_of
from ninezero.agents.logic.policy.policy import DEFAULT, Policy
from ninezero.agents.logic.policy.rules import RULES
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import Arrival, Matched, Scan


class Circumstances(Struct, frozen=True, kw_only=True):
    """What holds for everyone in one event."""

    observed_us: int
    """Its `observed_at`, Unix time in µs. Entries match within their window."""
    index: WatchlistIndex
    home: str
    """Six-digit division code of the district."""
    stale: bool
    """Whether the last heartbeat of the watchlist is too old."""
    checkpoint: bool
    inbound: bool
    policy: Policy


class Subject(Struct, frozen=True):
    """One person or plate, and what conditions ask about it."""

    person: Any
    """The person; None for a plate."""
    tokens: dict[Matched, str]
    """Its tokens by domain."""
    matches: Sequence[Match]
    """Every valid entry that has one of them."""
    given: Collection[str]
    """The circumstances that hold (`Given`)."""
    home: str
    policy: Policy

    def satisfies(self, condition: Condition) -> bool:
        """Returns whether a condition is true for the subject."""
        match condition:
            case Both(left, right):
                return self.satisfies(left) and self.satisfies(right)
            case Not(inner):
                return not self.satisfies(inner)
            case Constant(value):
                return value
            case Has(domain):
                return domain in self.tokens
            case Listed(domains, categories):
                return any(m.domain in domains and m.entry.category in categories for m in self.matches)
            case Known(reading):
                return getattr(self.person, reading) is not None
            case Compared(reading, comparison, bound):
                value, limit = getattr(self.person, reading), self.policy.threshold(bound)
                return value is not None and (value >= limit if comparison == "at least" else value <= limit)
            case Shows(code):
                return bool(self.person.health_code == code)
            case ComesFrom(place):
                return place_of(self.person.origin, self.home, self.policy.exempt_origins) == place
            case Given(circumstance):
                return circumstance in self.given
            case PersonIs(predicate):
                return predicate(self.person)
            case _:
                raise TypeError(f"this evaluator does not know the condition {type(condition).__name__}")


def decide_scan(
    scan: Scan, observed_us: int, index: WatchlistIndex, home: str, stale: bool, policy: Policy = DEFAULT
) -> Decision:
    """Decides one passage at a checkpoint.

    Args:
        scan: the decoded passage.
        observed_us: its `observed_at`, Unix time in µs. Entries match within their window.
        index: the watchlist.
        home: six-digit division code of the district.
        stale: whether the last heartbeat of the watchlist is too old.
        policy: the policy in force.
    """
    inbound = scan.direction == "in"
    there = Circumstances(
        observed_us=observed_us, index=index, home=home, stale=stale, checkpoint=True, inbound=inbound, policy=policy
    )
    return _decide(scan.people, scan.plate, there)


def decide_arrival(
    arrival: Arrival, observed_us: int, index: WatchlistIndex, home: str, stale: bool, policy: Policy = DEFAULT
) -> Decision:
    """Decides one arrival at any stage. Arguments as `decide_scan`. An arrival is always inbound and has no plate."""
    there = Circumstances(
        observed_us=observed_us, index=index, home=home, stale=stale, checkpoint=False, inbound=True, policy=policy
    )
    return _decide([arrival.person], None, there)


def _decide(people: Sequence[Any], plate: str | None, there: Circumstances) -> Decision:
    hits: list[RuleHit] = []
    for number, person in enumerate(people):
        subject = _subject(person, _tokens_of(person), there)
        for rule in there.policy.rules():
            if rule.person is not None and subject.satisfies(rule.person):
                hits.append(RuleHit(number, rule.name, entries_behind(rule.person_entries, subject.matches)))
    if plate is not None:
        subject = _subject(None, {"plate": plate}, there)
        for rule in there.policy.rules():
            if rule.plate is not None and subject.satisfies(rule.plate):
                hits.append(RuleHit(None, rule.name, entries_behind(rule.plate_entries, subject.matches)))
    outcome = there.policy.most_severe([RULES[hit.rule] for hit in hits])
    return Decision(outcome, sort_hits(hits))


def _tokens_of(person: Any) -> dict[Matched, str]:
    tokens = person.tokens
    given: dict[Matched, Any] = {
        "id": tokens.id,
        "passport": tokens.passport,
        "pass": tokens.pass_,
        "phone": tokens.phone,
    }
    return {domain: token for domain, token in given.items() if token is not UNSET}


def _subject(person: Any, tokens: dict[Matched, str], there: Circumstances) -> Subject:
    known_keys = there.index.common_keys
    unknown_key = known_keys is not None and any(token.partition(".")[0] not in known_keys for token in tokens.values())
    given = {
        "checkpoint": there.checkpoint,
        "inbound": there.inbound,
        "stale list": there.stale,
        "unknown key": unknown_key,
    }
    matches = [
        Match(domain, entry)
        for domain, token in tokens.items()
        for entry in there.index.find_valid(domain, token, there.observed_us)
    ]
    return Subject(person, tokens, matches, [name for name, holds in given.items() if holds], there.home, there.policy)
