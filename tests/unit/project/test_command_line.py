"""A wrong command line ends with one line and status 1, and what was typed is not repeated: it may be an identity."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import NINEZERO

SECRET = "11010519491231002X"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([SECRET], "ninezero --help"),
        (["scan", "a", SECRET], "ninezero scan --help"),
        (["scan", f"--{SECRET}"], "ninezero scan --help"),
        (["scan"], "file is missing or wrong"),
        (["device", "--site"], "no such command, option or argument"),
        (["device", "--site", "s"], "--device is missing or wrong"),
        (["topics", "create", "--partitions", SECRET], "--partitions is missing or wrong"),
        (["topics", "create", "--partitions", "13800138000"], "--partitions is missing or wrong"),
        (["worker", SECRET], "no such role"),
        (["check-document", f"/no/{SECRET}"], "the file cannot be read"),
    ],
)
def test_a_wrong_command_line_is_one_line_that_quotes_nothing(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = subprocess.run([NINEZERO, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=30)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert says in done.stderr and SECRET not in done.stderr and "13800138000" not in done.stderr


def test_help_is_no_failure(tmp_path: Path) -> None:
    for arguments in (["--help"], ["keys", "--help"], ["scan", "--help"]):
        done = subprocess.run([NINEZERO, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=30)
        assert (done.returncode, done.stderr) == (0, "") and "Usage" in done.stdout
