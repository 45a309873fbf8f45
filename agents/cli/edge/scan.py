"""`ninezero scan`: sends scans and prints the outcome of each."""

from __future__ import annotations

import io
import logging
import sys
from typing import Annotated

import typer

from ninezero.agents.cli.console import CommandError, open_lines, print_table
from ninezero.streams import settings as settings_


def _print_fields(wanted: bool) -> None:
    if wanted:
        from ninezero.streams.edge.device.passage_fields import fields

        print_table(
            [
                {"field": one.place, "form": one.form, "": "required" if one.required else "", "meaning": one.meaning}
                for one in fields()
            ]
        )
        raise typer.Exit


def scan(
    file: Annotated[str, typer.Argument(help="File of JSON lines, or - for standard input.")],
    site: Annotated[
        str,
        typer.Option(
            help="Site of the device. With --site and --device, lines are passages with identities, as staff see them."
        ),
    ] = "",
    device: Annotated[str, typer.Option(help="Device whose outbox stores the events.")] = "",
    fields: Annotated[
        bool,
        typer.Option("--fields", is_eager=True, callback=_print_fields, help="Print the fields of a passage and exit."),
    ] = False,
) -> None:
    """Sends scans and prints the outcome of each: clear, the advice and whom it concerns, or not checked; and what to scan again.

    With --site and --device, a line is a passage with the fields that --fields prints. Without them, it is a Scan event with tokens.
    """
    from ninezero.agents.cli.edge.scan_sending import PassageSender, SendCounts, read_events, send_events

    if bool(site) != bool(device):
        raise CommandError(
            "--site and --device go together; without both, lines are Scan events that are ready to send"
        )
    settings = settings_.load(edge=True, also_needed=("NINEZERO_KEYS",) if site else ())
    if isinstance(sys.stdout, io.TextIOWrapper):  # reasons to scan again are in Chinese too
        sys.stdout.reconfigure(errors="replace")
    logging.disable()  # every problem is reported on the line of its scan, and in the summary
    with open_lines(file) as lines:
        if site:
            counts = PassageSender(settings, site, device).send(lines)
        else:
            counts = SendCounts(0, send_events(settings, read_events(lines)))
    if counts.not_accepted or counts.unchecked:
        raise CommandError(str(counts))
