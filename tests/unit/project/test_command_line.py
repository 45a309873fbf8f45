"""The command line: its errors, its help, its version and its completion.

An error is one line with status 1 that does not repeat what was typed, because it may be an identity.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.main

from ninezero.agents.cli.main import app
from tests.support import NINEZERO

SECRET = "11010519491231002X"


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_a_wrong_command_line_is_one_line_that_quotes_nothing(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = subprocess.run([NINEZERO, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=30)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert message in done.stderr and SECRET not in done.stderr and "13800138000" not in done.stderr


def test_help_ends_with_status_0(tmp_path: Path) -> None:
    for arguments in (["--help"], ["keys", "--help"], ["scan", "--help"]):
        done = subprocess.run([NINEZERO, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=30)
        assert (done.returncode, done.stderr) == (0, "") and "Usage" in done.stdout


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    done = subprocess.run([NINEZERO, "--version"], capture_output=True, text=True, cwd=tmp_path, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ninezero {version('ninezero')}\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str, tmp_path: Path) -> None:
    def ask(instruction: str, line: str = "ninezero ") -> str:
        env = {
            "PATH": os.environ["PATH"],
            "_NINEZERO_COMPLETE": f"{instruction}_{shell}",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "_TYPER_COMPLETE_ARGS": line,  # zsh and fish
            "COMP_WORDS": line,  # bash
            "COMP_CWORD": str(line.count(" ")),
        }
        return subprocess.run([NINEZERO], capture_output=True, text=True, cwd=tmp_path, env=env, timeout=30).stdout

    assert f"complete_{shell}" in ask("source")
    assert "dead-letters" in ask("complete", "ninezero dea")
    assert "--category" in ask("complete", "ninezero push --cat")


def commands(command: Any, path: str = "ninezero") -> Iterator[tuple[str, Any]]:
    """Yields each command and group with the words that call it."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


def is_sentence(text: str | None) -> bool:
    """Returns whether a text is an English sentence. A Chinese sentence may follow it."""
    english = re.sub(r"\s*[\u4e00-\u9fff][^A-Za-z]*。\Z", "", text or "")
    return english[:1].isupper() and english.endswith(".") and not english.endswith("..") and "  " not in english


def test_every_command_option_and_argument_is_described_by_a_sentence() -> None:
    described = 0
    for path, command in commands(typer.main.get_command(app)):
        summary = (command.help or "").split("\n\n")[0].strip()
        assert is_sentence(summary), f"{path}: {summary}"
        for parameter in command.params:
            assert is_sentence(parameter.help), f"{path}: {parameter.name}: {parameter.help}"
            described += 1
    assert described > 50
