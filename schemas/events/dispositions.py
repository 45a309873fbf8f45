"""Dispositions: what the staff at a checkpoint did after a passage."""

from __future__ import annotations

from typing import Literal

from ninezero.schemas.events.base import Identifier, Seq, StrictMessage, Time


class EventRef(StrictMessage):
    """Identifies an event by the device that made it and its sequence number there."""

    device_id: Identifier
    seq: Seq


class Disposition(StrictMessage):
    """States what the staff did about a passage. `override` is the reason why it differs from the outcome, if it does."""

    device_id: Identifier
    seq: Seq
    site_id: Identifier
    observed_at: Time
    of: EventRef
    action: Literal["released", "turned_back", "referred", "sent_to_quarantine"]
    override: Literal["mistaken_identity", "remeasured", "document_shown", "other"] | None
