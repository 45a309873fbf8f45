"""`ninezero retain` and `ninezero erase`: what has to go, goes."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ninezero.agents.cli.console import RUN, Failure, query_url
from ninezero.streams import settings as settings_


def retain() -> None:
    """Drops facts that are over 14 days old, a day at a time; counts stay. The recording role does it by itself, too."""
    from ninezero.agents.recording import retention
    from ninezero.streams.clickhouse import engines as clickhouse

    before = retention.due(datetime.now(UTC), settings_.timezone(os.environ))
    engine = clickhouse.connect(query_url())
    clickhouse.migrate(engine, settings_.timezone(os.environ))
    dropped = retention.retain(engine, before)
    engine.close()
    for day in dropped:
        print(day)
    if not dropped:
        print(f"nothing to drop: no facts are older than {before}")


def erase(
    yes: Annotated[bool, typer.Option("--yes", help="Yes, erase it: nothing brings it back.")] = False,
    edge: Annotated[
        bool,
        typer.Option("--edge", help="Only the key ring and the outboxes of this machine: a device, or whoever pushes."),
    ] = False,
    into: Annotated[Path, typer.Option(help="Folder that the certificate is written to.")] = Path(),
) -> None:
    """Erases keys, lists and state, keeps the counts, and prints a certificate of what it erased and what it cannot reach."""
    from ninezero.agents.recording.erasure import Erasure, certificate, complete

    settings = settings_.load(edge=edge)
    erasure = Erasure(settings, RUN, () if edge else tuple(settings_.ROLES))
    if not yes:
        for line in erasure.plan():
            print(f"would be erased: {line}")
        raise Failure("nothing was erased: say --yes to erase all of this for good")
    running = erasure.running()
    if running:
        raise Failure(f"{len(running)} roles of this deployment still run: stop the workers first; nothing was erased")
    began = datetime.now(UTC)
    lines = erasure.erase()
    text = certificate(settings, lines, began)
    print(text, end="")
    try:
        (into / f"erasure-{settings.order}-{began:%Y%m%dT%H%M%SZ}.txt").write_text(text)
    except OSError as error:
        raise Failure(f"the certificate could not be written ({error.strerror}): keep what was printed") from None
    if not complete(lines):
        raise Failure("not all could be erased: mend what the lines with remains name, and erase again")
