"""The tables and views that a database has, and how they differ from those that the migrations made."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from ninezero.schemas.rows import TABLES
from ninezero.streams.clickhouse.engine import Engine


class Table(msgspec.Struct, frozen=True):
    """A table or view. `query` is the SELECT of a view; `columns` gives the type by name. The comment says what `erase` keeps.

    `create` is the statement that makes a table as it is, in the style of its server; empty for a view.
    """

    engine: str
    partition_key: str
    sorting_key: str
    comment: str
    query: str
    columns: dict[str, str]
    create: str = ""


class Schema(msgspec.Struct, frozen=True):
    """The tables and views of the databases by name, as a server of the version `server` shows them."""

    server: str
    tables: dict[str, Table]


def read_schema(engine: Engine, names: Collection[str]) -> Schema:
    """Returns what the database has of the tables and views with these names (`database.table`)."""
    columns: dict[str, dict[str, str]] = {}
    for row in engine.query(
        "SELECT concat(database, '.', table) AS owner, name, type FROM system.columns"
        " WHERE database LIKE 'ninezero%' ORDER BY database, table, position"
    ):
        columns.setdefault(row["owner"], {})[row["name"]] = row["type"]
    tables = {
        row["name"]: Table(
            row["engine"],
            row["partition_key"],
            row["sorting_key"],
            row["comment"],
            row["as_select"],
            columns.get(row["name"], {}),
            "" if row["engine"] == "View" else row["create_table_query"],
        )
        for row in engine.query(
            "SELECT concat(database, '.', table) AS name, engine, partition_key, sorting_key, comment, as_select,"
            " create_table_query"
            " FROM system.tables WHERE database LIKE 'ninezero%'"
        )
        if row["name"] in names
    }
    return Schema(str(engine.query("SELECT version() AS version")[0]["version"]), tables)


def differences(expected: Schema, real: Schema) -> Iterator[str]:
    """Yields, in one line each, how the real tables and views differ from the expected ones.

    A server writes the query of a view in the style of its version, so queries are compared on the same version only.
    """
    for name, wanted in sorted(expected.tables.items()):
        found = real.tables.get(name)
        if found is None:
            yield f"{name} is missing"
            continue
        for column, type_ in wanted.columns.items():
            if column not in found.columns:
                yield f"{name} lacks the column {column} ({type_})"
            elif found.columns[column] != type_:
                yield f"the column {column} of {name} is {found.columns[column]}, not {type_}"
        for column in sorted(found.columns.keys() - wanted.columns.keys()):
            yield f"{name} has a column {column} that no migration made"
        for what in ("engine", "partition_key", "sorting_key", "comment"):
            if getattr(found, what) != getattr(wanted, what):
                yield f"the {what.replace('_', ' ')} of {name} is {getattr(found, what) or 'empty'}, not {getattr(wanted, what) or 'empty'}"
        if found.query != wanted.query and expected.server == real.server:
            yield f"{name} has another query than its migration"
    for table, row_type in TABLES.items():  # a table of the right name that no migration of ours made
        name = f"ninezero_data.{table}"
        if name in real.tables and name in expected.tables:
            existing = real.tables[name].columns.keys() | expected.tables[name].columns.keys()
            if lacking := [column for column in row_type._fields if column not in existing]:
                yield f"{name} lacks columns that this release writes: {', '.join(lacking)}"
