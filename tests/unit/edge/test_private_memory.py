"""A process that sees identities, keys or tokens leaves no core dump, and no other program of its user can read its memory."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ninezero.streams.edge.documents.key_ring import new_ring
from tests.support import NINEZERO

SETTINGS = {"NINEZERO_KAFKA": "127.0.0.1:1", "NINEZERO_ORDER": "T", "NINEZERO_SUNSET": "2100-01-01T00:00:00Z"}

COMMAND = """
import atexit, ctypes, sys
from pathlib import Path
from ninezero.agents.cli import main
def report():
    limits = Path("/proc/self/limits").read_text().splitlines()
    print("core", next(line.split()[4:6] for line in limits if line.startswith("Max core file size")))
    print("dumpable", ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
atexit.register(report)
main.main()
"""
"""Runs a command, and prints at its end how much of it may be dumped. 3 is PR_GET_DUMPABLE."""

DEVICE = """
import os, sys
from ninezero import Device
device = Device.from_environment(site_id="s", device_id="d")
print("open", flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def allow_core_dumps() -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


@pytest.mark.parametrize(
    "command", ["check-document", "device", "keys", "outbox", "push", "scan", "watchlist", "worker"]
)
def test_what_a_command_may_leave_in_a_core_dump(command: str, tmp_path: Path) -> None:
    """A worker sees no identity, and its core dumps belong to its operator."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path,
        env=os.environ | SETTINGS, preexec_fn=allow_core_dumps, timeout=60,
    )  # fmt: skip
    core, dumpable = done.stdout.splitlines()[-2:]
    if command == "worker":
        assert dumpable == "dumpable 1"
    else:
        assert (core, dumpable) == ("core ['0', '0']", "dumpable 0")


@pytest.mark.parametrize("program", [[NINEZERO, "check-document", "-"], [sys.executable, "-c", DEVICE]])
def test_a_process_that_crashes_with_an_identity_leaves_no_core_dump(program: list[str], tmp_path: Path) -> None:
    new_ring(tmp_path / "keys.json")
    env = os.environ | SETTINGS | {"NINEZERO_KEYS": str(tmp_path / "keys.json"), "NINEZERO_OUTBOX": str(tmp_path)}
    child = subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path, env=env | {"PYTHONUNBUFFERED": "1"},
        preexec_fn=allow_core_dumps,
    )  # fmt: skip
    with child, contextlib.suppress(BrokenPipeError):
        assert child.stdin is not None and child.stdout is not None
        child.stdout.readline()  # it runs, and waits for an identity
        child.stdin.write(b"id,11010519491231002X\n")
        child.stdin.flush()
        assert "Max core file size        0                    0" in Path(f"/proc/{child.pid}/limits").read_text()
        os.kill(child.pid, signal.SIGABRT)
        status = os.waitpid(child.pid, 0)[1]
        assert os.WTERMSIG(status) == signal.SIGABRT and not os.WCOREDUMP(status)
