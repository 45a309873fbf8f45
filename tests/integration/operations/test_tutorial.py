"""docs/tutorial.md, run as it stands in one shell with a real Kafka, an embedded ClickHouse and real workers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import free_port

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```sh\n(.*?)^```\n(?:\n^```text\n(.*?)^```\n)?", re.M | re.S)
MARK = "@@@ block"


def pattern(expected: str) -> re.Pattern[str]:
    """Returns what an output has to match: `…` stands for a part of a line, and alone for any number of lines."""
    lines = [
        r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", r".*") + r"\n" for line in expected.splitlines()
    ]
    return re.compile("".join(lines))


def script() -> tuple[str, list[str]]:
    """Returns the blocks as one script, with free ports, and the expected output of each block."""
    text, expected, kafka, web = "", list[str](), free_port(), free_port(4)
    for commands, output in BLOCK.findall(PAGE):
        text += f"echo '{MARK}'\n{commands}"
        expected.append(output)
    ports = {"9492": str(kafka), "6166": str(web), "6169": str(web + 3)}
    assert ports.keys() <= set(re.findall("[0-9]{4}", text))
    for shown, free in ports.items():
        text = text.replace(f"127.0.0.1:{shown}", f"127.0.0.1:{free}").replace(f"--port {shown}", f"--port {free}")
        expected = [one.replace(f"127.0.0.1:{shown}", f"127.0.0.1:{free}") for one in expected]
    return f"trap 'echo \"failed: $BASH_COMMAND\"' ERR\n{text}echo '{MARK}'\njobs\nenv | grep ^NINEZERO_\n", expected


@pytest.mark.timeout(900)
def test_the_tutorial_runs_line_by_line_in_one_shell_prints_what_it_says_and_leaves_nothing(tmp_path: Path) -> None:
    home, temporary, printed = tmp_path / "home", tmp_path / "tmp", tmp_path / "printed"
    home.mkdir()
    temporary.mkdir()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("NINEZERO_", "XDG_", "PYTEST", "LC_", "LANG"))}
    commands, expected = script()
    try:
        with printed.open("wb") as file:
            subprocess.run(
                ["bash", "-c", commands], cwd=ROOT, env=env | {"HOME": str(home), "TMPDIR": str(temporary), "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=840,
            )  # fmt: skip
    finally:
        left = processes_of(temporary)
        for process in left:
            os.kill(process, signal.SIGKILL)
        shown = printed.read_text()
        print(shown)  # pytest shows it if the test fails
    outputs = shown.split(f"{MARK}\n")[1:]
    assert len(outputs) == len(expected) + 1 and sum(map(bool, expected)) >= 7
    for output, wanted in zip(outputs, expected, strict=False):
        assert not wanted or pattern(wanted).fullmatch(output), f"the page:\n{wanted}\nthe shell:\n{output}"
    assert outputs[-1] == "failed: grep ^NINEZERO_\n", "no job runs, and no setting is left"
    assert "failed: " not in shown.rpartition(MARK)[0]
    assert [*temporary.iterdir()] == [], "the folder is removed"
    assert left == [], "no process of the tutorial runs"


def processes_of(folder: Path) -> list[int]:
    """Returns the processes that work in a folder or were started with a path in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is not ours
            about = f"{(process / 'cwd').readlink()} {(process / 'cmdline').read_text(errors='replace')}"
            if str(folder) in about:
                found.append(int(process.name))
    return found
