"""Every statement of the product on replicated tables, with the state of their replicas in a real ZooKeeper.

The engine of the tests has no interserver port, so its replicas stay read-only, and no DDL queue, so `ON CLUSTER` is only parsed. A
statement that a replica would run ends there with TABLE_IS_READ_ONLY (242), a mutation with ABORTED (236), an insert with a quorum with
the lack of the node `is_active`. A statement that replicas refuse ends with another error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from faust.types import TP

from ninezero.agents.doctor import check_clickhouse
from ninezero.agents.logic.days import Days
from ninezero.agents.recording import publishing, retention
from ninezero.agents.recording.case_tables import record_cases
from ninezero.agents.recording.completeness import roll_up_devices
from ninezero.agents.recording.erasure import erase_tables
from ninezero.agents.recording.loss_check import LossCheck
from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import FIRST_WINS, TABLES, TIME_COLUMN, QuarantineFactRow
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import ClickHouseError, Engine, migrations, progress, schema, tallies, upgrade
from ninezero.streams.clickhouse.engine import Row, Rows
from ninezero.streams.clickhouse.progress import Progress
from tests.engines.clickhouse_server import ClickHouseServer
from tests.engines.zookeeper import zookeeper

pytestmark = [pytest.mark.server]

ZONE, DAY, LATER = "Asia/Shanghai", date(2026, 3, 1), date(2026, 6, 1)
NOT_ACTIVE = {236, 242}
JSON_COLUMNS = {"marks": "{}", "facts": "[]"}


CASE = "c." + "0" * 32


class Recorded:
    """An engine that records its statements, and the tables into which rows are inserted."""

    cluster = ""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.queries, self.lookups = set[str](), set[str]()
        self.statements, self.inserts = list[str](), dict[str, Sequence[str]]()

    def query(self, sql: str) -> list[Row]:
        self.queries.add(sql)
        return self._engine.query(sql)

    read = query

    def lookup(self, sql: str, keys: Sequence[str]) -> list[Row]:
        self.lookups.add(sql)
        return self._engine.lookup(sql, keys)

    def execute(self, sql: str) -> None:
        self.statements.append(sql)
        self._engine.execute(sql)

    def insert(self, table: str, columns: Sequence[str], rows: Rows) -> None:
        self.inserts[table] = columns
        self._engine.insert(table, columns, rows)

    def close(self) -> None:
        self._engine.close()


class OneReplica:
    """A connection to the cluster `main`, of which there is one read-only replica without a DDL queue."""

    cluster = "main"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.accepted = 0
        """Number of statements that a replica would have run."""

    def query(self, sql: str) -> list[Row]:
        return self._engine.query(sql)

    read = query

    def lookup(self, sql: str, keys: Sequence[str]) -> list[Row]:
        return self._engine.lookup(sql, keys)

    def execute(self, sql: str) -> None:
        if " ON CLUSTER `main`" in sql:
            assert self._engine.query(f"EXPLAIN AST {sql}")
            self._engine.execute(sql.replace(" ON CLUSTER `main`", ""))
        else:
            self._accept(lambda: self._engine.execute(sql))

    def insert(self, table: str, columns: Sequence[str], rows: Rows) -> None:
        self._accept(lambda: self._engine.insert(table, columns, rows))

    def close(self) -> None:
        self._engine.close()

    def _accept(self, write: Any) -> None:
        try:
            write()
        except ClickHouseError as error:
            assert error.code in NOT_ACTIVE or "/is_active" in str(error), error
            self.accepted += 1


def row(table: str) -> tuple[Any, ...]:
    """A row with a plain value of each type."""
    values: dict[Any, Any] = {int: 1, str: "x", date: DAY, float: 1.0, int | None: None}
    hints = get_type_hints(TABLES[table])
    return tuple(JSON_COLUMNS.get(name, values.get(hints[name], [])) for name in TABLES[table]._fields)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """What the product sends to ClickHouse in a deployment with old rows in every table."""
    with (
        closing(clickhouse.connect(f"chdb://{tmp_path_factory.mktemp('chdb')}")) as engine,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(retention, "SETTLE_SECONDS", 0)
        patch.setattr(retention, "READ_SECONDS", 0)
        clickhouse.migrate(engine, ZONE)
        recorded = Recorded(engine)
        for table, row_type in TABLES.items():
            recorded.insert(f"ninezero_data.{table}", row_type._fields, [row(table)])
        views = engine.query("SELECT name FROM system.tables WHERE database = 'ninezero'")
        for view in views:
            recorded.query(f"SELECT * FROM ninezero.{view['name']}")
        progress.read(recorded)
        tallies.read_epochs(recorded)
        list(check_clickhouse._schema(recorded, ZONE))
        list(check_clickhouse._freshness(recorded))
        clickhouse.ensure_schema(recorded, ZONE)
        fact = QuarantineFactRow(CASE, 1, "d", 1, "q", "admitted", "", "", False, False, "", 14, FIRST_WINS - 1)
        record_cases(recorded, {"quarantine_facts": Block("quarantine_facts", [fact])}, Days(ZONE))
        LossCheck({"topic": frozenset(TIME_COLUMN)}).run(recorded, {TP("topic", 0): Progress(1, 0, 1_800_000_000_000)})
        roll_up_devices(recorded, LATER)
        publishing.publish(recorded, LATER, 11)
        retention.retain(recorded, LATER, LATER)
        list(erase_tables(recorded, ZONE))
        yield recorded


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneReplica]:
    """The schema on the cluster."""
    folder: Path = tmp_path_factory.mktemp("replica")
    server = ClickHouseServer(folder / "clickhouse")
    with zookeeper(folder / "zookeeper") as port, closing(server):
        server.settings["zookeeper"] = port
        server.start()
        with closing(clickhouse.connect(f"{server.url}/?cluster=main")) as engine:
            one = OneReplica(engine)
            clickhouse.migrate(one, ZONE)
            yield one


def test_the_schema_is_made_of_replicated_tables(replica: OneReplica) -> None:
    tables = replica.query(
        "SELECT name, engine FROM system.tables WHERE database LIKE 'ninezero%' AND engine LIKE '%MergeTree'"
    )
    made = {s.object for m in migrations.migrations(ZONE) for s in m.statements if s.starts("CREATE TABLE")}
    assert len(tables) == len(made) + 1, "and schema_migrations"
    assert all(table["engine"].startswith("Replicated") for table in tables)


def test_a_missing_table_is_made_again_as_the_replicated_one_that_it_was(replica: OneReplica) -> None:
    names = [name for name, table in shown(replica).items() if table.engine.endswith("MergeTree")]
    assert len(names) > 20
    for name in names:
        before = shown(replica)[name]
        sql = migrations.in_cluster(upgrade._as_shown(migrations.Statement(name, ""), before).sql, "main")
        assert f"CREATE TABLE IF NOT EXISTS {name} ON CLUSTER `main`" in sql and sql.count("Replicated") == 1
        replica.execute(f"DROP TABLE {name} ON CLUSTER `main` SYNC")
        replica.execute(sql)
        assert shown(replica)[name] == before


def shown(engine: OneReplica) -> dict[str, schema.Table]:
    return schema.read_schema(engine, upgrade._objects(ZONE, 99)).tables


def test_replicas_refuse_a_deletion_that_reads_another_table(replica: OneReplica) -> None:
    with pytest.raises(AssertionError, match="may be nondeterministic"):
        replica.execute(
            "ALTER TABLE ninezero_data.site_register DELETE WHERE site_id IN (SELECT site_id FROM ninezero_data.site_register)"
        )


def test_replicas_accept_every_statement_of_the_product(replica: OneReplica, work: Recorded) -> None:
    before = replica.accepted
    for sql in dict.fromkeys(work.statements):
        assert not sql.startswith(("CREATE", "DROP")), "only migrations are made for the cluster"
        replica.execute(sql)
    for table, columns in work.inserts.items():
        if table.startswith("ninezero_data.") and table.partition(".")[2] in TABLES:
            replica.insert(table, columns, [row(table.partition(".")[2])])
    assert replica.accepted - before >= 30
    assert len(work.queries) >= 40
    for sql in sorted(work.queries):
        replica.query(sql)
    for sql in sorted(work.lookups):
        replica.lookup(sql, [CASE])


def test_no_statement_to_a_server_names_a_case(work: Recorded) -> None:
    assert any("quarantine_cases" in sql for sql in work.lookups)
    assert not [sql for sql in (*work.queries, *work.lookups, *work.statements) if CASE in sql]
