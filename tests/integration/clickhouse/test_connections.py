"""Connections to ClickHouse: settings, queries that cannot write, several hosts, versions, on a server and embedded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import ClickHouseDenied, ClickHouseError, Engine, server
from ninezero.streams.clickhouse.engine import SETTINGS
from ninezero.streams.clickhouse.read_only import READ_LIMITS, with_remedy
from tests.engines.clickhouse_server import ClickHouseServer, start_server

pytestmark = pytest.mark.server

TABLE = "CREATE TABLE IF NOT EXISTS ninezero_data.numbers (n UInt64) ENGINE = MergeTree ORDER BY n"
COUNT = "SELECT count() AS n FROM ninezero_data.numbers"
WRITES = (
    "SELECT 1 PARALLEL WITH TRUNCATE TABLE ninezero_data.numbers",
    "TRUNCATE TABLE ninezero_data.numbers PARALLEL WITH TRUNCATE TABLE ninezero_data.numbers",
    "ALTER TABLE ninezero_data.numbers DELETE WHERE 1",
    "DROP TABLE ninezero_data.numbers",
    "INSERT INTO ninezero_data.numbers SELECT 2",
    "SET readonly = 0",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS max_memory_usage = 0",
)


@pytest.fixture(params=["server", "embedded"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A connection to a database with one table of one row."""
    url = f"chdb://{tmp_path}" if request.param == "embedded" else request.getfixturevalue("clickhouse_server").url
    with closing(clickhouse.connect(url)) as connection:
        connection.execute("CREATE DATABASE IF NOT EXISTS ninezero_data")
        connection.execute(TABLE)
        connection.execute("TRUNCATE TABLE ninezero_data.numbers")
        connection.insert("ninezero_data.numbers", ["n"], [(1,)])
        yield connection
        connection.execute("DROP TABLE ninezero_data.numbers")


def test_a_query_from_outside_cannot_write_and_has_limits(engine: Engine) -> None:
    for sql in WRITES:
        with pytest.raises(ClickHouseError):
            engine.read(sql)
    assert int(engine.read(COUNT)[0]["n"]) == 1
    names = ", ".join(f"'{name}'" for name in READ_LIMITS)
    limits = engine.read(f"SELECT name, value FROM system.settings WHERE name IN ({names})")
    assert {row["name"]: int(row["value"]) for row in limits} == READ_LIMITS
    engine.insert("ninezero_data.numbers", ["n"], [(2,)])
    assert int(engine.query(COUNT)[0]["n"]) == 2


@pytest.mark.parametrize(
    ("limit", "value", "sql", "message"),
    [
        ("max_execution_time", 1, "SELECT count() FROM numbers(1000000) AS a, numbers(1000000) AS b", "took longer"),
        ("max_memory_usage", 50_000_000, "SELECT length(groupArray(number)) FROM numbers(100000000)", "more memory"),
        ("max_result_rows", 1000, "SELECT number FROM numbers(1001)", "add LIMIT"),
        ("max_execution_time", 1, "SELECT 1 SETTINGS max_execution_time = 9", "may not change limits"),
    ],
)
def test_a_query_from_outside_beyond_a_limit_is_ended_with_what_to_do(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, sql: str, message: str
) -> None:
    monkeypatch.setitem(READ_LIMITS, limit, value)
    if isinstance(engine, server.Server):
        engine.close()  # the next connection has the new limit
    with pytest.raises(ClickHouseError) as error:
        engine.read(sql)
    assert message in str(with_remedy(error.value))
    assert int(engine.read(COUNT)[0]["n"]) == 1


def test_the_keys_of_a_lookup_find_their_rows(engine: Engine) -> None:
    engine.insert("ninezero_data.numbers", ["n"], [(n,) for n in range(2, 1000)])
    sql = "SELECT toString(n) AS n FROM ninezero_data.numbers WHERE toString(n) IN (SELECT key FROM keys) ORDER BY n"
    assert [row["n"] for row in engine.lookup(sql, ["11", "7", "it's", "a\\b"])] == ["11", "7"]
    assert engine.lookup("SELECT key FROM keys ORDER BY key", ["it's", "a\\b"]) == [{"key": "a\\b"}, {"key": "it's"}]
    assert engine.lookup(sql, []) == []


