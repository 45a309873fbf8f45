"""The ClickHouse server of the tests behaves as one: values of every type, errors, progress, cancellation, accounts, a kill."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from clickhouse_driver import Client
from clickhouse_driver.errors import ServerException

from tests.engines.clickhouse_server import PASSWORD, ClickHouseServer

pytestmark = pytest.mark.server

VALUES = {
    "UInt64": "number * 1000000007", "Int8": "number - 3", "Float64": "number / 3", "Bool": "number % 2", "UUID": "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')",
    "String": "repeat('é', number * 40)", "FixedString(3)": "'abc'", "LowCardinality(String)": "toString(number % 3)",
    "LowCardinality(Nullable(String))": "if(number % 2, 'x', NULL)", "Nullable(UInt16)": "if(number % 2, number, NULL)",
    "Date": "toDate('2026-03-01') + number", "Date32": "toDate32('1926-03-01') + number", "DateTime": "toDateTime('2026-03-01 00:00:00') + number",
    "DateTime('Asia/Shanghai')": "toDateTime('2026-03-01 00:00:00') + number", "DateTime64(3, 'UTC')": "toDateTime64('2026-03-01 00:00:00.123', 3) + number",
    "Decimal(18, 4)": "number / 7", "Enum8('a, (b' = 1, 'c' = 2)": "number % 2 + 1", "Array(Array(String))": "[[toString(number)], []]",
    "Array(LowCardinality(String))": "arrayMap(n -> toString(n % 2), range(number))", "Tuple(UInt8, String)": "(number, 'x')",
    "Tuple(a UInt8, b Array(String))": "(number, ['x'])", "Map(LowCardinality(String), UInt64)": "map('k', number)",
    "SimpleAggregateFunction(max, UInt32)": "number", "IPv4": "toIPv4('10.0.0.1')", "IPv6": "toIPv6('::1')",
}  # fmt: skip
"""An expression of `number` for each type."""


@contextmanager
def connected(url: str) -> Iterator[Client]:
    connection = Client.from_url(url)
    try:
        yield connection
    finally:
        connection.disconnect()


@pytest.fixture
def client(clickhouse_server: ClickHouseServer) -> Iterator[Client]:
    with connected(clickhouse_server.admin_url) as connection:
        yield connection


def test_values_of_every_type_are_the_same_after_an_insert_and_a_query(client: Client) -> None:
    columns = ", ".join(f"c{n} {spec}" for n, spec in enumerate(VALUES))
    for name in ("made", "sent"):
        client.execute(f"CREATE TEMPORARY TABLE {name} ({columns}) ENGINE = Memory")
    client.execute(f"INSERT INTO made SELECT {', '.join(VALUES.values())} FROM numbers(100)")
    rows, types = client.execute("SELECT * FROM made", with_column_types=True)
    assert [spec for _, spec in types] == list(VALUES) and len(rows) == 100
    client.execute("INSERT INTO sent VALUES", rows)
    assert client.execute("SELECT * FROM sent") == rows
    assert client.execute("SELECT count() FROM (SELECT * FROM made EXCEPT SELECT * FROM sent)") == [(0,)]
    assert client.execute("SELECT * FROM made WHERE 0", with_column_types=True) == ([], types)


def test_an_external_table_lives_as_long_as_its_query(client: Client) -> None:
    external = {
        "name": "some",
        "structure": [("n", "UInt8"), ("a", "Array(String)")],
        "data": [{"n": 7, "a": ["x", "y"]}],
    }
    for _ in range(2):
        assert client.execute("SELECT n, a FROM some ARRAY JOIN a", external_tables=[external]) == [(7, "x"), (7, "y")]
    with pytest.raises(ServerException, match="UNKNOWN_TABLE"):
        client.execute("SELECT * FROM some")


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELEC 1", 62),
        ("SELECT * FROM nowhere.x", 81),
        ("SELECT throwIf(1)", 395),
        ("INSERT INTO nowhere.x VALUES", 81),
    ],
)
def test_an_error_has_its_code_and_the_connection_goes_on(client: Client, sql: str, code: int) -> None:
    with pytest.raises(ServerException) as error:
        client.execute(sql, [(1,)] if sql.startswith("INSERT") else None)
    assert error.value.code == code
    assert client.execute("SELECT 1") == [(1,)]


def test_settings_apply_to_their_query_only(client: Client) -> None:
    setting = "SELECT getSetting('max_block_size') = 123"
    assert client.execute(setting, settings={"max_block_size": 123}) == [(True,)]
    assert client.execute(setting) == [(False,)]
    client.execute("CREATE TEMPORARY TABLE t (x UInt8)")
    with pytest.raises(ServerException, match="READONLY"):
        client.execute("CREATE DATABASE ninezero", settings={"readonly": 1})


def test_a_query_reports_progress_and_can_be_cancelled(client: Client, clickhouse_server: ClickHouseServer) -> None:
    slow = "SELECT sum(sleepEachRow(0.2)) FROM numbers(50) SETTINGS max_block_size = 1"
    progress = client.execute_with_progress(slow)
    assert next(rows for rows, _ in progress if rows) < 10
    client.cancel()
    with connected(clickhouse_server.admin_url) as other:
        deadline = time.monotonic() + 5
        while other.execute("SELECT count() FROM system.processes WHERE query LIKE 'SELECT sum(sleep%'") != [(0,)]:
            assert time.monotonic() < deadline, "the cancelled query goes on"
            time.sleep(0.1)


def test_a_read_only_account_neither_writes_nor_sets(clickhouse_server: ClickHouseServer) -> None:
    clickhouse_server.set_readonly(True)
    with connected(clickhouse_server.url) as client:
        assert client.execute("SELECT 1") == [(1,)]
        with pytest.raises(ServerException, match="readonly"):
            client.execute("CREATE DATABASE ninezero")
        with pytest.raises(ServerException, match="readonly"):
            client.execute("SELECT 1", settings={"max_threads": 1})


def test_what_was_acknowledged_survives_a_kill(clickhouse_server: ClickHouseServer) -> None:
    url = clickhouse_server.url_of("ninezero_writer", PASSWORD)
    with connected(url) as client:
        client.execute("CREATE DATABASE ninezero")
        client.execute("CREATE TABLE ninezero.t (x UInt32) ENGINE = MergeTree ORDER BY x")
        client.execute("INSERT INTO ninezero.t VALUES", [(n,) for n in range(1000)])
    clickhouse_server.kill()
    clickhouse_server.start()
    with connected(url) as client:
        assert client.execute("SELECT count(), sum(x) FROM ninezero.t") == [(1000, 499_500)]
