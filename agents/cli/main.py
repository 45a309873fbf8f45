"""The command `ninezero`: assembles the commands and reports their failures.

A failure is one line on stderr and exit status 1. No message repeats an input value: it may be an identity.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer
from typer.exceptions import TyperException

from ninezero.agents.cli import demo, publish, query, watchlist
from ninezero.agents.cli.edge import device, documents, keys, push, scan
from ninezero.agents.cli.operations import (
    dead_letters,
    doctor,
    kafka,
    migrate,
    records,
    retention,
    sites,
    topics,
    upgrade,
    worker,
)
from ninezero.streams.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    help="Epidemic entry screening on Kafka, Faust and ClickHouse.",
    pretty_exceptions_enable=False,
)

DEMO, EDGE, COUNTS, OPERATION = "Demo", "Devices and health authorities", "Lists and counts", "Operation"
"""Headings of `ninezero --help`."""

for heading, commands in {
    DEMO: (demo.demo, demo.report),
    EDGE: (push.push, scan.scan, device.device, documents.check_document),
    COUNTS: (query.query, publish.publish),
    OPERATION: (worker.worker, migrate.migrate, doctor.doctor, retention.retain, retention.erase),
}.items():
    for command in commands:
        app.command(rich_help_panel=heading)(command)  # named after the function: check_document is check-document

for name, group, heading in (
    ("keys", keys.app, EDGE),
    ("watchlist", watchlist.app, COUNTS),
    ("topics", topics.app, OPERATION),
    ("sites", sites.app, OPERATION),
    ("kafka", kafka.app, OPERATION),
    ("dead-letters", dead_letters.app, OPERATION),
    ("records", records.app, OPERATION),
    ("upgrade", upgrade.app, OPERATION),
):
    app.add_typer(group, name=name, rich_help_panel=heading)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ninezero {version('ninezero')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Epidemic entry screening on Kafka, Faust and ClickHouse."""


def main() -> None:
    """Runs the command line and exits with its status."""
    try:
        sys.exit(app(standalone_mode=False))
    except typer.Abort:
        sys.exit(1)
    except TyperException as error:
        _fail(_usage_error(error))
    except UserError as error:
        _fail(str(error))
    except ModuleNotFoundError:
        _fail("this command needs more packages than the edge has: pip install 'ninezero[worker]'")
    except KeyboardInterrupt:
        sys.stdout.flush()
        os._exit(130)  # a client's thread may still wait for a broker, and would delay a normal exit
    except Exception as error:
        if os.environ.get("NINEZERO_DEBUG"):
            raise
        # The message of an unexpected error may contain an input value, so only its type is printed.
        _fail(f"unexpected {type(error).__name__}: run the command again with NINEZERO_DEBUG=1 to see where")


def _usage_error(error: TyperException) -> str:
    """Describes a wrong command line without repeating the wrong word, which may be a name or a number."""
    parameter, context = getattr(error, "param", None), getattr(error, "ctx", None)
    named = "" if parameter is None else max(parameter.opts, key=len) if parameter.opts else str(parameter.name)
    problem = f"{named} is missing or wrong" if named else "no such command, option or argument"
    return f"{problem}: see {context.command_path if context else 'ninezero'} --help"


def _fail(line: str) -> None:
    print(f"ninezero: {line}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
