"""Reads the records of a topic that only our own workers write. A record that cannot be read ends the reader; none is skipped.

A record that an operator has set aside (`ninezero records set-aside`) is passed over, and nothing else is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence, Set
from typing import Any, NamedTuple

from ninezero.schemas.formats import stated_format
from ninezero.streams import metrics
from ninezero.streams.errors import UNREADABLE, UserError
from ninezero.streams.kafka.topics import Topic

log = logging.getLogger("ninezero.records")


class Position(NamedTuple):
    """Where a record is. `topic` is the name without the prefix."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"


class UnreadableRecord(UserError):
    """A record has an unknown format, or does not decode.

    Attributes:
        position: where the record is.
        format: the format that it states.
    """

    def __init__(self, position: Position, stated: str, readable: str) -> None:
        super().__init__(
            f"{UNREADABLE}: topic {position.topic}, partition {position.partition}, offset {position.offset}, format"
            f" {stated}: this release reads {readable}; start the release that wrote the record, or pass over it with"
            f" ninezero records set-aside {position}"
        )
        self.position, self.format = position, stated


class InternalRecords:
    """Decodes the records of one topic.

    Args:
        topic: the topic. One without a format holds messages for others that our workers read again.
        set_aside: the records to pass over; the set may grow.
        decode: decodes the value of a topic without a format; raises ValueError.
    """

    def __init__(
        self, topic: Topic, set_aside: Set[Position] = frozenset(), decode: Callable[[bytes], Any] | None = None
    ) -> None:
        assert (topic.format is None) == (decode is not None)
        self._topic, self._set_aside, self._decode = topic, set_aside, decode

    def remaining(self, records: Sequence[Any], partition: int = 0) -> Sequence[Any]:
        """Returns the records that are not set aside, and logs a line for each of the others."""
        return [one for one in records if not self.is_set_aside(one, partition)] if self._set_aside else records

    def is_set_aside(self, record: Any, partition: int = 0) -> bool:
        """Returns whether a record is passed over; logs a line if it is."""
        position = Position(self._topic.name, partition, record.offset)
        if position not in self._set_aside:
            return False
        log.warning("passing over the record %s, which was set aside", position)
        return True

    def decode(self, record: Any, partition: int = 0) -> Any:
        """Decodes a record; None for a tombstone. A tombstone has no value, so it needs no format.

        Raises:
            UnreadableRecord: the record has an unknown format, or does not decode.
        """
        value, form = record.value, self._topic.format
        try:
            if form is None:
                assert self._decode is not None
                return self._decode(value)
            if value is None and self._topic.compacted:
                return None
            return form.decode(record.headers, record.key or b"", value)
        except (
            ValueError,
            TypeError,
            RecursionError,
        ):  # msgspec's errors are ValueErrors; a value of None is a TypeError
            pass
        # Raised outside the handler: otherwise its context would be msgspec's error, which quotes the value.
        raise self.unreadable(record, partition)

    def unreadable(self, record: Any, partition: int = 0) -> UnreadableRecord:
        """Returns the error for a record that cannot be read, and counts it."""
        topic = self._topic
        metrics.unreadable_records.labels(topic.name).inc()
        if topic.format is None:
            stated, readable = "none", "only the messages that are documented for this topic"
        else:
            stated = stated_format(topic.format.name, record.headers)
            readable = " and ".join(f"{topic.format.name}/{number}" for number in topic.format.readable)
        return UnreadableRecord(Position(topic.name, partition, record.offset), stated, readable)
