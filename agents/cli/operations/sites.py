"""`ninezero sites`: the register of checkpoints, stations and quarantine sites."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from ninezero.agents.cli.console import CommandError
from ninezero.schemas.events import Division, Identifier
from ninezero.streams import settings

if TYPE_CHECKING:
    from ninezero.agents.recording.sites import Site

app = typer.Typer(help="Maintains the register of sites.", no_args_is_help=True)

COLUMNS = ["site_id", "kind", "division", "capacity"]


@app.command()
def load(
    file: Annotated[Path, typer.Argument(help="CSV file with the columns site_id,kind,division,capacity.")],
) -> None:
    """Loads sites from a CSV file; a site that is already registered is replaced."""
    from ninezero.agents.recording.sites import load_sites

    sites = read_sites(file)
    load_sites(settings.clickhouse(os.environ), sites, settings.timezone(os.environ))
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
            reader = csv.DictReader(source)
            if reader.fieldnames != COLUMNS:
                raise CommandError(f"the first line must be: {','.join(COLUMNS)}")
            for row in reader:
                site = msgspec.convert(
                    (row["site_id"], row["kind"], row["division"]), tuple[Identifier, Identifier, Division]
                )
                capacity = int(row["capacity"] or 0)
                if not 0 <= capacity < 2**32:
                    raise ValueError
                found.append(Site(*site, capacity))
    except OSError as error:
        raise CommandError(f"the file cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise CommandError("the file is not UTF-8: save it as UTF-8") from None
    except (ValueError, TypeError, csv.Error):
        raise CommandError(
            f"line {len(found) + 2}: site_id and kind must be identifiers, division six digits, capacity a number"
        ) from None
    return found
