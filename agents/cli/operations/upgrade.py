"""`ninezero upgrade`: shows which formats are read and written, and finishes an upgrade."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Annotated, Any

import typer

from ninezero.agents.cli.console import ByOption, CommandError, identifier, print_table
from ninezero.agents.cli.target import announce_kafka
from ninezero.schemas.formats import FORMATS
from ninezero.streams import settings as settings_
from ninezero.streams.settings import ROLES, Settings

app = typer.Typer(help="Shows the formats of internal records, and finishes an upgrade.", no_args_is_help=True)

CURRENT = {one.name: one.current.number for one in FORMATS}
"""The current number of each format in this release, by name."""


@app.command()
def status() -> None:
    """Shows what this release reads, what the deployment writes, the running workers, and the records that are set aside."""
    from ninezero.streams.kafka.register import read_register

    settings = settings_.load(edge=True)
    statements = asyncio.run(read_register(settings))
    stated = statements.formats.formats if statements.formats else {}
    known = {one.name: one for one in FORMATS}
    print_table(
        [
            {
                "format": name,
                f"read by {version('ninezero')}": " ".join(map(str, known[name].readable)) if name in known else "",
                "written": stated.get(name) or known[name].readable[0],
            }
            for name in [*known, *sorted(stated.keys() - known.keys())]
        ]
    )
    if (finished := statements.formats) is None:
        print("no upgrade was finished yet: of two numbers, the older one is written")
    else:
        print(f"the upgrade to {finished.release} was finished at {finished.at:%Y-%m-%dT%H:%M:%SZ} by {finished.by}")
    workers = _workers(settings)
    print_table(workers) if workers else print("no worker is a member of a consumer group now")
    for position, given in statements.statements.items():
        print(f"set aside: {position}, at {given.at:%Y-%m-%dT%H:%M:%SZ} by {given.by}")


@app.command()
def finish(
    by: ByOption,
    yes: Annotated[bool, typer.Option("--yes", help="Finish the upgrade. There is no way back.")] = False,
) -> None:
    """States that every worker is of this release: from now on records are written in its formats. There is no way back."""
    from ninezero.streams.kafka.register import read_register
    from ninezero.streams.kafka.statements import state_current_formats

    who, settings = identifier("--by", by), settings_.load(edge=True)
    statements = asyncio.run(read_register(settings))
    stated = statements.formats.formats if statements.formats else {}
    if stated == CURRENT:
        print("the upgrade to these formats was finished before: see ninezero upgrade status")
        return
    newer = {name for name, number in stated.items() if number > CURRENT.get(name, 0)}
    if newer and statements.formats:
        raise CommandError(
            f"the deployment writes newer formats than this release knows ({', '.join(sorted(newer))}): run the command of"
            f" release {statements.formats.release}"
        )
    skipped = {one.name for one in FORMATS if stated.get(one.name, one.readable[0]) < one.readable[0]}
    if skipped:
        raise CommandError(
            f"this release does not read what the deployment writes ({', '.join(sorted(skipped))}): finish the upgrade to the"
            " release before this one first"
        )
    workers = _workers(settings)
    old = [worker for worker in workers if worker["reads these formats"] == "no"]
    if old:
        print_table(old)
        raise CommandError(f"{len(old)} of {len(workers)} workers do not read these formats: replace them first")
    announce_kafka(settings)
    print(
        f"{len(workers)} workers are running, and all read these formats. A worker that is stopped cannot be seen: one of an"
        " older release will refuse to start."
    )
    if not yes:
        raise CommandError(
            "nothing was stated: repeat the command with --yes. There is no way back to an older release"
        )
    state_current_formats(settings, who)
    print("finished: workers write the new formats within seconds")


def _workers(settings: Settings) -> list[dict[str, Any]]:
    """Returns the running workers as rows."""
    from ninezero.streams.kafka.administration import running_workers

    needed = {f"{name}/{number}" for name, number in CURRENT.items()}
    return [
        {
            "role": role,
            "worker": worker.address,
            "release": worker.release or "unknown",
            "reads these formats": "yes" if needed <= set(worker.formats) else "no",
        }
        for role, worker in running_workers(settings, ROLES)
    ]
