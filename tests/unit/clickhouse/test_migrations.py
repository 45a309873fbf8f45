"""Migrations: what they make, how they resume, which schemas a program accepts, on the real embedded engine."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ninezero.agents.cli.operations.migrate import migrate as migrate_command
from ninezero.schemas.rows import TABLES
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import Engine, SchemaError, ensure_schema, migrations, schema, upgrade
from ninezero.streams.clickhouse.engine import Row, Rows
from tests import released

ZONE = "Asia/Shanghai"

NEXT = """
-- A migration of the next release: it alters a table with rows, replaces a view, and makes and drops a table.
ALTER TABLE ninezero_data.site_register ADD COLUMN IF NOT EXISTS phone_digits UInt8 DEFAULT 7, MODIFY COLUMN capacity UInt64;
CREATE TABLE IF NOT EXISTS ninezero_data.short_lived (a UInt8) ENGINE = MergeTree ORDER BY a;
CREATE OR REPLACE VIEW ninezero.sites AS
SELECT site_id, kind, division, capacity, phone_digits FROM ninezero_data.site_register FINAL;
DROP TABLE IF EXISTS ninezero_data.short_lived;
CREATE TABLE IF NOT EXISTS ninezero_data.added (day Date) ENGINE = MergeTree ORDER BY day;
"""


class Killed(Exception):
    """The process was killed here."""


class Interrupted:
    """An engine on which the process dies before a statement of a migration and, when it is repeated, after it."""

    cluster = ""

    def __init__(self, engine: Engine, every: int = 1) -> None:
        """Prepares deaths at every statement, or at every fifth or so of the different ones."""
        self._engine, self._every, self._seen = engine, every, dict[str, int]()
        self.deaths = Counter[str]()

    def execute(self, sql: str) -> None:
        number = self._seen.setdefault(sql, len(self._seen))
        if "schema_migrations" in sql or self.deaths[sql] == 2 or number % self._every:
            self._engine.execute(sql)
            return
        self.deaths[sql] += 1
        if self.deaths[sql] == 2:
            self._engine.execute(sql)  # done, but not recorded
        raise Killed

    def query(self, sql: str) -> list[Row]:
        return self._engine.query(sql)

    def read(self, sql: str) -> list[Row]:
        return self._engine.read(sql)

    def lookup(self, sql: str, keys: Sequence[str]) -> list[Row]:
        return self._engine.lookup(sql, keys)

    def insert(self, table: str, columns: Sequence[str], rows: Rows) -> None:
        self._engine.insert(table, columns, rows)

    def close(self) -> None:
        self._engine.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations, which the program uses."""
    copy = tmp_path / "sql"
    shutil.copytree(migrations.SQL_FOLDER, copy)
    monkeypatch.setattr(migrations, "SQL_FOLDER", copy)
    return copy


def real(engine: Engine) -> dict[str, Any]:
    return schema.read_schema(engine, upgrade._objects(ZONE, 99)).tables


def insert_site(engine: Engine) -> None:
    engine.insert("ninezero_data.site_register", TABLES["site_register"]._fields, [("s", "gate", "370115", 3, 1)])


def test_migrating_twice_changes_nothing(engine: Engine) -> None:
    assert clickhouse.migrate(engine) == []


def test_an_upgrade_that_dies_before_and_after_each_statement_is_finished_by_the_next_call(
    engine: Engine, folder: Path
) -> None:
    insert_site(engine)
    (folder / "002_next.sql").write_text(NEXT)
    dying = Interrupted(engine)
    for _ in range(100):
        try:
            assert clickhouse.migrate(dying) == ["002_next"]
            break
        except Killed:
            with pytest.raises(SchemaError, match=r"002_next is .*(not|half) applied.*: run ninezero migrate"):
                ensure_schema(engine, ZONE)
    assert dying.deaths.total() == 2 * 6, "each statement, and that of the database"
    assert clickhouse.migrate(engine) == []
    assert engine.query("SELECT * FROM ninezero.sites") == [
        {"site_id": "s", "kind": "gate", "division": "370115", "capacity": 3, "phone_digits": 7}
    ]
    altered = real(engine)
    for database in ("ninezero", "ninezero_data"):
        engine.execute(f"DROP DATABASE {database}")
    assert ensure_schema(engine, ZONE)[:2] == ["001_base", "002_next"], "an emptied server"
    assert real(engine) == altered


