"""`ninezero retain` and `ninezero erase`: deletion after 14 days, and deletion at the end of a deployment."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from ninezero.agents.cli.console import RUN, CommandError
from ninezero.agents.cli.target import announce, open_to_change
from ninezero.streams import settings as settings_
from ninezero.streams.deployment import clickhouse_place, kafka_place


def retain() -> None:
    """Drops facts older than 14 days and alerts about cases older than 72 hours, and keeps the counts. The recording role does it, too."""
    from ninezero.agents.recording import retention
    from ninezero.streams import clickhouse

    now, timezone = datetime.now(UTC), settings_.timezone(os.environ)
    before = retention.first_kept_day(now, timezone)
    engine = open_to_change(settings_.clickhouse(os.environ))
    clickhouse.ensure_schema(engine, timezone)
    dropped = retention.retain(engine, before, retention.first_counted_alert_day(now, timezone))
    engine.close()
    for day in dropped:
        print(day)
    if not dropped:
        print(f"nothing to drop: no facts are older than {before}")


def erase(
    yes: Annotated[bool, typer.Option("--yes", help="Erase for good. Without it, the plan is printed.")] = False,
    edge: Annotated[
        bool,
        typer.Option("--edge", help="Erase only the key ring and the outboxes of this machine."),
    ] = False,
    into: Annotated[Path, typer.Option(help="Folder in which the certificate is written.")] = Path(),
) -> None:
    """Erases keys, lists and state, keeps the counts, and prints a certificate of what was erased and what it cannot reach."""
    from ninezero.agents.recording.erasure import Erasure, certificate, complete

    settings = settings_.load(edge=edge)
    if not edge:
        import_module("ninezero.streams.clickhouse")  # if packages are missing, this fails before anything is erased
    if yes and not os.access(into, os.W_OK | os.X_OK):
        raise CommandError(
            f"the certificate cannot be written into {into}: give another folder with --into; nothing was erased"
        )
    erasure = Erasure(settings, RUN, () if edge else tuple(settings_.ROLES))
    places = [f"this machine, order {settings.order}"]
    if not edge:
        places = [kafka_place(settings), clickhouse_place(settings.clickhouse), *places]
    announce(*places)
    if not yes:
        for line in erasure.plan():
            print(f"would be erased: {line}")
        raise CommandError("nothing was erased: add --yes to erase all of this for good")
    running = erasure.running()
    if running:
        raise CommandError(
            f"workers of this deployment still run ({', '.join(running)}): stop them first; if another deployment uses an address, set"
            " NINEZERO_HTTP; nothing was erased"
        )
    began = datetime.now(UTC)
    lines = erasure.erase()
    text = certificate(settings, lines, began)
    print(text, end="")
    try:
        (into / f"erasure-{settings.order}-{began:%Y%m%dT%H%M%SZ}.txt").write_text(text)
    except OSError as error:
        raise CommandError(f"the certificate could not be written ({error.strerror}): keep what was printed") from None
    if not complete(lines):
        raise CommandError("not everything could be erased: repair what the lines with remains name, and erase again")
