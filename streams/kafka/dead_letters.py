"""Dead letters say where a rejected record is and why it was rejected. They contain no part of it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from ninezero.schemas.events import DeadLetter, encode
from ninezero.streams.kafka.decoding import Rejected


def dead_letter(topic: str, partition: int, record: Any, rejected: Rejected) -> bytes:
    """Returns the encoded dead letter of a record.

    Its time is the timestamp of the record, so a record that is read twice gives the same dead letter.

    Args:
        topic: name of the source topic, without the prefix.
        partition: number of its partition.
        record: the record as a consumer returns it.
        rejected: why it was rejected.
    """
    value = record.value or b""
    return encode(
        DeadLetter(
            topic=topic,
            partition=partition,
            offset=record.offset,
            reason=rejected.reason,
            path=rejected.path,
            size=len(value),
            sha256=hashlib.sha256(value).hexdigest(),
            at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        )
    )