RESHAPE = """
-- A migration that renames, drops and converts what has rows. Repeated on a table with rows, it would destroy them.
ALTER TABLE ninezero_data.site_register ADD COLUMN IF NOT EXISTS places UInt32 DEFAULT 5;
ALTER TABLE ninezero_data.site_register RENAME COLUMN IF EXISTS places TO beds;
CREATE OR REPLACE VIEW ninezero.sites AS SELECT site_id, kind, division FROM ninezero_data.site_register FINAL;
ALTER TABLE ninezero_data.site_register DROP COLUMN IF EXISTS capacity;
ALTER TABLE ninezero_data.site_register ADD COLUMN IF NOT EXISTS capacity UInt8 DEFAULT 9;
ALTER TABLE ninezero_data.site_register MODIFY COLUMN capacity UInt64;
CREATE VIEW IF NOT EXISTS ninezero.site_beds AS SELECT * FROM ninezero_data.site_register FINAL;
CREATE OR REPLACE VIEW ninezero.sites AS SELECT site_id, kind, division, capacity, beds FROM ninezero.site_beds;
DROP TABLE IF EXISTS ninezero_data.recorder_epochs;
CREATE TABLE IF NOT EXISTS ninezero_data.added (day Date) ENGINE = MergeTree ORDER BY day;
"""
RESHAPED = [{"site_id": "s", "kind": "gate", "division": "370115", "capacity": 700, "beds": 30}]
"""The row of `insert_reshaped` in the view."""


def insert_reshaped(engine: Engine) -> None:
    columns = ("site_id", "kind", "division", "capacity", "beds", "version")
    engine.insert("ninezero_data.site_register", columns, [("s", "gate", "370115", 700, 30, 1)])


def test_restoring_keeps_every_row_whatever_migrations_have_altered_renamed_and_dropped(
    engine: Engine, folder: Path
) -> None:
    """Each table and view is missing once. A call that saw all of them missing comes late, when the tables have rows again."""
    (folder / "002_reshape.sql").write_text(RESHAPE)
    clickhouse.migrate(engine)
    whole, applied = real(engine), migrations.read_applied(engine)
    for name in whole:
        engine.execute(f"DROP TABLE {name}")
    late = upgrade.plan(engine, ZONE).restored
    assert ensure_schema(engine, ZONE) == sorted(whole)
    insert_reshaped(engine)
    for name in whole.keys() - {"ninezero_data.site_register"}:
        engine.execute(f"DROP TABLE {name}")
        assert ensure_schema(engine, ZONE) == [name]
    for statement in late:
        engine.execute(statement.sql)
    assert {name for name in whole if name not in {statement.object for statement in late}} == set()
    assert real(engine) == whole and migrations.read_applied(engine) == applied
    assert engine.query("SELECT * FROM ninezero.sites") == RESHAPED


def test_a_table_is_restored_although_the_statement_that_makes_it_was_not_recorded(engine: Engine) -> None:
    """By a program before 0.1.0, which had one migration."""
    whole, row = real(engine), migrations.read_applied(engine)["001_base"]
    shown = json.loads(row.schema)
    for table in shown["tables"].values():
        assert table.pop("create") or table["engine"] == "View"
    migration = migrations.migrations(ZONE)[0]
    migrations.record(engine, migration, ZONE, done=row.done, installed=True, schema=json.dumps(shown))
    for name in whole:
        engine.execute(f"DROP TABLE {name}")
    assert ensure_schema(engine, ZONE) == sorted(whole) and real(engine) == whole


@pytest.mark.parametrize("state", ["installation", "upgrade"])
def test_a_call_that_another_one_overtakes_destroys_no_row(state: str, engine: Engine, folder: Path) -> None:
    """It is halted before each statement in turn, while the other call completes and its workers insert rows."""
    later = folder / "002_reshape.sql"
    later.write_text(RESHAPE)
    statements = [statement.sql for statement in migrations.migrations(ZONE)[1].statements]
    for before in ["schema_migrations", *statements[:-1]]:
        for database in ("ninezero", "ninezero_data"):
            engine.execute(f"DROP DATABASE IF EXISTS {database}")
        if state == "upgrade":
            later.rename(folder / "later")
            clickhouse.migrate(engine)
            (folder / "later").rename(later)
        halted = Overtaken(engine, before)
        clickhouse.migrate(halted)
        assert halted.overtaken and engine.query("SELECT * FROM ninezero.sites") == RESHAPED, before
        assert clickhouse.migrate(engine) == []


class Overtaken(Interrupted):
    """An engine on which another call does all of the work and inserts a row, after a statement with `after` in it."""

    def __init__(self, engine: Engine, after: str) -> None:
        super().__init__(engine)
        self._after, self.overtaken = after, False

    def execute(self, sql: str) -> None:
        self._engine.execute(sql)
        if not self.overtaken and self._after in sql:
            self.overtaken = True
            clickhouse.migrate(self._engine)
            insert_reshaped(self._engine)


