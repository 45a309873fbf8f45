"""Commands of the edge work without the packages of the workers; the other commands fail with one line that says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ninezero.streams.kafka import administration
from ninezero.streams.local_kafka.broker import Broker
from tests.integration.edge.test_device_faults import deployment_settings, records

ABSENT = (
    "faust",
    "mode",
    "aiokafka",
    "clickhouse_driver",
    "chdb",
    "numpy",
    "pyarrow",
    "aiohttp",
    "prometheus_client",
    "orjson",
    "uvloop",
)
"""Packages of the extras `worker` and `embedded`, and their dependencies."""

WITHOUT = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from ninezero.agents.cli.main import main
sys.argv[0] = "ninezero"
main()
"""

PASSAGE = (
    '{"kind": "pedestrian", "people": [{"role": "pedestrian", "id": "440524188001010014", "temperature_c": 36.5}]}'
)

EDGE = [
    (["keys", "new"], "", 0, "created the key ring"),
    (["keys", "rotate"], "", 0, "the active key is now k2"),
    (["keys", "list"], "", 0, " (active)"),
    (["doctor", "--where", "edge"], "", 0, "not checked here"),
    (["doctor", "clickhouse"], "", 1, "ninezero doctor --where edge"),
    (["check-document", "-"], "kind,value\nid,11010519491231002X\n", 0, "1,id,"),
    (["push", "no.csv"], "", 1, ""),
    (["scan", "-", "--site", "s", "--device", "gate-a"], PASSAGE, 1, "not checked"),
    (["device", "--site", "s", "--device", "gate-a"], "440524188001010014\nq\n", 0, "identity card"),
]
"""Commands of the edge: arguments, standard input, exit status, and a part of the output (no worker runs here)."""

WORKER = [
    ["worker", "screening"],
    ["demo", "--once"],
    ["migrate"],
    ["query", "SELECT 1"],
    ["sites", "load", "sites.csv"],
    ["report"],
]


def run(arguments: list[str], folder: Path, env: dict[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=folder,
        env=env,
        timeout=60,
    )


@pytest.fixture
def env(kafka: Broker, tmp_path: Path) -> dict[str, str]:
    settings = deployment_settings(kafka.bootstrap, tmp_path)
    administration.create_topics(settings, partitions=2)
    (tmp_path / "sites.csv").write_text("site_id,kind,division,capacity\ns,village,370115,0\n")
    return {
        "NINEZERO_KAFKA": settings.kafka, "NINEZERO_ORDER": "T", "NINEZERO_SUNSET": settings.sunset.isoformat(),
        "NINEZERO_TOPIC_PREFIX": settings.topic_prefix, "NINEZERO_KEYS": str(tmp_path / "ring.json"),
        "NINEZERO_OUTBOX": str(tmp_path / "outbox"), "NINEZERO_CLICKHOUSE": f"chdb://{tmp_path}/clickhouse",
    }  # fmt: skip


def test_the_edge_works_without_the_packages_of_the_workers(env: dict[str, str], tmp_path: Path) -> None:
    for arguments, stdin, status, says in EDGE:
        done = run(arguments, tmp_path, env, stdin)
        assert (done.returncode, says in done.stdout) == (status, True), (arguments, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr and "not installed" not in done.stderr
    settings = deployment_settings(env["NINEZERO_KAFKA"], tmp_path, NINEZERO_TOPIC_PREFIX=env["NINEZERO_TOPIC_PREFIX"])
    assert [event["seq"] for event in records(settings, "checkpoint-scans")] == [0]


@pytest.mark.parametrize("arguments", WORKER, ids=lambda arguments: arguments[0])
def test_a_command_that_needs_the_packages_of_the_workers_says_so_in_one_line(
    arguments: list[str], env: dict[str, str], tmp_path: Path
) -> None:
    done = run(arguments, tmp_path, env)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr == (
        "ninezero: this command needs packages that are not installed: pip install 'ninezero[worker,embedded]'\n"
    )
