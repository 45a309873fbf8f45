"""A ledger: a compacted topic of ours that keeps what a worker knows of its partitions, beyond its life.

Its records are facts under keys of their own, never a state that is overwritten: a worker that was put aside and writes
late can add nothing false and take nothing away, and what is written twice is there once. It has the partitions of its
source topic; what follows from a source partition lies in the partition of the same number, whatever the key. A chunk is
done only after its records here are acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from ninezero.streams.errors import UserError
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.client import Writer
from ninezero.streams.kafka.topics import Topic
from ninezero.streams.settings import Settings

log = logging.getLogger("ninezero.ledgers")


class CompactedTable:
    """One ledger topic, written and read back by partition."""

    def __init__(self, settings: Settings, writer: Writer, topic: Topic) -> None:
        self._settings, self._writer, self._topic = settings, writer, topic
        self._name = settings.topic(topic.name)

    async def write(self, partition: int, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Writes (key, value) records, None to delete a key; returns when Kafka has acknowledged all."""
        await self._writer.send_to(self._topic, partition, records)

    async def read(self, partition: int) -> dict[bytes, bytes]:
        """All that a partition holds now. A broker that is away is waited for.

        Raises:
            UserError: the topic has fewer partitions than its source.
        """
        if partition >= await self._writer.partitions(self._name):
            raise UserError(f"the topic {self._name} needs as many partitions as its source")
        while True:
            try:
                return await self._read(TopicPartition(self._name, partition))
            except KafkaError as error:
                log.warning("the ledger %s cannot be read (%s); trying again", self._name, type(error).__name__)
                await asyncio.sleep(1)

    async def _read(self, tp: TopicPartition) -> dict[bytes, bytes]:
        held: dict[bytes, bytes] = {}
        # Not seek_to_beginning(): the reset to the end that assign() begins by default can win over it.
        reader = kafka.consumer(self._settings, auto_offset_reset="earliest")
        try:
            await reader.start()
            reader.assign([tp])
            end = (await reader.end_offsets([tp]))[tp]
            while await reader.position(tp) < end:
                for record in (await reader.getmany(tp, timeout_ms=500)).get(tp, ()):
                    if record.value is None:
                        held.pop(record.key, None)
                    else:
                        held[record.key] = record.value
        finally:
            await reader.stop()
        return held
