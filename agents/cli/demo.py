"""`ninezero demo` and `ninezero report`: a scenario through the whole pipeline, and the report on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ninezero.agents.cli.console import RUN, CommandError, query_url


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Exit after the report, with status 0 only if every row agrees.")
    ] = False,
    speed: Annotated[
        float, typer.Option(min=0, help="Multiple of real time; 0 sends as fast as the pipeline answers.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the invented people and events.")] = 2020,
    scenario: Annotated[
        Path | None,
        typer.Option(
            help="Scenario file to use instead of Jiyang. Examples are in agents/demo/scenarios of the repository."
        ),
    ] = None,
) -> None:
    """Replays a scenario through Kafka, Faust and ClickHouse and prints a report."""
    from ninezero.agents.demo.run import run

    if not run(RUN, path=scenario, seed=seed, speed=speed, once=once):
        raise typer.Exit(1)


def report(
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Counts the events of the last demo again and prints its report."""
    from ninezero.agents.demo import scenario_file
    from ninezero.agents.demo.replay import ReplaySummary
    from ninezero.agents.demo.report import check_database, make_report, show

    try:
        summary = ReplaySummary.load(RUN)
    except OSError:
        raise CommandError("no demo was run in this folder: run ninezero demo first") from None
    except (TypeError, ValueError):
        raise CommandError("the last demo was run by another release: run ninezero demo again") from None
    url, spec = query_url(), scenario_file.load(Path(summary.scenario) if summary.scenario else None)
    check_database(url, spec)
    found = make_report(url, summary, spec)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        show(found)
