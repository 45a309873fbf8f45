"""Migrations can be repeated, and restore what is missing, in the real embedded engine."""

from __future__ import annotations

from datetime import date

from ninezero.schemas.rows import FIRST_WINS, ScreeningFact
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
