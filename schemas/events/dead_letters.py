"""Dead letters: where rejected records are, and why they were rejected."""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

from ninezero.schemas.events.base import Count, Identifier, Seq, Time

DeadReason = Literal[
    "not_json", "schema_invalid", "too_large", "clock_out_of_range", "day_sealed", "needs_upgrade_finish", "internal"
]
DEAD_REASONS: tuple[str, ...] = get_args(DeadReason)


class DeadLetter(Struct):
    """States where a rejected record is, and why it was rejected. It never holds the record's value, its key, or a part of either."""

    topic: Identifier
    partition: Count
    offset: Seq
    reason: DeadReason
    path: str
    size: Seq
    sha256: str
    at: Time
