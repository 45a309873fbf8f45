"""Outcomes: the answers that devices read."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

Outcome = Literal["clear", "refer", "quarantine", "turn_back", "hold", "order_ended"]


class Outcomes(Struct, gc=False):
    """Outcomes of the events of one site: `[device_id, seq, outcome, [person index, …]]` each, without reasons."""

    site_id: str
    at: datetime
    watchlist_version: int
    outcomes: list[tuple[str, int, Outcome, list[int]]]
