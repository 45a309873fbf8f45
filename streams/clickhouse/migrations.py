"""Numbered migrations: the files in `schemas/sql/`, applied in order and recorded in `schema_migrations`."""

from __future__ import annotations

import re
from pathlib import Path

from ninezero.streams.clickhouse.engine import Engine

SQL_FOLDER = Path(__file__).resolve().parents[2] / "schemas" / "sql"

CREATED_OBJECT = re.compile(r"\ACREATE (?:DATABASE|TABLE|VIEW) IF NOT EXISTS ([\w.]+)")
"""The object that a statement of a migration creates. Every statement may run again, because a migration that was
interrupted starts over."""


def migrate(engine: Engine, timezone: str = "Asia/Shanghai") -> list[str]:
    """Applies the migrations that are not applied yet, and creates again, empty, the objects of earlier ones that are missing.

    Args:
        engine: the database.
        timezone: the time zone of local days in the views.

    Returns:
        The names of the migrations that were applied, then the names of the objects that were created again.

    Raises:
        ClickHouseError: a statement failed; the next call resumes.
    """
    engine.execute("CREATE DATABASE IF NOT EXISTS ninezero_data")
    engine.execute(
        "CREATE TABLE IF NOT EXISTS ninezero_data.schema_migrations (name String) ENGINE = MergeTree ORDER BY name"
    )
    known = {row["name"] for row in engine.query("SELECT name FROM ninezero_data.schema_migrations")}
    existing = {row["name"] for row in engine.query("SELECT name FROM system.databases")} | {
        f"{row['database']}.{row['name']}"
        for row in engine.query("SELECT database, name FROM system.tables WHERE database LIKE 'ninezero%'")
    }
    applied, restored = [], set[str]()
    for path in sorted(SQL_FOLDER.glob("*.sql")):
        new = path.stem not in known
        for statement in statements(path, timezone):
            (name,) = CREATED_OBJECT.findall(statement)
            if not new and name not in existing:
                restored.add(name)
            if new or name in restored:
                engine.execute(statement)
        if new:
            engine.insert("ninezero_data.schema_migrations", ["name"], [(path.stem,)])
            applied.append(path.stem)
    return applied + sorted(restored)


def statements(migration: Path, timezone: str) -> list[str]:
    """Returns the statements of a migration file in order, without comments, with the time zone filled in."""
    text = re.sub(r"^\s*--.*$", "", migration.read_text(), flags=re.M).replace("{timezone}", timezone)
    return [statement for statement in map(str.strip, text.split(";\n")) if statement]
