"""The workers' connections to Kafka (aiokafka), and batched writing."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from ninezero.streams.kafka import topics
from ninezero.streams.kafka.sync import MISSING, KafkaUnreachable, protocol, sasl, unreachable
from ninezero.streams.settings import Settings, SettingsError

__all__ = ["KafkaUnreachable", "TopicPartition", "Writer", "check", "consumer", "producer", "security"]

log = logging.getLogger("ninezero.kafka")

Partition = tuple[str, int]
"""Topic (its name on the broker) and number."""

BATCH_BYTES = topics.MAX_MESSAGE_BYTES - (64 << 10)


@lru_cache(1 << 17)
def _hash(key: bytes) -> int:
    """What Kafka's own clients take for the partition; remembered, because in Python it costs as much as a record in a batch."""
    hashed: int = murmur2(key)
    return hashed & 0x7FFFFFFF


def security(settings: Settings) -> dict[str, Any]:
    """Arguments for an aiokafka client."""
    given = settings.kafka_security
    arguments: dict[str, Any] = {"security_protocol": protocol(settings)}
    if "ca" in given:
        try:
            arguments["ssl_context"] = ssl.create_default_context(cafile=given["ca"])
            if "cert" in given:
                arguments["ssl_context"].load_cert_chain(given["cert"], given.get("key"))
        except (ssl.SSLError, OSError):
            raise SettingsError(
                "NINEZERO_KAFKA_TLS_CA, _CERT or _KEY is wrong: give PEM files that belong together"
            ) from None
    return arguments | sasl(given)


def consumer(settings: Settings, **arguments: Any) -> AIOKafkaConsumer:
    """A consumer without a group, that never commits."""
    return AIOKafkaConsumer(
        bootstrap_servers=settings.kafka, enable_auto_commit=False, group_id=None, **security(settings), **arguments
    )


def producer(settings: Settings, **arguments: Any) -> AIOKafkaProducer:
    """A producer that waits for every replica in sync."""
    return AIOKafkaProducer(
        bootstrap_servers=settings.kafka,
        acks="all",
        max_batch_size=BATCH_BYTES,
        max_request_size=topics.MAX_MESSAGE_BYTES,
        **security(settings),
        **arguments,
    )


class Writer:
    """Writes records in batches that it builds itself, and returns when all are acknowledged.

    aiokafka's `send()` costs 13.5 µs a record, a record in a batch 1.0 µs. A broker that is away is waited for: nothing
    is dropped, and the caller does not go on. What several callers have for a partition while a batch of it is under way goes
    in one: a request costs as much as fifty records.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._partitions: dict[str, int] = {}
        self._waiting: dict[Partition, tuple[list[Any], asyncio.Future[None]]] = {}
        self._writing: dict[Partition, asyncio.Task[None]] = {}
        self._complained = 0.0

    async def start(self) -> None:
        """Connects."""
        self._producer = producer(self._settings)
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnects."""
        if self._producer is not None:
            await self._producer.stop()

    async def send(self, records: Iterable[tuple[topics.Topic, bytes, bytes]]) -> None:
        """Writes (topic, key, value) records, in order for each partition; returns when Kafka has acknowledged all."""
        pending: dict[Partition, list[tuple[bytes, bytes]]] = defaultdict(list)
        topic, name, count = None, "", 1
        for to, key, value in records:
            if to is not topic:  # most go where the last one went
                topic, name = to, self._settings.topic(to.name)
                count = self._partitions.get(name) or await self.partitions(name)
            pending[name, _hash(key) % count].append((key, value))
        await self._send_all(pending)

    async def send_to(self, topic: topics.Topic, partition: int, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Writes (key, value) records to one partition, in order; returns when Kafka has acknowledged all."""
        if some := list(records):
            await self._send_all({(self._settings.topic(topic.name), partition): some})

    async def _send_all(self, pending: dict[Partition, list[Any]]) -> None:
        written = {self._put(tp, records) for tp, records in pending.items()}
        if written:
            await asyncio.wait(
                written
            )  # which leaves them alone when this caller is cancelled: others wait for them too
            for one in written:
                one.result()

    def _put(self, tp: Partition, records: list[Any]) -> asyncio.Future[None]:
        """Lines records up for a partition; what comes while a batch of it is under way goes together in the next."""
        if tp not in self._waiting:
            self._waiting[tp] = [], asyncio.get_running_loop().create_future()
        waiting, written = self._waiting[tp]
        waiting += records
        if tp not in self._writing:
            self._writing[tp] = asyncio.create_task(self._write(tp))
        return written

    async def _write(self, tp: Partition) -> None:
        """Writes what waits for a partition, until nothing does."""
        try:
            while waiting := self._waiting.pop(tp, None):
                records, written = waiting
                try:
                    await self._persist(tp, records)
                except Exception as error:
                    written.set_exception(error)
                else:
                    written.set_result(None)
        finally:
            del self._writing[tp]

    async def _persist(self, tp: Partition, records: list[Any]) -> None:
        pause = 0.1
        while True:
            try:
                return await self._send_partition(tp, records)
            except KafkaError as error:
                if time.monotonic() - self._complained > 1:  # for all partitions of a broker that is away
                    self._complained = time.monotonic()
                    log.warning(
                        "Kafka did not acknowledge what goes to %s (%s); trying again", tp[0], type(error).__name__
                    )
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    async def _send_partition(self, tp: Partition, records: list[tuple[bytes, bytes | None]]) -> None:
        assert self._producer is not None
        topic, partition = tp
        acknowledged = []
        batch = self._producer.create_batch()
        for key, value in records:
            if batch.append(key=key, value=value, timestamp=None) is None:
                acknowledged.append(await self._producer.send_batch(batch, topic, partition=partition))
                batch = self._producer.create_batch()
                if batch.append(key=key, value=value, timestamp=None) is None:
                    raise ValueError("a record is larger than a batch")
        acknowledged.append(await self._producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*acknowledged)

    async def partitions(self, name: str) -> int:
        """Number of partitions of a topic (its name on the broker); waits for the topic to exist."""
        assert self._producer is not None
        while True:
            try:
                self._partitions[name] = len(await self._producer.partitions_for(name))
                return self._partitions[name]
            except KafkaError:
                log.warning("topic %s is not there, or this user may not see it: ninezero topics create", name)
                await asyncio.sleep(1)


async def check(settings: Settings, needed: Collection[topics.Topic]) -> None:
    """Asks the broker for the topics that are needed.

    Raises:
        KafkaUnreachable: it does not answer within ten seconds, or a topic is missing or not for this user.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the error below says it in one line
    probe = AIOKafkaConsumer(bootstrap_servers=settings.kafka, **security(settings))
    try:
        async with asyncio.timeout(10):
            await probe.start()
            present = await probe.topics()
    except (KafkaError, OSError, TimeoutError):
        raise unreachable(settings) from None
    finally:
        await probe.stop()
    if not {settings.topic(topic.name) for topic in needed} <= present:
        raise KafkaUnreachable(MISSING)
