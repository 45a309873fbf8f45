"""The sink on a real ClickHouse server that is away, silent, closed to us, or without a table."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from schemas.rows import DeadLetterRow, SiteRow
from streams import clickhouse, sink
from streams.chunks import Chunk, Ledger
from streams.clickhouse import ClickHouseDenied, ClickHouseError
from streams.sink import Sink
from tests.faults.proxy import Link
from tests.support import ClickHouseServer, free_port

pytestmark = pytest.mark.server
SITES = ("sites", {"site_register": [SiteRow("s1", "road", "370115", 1, 1)]})
LETTERS = ("letters", {"dead_letter_facts": [DeadLetterRow(0, "t", 0, 1, "00", "not_json", 0)]})


def chunk(topic: str) -> Chunk:
    ledger = Ledger()
    made = Chunk(TP(topic, 0), [SimpleNamespace(offset=0, value=b"")], ledger)
    ledger.deliver(made)
    return made


def done(one: Chunk) -> bool:
    return one.ledger.watermark == one.next


def sink_to(url: str) -> Sink:
    """A sink whose consumer has nothing assigned."""
    idle: Any = SimpleNamespace(assignment=set, ledgers={})
    return Sink(url, lambda topic: "id", lambda engine, rows: None, lambda: idle)


@contextlib.asynccontextmanager
async def running(made: Sink) -> AsyncIterator[Sink]:
    await made.start()
    work = asyncio.create_task(made.run())
    yield made
    work.cancel()
    await made.stop()


async def until(condition: Any, seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


def test_a_server_that_is_away_at_the_start_is_waited_for(clickhouse_server: ClickHouseServer) -> None:
    clickhouse_server.kill()

    async def check() -> None:
        async with running(sink_to(clickhouse_server.url)) as made:
            one = chunk(SITES[0])
            await made.put(one, SITES[1])
            await asyncio.sleep(1.5)
            assert not done(one)
            await asyncio.to_thread(clickhouse_server.start)
            await until(lambda: done(one))

    asyncio.run(check())


def test_a_missing_table_holds_up_its_own_topic_only(clickhouse_server: ClickHouseServer) -> None:
    engine = clickhouse.connect(clickhouse_server.url)

    async def check() -> None:
        async with running(sink_to(clickhouse_server.url)) as made:
            engine.execute("RENAME TABLE ninezero_data.site_register TO ninezero_data.away")
            held, free = chunk(SITES[0]), chunk(LETTERS[0])
            await made.put(held, SITES[1])
            await made.put(free, LETTERS[1])
            await until(lambda: done(free))
            assert not done(held)
            engine.execute("RENAME TABLE ninezero_data.away TO ninezero_data.site_register")
            await until(lambda: done(held))

    asyncio.run(check())
    assert engine.query("SELECT site_id FROM ninezero.sites") == [{"site_id": "s1"}]
    engine.close()


def test_a_full_buffer_of_one_topic_leaves_room_for_another(
    clickhouse_server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "MAX_BUFFERED_ROWS", 1)

    async def check() -> None:
        made = sink_to(clickhouse_server.url)  # nothing flushes it
        await made.put(chunk(SITES[0]), SITES[1])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(made.put(chunk(SITES[0]), SITES[1]), 0.2)
        await asyncio.wait_for(made.put(chunk(LETTERS[0]), LETTERS[1]), 0.2)

    asyncio.run(check())


def test_a_server_that_falls_silent_is_given_up_and_called_again(
    clickhouse_server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clickhouse, "ANSWER_SECONDS", 1)
    link = Link(clickhouse_server.port)

    async def check() -> None:
        async with running(sink_to(f"clickhouse://default@127.0.0.1:{link.port}")) as made:
            link.silent = True
            one = chunk(SITES[0])
            await made.put(one, SITES[1])
            await asyncio.sleep(2)
            link.silent = False  # and the connection that hangs stays dead
            await until(lambda: done(one))

    asyncio.run(check())
    link.close()


def test_a_database_that_hangs_does_not_keep_the_process_from_ending(
    clickhouse_server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "STOP_SECONDS", 0.5)
    monkeypatch.setattr(clickhouse, "ANSWER_SECONDS", 4)
    link = Link(clickhouse_server.port)

    async def check() -> None:
        async with running(sink_to(f"clickhouse://default@127.0.0.1:{link.port}")) as made:
            link.silent = True
            await made.put(chunk(SITES[0]), SITES[1])
            await asyncio.sleep(1.5)
            began = time.monotonic()
        assert time.monotonic() - began < 2

    asyncio.run(check())
    link.close()


def test_an_account_that_the_server_does_not_know_stops_the_start(clickhouse_server: ClickHouseServer) -> None:
    with pytest.raises(ClickHouseDenied):
        asyncio.run(sink_to(f"clickhouse://nobody:wrong@127.0.0.1:{clickhouse_server.port}").start())


def test_an_embedded_database_that_cannot_be_opened_stops_the_start() -> None:
    with pytest.raises(ClickHouseError):
        asyncio.run(sink_to("chdb:///proc/none").start())


def test_nobody_at_the_address_does_not_stop_the_start() -> None:
    asyncio.run(sink_to(f"clickhouse://default@127.0.0.1:{free_port()}").start())
