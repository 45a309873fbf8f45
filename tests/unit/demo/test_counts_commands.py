"""`ninezero query` and `ninezero report` on an embedded database that ran no scenario."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ninezero.agents.demo.replay import ReplaySummary
from tests.support import NINEZERO


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    demo = tmp_path / ".run" / "demo"
    demo.mkdir(parents=True)
    (demo / "lock").touch()
    ReplaySummary(events=7, database=f"embedded ClickHouse {tmp_path}/clickhouse").save(demo)
    run(tmp_path, "migrate")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("NINEZERO_")}
    env["NINEZERO_CLICKHOUSE"] = f"chdb://{folder}/clickhouse"
    return subprocess.run([NINEZERO, *arguments], capture_output=True, cwd=folder, env=env, timeout=120)


def test_csv_has_line_feeds_alone_and_a_report_of_another_database_is_one_line(folder: Path) -> None:
    done = run(folder, "query", "SELECT 'batch-1' AS batch_id, 2 AS n", "--format", "csv")
    assert (done.returncode, done.stdout) == (0, b"batch_id,n\nbatch-1,2\n"), done
    done = run(folder, "report")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert b"did not run the scenario" in done.stderr and b"ninezero query" in done.stderr
    ReplaySummary(events=7, database="ClickHouse db.example:9000, databases ninezero*").save(folder / ".run" / "demo")
    done = run(folder, "report")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert b"the last demo counted in ClickHouse db.example:9000" in done.stderr
    (folder / ".run" / "demo" / "demo.json").write_text('{"of_another_release": 1}')
    done = run(folder, "report")
    assert (done.returncode, done.stdout) == (1, b"") and b"run ninezero demo again" in done.stderr


def test_a_demo_that_does_not_end_leaves_no_report_of_the_one_before(folder: Path) -> None:
    done = run(folder, "demo", "--once", "--use-kafka")
    assert done.returncode == 1 and b"NINEZERO_KAFKA is not set" in done.stderr
    done = run(folder, "report")
    assert (done.returncode, done.stdout) == (1, b"") and b"no demo was run in this folder" in done.stderr
