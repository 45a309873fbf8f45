"""Without an extra, each command that needs it says in one line which one to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ninezero.agents.cli.main import EXTRAS
from ninezero.streams.edge.documents.key_ring import new_ring
from tests.packaging.test_distributions import BASE_ONLY

SETTINGS = {
    "NINEZERO_KAFKA": "127.0.0.1:1", "NINEZERO_ORDER": "T", "NINEZERO_SUNSET": "2100-01-01T00:00:00Z", "NINEZERO_KEYS": "keys.json",
    "NINEZERO_CLICKHOUSE": "clickhouse://127.0.0.1:1",
}  # fmt: skip
SCAN = '{"device_id":"a","seq":0,"site_id":"s","observed_at":"2026-01-01T00:00:00Z","kind":"pedestrian","people":[{"role":"pedestrian","tokens":{},"temperature_c":null}]}'

NEEDS = {
    "init worker ninezero.env": "",
    "scan -": "edge",
    "device --site s --device d": "edge",
    "check-document documents.csv": "edge",
    "outbox rename a b": "",
    "keys list": "",
    "push a.csv --authority a --list l --category close_contact --by b --basis c": "edge",
    "watchlist show": "worker",
    "watchlist audit": "worker",
    "query SELECT": "worker",
    "publish": "worker",
    "doctor clickhouse": "",  # a finding, see test_doctor.py
    "worker screening": "worker",
    "migrate": "worker",
    "topics create": "edge",
    "sites load sites.csv": "worker",
    "register site sites.csv": "worker",
    "policy check policy.json": "",
    "policy diff policy.json default@1": "worker",
    "policy show": "worker",
    "policy activate a@1 --from now --by b --yes": "worker",
    "dead-letters list": "edge",
    "dead-letters redrive": "edge",
    "records set-aside watchlist/0@0 --by b": "edge",
    "upgrade status": "worker",
    "retain": "worker",
    "erase": "worker",
    "erase --yes": "worker",
    "erase --edge --yes": "",
    "demo --once": "worker,embedded",
    "report": "worker",
    "kafka start": "edge",
    "kafka status": "",
}
"""Command lines, and the extra that each needs."""


def run(line: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("NINEZERO_")} | SETTINGS | settings
    return subprocess.run(
        [sys.executable, "-c", BASE_ONLY, *line.split()],
        input=SCAN, capture_output=True, text=True, cwd=folder, env=env, timeout=60,
    )  # fmt: skip


def test_every_command_is_tried() -> None:
    assert {line.split()[0] for line in NEEDS} == set(EXTRAS)


@pytest.mark.parametrize("line", [line for line, extra in NEEDS.items() if extra])
def test_a_command_without_its_packages_names_the_extra(line: str, tmp_path: Path) -> None:
    (tmp_path / "sites.csv").write_text("site_id,kind,division,capacity\n")
    (tmp_path / "documents.csv").write_text("phone,13800138000\n")
    new_ring(tmp_path / "keys.json")
    (tmp_path / "a.csv").write_text("身份证号\n")
    done = run(line, tmp_path)
    assert done.returncode == 1, done
    assert (tmp_path / "keys.json").exists()
    assert done.stderr == (
        f"ninezero: this command needs packages that are not installed: pip install 'ninezero[{NEEDS[line]}]'\n"
    )


def test_the_embedded_database_needs_an_extra_of_its_own(tmp_path: Path) -> None:
    done = run("migrate", tmp_path, NINEZERO_CLICKHOUSE=f"chdb://{tmp_path}/clickhouse")
    assert "pip install 'ninezero[worker,embedded]'" in done.stderr
