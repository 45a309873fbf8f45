"""`ninezero push`: sends the files of a health authority to the watchlist, or confirms a held batch."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ninezero.agents.cli.console import CommandError
from ninezero.schemas.events import CATEGORIES
from ninezero.schemas.line_codes import MAX_PASS_DAYS
from ninezero.streams import settings as settings_
from ninezero.streams.edge.bilingual import LANGUAGES, Language, language
from ninezero.streams.edge.listfiles import push_texts as texts
from ninezero.streams.errors import UserError


def push(
    files: Annotated[
        list[Path] | None, typer.Argument(help="CSV or .xlsx files. They are sent as one batch, in this order.")
    ] = None,
    authority: Annotated[str, typer.Option(help="Health authority that pushes.")] = "",
    list_: Annotated[str, typer.Option("--list", help="Name of the list of this authority.")] = "",
    category: Annotated[str, typer.Option(help=f"Reason for the list: {', '.join(sorted(CATEGORIES))}.")] = "",
    by: Annotated[str, typer.Option(help="Person who pushes or confirms, an identifier such as wang.")] = "",
    basis: Annotated[str, typer.Option(help="Legal basis of the batch, an identifier.")] = "",
    full: Annotated[bool, typer.Option("--full", help="Replace the whole list by the files.")] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Remove the people in the files from the list.")] = False,
    reason: Annotated[
        str, typer.Option(help="Reason for a withdrawal: expired, cleared or mistake. Only with --withdraw.")
    ] = "",
    confirm: Annotated[
        str, typer.Option(metavar="BATCH_ID", help="Apply a held batch. This needs a second person.")
    ] = "",
    result: Annotated[
        str, typer.Option(metavar="BATCH_ID", help="Show what became of a batch of the last seven days.")
    ] = "",
    days: Annotated[
        int | None, typer.Option(min=1, max=MAX_PASS_DAYS, help="Days for which a line without an end is valid.")
    ] = None,
    valid_from: Annotated[
        str,
        typer.Option(
            help="Start of lines that state none, in RFC 3339 with an offset. By default they hold whenever something was observed."
        ),
    ] = "",
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN",
            help="Column of a field, for example id=C or phone=联系人电话. May be repeated.",
        ),
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="File with a saved mapping of columns.")] = None,
    save_mapping: Annotated[Path | None, typer.Option(help="File in which the mapping of --map is saved.")] = None,
    sheet: Annotated[str | None, typer.Option(help="Sheet of a workbook, by name or number.")] = None,
    hidden: Annotated[
        str,
        typer.Option(
            metavar="include|skip",
            help="Push or leave out the rows and columns that a sheet does not show. Needed if there are any.",
        ),
    ] = "",
    rejects: Annotated[
        Path | None, typer.Option(help="File for rejected lines. The default is rejects-BATCH_ID.csv.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Check the files and send nothing. Needs no names and no legal basis; for health passes give --category.",
        ),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Ask on a terminal only for what is missing, not before sending or confirming."),
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Send the files as a new batch, even if the same batch was sent and is in force."),
    ] = False,
    batch_id: Annotated[
        str, typer.Option(help="Id of the batch, for a numbering of your own. The default names the content.")
    ] = "",
    sequence: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number that rises with every batch of a list. The default follows the last one of seven days; without one it is the time.",
        ),
    ] = None,
    chosen: Annotated[
        str,
        typer.Option(
            "--language", metavar="zh|en", help="Language of questions and answers. The default is that of the locale."
        ),
    ] = "",
) -> None:
    """Pushes files to a list: each line becomes tokens on this machine, and its result is reported. Asks for what is missing on a terminal."""
    if chosen not in ("", *LANGUAGES):
        raise CommandError("--language is zh or en")
    speaks: Language = language({"LANG": chosen} if chosen else os.environ)
    _print_any_character()
    from ninezero.agents.cli.edge.push_request import PushRequest, confirm_held, show_result

    request = PushRequest(
        files=list(files or ()), authority=authority, list_=list_, category=category, by=by, basis=basis, days=days, since=valid_from,
        mode="withdraw" if withdraw else "full" if full else "", reason=reason, columns=list(columns or ()), mapping=mapping, save_mapping=save_mapping,
        sheet=sheet, hidden=hidden, rejects=rejects, check=check, yes=yes, again=again, batch_id=batch_id, sequence=sequence,
        excluding=full and withdraw,
    )  # fmt: skip
    if (result or confirm) and (files or check or (result and confirm)):
        raise CommandError(texts.ALONE.of(speaks))
    try:
        settings = settings_.load(edge=True, also_needed=() if result or confirm else ("NINEZERO_KEYS",))
        if result:
            show_result(settings, result, authority, speaks)
        elif confirm:
            confirm_held(settings, confirm, request, speaks)
        else:
            from ninezero.agents.cli.edge.push_run import run_push

            run_push(settings, request, datetime.now(UTC), speaks)
    except UserError as error:
        if speaks == "en" or not error.chinese:
            raise
        raise CommandError(error.chinese) from None


def _print_any_character() -> None:
    """Lets the terminal show what it can: a character that its encoding lacks is replaced, and ends no command."""
    stream: Any
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
