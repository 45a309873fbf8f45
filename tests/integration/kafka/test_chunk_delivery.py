"""The transport delivers the records of a real partition, and delivers them again after a seek."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.transport.app import App
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
        app = App(
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


def test_a_partition_that_ends_with_a_transaction_marker_is_committed_up_to_its_end(kafka: Broker) -> None:
    name = f"marked-{time.time_ns()}"
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        admin.create_topics([NewTopic(name, 2, 1)])
        seen: list[bytes] = []

        async def run(*, finish: bool, done: Callable[[], bool]) -> None:
            app = App(
                name, broker=f"chunks://{kafka.bootstrap}", consumer_auto_offset_reset="earliest", topic_disable_leader=True,
                broker_commit_interval=0.2,
            )  # fmt: skip

            async def collect(stream: Any) -> None:
                async for chunk in chunks(stream):
                    seen.extend(chunk.values)
                    if finish:
                        chunk.done()

            app.agent(app.topic(name, schema=RawSchema()), concurrency=1)(collect)
            await app.start()
            try:
                await _until(done)
                await asyncio.sleep(0 if finish else 2)
            finally:
                await app.stop()

        def committed() -> dict[int, int]:
            found = admin.list_group_offsets([name])[name]
            return {tp.partition: int(at.offset) for tp, at in found.items()}

        def transaction(producer: KafkaProducer, *values: bytes, commit: bool = True) -> None:
            producer.begin_transaction()
            for value in values:
                producer.send(name, value, partition=0)
            producer.flush()
            producer.commit_transaction() if commit else producer.abort_transaction()

        with KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=name) as producer:
            producer.init_transactions()
            transaction(producer, b"a", b"b")
            asyncio.run(run(finish=False, done=lambda: len(seen) == 2))
            assert committed().get(0, 0) == 0, "an unfinished chunk is never passed"
            asyncio.run(run(finish=True, done=lambda: committed().get(0) == 3))
            transaction(producer, b"never", commit=False)
            asyncio.run(run(finish=True, done=lambda: committed().get(0) == 5))
            transaction(producer, b"c")
            asyncio.run(run(finish=True, done=lambda: committed().get(0) == 7))
    assert seen == [b"a", b"b", b"a", b"b", b"c"]


async def _until(done: Any) -> None:
    async with asyncio.timeout(60):
        while not done():
            await asyncio.sleep(0.05)
