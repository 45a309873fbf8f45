"""`ninezero demo` and `ninezero report`: a scenario through the whole pipeline, and the report on it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from ninezero.agents.cli.console import RUN, CommandError
from ninezero.streams import settings
from ninezero.streams.deployment import clickhouse_place


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
    use_kafka: Annotated[
        bool,
        typer.Option(
            "--use-kafka",
            help="Use the Kafka of NINEZERO_KAFKA, which must have no records, instead of the demo's own.",
        ),
    ] = False,
    use_clickhouse: Annotated[
        bool,
        typer.Option(
            "--use-clickhouse",
            help="Use the ClickHouse of NINEZERO_CLICKHOUSE, which must be empty, instead of the demo's own.",
        ),
    ] = False,
) -> None:
    """Replays a scenario through Kafka, Faust and ClickHouse and prints a report. It uses no setting of the environment without an option."""
    from ninezero.agents.demo.run import Options, run

    if not run(RUN, Options(scenario, seed, speed, once, use_kafka, use_clickhouse)):
        raise typer.Exit(1)


def report(
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Counts the events of the last demo again and prints its report."""
    from ninezero.agents.demo import scenario_file
    from ninezero.agents.demo.place import demo_folders
    from ninezero.agents.demo.replay import ReplaySummary
    from ninezero.agents.demo.report import check_database, make_report, show

    for folder in demo_folders(RUN):
        try:
            summary = ReplaySummary.load(folder)
            break
        except OSError:  # a demo that did not end
            continue
        except (TypeError, ValueError):
            raise CommandError("the last demo was run by another release: run ninezero demo again") from None
    else:
        raise CommandError("no demo was run in this folder: run ninezero demo first")
    url, spec = (
        f"chdb://{(folder / 'clickhouse').absolute()}",
        scenario_file.load(Path(summary.scenario) if summary.scenario else None),
    )
    if summary.database and clickhouse_place(url := settings.clickhouse(os.environ)) != summary.database:
        raise CommandError(f"the last demo counted in {summary.database}: set NINEZERO_CLICKHOUSE to that database")
    check_database(url, spec)
    found = make_report(url, summary, spec)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        show(found)
