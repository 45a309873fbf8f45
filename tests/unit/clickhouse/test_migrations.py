"""Migrations give the tables of the row types, can be repeated, and restore what is missing, in the real embedded engine."""

from __future__ import annotations

from datetime import date

from ninezero.schemas.rows import FIRST_WINS, TABLES, ScreeningFact
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import Engine, migrations

MINUTE, DAY = 1_767_200_040, date(2026, 1, 1)
FACTS = [
    ScreeningFact(DAY, MINUTE, "s", "d", n, "vehicle", "in", "", 1, "clear", 0, [], FIRST_WINS - 1) for n in range(5)
]


def test_migrating_twice_changes_nothing(engine: Engine) -> None:
    assert clickhouse.migrate(engine) == []


def test_migrate_creates_missing_tables_and_views_again_and_changes_nothing_else(engine: Engine) -> None:
    columns = "SELECT table, name, type FROM system.columns WHERE database LIKE 'ninezero%' ORDER BY table, name"
    before = engine.query(columns)
    engine.insert("ninezero_data.screening_facts", ScreeningFact._fields, FACTS)
    dropped = ["ninezero.sites", "ninezero_data.dead_letter_facts", "ninezero_data.recorder_progress"]
    for name in dropped:
        engine.execute(f"DROP TABLE {name}")
    assert clickhouse.migrate(engine) == dropped
    assert engine.query(columns) == before
    assert len(engine.query("SELECT * FROM ninezero_data.screening_facts")) == 5


def test_every_statement_of_a_migration_creates_one_named_object() -> None:
    for path in migrations.SQL_FOLDER.glob("*.sql"):
        for statement in migrations.statements(path, "UTC"):
            assert migrations.CREATED_OBJECT.match(statement), f"{path.name}: {statement[:60]}"


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
