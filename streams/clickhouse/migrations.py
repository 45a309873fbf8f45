"""Numbered migrations: the files in `schemas/sql/`, applied in order and recorded in `schema_migrations`.

The number of a file is a version of the schema, and a release adds at most one file. A file never changes after the release
that contains it. Every statement may run twice, because `migrate` resumes at the statement after the last recorded one. For the same
reason a name that was dropped is not used again: a repeated DROP would find the rows of its successor.
"""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from ninezero.streams.clickhouse.engine import Engine
from ninezero.streams.errors import UserError

SQL_FOLDER = Path(__file__).resolve().parents[2] / "schemas" / "sql"

_BEGIN = re.compile(
    r"(?:(?:CREATE (?:(?:DATABASE|TABLE|VIEW|MATERIALIZED VIEW) IF NOT EXISTS|OR REPLACE VIEW)"
    r"|DROP (?:TABLE|VIEW) IF EXISTS|ALTER TABLE) ([\w.]+))"
)
"""The beginning of a statement that may stand in a migration, with the name of its database, table or view."""

_UNREPEATABLE_ACTION = re.compile(
    r"\b(?:ADD|DROP|RENAME|CLEAR|MATERIALIZE) (?:COLUMN|INDEX|PROJECTION|CONSTRAINT)\b(?! IF (?:NOT )?EXISTS)"
)
"""An action of ALTER TABLE that fails when it is repeated."""

_MIGRATIONS = "ninezero_data.schema_migrations"

_CREATE_MIGRATIONS = f"""CREATE TABLE IF NOT EXISTS {_MIGRATIONS} (
    name String, sha256 String, statements UInt32, done UInt32, installed UInt8, timezone String, schema String, at UInt64
) ENGINE = ReplacingMergeTree(at) ORDER BY (name, done)"""

_BEFORE_0_1_0 = (
    "this database was made by a release before 0.1.0, whose tables cannot be upgraded: finish it under that release,"
    " or drop its databases ninezero and ninezero_data; see docs/upgrading.md"
)


class SchemaError(UserError):
    """The schema of the database does not suit this program. The message is one line: what is wrong, and what to do."""


class Statement(NamedTuple):
    """A statement of a migration, and the database, table or view that it creates, alters or drops."""

    object: str
    sql: str

    def starts(self, *words: str) -> bool:
        """Returns whether the statement starts with one of the words."""
        return self.sql.startswith(words)


class Migration(NamedTuple):
    """One file of `schemas/sql/`. `version` is its number."""

    name: str
    version: int
    sha256: str
    statements: tuple[Statement, ...]


class Applied(msgspec.Struct, frozen=True):
    """The row of `schema_migrations` that says how far a migration is applied."""

    name: str
    sha256: str
    statements: int
    """The number of its statements."""
    done: int
    """The number of statements that are done."""
    installed: int
    """1 if the migration belongs to the installation on an empty database, which a worker may do."""
    timezone: str
    schema: str
    """The tables and views after the last statement (`schema.Schema` as JSON); empty before it."""

    @property
    def version(self) -> int:
        """The number of the migration."""
        return int(self.name[:3])

    @property
    def complete(self) -> bool:
        """True if all statements are done."""
        return self.done == self.statements


def migrations(timezone: str) -> list[Migration]:
    """Returns the migrations of this program in order, with the time zone filled into their statements."""
    found = [_read(path, timezone) for path in sorted(SQL_FOLDER.glob("*.sql"))]
    dropped = set[str]()
    for migration in found:
        for statement in migration.statements:
            if statement.starts("DROP"):
                dropped.add(statement.object)
            elif statement.object in dropped:
                raise SchemaError(f"{migration.name}: {statement.object} was dropped: give what is new another name")
    return found


