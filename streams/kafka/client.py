"""Asynchronous clients of Kafka (aiokafka), which the workers use."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from ninezero.streams.errors import DEPENDENCY
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.sync import TopicsMissing, sasl_arguments, security_protocol, unreachable
from ninezero.streams.settings import Settings, SettingsError

__all__ = [
    "TopicPartition",
    "connected",
    "consumer",
    "outage_mark",
    "producer",
    "read_to_end",
    "require_topics",
    "security",
    "silent_client",
]

BATCH_BYTES = topics.MAX_MESSAGE_BYTES - (64 << 10)
"""Maximum size of a batch of records: below the topics' `max.message.bytes`, to leave room for the batch header."""

REQUIRE_SECONDS = 10.0
"""Time that `require_topics` waits for the broker."""


def security(settings: Settings) -> dict[str, Any]:
    """Returns the TLS and SASL arguments of an aiokafka client.

    Raises:
        SettingsError: a certificate or key file cannot be used.
    """
    given = settings.kafka_security
    arguments: dict[str, Any] = {"security_protocol": security_protocol(settings)}
    if "ca" in given:
        try:
            arguments["ssl_context"] = ssl.create_default_context(cafile=given["ca"])
            if "cert" in given:
                arguments["ssl_context"].load_cert_chain(given["cert"], given.get("key"))
        except (ssl.SSLError, OSError):
            raise SettingsError(
                "NINEZERO_KAFKA_TLS_CA, _CERT or _KEY is wrong: give PEM files that belong together"
            ) from None
    return arguments | sasl_arguments(settings)


def consumer(settings: Settings, **arguments: Any) -> AIOKafkaConsumer:
    """Returns a consumer that is in no group and never commits. Without a position it starts at the earliest record."""
    defaults = {"enable_auto_commit": False, "group_id": None, "auto_offset_reset": "earliest"}
    return AIOKafkaConsumer(bootstrap_servers=settings.kafka, **security(settings), **defaults | arguments)


def producer(settings: Settings, **arguments: Any) -> AIOKafkaProducer:
    """Returns a producer that waits for the acknowledgement of every in-sync replica."""
    return AIOKafkaProducer(
        bootstrap_servers=settings.kafka,
        acks="all",
        max_batch_size=BATCH_BYTES,
        max_request_size=topics.MAX_MESSAGE_BYTES,
        **security(settings),
        **arguments,
    )


def outage_mark(error: KafkaError) -> dict[str, str] | None:
    """Returns the `extra` of a log record about an error: it marks an error that ends when the brokers answer again.

    aiokafka raises the base class itself if no broker answers.
    """
    return {DEPENDENCY: "Kafka"} if error.retriable or type(error) is KafkaError else None


@contextlib.asynccontextmanager
async def connected(client: Any) -> AsyncIterator[Any]:
    """Starts a consumer or producer and stops it at the end, also when the start fails."""
    try:
        await client.start()
        yield client
    finally:
        await client.stop()


async def read_to_end(
    reader: AIOKafkaConsumer,
    partitions: Sequence[TopicPartition],
    start: Mapping[TopicPartition, int] | None = None,
    end: Mapping[TopicPartition, int] | None = None,
) -> AsyncIterator[Any]:
    """Yields the records that partitions hold now, in order within each partition.

    Args:
        reader: a started consumer without a group. It is assigned the partitions and may be used again afterwards.
        start: the first offset of a partition; the beginning of the partition without it.
        end: the offset at which to stop in a partition; the end of the partition at the time of the call without it.

    Raises:
        KafkaError: the broker does not answer, or this user may not read the topic.
    """
    reader.assign(partitions)
    first, ends = await reader.beginning_offsets(partitions), await reader.end_offsets(partitions)
    for tp in partitions:
        first[tp] = max(first[tp], (start or {}).get(tp, 0))
        ends[tp] = min(ends[tp], (end or {}).get(tp, ends[tp]))
        # Not seek_to_beginning(): the reset that assign() starts may complete after it and set another position.
        reader.seek(tp, first[tp])
    while [tp for tp in partitions if await reader.position(tp) < ends[tp]]:
        for tp, records in (await reader.getmany(*partitions, timeout_ms=500)).items():
            for record in records:
                if first[tp] <= record.offset < ends[tp]:
                    yield record


async def require_topics(settings: Settings, needed: Collection[topics.Topic]) -> None:
    """Checks that the broker answers and shows the topics.

    Raises:
        KafkaUnreachable: the broker does not answer within ten seconds.
        TopicsMissing: a topic is missing, or this user may not see it.
    """
    try:
        with silent_client():  # the error below says the same in one line
            async with (
                asyncio.timeout(REQUIRE_SECONDS),
                connected(AIOKafkaConsumer(bootstrap_servers=settings.kafka, **security(settings))) as probe,
            ):
                present = await probe.topics()
    except (KafkaError, OSError, TimeoutError):
        raise unreachable(settings) from None
    if not {settings.topic(topic.name) for topic in needed} <= present:
        raise TopicsMissing


@contextlib.contextmanager
def silent_client() -> Iterator[None]:
    """Drops the log records of aiokafka meanwhile. Afterwards its logger has its former level again."""
    client = logging.getLogger("aiokafka")
    level = client.level
    client.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        client.setLevel(level)
