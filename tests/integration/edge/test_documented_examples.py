"""The examples of docs/devices.md, run as they stand against a real Kafka and real workers."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ninezero.schemas.events import Scan, decoder
from ninezero.streams.edge.documents.key_ring import new_ring
from ninezero.streams.local_kafka.broker import Broker
from tests.integration.edge.test_device import read
from tests.support import NINEZERO, System, wait_for

PAGE = (Path(__file__).parents[3] / "docs" / "devices.md").read_text(encoding="utf-8")
LISTED = "11010519491231002X"
"""The person whom the page's examples have on a list of close contacts."""


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order; those inside list items without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", PAGE, re.M | re.S)
    return [re.sub(f"^{indent}", "", block, flags=re.M) for indent, block in found]


@pytest.fixture(scope="module")
def system(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A deployment with workers and a list of close contacts, and its settings in the environment."""
    folder = tmp_path_factory.mktemp("documented")
    new_ring(folder / "keys.json")
    deployment = System(
        kafka.bootstrap, f"chdb://{folder}/db", folder,
        NINEZERO_KEYS=str(folder / "keys.json"), NINEZERO_OUTBOX=str(folder / "outbox"),
    )  # fmt: skip
    deployment.prepare()
    deployment.start("lists", "screening")
    with (folder / "contacts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "valid_to"), (LISTED, (date.today() + timedelta(days=7)).isoformat())])
    push = [
        "push",
        "contacts.csv",
        "--authority",
        "cdc",
        "--list",
        "contacts",
        "--category",
        "close_contact",
        "--by",
        "wang",
        "--basis",
        "A-3",
    ]
    done = deployment.run(*push)
    assert b"applied: 1 accepted" in done.stdout, done.stdout + done.stderr
    wait_for(lambda: deployment.ready("screening"), 60, "screening")
    time.sleep(2)  # an applied batch matches within two seconds (CONTRACT §5)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in deployment.env.items():
            if name.startswith("NINEZERO_"):
                patch.setenv(name, value)
        yield deployment
    deployment.stop()


def expected_output(block: str) -> list[str]:
    """Returns the output that the block states: the comments after its calls of `print`, in order."""
    return re.findall(r"^ *print\(.*\)  # (.*)$", block, re.M)


def test_every_python_example_prints_what_the_page_says(system: System) -> None:
    names: dict[str, Any] = {"__name__": "example"}
    printed_lines = 0
    for number, block in enumerate(blocks("python"), 1):
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(block, f"example {number} of docs/devices.md", "exec"), names)  # noqa: S102  # the page is part of this repository
        except Exception as error:
            raise AssertionError(f"example {number}:\n{block}") from error
        assert printed.getvalue().splitlines() == expected_output(block), block
        printed_lines += len(expected_output(block))
    assert printed_lines >= 8, "the examples that show a result were found"
    sent = {topic: read(system, topic) for topic in ("dispositions", "quarantine-events", "followup-events")}
    assert [disposition["of"]["seq"] for disposition in sent["dispositions"]] == [0]
    assert [event["type"] for event in sent["quarantine-events"]] == ["admitted", "reading", "released"]
    assert [event["type"] for event in sent["followup-events"]] == ["opened"]
    stages = [arrival["stage"] for arrival in read(system, "station-arrivals")]
    assert stages == ["registered", "boarded"]
    assert not read(system, "dead-letters"), "the workers accept everything that the examples send"


def test_every_command_with_a_shown_output_prints_it(system: System) -> None:
    shown = re.findall(r"^```sh\n((?:(?!```).*\n)*)```\n```text\n((?:(?!```).*\n)*)```", PAGE, re.M)
    assert len(shown) == 2
    path = f"{Path(NINEZERO).parent}{os.pathsep}{os.environ['PATH']}"
    for command, output in shown:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], env={**system.env, "PATH": path}, cwd=system.folder,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert sorted(done.stdout.splitlines()) == sorted(output.splitlines()), done.stderr
        assert done.returncode == 0, done.stderr


def test_the_scan_in_json_is_valid() -> None:
    (scan,) = blocks("json")
    decoded = decoder(Scan).decode(scan.encode())
    assert decoded.observed_at < datetime.now(UTC) + timedelta(days=365) and decoded.people[0].tokens.id
