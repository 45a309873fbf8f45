"""A ledger on a real Kafka returns everything that was written to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ninezero.streams import settings
from ninezero.streams.errors import UserError
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.compacted import CompactedTable
from ninezero.streams.kafka.records import OutgoingRecord, internal_record
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.local_kafka.broker import Broker
from tests.support import System


def test_a_partition_is_read_completely_and_without_deleted_keys(kafka: Broker, tmp_path: Path) -> None:
    system = System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path)
    system.run("topics", "create", "--partitions", "2")

    async def write_and_read() -> None:
        given = settings.load(system.env)
        writer = Writer(given)
        await writer.start()
        ledger = CompactedTable(given, writer, topics.QUARANTINE_LEDGER)
        held: dict[bytes, str] = {}
        for n in range(10):
            alerts = [f"{n:016x}{m:016x}" for m in range(n * 300)]
            some = {f"{'c' * 400}|!|{alert}".encode(): alert for alert in alerts}
            held |= some
            await ledger.write(1, [internal_record(topics.QUARANTINE_LEDGER, *one) for one in some.items()])
            assert await ledger.read(1) == held, n
        await ledger.write(1, [OutgoingRecord(topics.QUARANTINE_LEDGER, key, None) for key in list(held)[7:9]])
        for key in list(held)[7:9]:
            del held[key]
        assert await ledger.read(1) == held
        assert await ledger.read(0) == {}
        with pytest.raises(UserError):
            await ledger.read(2)
        await writer.stop()

    asyncio.run(write_and_read())
