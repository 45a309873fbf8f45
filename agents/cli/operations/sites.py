"""`ninezero sites`: the register of checkpoints, stations and quarantine sites."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from ninezero.agents.cli.console import CommandError
from ninezero.agents.cli.target import open_to_change
from ninezero.schemas.events import Division, Identifier
from ninezero.schemas.faults import describe
from ninezero.streams import settings

if TYPE_CHECKING:
    from ninezero.agents.recording.sites import Site

app = typer.Typer(help="Maintains the register of sites.", no_args_is_help=True)

COLUMNS = ["site_id", "kind", "division", "capacity"]


class _Line(msgspec.Struct):
    """The values of a line."""

    site_id: Identifier
    kind: Identifier
    division: Division
    capacity: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]


@app.command()
def load(
    file: Annotated[Path, typer.Argument(help="CSV file with the columns site_id,kind,division,capacity.")],
) -> None:
    """Loads sites from a CSV file; a site that is already registered is replaced."""
    from ninezero.agents.recording.sites import load_sites

    sites = read_sites(file)
    url, timezone = settings.clickhouse(os.environ), settings.timezone(os.environ)
    engine = open_to_change(url)
    load_sites(engine, sites, timezone)
    engine.close()
    print(f"{len(sites)} sites loaded")


def read_sites(file: Path) -> list[Site]:
    """Reads the sites of a CSV file.

    Raises:
        CommandError: the file cannot be read, or a line is wrong.
    """
    from ninezero.agents.recording.sites import Site

    found = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as source:
            reader = csv.reader(source, strict=True)
            try:
                if next(reader, None) != COLUMNS:
                    raise CommandError(f"line 1: the first line must be {','.join(COLUMNS)}: correct it")
                for cells in reader:
                    if cells:
                        found.append(Site(*_site(cells, reader.line_num)))
            except csv.Error:
                raise CommandError(f"line {reader.line_num}: the quotes of a cell do not match: correct it") from None
    except OSError as error:
        raise CommandError(f"the file cannot be read ({error.strerror}): check its path and your rights") from None
    except UnicodeDecodeError:
        raise CommandError("the file is not UTF-8: save it as UTF-8") from None
    return found


def _site(cells: list[str], line: int) -> tuple[str, str, str, int]:
    """Returns the values of a line."""
    if len(cells) != len(COLUMNS):
        raise CommandError(
            f"line {line}: {len(cells)} cells instead of {len(COLUMNS)} ({','.join(COLUMNS)}): correct it"
        )
    values = dict(zip(COLUMNS, cells, strict=True)) | {"capacity": cells[-1] or "0"}
    try:
        site = msgspec.convert(values, _Line, strict=False)
    except msgspec.ValidationError as error:
        raise CommandError(f"line {line}: {describe(_Line, error)}: correct it, nothing was loaded") from None
    return site.site_id, site.kind, site.division, site.capacity
