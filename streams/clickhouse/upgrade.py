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
from ninezero.streams.clickhouse.schema import Schema, read_schema


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
    return Plan(_steps(applied, timezone), _statements_of(missing, applied, timezone))


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
        if not installed:  # another call of migrate may be ahead: do not replace a newer view by an older one
            row = read_applied(engine).get(migration.name)
            if row is not None and row.done >= done:
                continue
        engine.execute(in_cluster(statement.sql, engine.cluster))
        last = done == len(migration.statements)
        schema = (
            msgspec.json.encode(read_schema(engine, _objects(timezone, migration.version))).decode() if last else ""
        )
        if last or not installed:  # an installation starts over, which changes nothing in an empty database
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


def _statements_of(names: set[str], applied: dict[str, Applied], timezone: str) -> list[Statement]:
    """Returns the statements that make tables and views: for a table all in order, for a view the last one."""
    complete = [m for m in migrations(timezone) if m.name in applied and applied[m.name].complete]
    found = [statement for migration in complete for statement in migration.statements if statement.object in names]
    tables = [s for s in found if s.object not in _views(found)]
    views = {s.object: s for s in found if s.object in _views(found)}
    return tables + list(views.values())


def _views(statements: list[Statement]) -> set[str]:
    return {
        s.object for s in statements if s.starts("CREATE VIEW", "CREATE OR REPLACE VIEW", "CREATE MATERIALIZED VIEW")
    }


def _restore(engine: Engine, timezone: str) -> list[str]:
    applied = read_applied(engine)
    missing = _missing(engine, applied)
    if missing:
        databases = {name.partition(".")[0] for name in missing}
        made = missing | databases | _without_all_columns(engine, applied)
        for statement in _statements_of(made, applied, timezone):
            engine.execute(in_cluster(statement.sql, engine.cluster))
    return sorted(missing)


def _without_all_columns(engine: Engine, applied: dict[str, Applied]) -> set[str]:
    """Returns the tables that lack a column: another call may be making them again, and a view that is made next may need it."""
    expected = expected_schema(applied)
    if expected is None:
        return set()
    real = read_schema(engine, expected.tables.keys())
    return {name for name, table in real.tables.items() if expected.tables[name].columns.keys() - table.columns.keys()}
