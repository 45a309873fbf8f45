"""`ninezero register`: what operators state about the deployment. `ninezero sites load` is another name of `register site`."""

from __future__ import annotations

import asyncio
import csv
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from ninezero.agents.cli.console import CommandError
from ninezero.agents.cli.target import announce_kafka
from ninezero.schemas.faults import describe
from ninezero.schemas.register import Site
from ninezero.streams import settings as settings_

app = typer.Typer(help="States what belongs to the deployment: its sites.", no_args_is_help=True)
sites = typer.Typer(help="Another name of ninezero register site.", no_args_is_help=True)

COLUMNS = ["site_id", "kind", "division", "capacity"]

MAX_SITES = 100_000
"""Greatest number of sites of a deployment."""

NAMED = 6
"""Sites that a line names. More are counted."""

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="CSV file with the columns site_id,kind,division,capacity.")
]


@app.command()
def site(file: FileArgument) -> None:
    """States the sites of a CSV file. A site that is registered already takes the new values; no site is removed."""
    from ninezero.streams.kafka.register import read_register
    from ninezero.streams.kafka.statements import state

    given = read_sites(file)
    settings = settings_.load(edge=True)
    announce_kafka(settings)
    known = asyncio.run(read_register(settings)).sites
    new = [one for one in given if one.site_id not in known]
    changed = [one for one in given if one.site_id in known and one != known[one.site_id]]
    if len(known) + len(new) > MAX_SITES:
        raise CommandError(f"a deployment has at most {MAX_SITES:,} sites: nothing was written")
    state(settings, *new, *changed)
    same = len(given) - len(new) - len(changed)
    print(f"{len(new):,} new{_named(new)}, {len(changed):,} changed{_named(changed)}, {same:,} as before")
    if others := len(known.keys() - {one.site_id for one in given}):
        print(f"{others:,} other registered {'site stays' if others == 1 else 'sites stay'} as before")


sites.command("load")(site)


def read_sites(file: Path) -> list[Site]:
    """Reads the sites of a CSV file.

    Raises:
        CommandError: the file cannot be read, or a line is wrong.
    """
    found: dict[str, Site] = {}
    lines: dict[str, int] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as source:
            reader = csv.reader(source, strict=True)
            try:
                if next(reader, None) != COLUMNS:
                    raise CommandError(f"line 1: the first line must be {','.join(COLUMNS)}: correct it")
                for cells in filter(None, reader):
                    one = _site(cells, reader.line_num)
                    if one.site_id in found:
                        raise CommandError(
                            f"line {reader.line_num}: the site of line {lines[one.site_id]} is here again: correct it"
                        )
                    found[one.site_id], lines[one.site_id] = one, reader.line_num
            except csv.Error:
                raise CommandError(f"line {reader.line_num}: the quotes of a cell do not match: correct it") from None
    except OSError as error:
        raise CommandError(f"the file cannot be read ({error.strerror}): check its path and your rights") from None
    except UnicodeDecodeError:
        raise CommandError("the file is not UTF-8: save it as UTF-8") from None
    return list(found.values())


def _site(cells: list[str], line: int) -> Site:
    """Returns the site of a line."""
    if len(cells) != len(COLUMNS):
        raise CommandError(
            f"line {line}: {len(cells)} cells instead of {len(COLUMNS)} ({','.join(COLUMNS)}): correct it"
        )
    values = dict(zip(COLUMNS, cells, strict=True)) | {"capacity": cells[-1] or "0"}
    try:
        return msgspec.convert(values, Site, strict=False)
    except msgspec.ValidationError as error:
        raise CommandError(f"line {line}: {describe(Site, error)}: correct it, nothing was written") from None


def _named(some: list[Site]) -> str:
    """Returns the names of sites in brackets."""
    if not some:
        return ""
    more = f" and {len(some) - NAMED:,} more" if len(some) > NAMED else ""
    return f" ({', '.join(one.site_id for one in some[:NAMED])}{more})"
