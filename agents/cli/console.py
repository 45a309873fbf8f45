"""What the commands share: where the local run is, how rows are shown, and the failure that ends one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ninezero.streams import settings
from ninezero.streams.errors import UserError

RUN = Path(".run")


class Failure(UserError):
    """Ends the command with this line."""


def query_url() -> str:
    """`NINEZERO_CLICKHOUSE`, or the last demo's database."""
    held = (RUN / "clickhouse").absolute()
    if not os.environ.get("NINEZERO_CLICKHOUSE") and held.exists():
        return f"chdb://{held}"
    return settings.clickhouse(os.environ)


def _plain(text: str) -> str:
    """Without what would steer a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def csv_cell(value: Any) -> Any:
    """A value for a CSV that may be opened in a spreadsheet: text that it would take for a formula gets a quote before it."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


def print_table(rows: list[dict[str, Any]]) -> None:
    """Rows as a table, in the order of the first one's columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        print("no rows")
        return
    table = Table()
    for name in rows[0]:
        table.add_column(Text(_plain(name)))
    for row in rows:
        table.add_row(*(Text("NULL" if value is None else _plain(str(value))) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
