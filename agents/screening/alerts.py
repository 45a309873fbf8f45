"""Builds the alert about one event: its outcome with every reason, and the watchlist entries behind each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ninezero.agents.logic.policy.decision import Decision, RuleHit, alert_id
from ninezero.schemas.events import Alert, MatchedEntry, Reason


def build_alert(
    event: Any, decision: Decision, late: bool, decided_at: datetime, watchlist_version: int, policy: str
) -> Alert:
    """Returns the alert about an event that is not clear.

    Args:
        event: the scan or arrival.
        decision: its decision, with at least one rule hit.
        late: whether the event was late.
        decided_at: when it was decided.
        watchlist_version: offset of the watchlist that was applied.
        policy: the policy that decided, as `NAME@VERSION`.
    """
    return Alert(
        alert_id=alert_id(event.device_id, event.seq, decision.hits),
        policy=policy,
        site_id=event.site_id,
        device_id=event.device_id,
        seq=event.seq,
        observed_at=event.observed_at,
        decided_at=decided_at,
        outcome=decision.outcome,
        late=late,
        watchlist_version=watchlist_version,
        reasons=[Reason(hit.person, hit.rule, _matched_entries(hit)) for hit in decision.hits],
    )


def _matched_entries(hit: RuleHit) -> list[MatchedEntry]:
    return [
        MatchedEntry(
            matched=match.domain,
            category=match.entry.category,
            authority=match.entry.authority,
            list=match.entry.list,
            batch_id=match.entry.batch_id,
            entry_id=match.entry.entry_id,
            valid_to=datetime.fromtimestamp(match.entry.to_us / 1_000_000, UTC),
        )
        for match in hit.matches
    ]
