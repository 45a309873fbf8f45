"""A recorder's connection notices tables that are missing, each alone, and creates them again."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from ninezero.agents.recording.sealed_days import read_sealed_days
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import ClickHouseError, Engine, SchemaError
from ninezero.streams.clickhouse.threaded_connection import ThreadedConnection


def drop(engine: Engine, name: str) -> None:
    engine.execute(f"DROP TABLE {name}")


def test_a_missing_table_is_created_again_by_the_statement_that_needs_it_or_by_the_next_check(tmp_path: Path) -> None:
    async def work() -> None:
        connection = ThreadedConnection(f"chdb://{tmp_path}", "Asia/Shanghai")
        assert await connection.call(read_sealed_days) == frozenset(), "an empty database is installed"
        await connection.call(lambda engine: drop(engine, "ninezero_data.sealed_days"))
        with pytest.raises(ClickHouseError):
            await connection.call(read_sealed_days)
        assert await connection.call(read_sealed_days) == frozenset()
        await connection.call(lambda engine: drop(engine, "ninezero.sites"))
        await connection.check_schema()
        assert await connection.query("SELECT count() AS n FROM ninezero.sites") == [{"n": 0}]
        for database in ("ninezero", "ninezero_data"):
            await connection.execute(f"DROP DATABASE {database}")
        with pytest.raises(ClickHouseError):
            await connection.call(read_sealed_days)
        assert await connection.call(read_sealed_days) == frozenset(), "an emptied server"
        await connection.close()

    asyncio.run(work())


def test_a_schema_of_another_release_ends_the_connection_with_one_line(tmp_path: Path) -> None:
    with closing(clickhouse.connect(f"chdb://{tmp_path}")) as engine:
        engine.execute("CREATE DATABASE ninezero_data")
        engine.execute("CREATE TABLE ninezero_data.schema_migrations (name String) ENGINE = MergeTree ORDER BY name")

    async def work() -> None:
        connection = ThreadedConnection(f"chdb://{tmp_path}", "Asia/Shanghai")
        try:
            with pytest.raises(SchemaError, match=r"made by a release before 0\.1\.0"):
                await connection.query("SELECT 1 AS n")
        finally:
            await connection.close()

    asyncio.run(work())
