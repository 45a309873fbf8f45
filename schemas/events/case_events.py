"""Events of cases in quarantine and of cases under follow-up at home."""

from __future__ import annotations

from typing import Literal

from ninezero.schemas.events.base import CaseId, Identifier, Seq, StrictMessage, TermDays, Time


class QuarantineEvent(StrictMessage):
    """One event of a case in quarantine. `case_id` is a random number that identifies no person."""

    device_id: Identifier
    seq: Seq
    case_id: CaseId
    site_id: Identifier
    observed_at: Time
    type: Literal["admitted", "reading", "released", "transferred", "extended"]
    slot: Literal["am", "pm"] | None
    temperature_c: float | None
    symptoms: bool | None
    to_site_id: Identifier | None
    term_days: TermDays | None
    reason: Literal["completed", "negative", "hospital", "other"] | None


class FollowupEvent(StrictMessage):
    """One event of a case under follow-up at home. `case_id` is a random number that identifies no person."""

    device_id: Identifier
    seq: Seq
    case_id: CaseId
    district: Identifier
    observed_at: Time
    type: Literal["opened", "visit", "closed", "extended"]
    source: Literal["push", "arrival", "checkpoint", "declared"] | None
    batch_id: Identifier | None
    visit: Literal["seen_well", "seen_symptomatic", "not_reached", "refused"] | None
    closed: Literal["completed", "quarantined", "lost", "withdrawn"] | None
    term_days: TermDays | None = None
