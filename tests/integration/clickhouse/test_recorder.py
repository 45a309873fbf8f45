"""The recorder on a real ClickHouse server that is down, hangs, rejects the account, is full, or has lost data."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP
from kafka.admin import KafkaAdminClient, NewTopic

from ninezero.agents.recording import recorder as recorder_module
from ninezero.agents.recording.recorder import Recorder
from ninezero.schemas.rows import DeadLetterRow, SiteRow
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import ClickHouseDenied, ClickHouseError, threaded_connection, topic_buffer
from ninezero.streams.clickhouse.threaded_connection import ThreadedConnection
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.transport.offset_tracker import Chunk, OffsetTracker
from tests.engines.clickhouse_server import PASSWORD, ClickHouseServer
from tests.faults.proxy import Link
from tests.support import free_port

pytestmark = pytest.mark.server
SITES = ("sites", {"site_register": [SiteRow("s1", "road", "370115", 1, 1)]})
LETTERS = ("letters", {"dead_letter_facts": [DeadLetterRow(0, "t", 0, 1, "00", "not_json", 0)]})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens the flush interval and the pauses to a tenth."""
    monkeypatch.setattr(recorder_module, "FLUSH_SECONDS", 0.1)
    monkeypatch.setattr(topic_buffer, "LAST_RETRY_SECONDS", 1.0)


def chunk(topic: str, value: bytes = b"") -> Chunk:
    tracker = OffsetTracker()
    new_chunk = Chunk(TP(topic, 0), [SimpleNamespace(offset=0, value=value)], tracker)
    tracker.deliver(new_chunk)
    return new_chunk


def done(one: Chunk) -> bool:
    return one.tracker.watermark == one.next


async def no_offsets(tps: list[TP]) -> dict[TP, int]:
    return {}


def recorder_on(url: str, consumer: Any = None) -> Recorder:
    """A recorder; without a consumer, one that has no partition assigned."""
    idle: Any = SimpleNamespace(assignment=set, trackers={}, topic_ids={}, end_offsets=no_offsets)
    writer: Any = None  # nothing here is of a sealed day
    return Recorder(ThreadedConnection(url, "Asia/Shanghai"), consumer or idle, writer, "Asia/Shanghai", {})


@contextlib.asynccontextmanager
async def running(recorder: Recorder) -> AsyncIterator[Recorder]:
    await recorder.start()
    work = asyncio.create_task(recorder.run())
    yield recorder
    work.cancel()
    await recorder.stop()


