"""Queries from outside on the embedded engine: they read tables and views within limits, and never stop recording."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ninezero.agents.roles.http.server import offer_embedded_database, serve
from ninezero.agents.roles.role import Role
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import ClickHouseError, Embedded
from ninezero.streams.clickhouse.read_only import READ_LIMITS, check_read_only, with_remedy
from ninezero.streams.clickhouse.threaded_connection import ThreadedConnection
from ninezero.streams.settings import ROLES, load
from tests.support import free_port

TABLE = "ninezero_data.site_register"
SITES = f"SELECT count() AS n FROM {TABLE}"
ENDLESS = "SELECT count() AS n FROM numbers(1000000) AS a CROSS JOIN numbers(1000000) AS b"

WRITES = (
    f"SELECT 1 PARALLEL WITH TRUNCATE TABLE {TABLE}",
    f"SELECT 1 PARALLEL/**/WITH TRUNCATE TABLE {TABLE}",
    f"TRUNCATE TABLE {TABLE} PARALLEL WITH TRUNCATE TABLE {TABLE}",
    f"EXPLAIN SELECT 1 PARALLEL WITH DROP TABLE {TABLE}",
    f"SELECT 1; TRUNCATE TABLE {TABLE}",
    f"WITH 1 AS x INSERT INTO {TABLE} SELECT x",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS max_execution_time = 0",
    "SELECT 1 SETTINGS max_result_rows = 0",
)
OUTSIDE = (
    "SELECT * FROM file('{file}', 'LineAsString')",
    "SELECT * FROM `file`('{file}', 'LineAsString')",
    "SELECT * FROM file/**/('{file}', 'LineAsString')",
    "SELECT * FROM '{file}'",
    "SELECT * FROM `{file}`",
    "DESCRIBE file('{file}', 'CSVWithNames')",
    "DESCRIBE TABLE /**/ file('{file}', 'CSVWithNames')",
    "DESC /* file */ TABLE\nfile -- of secrets\n('{file}', 'CSVWithNames')",
    "EXPLAIN SELECT * FROM file('{file}', 'LineAsString')",
    "SELECT 1 IN (SELECT * FROM file('{file}', 'LineAsString'))",
    "SELECT * FROM url('{address}', 'CSV', 'x String')",
    "DESCRIBE url('{address}')",
    "DESCRIBE TABLE url('{address}', 'CSVWithNames')",
    "DESCRIBE s3('{address}bucket/x.csv', 'CSVWithNames')",
    "SELECT * FROM s3('{address}bucket/x.csv', 'CSV', 'x String')",
    "SELECT * FROM remote('{host}', 'ninezero_data', 'site_register')",
    "SELECT * FROM mysql('{host}', 'a', 'b', 'c', 'd')",
    "SELECT * FROM executable('id', 'CSV', 'x String')",
    "SELECT * FROM Python(secret)",
)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port that no query may reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


async def refused(connection: ThreadedConnection, sql: str) -> str:
    """Returns why a query is refused, empty if it is not."""
    try:
        await connection.read_embedded(sql)
    except ClickHouseError as error:
        return str(error)
    return ""


def test_a_query_neither_writes_nor_reads_files_or_the_network(tmp_path: Path, listener: socket.socket) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("hidden\n1\n")
    host = f"127.0.0.1:{listener.getsockname()[1]}"
    places = {"file": str(secret), "host": host, "address": f"http://{host}/"}
    outfile = tmp_path / "out.csv"

    async def work() -> None:
        connection = ThreadedConnection(f"chdb://{tmp_path / 'data'}", "Asia/Shanghai")
        await connection.execute(f"INSERT INTO {TABLE} (site_id) SELECT 's'")
        attacks = [*WRITES, *(sql.format(**places) for sql in OUTSIDE), f"SELECT 1 INTO OUTFILE '{outfile}'"]
        reasons = {sql: await refused(connection, sql) for sql in attacks}
        assert [sql for sql, why in reasons.items() if not why] == []
        assert [why for why in reasons.values() if "hidden" in why or "\n" in why] == []
        assert json.loads(await connection.read_embedded(SITES)) == [{"n": 1}]
        await connection.close()

    asyncio.run(work())
    assert not outfile.exists()
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_the_engine_refuses_to_write_whatever_the_check_lets_through(tmp_path: Path) -> None:
    with closing(Embedded(tmp_path / "data")) as engine:
        clickhouse.migrate(engine)
        engine.execute(f"INSERT INTO {TABLE} (site_id) SELECT 's'")
        for sql in [sql for sql in WRITES if ";" not in sql] + [OUTSIDE[0].format(file="/etc/passwd")]:
            with pytest.raises(ClickHouseError):
                engine.read(sql)
        assert engine.read(SITES) == [{"n": 1}]


def test_recording_goes_on_during_a_long_query_and_a_stop_ends_it(tmp_path: Path) -> None:
    async def work() -> None:
        connection = ThreadedConnection(f"chdb://{tmp_path}", "Asia/Shanghai")
        await connection.query(SITES)
        endless = asyncio.create_task(connection.read_embedded(ENDLESS))
        running = (
            "SELECT count() AS n FROM system.processes WHERE query LIKE '%CROSS JOIN%' AND query NOT LIKE '%LIKE%'"
        )
        while (await connection.query(running))[0]["n"] == 0:
            await asyncio.sleep(0.01)
        for n in range(20):
            await connection.call(lambda engine, n=n: engine.insert(TABLE, ["site_id"], [(f"s{n}",)]))
        assert (await connection.query(SITES))[0]["n"] == 20
        assert not endless.done(), "the inserts did not wait for the query"
        await connection.close()
        with pytest.raises(ClickHouseError, match="cancelled"):
            await endless

    asyncio.run(work())


def test_another_process_reads_through_the_worker_that_holds_the_database(tmp_path: Path) -> None:
    url, port = f"chdb://{tmp_path / 'data'}", free_port(len(ROLES))
    settings = load({"NINEZERO_KAFKA": "127.0.0.1:1", "NINEZERO_CLICKHOUSE": url, "NINEZERO_ORDER": "O-1",
                     "NINEZERO_SUNSET": "2099-01-01T00:00:00+08:00", "NINEZERO_HTTP": f"127.0.0.1:{port}"})  # fmt: skip

    async def work() -> None:
        role = Role("recording", settings)
        connection = ThreadedConnection(url, "Asia/Shanghai")
        await connection.execute(f"INSERT INTO {TABLE} (site_id) SELECT 's\u00851'")
        offer_embedded_database(role, connection)
        await serve(role)
        proxy = clickhouse.connect(url)
        assert isinstance(proxy, clickhouse.EmbeddedProxy)
        for read in (proxy.query, proxy.read):
            assert await asyncio.to_thread(read, f"SELECT site_id FROM {TABLE}") == [{"site_id": "s\x851"}]
        await asyncio.to_thread(proxy.execute, f"TRUNCATE TABLE {TABLE}")
        assert await asyncio.to_thread(proxy.read, f"SELECT site_id FROM {TABLE}") == []
        for sql in (WRITES[0], OUTSIDE[0], "DESCRIBE TABLE url('http://127.0.0.1:1/')"):
            with pytest.raises(ClickHouseError, match=r"^(queries read|only one statement)[^\n]*$"):
                await asyncio.to_thread(proxy.read, sql)
        with pytest.raises(ClickHouseError, match="FORMAT"):
            await asyncio.to_thread(proxy.read, "SELECT 1 FORMAT/**/CSV")
        with pytest.raises(ClickHouseError) as error:
            await asyncio.to_thread(proxy.read, "SELECT number FROM numbers(2000000)")
        assert "add LIMIT" in str(with_remedy(error.value))
        await role.stop_components()
        await connection.close()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("limit", "value", "sql", "message"),
    [
        ("max_execution_time", 1, ENDLESS, "took longer"),
        ("max_memory_usage", 50_000_000, "SELECT length(groupArray(number)) FROM numbers(100000000)", "more memory"),
        ("max_result_rows", 1000, "SELECT number FROM numbers(1001)", "add LIMIT"),
        ("max_result_bytes", 1000, "SELECT number FROM numbers(1000)", "add LIMIT"),
        ("max_result_rows", 1000, "SELECT 1 SETTINGS max_result_rows = 2000", "may not change limits"),
    ],
)
def test_a_query_beyond_a_limit_is_ended_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, sql: str, message: str
) -> None:
    monkeypatch.setitem(READ_LIMITS, limit, value)
    with closing(Embedded(tmp_path)) as engine:
        with pytest.raises(ClickHouseError) as error:
            engine.read(sql)
        assert message in str(with_remedy(error.value))
        assert engine.read("SELECT 1 AS n") == [{"n": 1}]


def test_rows_with_any_text_are_read_and_a_format_is_refused(tmp_path: Path) -> None:
    with closing(Embedded(tmp_path)) as engine:
        text = "SELECT arrayJoin(['a\u0085b', 'c\u2028d', 'e\\nf']) AS t"
        assert {row["t"] for row in engine.read(text)} == {"a\x85b", "c\u2028d", "e\nf"}
        assert engine.read("SELECT 1 AS n WHERE 0") == []
        with pytest.raises(ClickHouseError, match="FORMAT"):
            engine.read("SELECT 1, 2 FORMAT CSV")
    with pytest.raises(ClickHouseError, match="--format"):
        check_read_only("SELECT 1 FORMAT CSV;")


@pytest.mark.parametrize(
    "sql",
    [
        "DESCRIBE TABLE ninezero.sites;", "desc ninezero.`sites`", "SELECT format('{}', 1)", "SHOW TABLES FROM ninezero",
        "SELECT file FROM t WHERE url IN ('a') ORDER BY file DESC", "SELECT * FROM numbers(3)", "SELECT profile(1)",
    ],
)  # fmt: skip
def test_a_query_of_tables_and_views_is_accepted(sql: str) -> None:
    check_read_only(sql)
