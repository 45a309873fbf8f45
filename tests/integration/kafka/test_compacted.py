"""A ledger on a real Kafka returns everything that was written to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ninezero.streams import settings
from ninezero.streams.errors import UserError
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.compacted import CompactedTable
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
        held: dict[bytes, bytes] = {}
        for n in range(10):
            some = {f"{n}.{m}".encode(): b"x" * 500 for m in range(n * 300)}
            held |= some
            await ledger.write(1, list(some.items()))
            assert await ledger.read(1) == held, n
        await ledger.write(1, [(b"9.7", None), (b"9.8", b"new")])
        del held[b"9.7"]
        held[b"9.8"] = b"new"
        assert await ledger.read(1) == held
        assert await ledger.read(0) == {}
        with pytest.raises(UserError):
            await ledger.read(2)
        await writer.stop()

    asyncio.run(write_and_read())
