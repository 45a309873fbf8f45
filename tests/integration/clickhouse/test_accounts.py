"""The rights of the three accounts of deploy/clickhouse/accounts.sql. All other tests on a server run as `ninezero_writer`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest

from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import ClickHouseDenied, ClickHouseError, Engine
from tests.engines.clickhouse_server import PASSWORD, ClickHouseServer
from tests.support import NINEZERO

pytestmark = pytest.mark.server

FOR_THE_BOARD_ONLY = "ninezero.reasons_by_minute"

FORBIDDEN = [
    "INSERT INTO ninezero_published.screening_by_day (day, division) SELECT toDate(0), ''",
    "INSERT INTO ninezero_data.site_register (site_id) SELECT ''",
    "DROP TABLE ninezero_published.screening_by_day",
    "DROP VIEW ninezero.sites",
    "TRUNCATE TABLE ninezero_data.screening_facts",
    "ALTER TABLE ninezero_data.screening_facts DROP PARTITION '2026-01-01'",
    "CREATE TABLE ninezero.mine (x UInt8) ENGINE = Memory",
    "CREATE VIEW ninezero.mine AS SELECT * FROM ninezero_data.screening_facts",
    "TRUNCATE TABLE ninezero_data.screening_facts PARALLEL WITH TRUNCATE TABLE ninezero_data.device_events",
    "SELECT * FROM remote('127.0.0.1', 'ninezero_data', 'screening_facts')",
    "SELECT * FROM file('x.csv', 'CSV', 'x String')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'x String')",
    "DESCRIBE TABLE file('x.csv', 'CSV')",
    "DESCRIBE TABLE url('http://127.0.0.1:1/', 'CSV')",
    "SELECT 1 WHERE ('', 0) IN (SELECT device_id, seq FROM ninezero_data.device_events)",
    "SELECT name FROM system.users",
    "SELECT query FROM system.processes",
]


@pytest.fixture
def writer(clickhouse_server: ClickHouseServer) -> Iterator[Engine]:
    """The account of the workers, on a server whose schema it has created."""
    with closing(clickhouse.connect(clickhouse_server.url)) as engine:
        clickhouse.migrate(engine)
        yield engine


def names(engine: Engine, database: str) -> set[str]:
    """Returns the tables and views of a database, as an account that sees all of them."""
    found = engine.query(f"SELECT name FROM system.tables WHERE database = '{database}'")
    return {f"{database}.{row['name']}" for row in found if not row["name"].startswith(".inner")}


def refused(engine: Engine, statements: list[str]) -> dict[str, str]:
    """Returns the statements that fail, and their errors."""
    errors = {}
    for statement in statements:
        try:
            engine.query(statement)
        except ClickHouseError as error:
            errors[statement] = str(error)
    return errors


@pytest.mark.parametrize("account", ["ninezero_reader", "ninezero_public"])
def test_an_account_reads_what_it_needs_and_nothing_else(
    clickhouse_server: ClickHouseServer, writer: Engine, account: str
) -> None:
    views, published, base = (names(writer, name) for name in ("ninezero", "ninezero_published", "ninezero_data"))
    assert len(views) > 15 and len(published) == 2 and len(base) > 10 and FOR_THE_BOARD_ONLY in views
    allowed = views - {FOR_THE_BOARD_ONLY} if account == "ninezero_reader" else published
    reads = {f"SELECT * FROM {name} LIMIT 1": name for name in views | published | base}
    with closing(clickhouse.connect(clickhouse_server.url_of(account, PASSWORD))) as engine:
        errors = refused(engine, [*reads, *FORBIDDEN])
    assert {name for statement, name in reads.items() if statement not in errors} == allowed
    assert [statement for statement in FORBIDDEN if statement not in errors] == []
    assert [error for error in errors.values() if "ACCESS_DENIED" not in error] == []


def test_the_writer_reads_every_view_and_no_file(writer: Engine) -> None:
    reads = [
        f"SELECT * FROM {name} LIMIT 1" for name in names(writer, "ninezero") | names(writer, "ninezero_published")
    ]
    file = "SELECT * FROM file('x.csv', 'CSV', 'x String')"
    assert refused(writer, [*reads, file]).keys() == {file}


def test_a_schema_that_an_administrator_created_is_read_and_written_too(clickhouse_server: ClickHouseServer) -> None:
    with closing(clickhouse.connect(clickhouse_server.admin_url)) as administrator:
        clickhouse.migrate(administrator)
        reads = [f"SELECT * FROM {name} LIMIT 1" for name in names(administrator, "ninezero") - {FOR_THE_BOARD_ONLY}]
    with closing(clickhouse.connect(clickhouse_server.url)) as writer:
        clickhouse.migrate(writer)
        writer.execute("INSERT INTO ninezero_data.site_register (site_id) SELECT 's'")
    with closing(clickhouse.connect(clickhouse_server.url_of("ninezero_reader", PASSWORD))) as reader:
        assert refused(reader, reads) == {}
        assert reader.query("SELECT site_id FROM ninezero.sites") == [{"site_id": "s"}]


def test_ninezero_query_reads_as_the_reader_where_its_account_is_given(
    clickhouse_server: ClickHouseServer, writer: Engine
) -> None:
    env = os.environ | {"NINEZERO_CLICKHOUSE": clickhouse_server.url_of("ninezero_writer", PASSWORD)}
    reader = {"NINEZERO_CLICKHOUSE_READER": clickhouse_server.url_of("ninezero_reader", PASSWORD)}

    def query(table: str, **given: str) -> subprocess.CompletedProcess[str]:
        command = [NINEZERO, "query", f"SELECT count() AS n FROM {table}", "--format", "json"]
        return subprocess.run(command, env=env | given, capture_output=True, text=True, timeout=60)

    for given in ({}, reader):
        assert query("ninezero.sites", **given).stdout == '{"n": 0}\n'
    assert query("ninezero_data.site_register").returncode == 0
    for table in ("ninezero_data.site_register", FOR_THE_BOARD_ONLY):
        refusal = query(table, **reader)
        assert (refusal.returncode, refusal.stdout) == (1, "")
        assert refusal.stderr == (
            "ninezero: the account of this connection has no right to that: name views that it may read\n"
        )


def test_a_wrong_password_is_refused(clickhouse_server: ClickHouseServer) -> None:
    for user, password in (("ninezero_reader", "wrong"), ("nobody", PASSWORD)):
        with (
            closing(clickhouse.connect(clickhouse_server.url_of(user, password))) as engine,
            pytest.raises(ClickHouseDenied),
        ):
            engine.query("SELECT 1")