async def until(condition: Any, seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


def test_a_server_that_is_down_at_the_start_is_waited_for(clickhouse_server: ClickHouseServer) -> None:
    clickhouse_server.kill()

    async def check() -> None:
        async with running(recorder_on(clickhouse_server.url)) as recorder:
            one = chunk(SITES[0])
            await recorder.append(one, SITES[1])
            await asyncio.sleep(1.5)
            assert not done(one)
            await asyncio.to_thread(clickhouse_server.start)
            await until(lambda: done(one))

    asyncio.run(check())


def test_a_table_that_rejects_rows_stops_only_the_topics_that_write_into_it(
    clickhouse_server: ClickHouseServer,
) -> None:
    engine = clickhouse.connect(clickhouse_server.url)

    async def check() -> None:
        async with running(recorder_on(clickhouse_server.url)) as recorder:
            engine.execute("ALTER TABLE ninezero_data.site_register RENAME COLUMN capacity TO away")
            held, free = chunk(SITES[0]), chunk(LETTERS[0])
            await recorder.append(held, SITES[1])
            await recorder.append(free, LETTERS[1])
            await until(lambda: done(free))
            assert not done(held)
            engine.execute("ALTER TABLE ninezero_data.site_register RENAME COLUMN away TO capacity")
            await until(lambda: done(held))

    asyncio.run(check())
    assert engine.query("SELECT site_id FROM ninezero.sites") == [{"site_id": "s1"}]
    engine.close()


def test_a_full_buffer_of_one_topic_does_not_stop_another(
    clickhouse_server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "MAX_BUFFERED_ROWS", 1)

    async def check() -> None:
        recorder = recorder_on(clickhouse_server.url)  # nothing flushes it
        await recorder.append(chunk(SITES[0]), SITES[1])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(recorder.append(chunk(SITES[0]), SITES[1]), 0.2)
        await asyncio.wait_for(recorder.append(chunk(LETTERS[0]), LETTERS[1]), 0.2)

    asyncio.run(check())


def test_records_that_fill_half_of_what_may_be_in_flight_are_flushed_immediately(
    clickhouse_server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a rebuild would wait most of its time for the next flush."""
    monkeypatch.setattr(recorder_module, "FLUSH_SECONDS", 60.0)
    monkeypatch.setattr(recorder_module, "FLUSH_BYTES", 10)

    async def check() -> None:
        async with running(recorder_on(clickhouse_server.url)) as recorder:
            first, second = chunk(LETTERS[0], bytes(9)), chunk(LETTERS[0], bytes(1))
            await recorder.append(first, LETTERS[1])
            await asyncio.sleep(0.5)
            assert not done(first)
            await recorder.append(second, LETTERS[1])
            await until(lambda: done(first) and done(second))

    asyncio.run(check())


def test_the_connection_to_a_server_that_hangs_is_replaced(clickhouse_server: ClickHouseServer) -> None:
    link = Link(clickhouse_server.port, clickhouse_server.host)

    async def check() -> None:
        async with running(
            recorder_on(f"{clickhouse_server.url_through(link.port)}?send_receive_timeout=1")
        ) as recorder:
            link.silent = True
            one = chunk(SITES[0])
            await recorder.append(one, SITES[1])
            await asyncio.sleep(2)
            link.silent = False  # the old connection stays dead
            await until(lambda: done(one))

    asyncio.run(check())
    link.close()


def test_a_server_that_hangs_does_not_delay_the_end_of_the_process(
    clickhouse_server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threaded_connection, "CLOSE_SECONDS", 0.5)
    link = Link(clickhouse_server.port, clickhouse_server.host)

    async def check() -> None:
        async with running(
            recorder_on(f"{clickhouse_server.url_through(link.port)}?send_receive_timeout=4")
        ) as recorder:
            link.silent = True
            await recorder.append(chunk(SITES[0]), SITES[1])
            await asyncio.sleep(1.5)
            began = time.monotonic()
        assert time.monotonic() - began < 2

    asyncio.run(check())
    link.close()


def test_an_unknown_account_stops_the_start(clickhouse_server: ClickHouseServer) -> None:
    with pytest.raises(ClickHouseDenied):
        asyncio.run(recorder_on(clickhouse_server.url_of("nobody", "wrong")).start())


def test_an_embedded_database_that_cannot_be_opened_stops_the_start() -> None:
    with pytest.raises(ClickHouseError):
        asyncio.run(recorder_on("chdb:///proc/none").start())


def test_an_address_without_a_server_does_not_stop_the_start() -> None:
    asyncio.run(recorder_on(f"clickhouse://default@127.0.0.1:{free_port()}").start())


def killed(server: ClickHouseServer) -> Callable[[], None]:
    server.kill()
    return server.start


def read_only(server: ClickHouseServer) -> Callable[[], None]:
    server.set_readonly(True)
    return lambda: server.set_readonly(False)


def with_wrong_password(server: ClickHouseServer) -> Callable[[], None]:
    server.set_password("another")
    return lambda: server.set_password(PASSWORD)


def without_column(server: ClickHouseServer) -> Callable[[], None]:
    _statement(server, "ALTER TABLE ninezero_data.site_register RENAME COLUMN capacity TO away")
    return lambda: _statement(server, "ALTER TABLE ninezero_data.site_register RENAME COLUMN away TO capacity")


def without_table(server: ClickHouseServer) -> Callable[[], None]:
    _statement(server, "DROP TABLE ninezero_data.site_register")
    return lambda: None  # the recorder creates it again


def without_progress(server: ClickHouseServer) -> Callable[[], None]:
    _statement(server, "DROP TABLE ninezero_data.recorder_progress")
    return lambda: None  # the recorder creates it again


def too_many_parts(server: ClickHouseServer) -> Callable[[], None]:
    table = "ninezero_data.site_register"
    _statement(server, f"SYSTEM STOP MERGES {table}")
    _statement(server, f"ALTER TABLE {table} MODIFY SETTING parts_to_delay_insert = 0, parts_to_throw_insert = 1")
    for number in range(2):
        with contextlib.suppress(ClickHouseError):
            _statement(server, f"INSERT INTO {table} SELECT 'x', 'road', '370115', 1, {number}")

    def restore() -> None:
        _statement(server, f"ALTER TABLE {table} RESET SETTING parts_to_delay_insert, parts_to_throw_insert")
        _statement(server, f"SYSTEM START MERGES {table}")

    return restore


def _statement(server: ClickHouseServer, sql: str) -> None:
    engine = clickhouse.connect(server.url)
    with contextlib.closing(engine):
        engine.execute(sql)


@pytest.mark.parametrize(
    ("disturb", "cause"),
    [
        (killed, "Connection refused"),
        (read_only, "readonly"),
        (with_wrong_password, "assword"),
        (without_column, "No such column"),
        (without_table, ""),
        (without_progress, ""),
        (too_many_parts, "Too many parts"),
    ],
)
def test_a_rejected_insert_is_repeated_until_it_succeeds(
    clickhouse_server: ClickHouseServer, caplog: pytest.LogCaptureFixture, disturb: Any, cause: str
) -> None:
    async def check() -> None:
        async with running(recorder_on(clickhouse_server.url)) as recorder:
            chunks = [chunk(SITES[0])]
            await recorder.append(chunks[0], SITES[1])
            await until(lambda: done(chunks[0]))
            restore = await asyncio.to_thread(disturb, clickhouse_server)
            async with asyncio.timeout(40):
                while cause not in caplog.text or len(chunks) < 2:
                    chunks.append(chunk(SITES[0]))
                    await recorder.append(chunks[-1], SITES[1])
                    await recorder._connection.call(
                        lambda engine: engine.close()
                    )  # rights of an account change with the next connection
                    await asyncio.sleep(0.2)
            assert not cause or not done(chunks[-1])
            await asyncio.to_thread(restore)
            await until(lambda: all(map(done, chunks)), 40)

    asyncio.run(check())
    assert "Traceback" not in caplog.text


def test_a_lost_reply_loses_no_row(clickhouse_server: ClickHouseServer) -> None:
    link = Link(clickhouse_server.port, clickhouse_server.host)

    async def check() -> None:
        async with running(recorder_on(clickhouse_server.url_through(link.port))) as recorder:
            one = chunk(SITES[0])
            link.lose_reply()
            rows = [SiteRow(f"s{n}", "road", "370115", 1, 1) for n in range(500)]
            await recorder.append(one, {"site_register": rows})
            await until(lambda: done(one), 40)

    asyncio.run(check())
    assert link.replies_lost == 1
    engine = clickhouse.connect(clickhouse_server.url)
    assert engine.query("SELECT count() AS n FROM ninezero.sites") == [{"n": 500}]
    engine.close()
    link.close()


def test_a_broker_that_cannot_tell_the_oldest_offset_is_asked_again(
    clickhouse_server: ClickHouseServer, kafka: Broker
) -> None:
    """The chunk begins after what is recorded, so the recorder asks Kafka for its oldest record. The topic does not exist yet."""
    topic, rewound = f"late-{time.time_ns()}", []

    async def check() -> None:
        reader = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, request_timeout_ms=1000, metadata_max_age_ms=500)
        await reader.start()
        consumer: Any = SimpleNamespace(
            assignment=set, trackers={}, topic_ids={topic: "id"}, end_offsets=no_offsets, rewind=lambda tp, offset: rewound.append((tp, offset)),
            earliest_offsets=lambda *tps: reader.beginning_offsets([TopicPartition(*tp) for tp in tps]),
        )  # fmt: skip
        async with running(recorder_on(clickhouse_server.url, consumer)) as recorder:
            one = Chunk(TP(topic, 0), [SimpleNamespace(offset=5, value=b"")], OffsetTracker())
            one.tracker.deliver(one)
            await recorder.append(one, SITES[1])
            await asyncio.sleep(1.5)
            assert not rewound and not done(one)
            with contextlib.closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
                admin.create_topics([NewTopic(topic, 1, 1)])
            await until(lambda: rewound, 40)
            assert not done(one)
        await reader.stop()

    asyncio.run(check())
    assert rewound == [(TP(topic, 0), 0)]
