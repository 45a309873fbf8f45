"""`ninezero doctor`: a line for each thing that was looked at, and below it what to do."""

from __future__ import annotations

import json
import logging
import os
from typing import Annotated

import typer

from ninezero.agents.cli.console import Failure

WORDS = {"ok": "OK", "warning": "warning", "failed": "FAILED", "could_not_check": "could not check"}


def doctor(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PART]…",
            help="settings, sunset, kafka, topics, acls, clickhouse, keys, lists, clocks, roles; all if left out.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: a list of {part, status, found, todo}.")
    ] = False,
) -> None:
    """Looks at settings, Kafka, ClickHouse, keys, lists and clocks, and says what to mend. Status 0: nothing failed, and all could be checked."""
    from ninezero.agents.doctor.checks import PARTS, examine

    if any(part not in PARTS for part in parts or ()):
        raise Failure(f"no such part: choose among {', '.join(PARTS)}")
    logging.disable()  # what is wrong is said in the lines
    findings = []
    for finding in examine(os.environ, tuple(parts or ())):
        findings.append(finding)
        if not as_json:
            print(f"{WORDS[finding.status]:<16}{finding.part:<11} {finding.found}", flush=True)
            if finding.todo:
                print(f"{'':<28}do: {finding.todo}", flush=True)
    if as_json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2, ensure_ascii=False))
    bad = [finding for finding in findings if finding.status in ("failed", "could_not_check")]
    if bad:
        failed = sum(finding.status == "failed" for finding in bad)
        raise Failure(f"{failed} failed, {len(bad) - failed} could not be checked: do what the lines say")
