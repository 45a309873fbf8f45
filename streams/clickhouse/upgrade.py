"""Installs the schema, upgrades it, and creates missing tables and views again."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ninezero.streams.clickhouse.engine import Engine
from ninezero.streams.clickhouse.migrations import (
    Applied,
    Migration,
    SchemaError,
    Statement,
    check_known,
    create_record,
    in_cluster,
    migrations,
    read_applied,
    record,
)
from ninezero.streams.clickhouse.schema import Schema, Table, read_schema


class Step(NamedTuple):
    """A migration to apply, from its statement number `first` on (0 is the first one)."""

    migration: Migration
    first: int


class Plan(NamedTuple):
    """What `migrate` would do: the migrations to apply, and the statements that create missing tables and views again."""

    steps: list[Step]
    restored: list[Statement]


def migrate(engine: Engine, timezone: str = "Asia/Shanghai") -> list[str]:
    """Applies the migrations that are not applied yet, and creates missing tables and views again, empty.

    It may be interrupted at any statement and repeated, and several calls may run at the same time.

    Args:
        engine: the database.
        timezone: the time zone of local days in the views.

    Returns:
        The names of the migrations that were applied, then the names of the tables and views that were created again.

    Raises:
        SchemaError: the schema is not of this release or the release before it.
        ClickHouseError: a statement failed; the next call resumes.
    """
    applied = read_applied(engine)
    check_known(applied, timezone)
    steps = _steps(applied, timezone)
    if steps:
        create_record(engine)
        if not applied:
            for step in steps:
                record(engine, step.migration, timezone, done=0, installed=True)
        for step in steps:
            _apply(engine, step, timezone, installed=_is_installation(step, applied))
    restored = _restore(engine, timezone)
    return [step.migration.name for step in steps] + restored


def plan(engine: Engine | None, timezone: str) -> Plan:
    """Returns what `migrate` would do. Changes nothing.

    Args:
        engine: the database; None for one that does not exist yet.
        timezone: the time zone of local days in the views.

    Raises:
        SchemaError: the schema is not of this release or the release before it.
        ClickHouseError: the database does not answer.
    """
    applied = read_applied(engine) if engine else {}
    check_known(applied, timezone)
    missing = _missing(engine, applied) if engine else set()
    return Plan(_steps(applied, timezone), _restoring(missing, applied, timezone))


def ensure_schema(engine: Engine, timezone: str) -> list[str]:
    """Prepares the database for a worker: installs the schema on an empty database, and creates missing tables and views again.

    An existing schema is not upgraded: that is an act of the operator.

    Returns:
        The names of the migrations that were applied and of the tables and views that were created.

    Raises:
        SchemaError: the schema is not of this release or the next one, or a migration of it is not complete.
        ClickHouseError: a statement failed.
    """
    applied = read_applied(engine)
    check_known(applied, timezone)
    steps = _steps(applied, timezone)
    for step in steps:
        if not _is_installation(step, applied):
            state = (
                f"is half applied ({step.first} of {len(step.migration.statements)} statements)"
                if step.first
                else "is not applied"
            )
            raise SchemaError(
                f"the migration {step.migration.name} {state}: run ninezero migrate, then start this worker"
            )
    known = {migration.name for migration in migrations(timezone)}
    if newer := sorted(applied.keys() - known):
        if missing := sorted(_missing(engine, applied)):
            raise SchemaError(f"{missing[0]} is missing: run the ninezero migrate of the release that has {newer[-1]}")
        return []
    return migrate(engine, timezone) if steps or _missing(engine, applied) else []


def expected_schema(applied: dict[str, Applied]) -> Schema | None:
    """Returns the tables and views as the last complete migration left them, or None before the first one."""
    complete = [row for _, row in sorted(applied.items()) if row.complete and row.schema]
    return msgspec.json.decode(complete[-1].schema, type=Schema) if complete else None


def _steps(applied: dict[str, Applied], timezone: str) -> list[Step]:
    steps = []
    for migration in migrations(timezone):
        row = applied.get(migration.name)
        if row is None or not row.complete:
            steps.append(Step(migration, row.done if row else 0))
    return steps


def _is_installation(step: Step, applied: dict[str, Applied]) -> bool:
    """Returns whether a step belongs to the first installation, begun or not, in which case no worker runs on an older schema."""
    row = applied.get(step.migration.name)
    return not applied or (row is not None and row.installed == 1)


def _apply(engine: Engine, step: Step, timezone: str, *, installed: bool) -> None:
    migration = step.migration
    for done, statement in enumerate(migration.statements[step.first :], step.first + 1):
        # Only what creates may run again in an installation; the rest neither again nor after another call, whose workers insert rows.
        starts_over = installed and statement.starts("CREATE")
        if not starts_over:
            row = read_applied(engine).get(migration.name)
            if row is not None and row.done >= done:
                continue
        engine.execute(in_cluster(statement.sql, engine.cluster))
        last = done == len(migration.statements)
        schema = (
            msgspec.json.encode(read_schema(engine, _objects(timezone, migration.version))).decode() if last else ""
        )
        if last or not starts_over:
            record(engine, migration, timezone, done=done, installed=installed, schema=schema)


def _objects(timezone: str, version: int) -> set[str]:
    """Returns the names of the tables and views that exist after a migration."""
    names = set[str]()
    for migration in migrations(timezone)[:version]:
        for statement in migration.statements:
            if statement.starts("DROP"):
                names.discard(statement.object)
            elif "." in statement.object:
                names.add(statement.object)
    return names


def _missing(engine: Engine, applied: dict[str, Applied]) -> set[str]:
    expected = expected_schema(applied)
    if expected is None:
        return set()
    existing = {
        row["name"]
        for row in engine.query(
            "SELECT concat(database, '.', table) AS name FROM system.tables WHERE database LIKE 'ninezero%'"
        )
    }
    return expected.tables.keys() - existing


def _restoring(missing: set[str], applied: dict[str, Applied], timezone: str) -> list[Statement]:
    """Returns the statements that make missing databases, tables and views again, in an order in which they can run.

    Each of them creates and does nothing else, so what exists keeps its rows whatever the migrations have altered, renamed and dropped, and
    whatever another call makes meanwhile. A table is made as the server showed it after the last migration, a view by its last statement.
    """
    expected = expected_schema(applied)
    tables = {} if expected is None else expected.tables
    last: dict[str, Statement] = {}
    for migration in migrations(timezone):
        if migration.name in applied and applied[migration.name].complete:
            for statement in migration.statements:
                if statement.starts("CREATE"):
                    last.pop(statement.object, None)  # a later statement may need what lies between
                    last[statement.object] = statement
    made = [_as_shown(s, tables.get(s.object)) for s in last.values() if s.object in missing]
    return sorted(made, key=lambda s: s.object in tables and tables[s.object].engine == "View")


def _as_shown(statement: Statement, table: Table | None) -> Statement:
    """Returns the statement that makes a table as the server showed it, if that was recorded, or else the one of the migration."""
    if table is None or not table.create:
        return statement
    return Statement(statement.object, table.create.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1))


def _restore(engine: Engine, timezone: str) -> list[str]:
    applied = read_applied(engine)
    missing = _missing(engine, applied)
    databases = {name.partition(".")[0] for name in missing}
    for statement in _restoring(missing | databases, applied, timezone):
        engine.execute(in_cluster(statement.sql, engine.cluster))
    return sorted(missing)
