"""Boardings and deliveries of a transfer, as the screening role writes them for the ledgers and the recorder."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from ninezero.schemas.events.base import Identifier, Seq, Time

TransferStage = Literal["boarded", "delivered"]
"""The stages at which a person counts in a transfer. `registered` states a plan: nobody is on the way yet."""


class TransferEvent(Struct, forbid_unknown_fields=True, gc=False):
    """One person boarded a transfer, or was delivered by it. It names the arrival of which it is a part, and nobody.

    `transfer_id` is the random number of one journey. `device_id` and `seq` are those of the arrival, so the event of a resent
    arrival is recognised. `observed_at` is written in UTC.
    """

    transfer_id: Identifier
    device_id: Identifier
    seq: Seq
    site_id: Identifier
    stage: TransferStage
    observed_at: Time
