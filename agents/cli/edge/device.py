"""`ninezero device`: the screen of a checkpoint without a program of its own."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from ninezero.agents.cli.console import CommandError
from ninezero.streams import settings


def device(
    site: Annotated[str, typer.Option(help="Site at which the device stands.")],
    device_: Annotated[
        str, typer.Option("--device", help="Name of the device; its outbox and its counter belong to this name.")
    ],
) -> None:
    """Shows a small screen for a person with a keyboard or a barcode scanner."""
    from ninezero.streams.edge.gate.screen import run

    logging.disable()  # the screen shows every problem itself, and log lines would break it
    waiting = run(settings.load(edge=True), site, device_)
    if waiting:
        raise CommandError(f"{waiting} events in the outbox wait for Kafka: start the device again")
