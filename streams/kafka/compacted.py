"""A ledger: a compacted topic in which a role keeps what it knows of each source partition.

The records are facts under keys of their own, never a state that is overwritten. So a late write of a worker that has lost
the partition can add nothing false and remove nothing, and a fact that is written twice is stored once. A ledger has as
many partitions as its source topic. What follows from a source partition is in the ledger partition of the same number,
whatever the key is. A chunk is done only when its ledger records are acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Set
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from ninezero.streams.errors import UserError
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.internal_records import InternalRecords, Position
from ninezero.streams.kafka.records import OutgoingRecord
from ninezero.streams.kafka.topics import Topic
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings

log = logging.getLogger("ninezero.ledgers")

RETRY_SECONDS = 1.0
"""Pause before a ledger is read again after an error."""


class CompactedTable:
    """One ledger topic, written and read by partition. Records in `set_aside` are passed over."""

    def __init__(
        self, settings: Settings, writer: Writer, topic: Topic, set_aside: Set[Position] = frozenset()
    ) -> None:
        self._settings, self._writer = settings, writer
        self._name = settings.topic(topic.name)
        self._records = InternalRecords(topic, set_aside)

    async def write(self, partition: int, records: Iterable[OutgoingRecord]) -> None:
        """Writes records of the topic. Returns when Kafka has acknowledged all."""
        await self._writer.write_to_partition(partition, records)

    async def read(self, partition: int) -> dict[bytes, Any]:
        """Returns the decoded current value of every key in a partition. Waits for a broker that does not answer.

        Raises:
            UserError: the topic has fewer partitions than its source.
            UnreadableRecord: a record cannot be read.
        """
        if partition >= await self._writer.partition_count(self._name):
            raise UserError(f"the topic {self._name} needs as many partitions as its source")
        while True:
            try:
                return await self._read(TopicPartition(self._name, partition))
            except KafkaError as error:
                name = type(error).__name__
                log.warning("ledger %s cannot be read (%s); retrying", self._name, name, extra=kafka.outage_mark(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _read(self, tp: TopicPartition) -> dict[bytes, Any]:
        values: dict[bytes, Any] = {}
        async with kafka.connected(kafka.consumer(self._settings)) as reader:
            async for record in kafka.read_to_end(reader, [tp]):
                if self._records.is_set_aside(record, tp.partition):
                    continue
                value = self._records.decode(record, tp.partition)
                if value is None:
                    values.pop(record.key, None)
                else:
                    values[record.key] = value
        return values
