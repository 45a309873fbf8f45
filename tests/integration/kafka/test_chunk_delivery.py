"""The transport delivers the records of a real partition, and delivers them again after a seek."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import faust
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.transport.consumer import RawSchema, chunks


def test_records_that_were_fetched_and_dropped_are_read_again_without_a_committed_offset(kafka: Broker) -> None:
    name = f"fresh-{time.time_ns()}"
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        admin.create_topics([NewTopic(name, 1, 1)])
    with KafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        for n in range(10):
            producer.send(name, b"%d" % n).get(timeout=30)
    seen: list[int] = []
    held = []

    async def run() -> None:
        app = faust.App(
            name, broker=f"chunks://{kafka.bootstrap}", consumer_auto_offset_reset="earliest", topic_disable_leader=True
        )  # fmt: skip

        async def collect(stream: Any) -> None:
            async for chunk in chunks(stream):
                held.append(chunk)
                seen.extend(record.offset for record in chunk.records)

        app.agent(app.topic(name, schema=RawSchema()), concurrency=1)(collect)
        await app.start()
        try:
            await _until(lambda: len(seen) == 10)
            await app.consumer.perform_seek()
            await _until(lambda: len(seen) == 20)
        finally:
            for chunk in held:
                chunk.done()
            await app.stop()

    asyncio.run(run())
    assert seen == [*range(10), *range(10)]


async def _until(done: Any) -> None:
    async with asyncio.timeout(60):
        while not done():
            await asyncio.sleep(0.05)
