"""Writing in Kafka transactions: all of it becomes visible, or none, and only one process at a time can write."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.topics import Topic
from ninezero.streams.settings import Settings

TIMEOUT_MS = 300_000
"""The broker aborts a transaction that is open longer."""

_RECORDS_AT_ONCE = 5000
"""After so many the event loop has a turn: a large transaction must not keep the process from its heartbeats."""

Record = tuple[Topic, bytes, bytes | None]


class Transactions:
    """Writes to one-partition topics under a transactional id. Starting fences whoever wrote under it before."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._id = settings.topic_prefix + name
        self._producer: Any = None

    async def start(self) -> None:
        """Fences a predecessor that may still live, and aborts what it had begun."""
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

    async def write(self, records: Iterable[Record]) -> dict[str, int]:
        """Writes (topic, key, value) records in one transaction; the offset after the last one of each topic.

        Raises:
            KafkaError: it was aborted, and nobody sees any of it.
        """
        batches: dict[str, Any] = {}
        sent: dict[str, list[Any]] = defaultdict(list)
        async with self._producer.transaction():
            for number, (topic, key, value) in enumerate(records, 1):
                batch = batches.get(topic.name)
                if batch is None or batch.append(key=key, value=value, timestamp=None) is None:
                    if batch is not None:
                        await self._send(topic.name, batch, sent)
                    batch = batches[topic.name] = self._producer.create_batch()
                    if batch.append(key=key, value=value, timestamp=None) is None:
                        raise ValueError("a record is larger than a batch")
                if number % _RECORDS_AT_ONCE == 0:
                    await asyncio.sleep(0)
            for name, batch in batches.items():
                await self._send(name, batch, sent)
            written = {name: (await asyncio.gather(*some))[-1] for name, some in sent.items()}
        counts = {name: batch.record_count() for name, batch in batches.items()}
        return {name: last.offset + counts[name] for name, last in written.items()}

    async def _send(self, name: str, batch: Any, sent: dict[str, list[Any]]) -> None:
        sent[name].append(await self._producer.send_batch(batch, self._settings.topic(name), partition=0))
