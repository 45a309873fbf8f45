"""What staff report after the match: dispositions, quarantine, follow-up. Here they are checked, and refused if bad."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ninezero.streams import metrics
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.deadletters import dead_letter
from ninezero.streams.kafka.decoding import Rejected, decode_event
from ninezero.streams.kafka.topics import Topic
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings
from ninezero.streams.transport.offset_tracker import Chunk


async def valid_events(
    settings: Settings, writer: Writer, topic: Topic, kind: Any, chunk: Chunk
) -> list[tuple[Any, Any]]:
    """(event, record) of each good record of a chunk; the bad ones have their dead letters, acknowledged, when it returns.

    Past the sunset all are discarded and counted.
    """
    good, letters = [], []
    ended = datetime.now(UTC) >= settings.sunset
    for record in chunk.records:
        try:
            event, _, late = decode_event(kind, record.value, record.timestamp, replay=settings.replay)
        except Rejected as refused:
            letters.append(
                (topics.DEAD_LETTERS, topic.name.encode(), dead_letter(topic.name, chunk.tp.partition, record, refused))
            )
            metrics.dead_letters.labels(topic.name, refused.reason).inc()
            continue
        if ended:
            metrics.events.labels(topic.name, "order_ended").inc()
            continue
        metrics.events.labels(topic.name, "recorded").inc()
        if late:
            metrics.late_events.labels(topic.name).inc()
        good.append((event, record))
    await writer.write(letters)
    return good