def read_applied(engine: Engine) -> dict[str, Applied]:
    """Returns the migrations that are applied, or begun, by name. Changes nothing.

    Raises:
        SchemaError: a release before 0.1.0 made the database.
        ClickHouseError: the database does not answer.
    """
    columns = engine.query(
        "SELECT name FROM system.columns WHERE database = 'ninezero_data' AND table = 'schema_migrations'"
    )
    if not columns:
        return {}
    if not any(row["name"] == "sha256" for row in columns):
        raise SchemaError(_BEFORE_0_1_0)
    rows = engine.query("SELECT * FROM ninezero_data.schema_migrations FINAL ORDER BY name, done")
    return {row["name"]: msgspec.convert(row, Applied, strict=False) for row in rows}


def check_known(applied: dict[str, Applied], timezone: str) -> None:
    """Checks that the applied migrations are those of this program or of the next release.

    Raises:
        SchemaError: an applied migration has changed, a later release made the schema, or its time zone is another one.
    """
    known = {migration.name: migration for migration in migrations(timezone)}
    newest = max(migration.version for migration in known.values())
    for name, row in applied.items():
        if name in known and row.sha256 != known[name].sha256:
            raise SchemaError(
                f"the migration {name} has changed since it was applied: install the release that applied it;"
                " a change of the schema needs a migration of its own"
            )
        if name not in known and row.version != newest + 1:
            raise SchemaError(
                f"the schema is at {name}, but this release knows schemas up to {newest + 1:03d}: upgrade ninezero on this machine"
            )
        if row.timezone != timezone:
            raise SchemaError(
                f"the views were made for the time zone {row.timezone}, but NINEZERO_TIMEZONE is {timezone}:"
                f" set NINEZERO_TIMEZONE={row.timezone} everywhere"
            )


def create_record(engine: Engine) -> None:
    """Creates the table in which applied migrations are recorded."""
    engine.execute(in_cluster("CREATE DATABASE IF NOT EXISTS ninezero_data", engine.cluster))
    engine.execute(in_cluster(_CREATE_MIGRATIONS, engine.cluster))


def record(
    engine: Engine, migration: Migration, timezone: str, *, done: int, installed: bool, schema: str = ""
) -> None:
    """Records how many statements of a migration are done.

    Args:
        engine: the database.
        migration: the migration.
        timezone: the time zone of local days in the views.
        done: the number of statements that are done.
        installed: whether the migration belongs to the installation on an empty database.
        schema: the tables and views, after the last statement.
    """
    row = (
        migration.name,
        migration.sha256,
        len(migration.statements),
        done,
        int(installed),
        timezone,
        schema,
        time.time_ns(),
    )
    engine.insert(_MIGRATIONS, (*Applied.__struct_fields__, "at"), [row])


def in_cluster(sql: str, cluster: str) -> str:
    """Returns a statement of a migration for a cluster: `ON CLUSTER`, and replicated engines. Without a cluster it is unchanged."""
    if not cluster:
        return sql
    sql = _BEGIN.sub(rf"\g<0> ON CLUSTER `{cluster}`", sql, count=1)
    return re.sub(r"\bENGINE = (?!Replicated)(\w*MergeTree)\b", r"ENGINE = Replicated\1", sql)


def _read(path: Path, timezone: str) -> Migration:
    data = path.read_bytes()
    text = re.sub(r"^\s*--.*$", "", data.decode(), flags=re.M).replace("{timezone}", timezone)
    parts = [part for part in map(str.strip, re.split(r";\s*(?:\n|\Z)", text)) if part]
    return Migration(
        path.stem, int(path.stem[:3]), hashlib.sha256(data).hexdigest(), tuple(_statement(path, part) for part in parts)
    )


def _statement(path: Path, sql: str) -> Statement:
    begin = _BEGIN.match(sql)
    if begin is None or (sql.startswith("ALTER") and _UNREPEATABLE_ACTION.search(sql)):
        raise SchemaError(
            f"{path.name}: a statement cannot be repeated: write IF EXISTS, IF NOT EXISTS or CREATE OR REPLACE VIEW in"
            f" {' '.join(sql.split())[:60]!r}"
        )
    return Statement(begin[1], sql)