def test_the_server_never_sees_the_keys_of_a_lookup_in_a_statement(clickhouse_server: ClickHouseServer) -> None:
    sql = "SELECT key, p.query AS query FROM keys CROSS JOIN (SELECT query FROM system.processes) AS p"
    with closing(clickhouse.connect(clickhouse_server.admin_url)) as administrator:
        rows = administrator.lookup(sql, ["c.secret"])
    assert {row["key"] for row in rows} == {"c.secret"}
    assert any("system.processes" in row["query"] for row in rows)
    assert not [row["query"] for row in rows if "c.secret" in row["query"]]


def test_every_connection_has_our_settings_whatever_the_defaults(engine: Engine) -> None:
    names = ", ".join(f"'{name}'" for name in SETTINGS)
    found = engine.query(f"SELECT name, value FROM system.settings WHERE name IN ({names})")
    assert {row["name"]: int(row["value"]) for row in found} == SETTINGS


def test_an_insert_of_years_of_days_is_one_insert(engine: Engine) -> None:
    engine.execute(
        "CREATE OR REPLACE TABLE ninezero_data.days (day Date) ENGINE = MergeTree PARTITION BY day ORDER BY day"
    )
    engine.execute("INSERT INTO ninezero_data.days SELECT toDate('2024-01-01') + number FROM numbers(400)")
    assert int(engine.query("SELECT count() AS n FROM ninezero_data.days")[0]["n"]) == 400
    engine.execute("DROP TABLE ninezero_data.days")


def test_an_old_server_is_refused_in_one_line(
    clickhouse_server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "OLDEST_VERSION", (99, 1))
    message = r"^ClickHouse \d+\.\d+ is too old: install 99\.1 or later$"
    with (
        closing(clickhouse.connect(clickhouse_server.url)) as connection,
        pytest.raises(ClickHouseDenied, match=message),
    ):
        connection.query("SELECT 1 AS n")


def test_an_account_that_may_only_read_can_query(tmp_path: Path) -> None:
    with closing(start_server(tmp_path / "readonly")) as own:
        own.set_readonly(True)
        with closing(clickhouse.connect(own.url)) as connection:
            assert int(connection.read("SELECT 1 AS n")[0]["n"]) == 1
            with pytest.raises(ClickHouseError):
                connection.execute("CREATE DATABASE ninezero_data")


def test_inserts_go_on_at_the_next_host_when_the_one_in_use_is_killed(tmp_path: Path) -> None:
    first, second = (start_server(tmp_path / name) for name in ("first", "second"))
    with closing(first), closing(second):
        for host in (first, second):
            with closing(clickhouse.connect(host.url)) as connection:
                connection.execute("CREATE DATABASE ninezero_data")
                connection.execute(TABLE)
        url = f"{first.url},127.0.0.1:{second.port}"
        errors, done, stop = [], [], threading.Event()

        def insert_numbers() -> None:
            with closing(clickhouse.connect(url)) as connection:
                while not stop.is_set():
                    try:
                        connection.insert("ninezero_data.numbers", ["n"], [(len(done),)])
                        done.append(time.monotonic())
                    except ClickHouseError as error:
                        errors.append(str(error))
                        time.sleep(0.05)

        def wait_for_inserts(number: int) -> float:
            target, began = len(done) + number, time.monotonic()
            while len(done) < target and time.monotonic() - began < 20:
                time.sleep(0.01)
            assert len(done) >= target, errors[-3:]
            return time.monotonic() - began

        def rows_of(host: ClickHouseServer) -> int:
            with closing(clickhouse.connect(host.url)) as connection:
                return int(connection.query("SELECT count() AS n FROM ninezero_data.numbers")[0]["n"])

        inserting = threading.Thread(target=insert_numbers)
        inserting.start()
        try:
            wait_for_inserts(5)
            first.kill()
            assert wait_for_inserts(5) < 10
            assert rows_of(second) >= 5
            first.start()
            before = rows_of(first)
            second.kill()
            assert wait_for_inserts(5) < 10
            assert rows_of(first) >= before + 5
            second.start()
        finally:
            stop.set()
            inserting.join()
        assert len(errors) <= 4, errors  # none for a host that is killed between two inserts
        found = set[int]()
        for host in (first, second):
            with closing(clickhouse.connect(host.url)) as connection:
                found |= {row["n"] for row in connection.query("SELECT n FROM ninezero_data.numbers")}
        assert found >= set(range(len(done))), "every acknowledged row is on the host that was in use"
