"""Accepts dispositions and case events: the valid ones are returned, the others are dead-lettered."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

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
    """A valid event, and the Kafka timestamp of its record (Unix time in ms)."""

    event: Any
    kafka_ms: int


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
            letter = dead_letter(topic.name, chunk.tp.partition, record, error)
            letters.append(OutgoingRecord(topics.DEAD_LETTERS, topic.name.encode(), letter))
            metrics.dead_letters.labels(topic.name, error.reason).inc()
            continue
        if order_ended:
            metrics.events.labels(topic.name, "order_ended").inc()
            continue
        metrics.events.labels(topic.name, "recorded").inc()
        if late:
            metrics.late_events.labels(topic.name).inc()
        accepted.append(AcceptedEvent(event, record.timestamp))
    await writer.write(letters)
    return accepted
