"""The command `ninezero`: assembles the commands and reports their failures.

A failure is one line on stderr and exit status 1. No message repeats an input value: it may be an identity.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from typer.exceptions import TyperException

from ninezero.agents.cli import demo, init, publish, query, usage, watchlist
from ninezero.agents.cli.edge import device, documents, keys, outbox, push, scan
from ninezero.agents.cli.operations import (
    dead_letters,
    doctor,
    kafka,
    migrate,
    policy,
    records,
    register,
    retention,
    topics,
    upgrade,
    worker,
)
from ninezero.streams import settings
from ninezero.streams.edge.private_memory import keep_memory_private
from ninezero.streams.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    help="Epidemic entry screening on Kafka, Faust and ClickHouse.",
    pretty_exceptions_enable=False,
)


class Entry(NamedTuple):
    """A command of `ninezero`, and the extra of the package that it needs; empty if it needs none."""

    name: str
    call: Callable[..., None] | typer.Typer
    extra: str
    is_private: bool = False
    """Whether it sees identities, keys or tokens of people. Its process leaves no core dump."""


COMMANDS: Mapping[str, Sequence[Entry]] = {
    "Devices and gates": (
        Entry("scan", scan.scan, "edge", is_private=True),
        Entry("device", device.device, "edge", is_private=True),
        Entry("outbox", outbox.app, "edge", is_private=True),
        Entry("check-document", documents.check_document, "edge", is_private=True),
        Entry("keys", keys.app, "edge", is_private=True),
    ),
    "Health authorities": (Entry("push", push.push, "edge", is_private=True),),
    "Analysts": (
        Entry("query", query.query, "worker"),
        Entry("publish", publish.publish, "worker"),
    ),
    "Operators": (
        Entry("init", init.init, ""),
        Entry("doctor", doctor.doctor, "edge"),
        Entry("worker", worker.worker, "worker"),
        Entry("migrate", migrate.migrate, "worker"),
        Entry("topics", topics.app, "edge"),
        Entry("register", register.app, "worker"),
        Entry("sites", register.sites, "worker"),
        Entry("policy", policy.app, "worker"),
        Entry("watchlist", watchlist.app, "worker", is_private=True),
        Entry("dead-letters", dead_letters.app, "edge"),
        Entry("records", records.app, "edge"),
        Entry("upgrade", upgrade.app, "worker"),
        Entry("retain", retention.retain, "worker"),
        Entry("erase", retention.erase, "worker"),
    ),
    "Trials and development": (
        Entry("demo", demo.demo, "worker,embedded"),
        Entry("report", demo.report, "worker"),
        Entry("kafka", kafka.app, "edge"),
    ),
}
"""The commands by the reader of `ninezero --help` for whom they are."""

EXTRAS = {entry.name: entry.extra for entries in COMMANDS.values() for entry in entries}
"""The extra that each command needs, by its name."""

PRIVATE = {entry.name for entries in COMMANDS.values() for entry in entries if entry.is_private}
"""The commands that see identities, keys or tokens of people."""

for heading, entries in COMMANDS.items():
    for entry in entries:
        if isinstance(entry.call, typer.Typer):
            app.add_typer(entry.call, name=entry.name, rich_help_panel=heading)
        else:
            app.command(entry.name, rich_help_panel=heading)(entry.call)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ninezero {version('ninezero')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
    settings_file: Annotated[
        Path | None,
        typer.Option(
            "--settings",
            metavar="FILE",
            help="File with settings, as ninezero init writes it. The default is NINEZERO_SETTINGS; no other file is read."
            " Variables of the environment come before it.",
        ),
    ] = None,
) -> None:
    """Epidemic entry screening on Kafka, Faust and ClickHouse."""
    if settings_file is not None:
        os.environ["NINEZERO_SETTINGS"] = str(settings_file.absolute())
    if context.invoked_subcommand in PRIVATE:
        keep_memory_private()
    if context.invoked_subcommand != "init" and "--help" not in sys.argv:  # these work without settings
        os.environ.update(settings.with_file(os.environ))


def main() -> None:
    """Runs the command line and exits with its status."""
    try:
        command = typer.main.get_command(app)
        usage.hide_types_of_flags(command)
        sys.exit(command(standalone_mode=False))
    except typer.Abort:
        sys.exit(1)
    except TyperException as error:
        _fail(usage.describe(error))
    except UserError as error:
        _fail(str(error))
    except ModuleNotFoundError:
        _fail(f"this command needs packages that are not installed: pip install 'ninezero[{_extra(sys.argv[1:])}]'")
    except KeyboardInterrupt:
        sys.stdout.flush()
        os._exit(130)  # a client's thread may still wait for a broker, and would delay a normal exit
    except Exception as error:
        if os.environ.get("NINEZERO_DEBUG"):
            raise
        # The message of an unexpected error may contain an input value, so only its type is printed.
        _fail(f"unexpected {type(error).__name__}: run the command again with NINEZERO_DEBUG=1 to see where")


def _extra(words: Sequence[str]) -> str:
    """Returns the extra that the command of a command line needs."""
    extra = next((EXTRAS[word] for word in words if word in EXTRAS), "worker")
    if "--edge" in words:  # of ninezero erase
        return "edge"
    embedded = extra == "worker" and os.environ.get("NINEZERO_CLICKHOUSE", "").startswith("chdb:")
    return f"{extra},embedded" if embedded else extra


def _fail(line: str) -> None:
    print(f"ninezero: {line}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
