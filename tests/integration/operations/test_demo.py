"""`ninezero demo` that is stopped by a signal leaves no process behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from ninezero.streams import direct_http as direct
from ninezero.streams.local_kafka.broker import Broker
from tests.support import wait_for

ROOT = Path(__file__).parents[3]


def test_a_demo_that_receives_sigterm_stops_its_workers_and_its_kafka(tmp_path: Path) -> None:
    log = tmp_path / "output"

    def board_answers() -> bool:
        board = re.search(r"http://\S+", log.read_text())
        try:
            return board is not None and direct.ask(board[0], timeout=5).status == 200
        except OSError:
            return False

    with log.open("wb") as output:
        demo = subprocess.Popen(
            [sys.executable, "-m", "ninezero.agents.cli.main", "demo"],
            cwd=tmp_path, stdout=output, stderr=output, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
    try:
        wait_for(board_answers, 90, "the board")
        demo.send_signal(signal.SIGTERM)
        demo.wait(60)
    finally:
        demo.kill()
        kafka_runs = Broker(tmp_path / ".run" / "kafka").running()
        Broker(tmp_path / ".run" / "kafka").stop()
    assert not kafka_runs and not board_answers()
    assert "Traceback" not in log.read_text()
