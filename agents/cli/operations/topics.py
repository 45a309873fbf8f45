"""`ninezero topics`: creates the Kafka topics and grants access to them."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from ninezero.agents.cli.console import CommandError
from ninezero.agents.cli.target import announce_kafka
from ninezero.streams import settings as settings_
from ninezero.streams.kafka.access import ACCESS, Party

app = typer.Typer(help="Creates the Kafka topics and grants access to them.", no_args_is_help=True)


@app.command()
def create(
    partitions: Annotated[
        int, typer.Option(min=1, max=10_000, help="Partitions of each topic that may have several.")
    ] = 12,
    replication: Annotated[
        int,
        typer.Option(min=1, max=10, help="Replicas of each partition. With 3 or more, a write waits for two of them."),
    ] = 1,
) -> None:
    """Creates the topics that are missing."""
    from ninezero.streams.kafka.administration import create_topics

    settings = settings_.load(edge=True)
    announce_kafka(settings)
    created = create_topics(settings, partitions, replication)
    print(f"created: {', '.join(created) or 'nothing, all topics existed'}")


@app.command()
def acls(
    user: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHO=NAME",
            help="Kafka user of a role or client, for example devices=road-01. May be repeated. The default is ninezero-WHO.",
        ),
    ] = None,
    grant: Annotated[
        bool, typer.Option("--grant", help="Grant the permissions on the broker. This needs a super user.")
    ] = False,
) -> None:
    """Prints the permissions on Kafka as a script of kafka-acls.sh, or grants them."""
    from ninezero.streams.kafka import access

    names: dict[Party, list[str]] = {}
    for option in user or ():
        who, _, name = option.partition("=")
        if who not in ACCESS or not name:
            raise CommandError(f"--user must be WHO=NAME, where WHO is one of {', '.join(ACCESS)}")
        names.setdefault(msgspec.convert(who, Party), []).append(name)
    settings = settings_.load(edge=True)
    if grant:
        announce_kafka(settings)
        print(f"{access.grant_all(settings, names)} permissions are granted")
        return
    print("# sh THIS --bootstrap-server HOST:PORT --command-config FILE\nset -e")
    for line in access.commands(settings, names):
        print(line)
