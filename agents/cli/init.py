"""`ninezero init`: a commented settings file for one kind of machine."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ninezero.agents.cli.console import CommandError
from ninezero.streams.settings import SETTINGS, Place

OF: dict[Place, str] = {
    "edge": "a checkpoint or another device",
    "worker": "a machine on which roles run",
    "authority": "a machine from which a health authority pushes lists",
}
"""What each kind of machine is."""


def init(
    place: Annotated[
        Place,
        typer.Argument(metavar="MACHINE", help=f"Kind of machine: {'; '.join(f'{one} ({OF[one]})' for one in OF)}."),
    ],
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="File to write. One that exists is kept.")] = Path(
        "ninezero.env"
    ),
) -> None:
    """Writes a settings file with every setting of a machine, explained. Nothing reads it before it is named with --settings."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CommandError("the file exists and was not changed: name another one, or remove it first") from None
    except OSError as error:
        raise CommandError(f"the file cannot be written ({error.strerror}): name one in a folder of yours") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as target:
            target.writelines(f"{line}\n" for line in template(place))
    except OSError as error:
        file.unlink(missing_ok=True)  # half a file would keep the next call from writing it
        raise CommandError(f"the file cannot be written ({error.strerror}): free space, or name another disk") from None
    needed = ", ".join(name for name, setting in SETTINGS.items() if place in setting.needed_on)
    where = "worker" if place == "worker" else "edge"
    print(f"wrote {file}: fill in {needed}; then: ninezero --settings {file} doctor --where {where}")


def template(place: Place) -> Iterator[str]:
    """Yields the lines of a settings file. A setting that is needed has no value yet; the others are comments."""
    yield f"# Settings of ninezero for {OF[place]}."
    yield "# Name this file with ninezero --settings FILE, or in the environment variable NINEZERO_SETTINGS."
    yield "# A variable of the environment comes before a line of this file. Keep it private (mode 0600): it may hold passwords."
    for name, setting in SETTINGS.items():
        if place not in setting.used_on:
            continue
        yield ""
        meaning = f"{setting.meaning[:1].upper()}{setting.meaning[1:]}."
        yield from textwrap.wrap(meaning, 118, initial_indent="# ", subsequent_indent="# ", break_long_words=False)
        if place in setting.needed_on:
            yield f"# Needed. Example: {setting.example}"
            yield f"{name}="
        else:
            yield f"# {name}={setting.default or setting.example}"
