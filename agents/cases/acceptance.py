"""Accepts dispositions and case events: the valid ones are returned, the others are dead-lettered."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from ninezero.schemas.rows import FIRST_WINS
from ninezero.schemas.times import unix_micros
from ninezero.streams import metrics
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.dead_letters import dead_letter
from ninezero.streams.kafka.decoding import Rejected, decode_event
from ninezero.streams.kafka.records import OutgoingRecord
from ninezero.streams.kafka.topics import Topic
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings
from ninezero.streams.transport.offset_tracker import Chunk


class AcceptedEvent(NamedTuple):
    """A valid event, and the record that holds it."""

    event: Any
    record: Any

    @property
    def observed_us(self) -> int:
        """The `observed_at` of the event, Unix time in µs."""
        return unix_micros(self.event.observed_at)

    @property
    def kafka_ms(self) -> int:
        """The Kafka timestamp of the record, Unix time in ms."""
        return int(self.record.timestamp)

    @property
    def version(self) -> int:
        """The version of its fact: the content that arrived first has the highest."""
        return FIRST_WINS - self.kafka_ms


async def accepted_events(
    settings: Settings, writer: Writer, topic: Topic, kind: Any, chunk: Chunk
) -> list[AcceptedEvent]:
    """Returns the valid events of a chunk, and counts them.

    The dead letters of the other records are acknowledged when it returns. After the sunset every event is discarded and
    counted as `order_ended`.

    Args:
        settings: the settings of the worker.
        writer: writes the dead letters.
        topic: the topic of the chunk.
        kind: the wire type of its events.
        chunk: the records.
    """
    accepted, letters = [], []
    order_ended = datetime.now(UTC) >= settings.sunset
    for record in chunk.records:
        try:
            event, _, late = decode_event(kind, record.value, record.timestamp, replay=settings.replay)
        except Rejected as error:
            letters.append(rejection(topic, chunk, record, error))
            continue
        if order_ended:
            metrics.events.labels(topic.name, "order_ended").inc()
            continue
        metrics.events.labels(topic.name, "recorded").inc()
        if late:
            metrics.late_events.labels(topic.name).inc()
        accepted.append(AcceptedEvent(event, record))
    await writer.write(letters)
    return accepted


def rejection(topic: Topic, chunk: Chunk, record: Any, rejected: Rejected) -> OutgoingRecord:
    """Returns the dead letter of a record of a chunk, and counts it."""
    metrics.dead_letters.labels(topic.name, rejected.reason).inc()
    letter = dead_letter(topic.name, chunk.tp.partition, record, rejected)
    return OutgoingRecord(topics.DEAD_LETTERS, topic.name.encode(), letter)
