"""Several calls of `migrate` at the same time, and a worker beside them, on a real server."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import Engine, SchemaError, ensure_schema, migrations, schema, upgrade
from tests.engines.clickhouse_server import start_server
from tests.unit.clickhouse.test_migrations import NEXT, ZONE

pytestmark = pytest.mark.server


def test_several_calls_at_the_same_time_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "sql"
    shutil.copytree(migrations.SQL_FOLDER, folder)
    monkeypatch.setattr(migrations, "SQL_FOLDER", folder)
    with closing(start_server(tmp_path / "server")) as server, closing(clickhouse.connect(server.url)) as engine:
        together = threading.Barrier(3)

        def call_together(start: Callable[[Engine, str], list[str]]) -> None:
            def call(_: int) -> None:
                with closing(clickhouse.connect(server.url)) as own:
                    own.query("SELECT 1 AS connected")
                    together.wait()
                    start(own, ZONE)

            with ThreadPoolExecutor(3) as threads:
                list(threads.map(call, range(3)))

        call_together(ensure_schema)  # workers on an empty server
        (folder / "002_next.sql").write_text(NEXT)
        with pytest.raises(SchemaError, match="run ninezero migrate"):
            ensure_schema(engine, ZONE)
        call_together(clickhouse.migrate)
        applied = migrations.read_applied(engine)
        assert {name: row.complete for name, row in applied.items()} == {"001_base": True, "002_next": True}
        expected = upgrade.expected_schema(applied)
        assert expected is not None
        assert list(schema.differences(expected, schema.read_schema(engine, expected.tables.keys()))) == []
        assert "phone_digits" in expected.tables["ninezero.sites"].columns
        assert "ninezero_data.short_lived" not in expected.tables
        for name in ("ninezero.sites", "ninezero_data.site_register"):
            engine.execute(f"DROP TABLE {name}")
        call_together(clickhouse.migrate)
        assert list(schema.differences(expected, schema.read_schema(engine, expected.tables.keys()))) == []
