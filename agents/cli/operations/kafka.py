"""`ninezero kafka`: a real single-node Kafka on this machine."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from ninezero.agents.cli.console import RUN, CommandError
from ninezero.streams.local_kafka.broker import Broker

app = typer.Typer(help="Runs a real single-node Kafka on this machine.", no_args_is_help=True)

FOLDER = RUN / "kafka"


@app.command()
def start(
    port: Annotated[int | None, typer.Option(help="Port on 127.0.0.1. The default is a free port.")] = None,
) -> None:
    """Starts Kafka on 127.0.0.1; its data is kept in .run/kafka."""
    import_module("kafka")  # without the extra `edge` this fails here, not when the broker runs
    broker = Broker(FOLDER, port)
    started = broker.start()
    print(f"Kafka {'answers' if started else 'runs here already and answers'} at {broker.bootstrap}")


@app.command()
def stop() -> None:
    """Stops the Kafka that was started in this folder, and no other."""
    broker = Broker(FOLDER)
    print(broker.stop() if broker.running() else f"nothing was stopped: no Kafka runs in {broker.folder}")


@app.command()
def status() -> None:
    """Prints the address of the Kafka that was started in this folder, if it answers."""
    found = Broker(FOLDER).status()
    if not found.healthy:
        raise CommandError(str(found))
    print(f"Kafka answers at {found.bootstrap}")
