"""Writing in Kafka transactions: all records of a transaction become visible or none, and only one process can write."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.records import OutgoingRecord
from ninezero.streams.settings import Settings

TIMEOUT_MS = 300_000
"""The broker aborts a transaction that is open for longer than this."""

_SLICE_RECORDS = 5000
"""Records that are appended without giving the event loop a turn: a large transaction must not delay the heartbeats to Kafka."""


class Transactions:
    """Writes to one-partition topics under a transactional id.

    Args:
        settings: the deployment.
        name: the transactional id without the topic prefix.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._id = settings.topic_prefix + name
        self._producer: Any = None

    async def start(self) -> None:
        """Connects and fences a process that used the transactional id before; its open transaction is aborted."""
        await self.stop()
        self._producer = kafka.producer(
            self._settings, transactional_id=self._id, transaction_timeout_ms=TIMEOUT_MS, linger_ms=0
        )
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnects."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def write(self, records: Iterable[OutgoingRecord]) -> dict[str, int]:
        """Writes records in one transaction.

        Returns:
            The offset after the last record of each topic, by the topic's name without the prefix.

        Raises:
            KafkaError: the transaction was aborted, and none of its records is visible.
            ProducerFenced: another process has started to write under this transactional id.
            ValueError: a record is larger than a batch.
        """
        batches: dict[str, Any] = {}
        sent: dict[str, list[Any]] = defaultdict(list)
        async with self._producer.transaction():
            for number, (topic, key, value, headers) in enumerate(records, 1):
                batch = batches.get(topic.name)
                if batch is None or batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                    if batch is not None:
                        await self._send(topic.name, batch, sent)
                    batch = batches[topic.name] = self._producer.create_batch()
                    if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                        raise ValueError("a record is larger than a batch")
                if number % _SLICE_RECORDS == 0:
                    await asyncio.sleep(0)
            for name, batch in batches.items():
                await self._send(name, batch, sent)
            last_batches = {name: (await asyncio.gather(*futures))[-1] for name, futures in sent.items()}
        counts = {name: batch.record_count() for name, batch in batches.items()}
        return {name: metadata.offset + counts[name] for name, metadata in last_batches.items()}

    async def _send(self, name: str, batch: Any, sent: dict[str, list[Any]]) -> None:
        sent[name].append(await self._producer.send_batch(batch, self._settings.topic(name), partition=0))
