"""`ninezero outbox`: what an operator does with the outbox of a device."""

from __future__ import annotations

from typing import Annotated

import typer

from ninezero.agents.cli.console import identifier
from ninezero.streams import settings
from ninezero.streams.edge.device import outbox_place

app = typer.Typer(help="Keeps the outboxes of the devices on this machine.", no_args_is_help=True)


@app.callback()
def _outbox() -> None:
    """Keeps the outboxes of the devices on this machine."""


@app.command()
def rename(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="Device whose new outbox was refused.")],
    new_id: Annotated[str, typer.Argument(metavar="NEW_ID", help="A device_id that no device has had.")],
) -> None:
    """Gives the events of a refused outbox to another device_id, under which they are sent. Only if nothing of it was sent."""
    folder = settings.load(edge=True).outbox_folder()
    events = outbox_place.rename(folder, identifier("DEVICE", device), identifier("NEW_ID", new_id))
    print(
        f"{events} events are in the outbox of the new device_id: start a device of that name at the same site, which sends them"
    )