def test_an_installation_that_dies_anywhere_is_finished_by_a_worker(tmp_path: Path) -> None:
    engine = clickhouse.connect(f"chdb://{tmp_path / 'data'}")
    try:
        dying = Interrupted(engine, every=8)
        for _ in range(100):
            try:
                ensure_schema(dying, ZONE)
                break
            except Killed:
                continue
        assert dying.deaths.total() >= 2 * 5
        assert set(dying.deaths.values()) <= {0, 2}
        assert clickhouse.migrate(engine) == []
        expected = upgrade.expected_schema(migrations.read_applied(engine))
        assert expected is not None
        assert list(schema.differences(expected, schema.read_schema(engine, expected.tables.keys()))) == []
    finally:
        engine.close()


def test_missing_tables_and_views_are_created_again_and_nothing_else_changes(engine: Engine, folder: Path) -> None:
    (folder / "002_next.sql").write_text(NEXT)
    clickhouse.migrate(engine)
    before = real(engine)
    insert_site(engine)
    dropped = [
        "ninezero.sites",
        "ninezero_data.added",
        "ninezero_data.dead_letter_facts",
        "ninezero_data.site_register",
    ]
    for name in dropped:
        engine.execute(f"DROP TABLE {name}")
    assert {s.object for s in upgrade.plan(engine, ZONE).restored} == set(dropped)
    assert ensure_schema(engine, ZONE) == dropped
    assert real(engine) == before
    assert engine.query("SELECT count() AS n FROM ninezero_data.site_register") == [{"n": 0}]
    assert ensure_schema(engine, ZONE) == []


def test_a_plan_changes_nothing(engine: Engine, folder: Path) -> None:
    (folder / "002_next.sql").write_text(NEXT)
    before = real(engine)
    plan = upgrade.plan(engine, ZONE)
    assert [(step.migration.name, step.first) for step in plan.steps] == [("002_next", 0)]
    assert real(engine) == before
    assert migrations.read_applied(engine).keys() == {"001_base"}
    assert upgrade.plan(None, ZONE).steps[0].migration.name == "001_base"


def test_the_command_prints_the_plan_of_a_database_that_does_not_exist_and_does_not_create_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NINEZERO_CLICKHOUSE", f"chdb://{tmp_path}/none")
    migrate_command(plan=True)
    printed = capsys.readouterr().out
    assert "CREATE TABLE IF NOT EXISTS ninezero_data.site_register" in printed
    assert not (tmp_path / "none").exists()


def test_a_worker_runs_on_its_schema_and_the_next_one_and_refuses_others_with_one_line(
    engine: Engine, folder: Path
) -> None:
    later = {2: folder / "002_next.sql", 3: folder / "003_far.sql"}
    later[2].write_text(NEXT)
    with pytest.raises(SchemaError, match="the migration 002_next is not applied: run ninezero migrate"):
        ensure_schema(engine, ZONE)
    clickhouse.migrate(engine)
    later[2].unlink()
    assert ensure_schema(engine, ZONE) == []
    engine.execute("DROP TABLE ninezero_data.added")
    with pytest.raises(
        SchemaError, match=r"added is missing: run the ninezero migrate of the release that has 002_next"
    ):
        ensure_schema(engine, ZONE)
    later[2].write_text(NEXT)
    later[3].write_text("CREATE TABLE IF NOT EXISTS ninezero_data.far (a UInt8) ENGINE = MergeTree ORDER BY a;\n")
    clickhouse.migrate(engine)
    later[2].unlink()
    later[3].unlink()
    for start in (ensure_schema, clickhouse.migrate):
        with pytest.raises(SchemaError, match=r"the schema is at 003_far, .* up to 002: upgrade ninezero") as error:
            start(engine, ZONE)
        assert "\n" not in str(error.value)


def test_an_edited_migration_an_old_database_and_another_time_zone_are_refused_with_one_line(
    engine: Engine, folder: Path
) -> None:
    with pytest.raises(SchemaError, match="made for the time zone Asia/Shanghai, but NINEZERO_TIMEZONE is UTC"):
        ensure_schema(engine, "UTC")
    base = folder / "001_base.sql"
    base.write_text(base.read_text() + "-- a comment\n")
    for start in (ensure_schema, clickhouse.migrate, upgrade.plan):
        with pytest.raises(SchemaError, match="the migration 001_base has changed since it was applied"):
            start(engine, ZONE)
    engine.execute("DROP TABLE ninezero_data.schema_migrations")
    engine.execute("CREATE TABLE ninezero_data.schema_migrations (name String) ENGINE = MergeTree ORDER BY name")
    for start in (ensure_schema, clickhouse.migrate, upgrade.plan):
        with pytest.raises(SchemaError, match=r"made by a release before 0\.1\.0"):
            start(engine, ZONE)


