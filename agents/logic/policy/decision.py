"""A decision: the outcome of one event, and every rule that applies with the watchlist entries behind it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from msgspec import Struct

from ninezero.agents.logic.policy.conditions import Listed
from ninezero.agents.logic.watchlist.entries import Entry
from ninezero.schemas.events import Matched


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


def sort_hits(hits: list[RuleHit]) -> list[RuleHit]:
    """Returns rule hits in the order of the contract: by person, the plate last, and by rule."""
    return sorted(hits, key=lambda hit: (hit.person is None, hit.person or 0, hit.rule))


def entries_behind(causes: Sequence[Listed], matches: Iterable[Match]) -> Sequence[Match]:
    """Returns the entries that make a rule apply, each once and with the first domain in which it matches, in the order of the contract.

    Args:
        causes: the list conditions of the rule (`Rule.person_entries`).
        matches: every valid entry that has a token of the person or plate, once for each domain in which it matches.
    """
    if not causes:
        return ()
    found: dict[tuple[str, str, str], Match] = {}
    candidates = list(matches)
    for listed in causes:
        for domain in listed.domains:
            for match in candidates:
                entry = match.entry
                if match.domain == domain and entry.category in listed.categories:
                    found.setdefault((entry.authority, entry.list, entry.entry_id), match)
    return [match for _, match in sorted(found.items(), key=lambda item: item[0])]


def alert_id(device_id: str, seq: int, hits: Iterable[RuleHit]) -> str:
    """Returns the id of an alert. It depends on the event and its (person, rule) pairs only, so a resend gets the same id."""
    text = "\n".join([device_id, str(seq), *(f"{hit.person} {hit.rule}" for hit in hits)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
