"""docs/tutorial.md, run as it stands in one shell with a real Kafka, an embedded ClickHouse and real workers."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

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


def test_the_tutorial_runs_line_by_line_in_one_shell_prints_what_it_says_and_leaves_nothing(tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("NINEZERO_", "XDG_", "PYTEST", "LC_", "LANG"))}
    commands, expected = script()
    done = subprocess.run(
        ["bash", "-c", commands], cwd=ROOT, env=env | {"HOME": str(home), "TMPDIR": str(temporary), "LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=540,
    )  # fmt: skip
    outputs = done.stdout.split(f"{MARK}\n")[1:]
    assert len(outputs) == len(expected) + 1 and sum(map(bool, expected)) >= 7, done.stdout
    for output, wanted in zip(outputs, expected, strict=False):
        assert not wanted or pattern(wanted).fullmatch(output), (
            f"the page:\n{wanted}\nthe shell:\n{output}\n{done.stdout}"
        )
    assert outputs[-1] == "failed: grep ^NINEZERO_\n", "no job runs, and no setting is left"
    assert "failed: " not in done.stdout.rpartition(MARK)[0], done.stdout
    assert [*temporary.iterdir()] == [], "the folder is removed"
    left = [path for path in Path("/proc").glob("[0-9]*/cwd") if _is_below(path, temporary)]
    assert left == [], "no process of the tutorial runs"


def _is_below(link: Path, folder: Path) -> bool:
    try:
        return str(folder) in str(link.readlink())
    except OSError:  # the process has ended, or is not ours
        return False
