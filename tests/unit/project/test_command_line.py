"""The command line: its errors, its help, its version and its completion.

An error is one line with status 1 that does not repeat what was typed, because it may be an identity.
"""

from __future__ import annotations

import os
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import typer.main

from ninezero.agents.cli import usage
from ninezero.agents.cli.main import app
from tests.support import NINEZERO

SECRET = "11010519491231002X"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([SECRET], "ninezero has no such command: see ninezero --help"),
        (["scan", "a", SECRET], "one argument too many: ninezero scan accepts FILE"),
        (["scan", f"--{SECRET}"], "word 3 of the command line is no option of ninezero scan: see ninezero scan --help"),
        (["scan", f"--site{SECRET}"], "word 3 of the command line is no option"),
        (["scan", f"--site{SECRET}=x"], "word 3 of the command line is no option"),
        (["scan"], "FILE is missing: see ninezero scan --help"),
        (["device", "--site"], "--site needs a value"),
        (["device", "--site", "s"], "--device is missing: ninezero device needs --site and --device"),
        (["doctor", f"--json={SECRET}"], "--json is a flag: write it without a value"),
        (["topics", "create", "--partitions", SECRET], "--partitions is wrong: give a whole number from 1 to 10000"),
        (["topics", "create", "--partitions", "13800138000"], "--partitions is wrong"),
        (["query", "SELECT 1", "--format", SECRET], "--format is wrong: use table, json or csv"),
        (
            ["dead-letters", "redrive", "--reason", SECRET],
            "--reason is wrong: use not_json, schema_invalid, too_large,",
        ),
        (["dead-letters", "redrive", "--topic", SECRET], "--topic is wrong: use checkpoint-scans"),
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


@pytest.mark.parametrize("group", [[], ["keys"], ["dead-letters"]])
def test_a_command_line_without_a_command_shows_the_commands(group: list[str], tmp_path: Path) -> None:
    done = subprocess.run([NINEZERO, *group], capture_output=True, text=True, cwd=tmp_path, timeout=30)
    assert (done.returncode, done.stderr) == (1, "ninezero: no command was given: choose one of those above\n")
    assert "Usage: ninezero" in done.stdout and "╭─" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [
        (["pusch"], "ninezero has no command pusch: did you mean ninezero push?"),
        (["check_document"], "ninezero has no such command"),  # only letters and hyphens are quoted
        (["keys", "nwe"], "ninezero keys has no command nwe: did you mean ninezero keys new?"),
        (["deadletters"], "did you mean ninezero dead-letters?"),
        (["scan", "--sitee", "x"], "ninezero scan has no option --sitee: did you mean --site?"),
        (["topics", "create", "--replicas", "3"], "did you mean --replication?"),
    ],
)
def test_a_misspelt_name_is_named_with_the_closest_one(arguments: list[str], suggested: str, tmp_path: Path) -> None:
    done = subprocess.run([NINEZERO, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=30)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1) and suggested in done.stderr


def test_the_help_shows_no_type_of_a_flag_and_no_default_that_is_not_one(tmp_path: Path) -> None:
    env = {**os.environ, "COLUMNS": "200"}
    for command in ("", "topics", "push", "doctor", "erase"):
        done = subprocess.run(
            [NINEZERO, *command.split(), "--help"], capture_output=True, text=True, env=env, timeout=30
        )
        assert "--help" in done.stdout and "<bool>" not in done.stdout, command
    push = subprocess.run([NINEZERO, "push", "--help"], capture_output=True, text=True, env=env, timeout=30).stdout
    assert "default: 0" not in push  # of --days and --sequence, where 0 stood for "none given"


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


def is_sentence(text: str | None) -> bool:
    """Returns whether a text is an English sentence. A Chinese sentence may follow it."""
    english = re.sub(r"\s*[\u4e00-\u9fff][^A-Za-z]*。\Z", "", text or "")
    return english[:1].isupper() and english.endswith(".") and not english.endswith("..") and "  " not in english


def test_every_command_option_and_argument_is_described_by_a_sentence() -> None:
    described = 0
    for path, command in usage.commands(typer.main.get_command(app)):
        summary = (command.help or "").split("\n\n")[0].strip()
        assert is_sentence(summary), f"{path}: {summary}"
        for parameter in command.params:
            assert is_sentence(parameter.help), f"{path}: {parameter.name}: {parameter.help}"
            described += 1
    assert described > 50
