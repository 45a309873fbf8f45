"""Records as they are written to Kafka."""

from __future__ import annotations

from typing import Any, NamedTuple

from ninezero.schemas.formats import Headers
from ninezero.streams.kafka.topics import Topic

NO_HEADERS: Headers = []


class OutgoingRecord(NamedTuple):
    """A record to write."""

    topic: Topic
    key: bytes
    value: bytes | None
    """None deletes the key of a compacted topic."""
    headers: Headers = NO_HEADERS


def internal_record(topic: Topic, key: bytes, value: Any) -> OutgoingRecord:
    """Returns the record of a topic that has a format, in the number that is written now.

    Raises:
        NeedsUpgradeFinish: that number cannot say the value.
    """
    assert topic.format is not None
    return OutgoingRecord(topic, key, topic.format.encode(value), topic.format.headers)