def test_every_difference_from_the_migrations_is_named(engine: Engine) -> None:
    for sql in (
        "DROP TABLE ninezero_data.dead_letter_facts",
        "ALTER TABLE ninezero_data.site_register ADD COLUMN extra String",
        "ALTER TABLE ninezero_data.site_register MODIFY COMMENT 'mine'",
        "ALTER TABLE ninezero_data.site_register DROP COLUMN kind",
        "ALTER TABLE ninezero_data.site_register MODIFY COLUMN capacity UInt16",
        "CREATE OR REPLACE VIEW ninezero.dead_letters_by_hour AS SELECT now() AS hour, topic, reason, toUInt64(1) AS records FROM (SELECT toLowCardinality('') AS topic, toLowCardinality('') AS reason)",
    ):
        engine.execute(sql)
    expected = upgrade.expected_schema(migrations.read_applied(engine))
    assert expected is not None
    comment = expected.tables["ninezero_data.site_register"].comment
    assert list(schema.differences(expected, schema.read_schema(engine, expected.tables.keys()))) == [
        "the column hour of ninezero.dead_letters_by_hour is DateTime, not DateTime('UTC')",
        "ninezero.dead_letters_by_hour has another query than its migration",
        "ninezero_data.dead_letter_facts is missing",
        "ninezero_data.site_register lacks the column kind (String)",
        "the column capacity of ninezero_data.site_register is UInt16, not UInt32",
        "ninezero_data.site_register has a column extra that no migration made",
        f"the comment of ninezero_data.site_register is mine, not {comment or 'empty'}",
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE ninezero_data.a (b UInt8) ENGINE = MergeTree ORDER BY b",
        "ALTER TABLE ninezero_data.site_register ADD COLUMN IF NOT EXISTS a UInt8, ADD COLUMN b UInt8",
        "DROP TABLE ninezero_data.a",
        "INSERT INTO ninezero_data.a VALUES (1)",
    ],
)
def test_a_statement_that_cannot_be_repeated_is_refused(folder: Path, sql: str) -> None:
    (folder / "002_next.sql").write_text(f"{sql};\n")
    with pytest.raises(SchemaError, match="cannot be repeated"):
        migrations.migrations(ZONE)


def test_a_name_that_was_dropped_is_not_used_again(folder: Path) -> None:
    """A call that repeats the DROP would find the rows of the new table."""
    (folder / "002_next.sql").write_text("DROP TABLE IF EXISTS ninezero_data.site_register;\n")
    assert migrations.migrations(ZONE)[1].statements[0].object == "ninezero_data.site_register"
    (folder / "003_next.sql").write_text(
        "CREATE TABLE IF NOT EXISTS ninezero_data.site_register (a UInt8) ENGINE = MergeTree ORDER BY a;\n"
    )
    with pytest.raises(
        SchemaError, match=r"^003_next: ninezero_data.site_register was dropped: give what is new another name$"
    ):
        migrations.migrations(ZONE)


def test_on_a_cluster_every_statement_is_for_the_cluster_and_every_table_is_replicated() -> None:
    for migration in migrations.migrations(ZONE):
        for statement in migration.statements:
            sql = migrations.in_cluster(statement.sql, "main")
            assert f"{statement.object} ON CLUSTER `main`" in sql
            assert sql.replace("Replicated", "").replace(" ON CLUSTER `main`", "") == statement.sql
            assert sql.count("MergeTree") == sql.count("ReplicatedMergeTree") + sql.count("Replicated") - sql.count(
                "ReplicatedMergeTree"
            )


def test_released_migrations_do_not_change(folder: Path) -> None:
    assert list(released.problems(folder)) == []
    (folder / "released.txt").write_text(f"{'0' * 64}  001_base.sql\n{'0' * 64}  000_gone.sql\n")
    (folder / "003_next.sql").write_text(NEXT)
    (folder / "004_next.sql").write_text(NEXT)
    assert [line[:40] for line in released.problems(folder)] == [
        "001_base.sql is part of a release and wa",
        "000_gone.sql is part of a release and wa",
        "a release adds at most one migration: jo",
        "the migrations are not numbered 001, 002",
    ]


def test_every_table_of_rows_has_the_columns_of_its_row_type(engine: Engine) -> None:
    columns: dict[str, set[str]] = {}
    for row in engine.query("SELECT table, name FROM system.columns WHERE database = 'ninezero_data'"):
        columns.setdefault(row["table"], set()).add(row["name"])
    for table, row_type in TABLES.items():
        assert set(row_type._fields) <= columns[table], table


def test_no_table_or_view_has_a_column_for_a_token_or_a_name(engine: Engine) -> None:
    rows = engine.query(
        "SELECT lower(name) AS column FROM system.columns WHERE database LIKE 'ninezero%' AND table != 'schema_migrations'"
    )
    names = {row["column"] for row in rows}
    assert len(names) > 100
    assert "name" not in names
    assert not [name for name in names for word in ("token", "plate", "phone", "passport") if word in name]
