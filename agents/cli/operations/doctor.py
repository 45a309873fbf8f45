"""`ninezero doctor`: one line for each check of a deployment, followed by what to do."""

from __future__ import annotations

import json
import logging
import os
from typing import Annotated

import typer

from ninezero.agents.cli.console import CommandError
from ninezero.agents.doctor.places import Where

STATUS_TEXTS = {
    "ok": "OK",
    "warning": "warning",
    "failed": "FAILED",
    "could_not_check": "could not check",
    "not_here": "not checked here",
}


def doctor(
    parts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PART]…",
            help="Parts to check: settings, sunset, kafka, topics, acls, formats, policy, clickhouse, keys, lists, clocks, outboxes, roles. The default is all of them.",
        ),
    ] = None,
    where: Annotated[
        Where,
        typer.Option(
            metavar="MACHINE",
            help="Kind of this machine, so that only the checks that apply to it are made: edge (a device, or where lists are pushed),"
            " worker (all roles), screening, lists, ledgers or recording (a container of that role), or all.",
        ),
    ] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of {part, status, found, todo}.")] = False,
) -> None:
    """Checks settings, Kafka, ClickHouse, keys, lists and clocks, and says what to do. Status 0: everything that applies to this machine was checked and nothing failed."""
    from ninezero.agents.doctor.checks import PARTS, examine

    if any(part not in PARTS for part in parts or ()):
        raise CommandError(f"no such part: choose among {', '.join(PARTS)}")
    logging.disable()  # every problem is one of the lines
    findings = []
    for finding in examine(os.environ, tuple(parts or ()), where):
        findings.append(finding)
        if not as_json:
            print(f"{STATUS_TEXTS[finding.status]:<17}{finding.part:<11} {finding.found}", flush=True)
            if finding.todo:
                print(f"{'':<29}do: {finding.todo}", flush=True)
    if as_json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2, ensure_ascii=False))
    problems = [finding for finding in findings if finding.status in ("failed", "could_not_check")]
    if problems:
        failed = sum(finding.status == "failed" for finding in problems)
        raise CommandError(f"{failed} failed, {len(problems) - failed} could not be checked: do what the lines say")
