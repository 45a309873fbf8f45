"""Alerts for health staff: of screening, their corrections, and of cases."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from msgspec import Struct

from ninezero.schemas.events.base import PolicyLabel, decoder

Matched = Literal["id", "passport", "pass", "phone", "plate"]
CareRule = Literal[
    "reading_missed", "fever", "symptoms", "visit_overdue", "release_due", "term_exceeded", "not_delivered"
]


class MatchedEntry(Struct):
    """A watchlist entry that made a rule apply. An alert names it, so that a wrong entry can be contested."""

    matched: Matched
    category: str
    authority: str
    list: str
    batch_id: str
    entry_id: str
    valid_to: datetime


class Reason(Struct):
    """One rule that applied: to which person (an index, or null for the plate), and by which watchlist entries, if any."""

    person: int | None
    rule: str
    entries: list[MatchedEntry]


class Alert(Struct):
    """Tells health staff about an event whose outcome is not `clear`, with the reasons."""

    alert_id: str
    policy: PolicyLabel
    site_id: str
    device_id: str
    seq: int
    observed_at: datetime
    decided_at: datetime
    outcome: str
    late: bool
    watchlist_version: int
    reasons: list[Reason]


class Correction(Struct):
    """Withdraws an alert, because an entry among its reasons was withdrawn as a mistake."""

    correction_of: str
    site_id: str
    at: datetime
    why: Literal["mistake"]


class CareAlert(Struct):
    """Tells health staff about a case in quarantine or under follow-up, or about a transfer, on the topic of the alerts.

    `reading_missed`: a slot ended without a reading; `fever`: 37.3 °C or more; `symptoms`: reported, or seen on a visit;
    `visit_overdue`: a day passed without a visit; `release_due`: the last day of the case has come; `term_exceeded`: the case is
    open after its last day; `not_delivered`: fewer people were delivered than boarded. `case_id` is null for a transfer, and
    `transfer_id` for a case. `site_id` is set for quarantine and transfers, `district` for follow-up. `day` and `slot` are those
    that the alert is about; of a transfer the site and day of its first boarding. `at` is the end of that slot or day, 08:00 of the
    day (`release_due`, `term_exceeded`), the end of the time that a transfer has, or the time of the observation. `alert_id` depends
    on the case, the rule, the day and the slot only, or on the transfer alone, so a repeated alert has the same one.
    """

    alert_id: str
    rule: CareRule
    case_id: str | None
    site_id: str | None
    district: str | None
    transfer_id: str | None
    day: date
    slot: Literal["am", "pm"] | None
    at: datetime


def decode_care_alert(value: bytes) -> CareAlert | None:
    """Decodes a record of the alerts: a CareAlert, or None for an alert of screening or a correction.

    Raises:
        ValueError: a CareAlert is not valid.
    """
    return decoder(CareAlert).decode(value) if b'"case_id"' in value else None
