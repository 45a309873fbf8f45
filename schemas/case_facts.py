"""Facts of cases and transfers: what the logic of quarantine, follow-up and transfers computes with.

A fact is one event of a case or transfer, in the form that the ledger topics and ClickHouse also hold: without a temperature, with an empty
string or 0 for a value that is not set, and with a version by which the first of several contents of one event is recognised.
"""

from __future__ import annotations

from msgspec import Struct

from ninezero.schemas.events import FollowupEvent, QuarantineEvent, TransferEvent
from ninezero.schemas.times import unix_micros


class QuarantineFact(Struct, frozen=True, gc=False, kw_only=True):
    """One event of a case in quarantine. `observed_us` is Unix time in µs; the highest `version` of an event counts.

    `term_days` is the term that an admission or extension states, or the default of an admission without one; otherwise 0.
    """

    case_id: str
    observed_us: int
    device_id: str
    seq: int
    site_id: str
    type: str
    slot: str
    to_site_id: str
    fever: bool
    symptoms: bool
    reason: str
    term_days: int
    version: int


class FollowupFact(Struct, frozen=True, gc=False, kw_only=True):
    """One event of a case under follow-up. `observed_us` is Unix time in µs; the highest `version` of an event counts.

    `term_days` is the term that an opening or extension states, or the default of an opening without one; otherwise 0.
    """

    case_id: str
    observed_us: int
    device_id: str
    seq: int
    district: str
    type: str
    source: str
    batch_id: str
    visit: str
    closed: str
    term_days: int
    version: int


class TransferFact(Struct, frozen=True, gc=False, kw_only=True):
    """One person who boarded a transfer or was delivered by it. `observed_us` is Unix time in µs; the highest `version` counts."""

    transfer_id: str
    observed_us: int
    device_id: str
    seq: int
    site_id: str
    stage: str
    version: int


def quarantine_fact(event: QuarantineEvent, version: int, fever_c: float, term_days: int) -> QuarantineFact:
    """Returns the fact of a quarantine event.

    Args:
        event: the event.
        version: the version of the fact.
        fever_c: a temperature of this many °C or more is fever.
        term_days: the term of an admission that states none, in days.
    """
    return QuarantineFact(
        case_id=event.case_id,
        observed_us=unix_micros(event.observed_at),
        device_id=event.device_id,
        seq=event.seq,
        site_id=event.site_id,
        type=event.type,
        slot=event.slot or "",
        to_site_id=event.to_site_id or "",
        fever=event.temperature_c is not None and event.temperature_c >= fever_c,
        symptoms=bool(event.symptoms),
        reason=event.reason or "",
        term_days=event.term_days or (term_days if event.type == "admitted" else 0),
        version=version,
    )


def followup_fact(event: FollowupEvent, version: int, term_days: int) -> FollowupFact:
    """Returns the fact of a follow-up event.

    Args:
        event: the event.
        version: the version of the fact.
        term_days: the term of an opening that states none, in days.
    """
    return FollowupFact(
        case_id=event.case_id,
        observed_us=unix_micros(event.observed_at),
        device_id=event.device_id,
        seq=event.seq,
        district=event.district,
        type=event.type,
        source=event.source or "",
        batch_id=event.batch_id or "",
        visit=event.visit or "",
        closed=event.closed or "",
        term_days=event.term_days or (term_days if event.type == "opened" else 0),
        version=version,
    )


def transfer_fact(event: TransferEvent, version: int) -> TransferFact:
    """Returns the fact of a transfer event."""
    return TransferFact(
        transfer_id=event.transfer_id,
        observed_us=unix_micros(event.observed_at),
        device_id=event.device_id,
        seq=event.seq,
        site_id=event.site_id,
        stage=event.stage,
        version=version,
    )
