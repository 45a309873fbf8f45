"""Reads committed records of one-partition topics again, by offset."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from aiokafka import TopicPartition

from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.topics import Topic
from ninezero.streams.settings import Settings

FETCH_BYTES = 8 << 20


class RecordExpired(Exception):
    """A record is not on its topic any more."""


class TopicReader:
    """One consumer without a group. It serves one reading at a time, and connects at the first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: Any = None
        self._next: tuple[TopicPartition, int] | None = None
        """Where the consumer goes on without another request if the record after the last one is read."""

    async def stop(self) -> None:
        """Disconnects."""
        if self._consumer is not None:
            await self._consumer.stop()

    async def read(self, topic: Topic, first: int = 0, end: int | None = None) -> AsyncIterator[Any]:
        """Yields the records of a topic from offset `first` up to, but without, `end`. With None: up to the topic's end now."""
        tp, self._next = TopicPartition(self._settings.topic(topic.name), 0), None
        async for record in kafka.read_to_end(
            await self._connected(), [tp], {tp: first}, None if end is None else {tp: end}
        ):
            yield record

    async def read_one(self, topic: Topic, offset: int) -> Any:
        """Returns the record at an offset. Several that follow each other are fetched together.

        Raises:
            RecordExpired: the topic does not have it any more.
        """
        tp, reader = TopicPartition(self._settings.topic(topic.name), 0), await self._connected()
        if self._next != (tp, offset):
            self._next = None
            reader.assign([tp])
            first, end = (await reader.beginning_offsets([tp]))[tp], (await reader.end_offsets([tp]))[tp]
            if not first <= offset < end:
                raise RecordExpired
            reader.seek(tp, offset)
        while not (fetched := (await reader.getmany(tp, timeout_ms=500, max_records=1)).get(tp)):
            if await reader.position(tp) > offset:  # there is no record at this offset
                raise RecordExpired
        [record] = fetched
        self._next = (tp, record.offset + 1)
        if record.offset != offset:
            raise RecordExpired
        return record

    async def end_offset(self, topic: Topic) -> int:
        """Returns the offset of the next record of a topic."""
        tp = TopicPartition(self._settings.topic(topic.name), 0)
        ends = await (await self._connected()).end_offsets([tp])
        return int(ends[tp])

    async def _connected(self) -> Any:
        if self._consumer is None:
            self._consumer = kafka.consumer(
                self._settings, isolation_level="read_committed", max_partition_fetch_bytes=FETCH_BYTES
            )
            await self._consumer.start()
        return self._consumer
