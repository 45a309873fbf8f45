"""Shared by all commands: the folder of the local run, tables on the terminal, and the error that ends a command."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from ninezero.schemas.events import Identifier
from ninezero.streams import settings
from ninezero.streams.errors import UserError

RUN = Path(".run")
"""Folder of the local Kafka and of the demo, below the current folder."""


ByOption = Annotated[str, typer.Option("--by", metavar="WHO", help="Who states it: an identifier of a person.")]


class CommandError(UserError):
    """Ends the command. Its message is printed as one line."""


def identifier(option: str, value: str) -> str:
    """Returns the value of an option that is an identifier.

    Raises:
        CommandError: it is not one.
    """
    try:
        return msgspec.convert(value, Identifier)
    except msgspec.ValidationError:
        raise CommandError(f"{option} is not an identifier: use letters, digits, '.', '_' and '-'") from None


def query_url() -> str:
    """Returns `NINEZERO_CLICKHOUSE`, or the database of the last demo if that is not set. Only commands that read use it.

    Raises:
        SettingsError: the setting is wrong, or it is not set and no demo was run in this folder.
    """
    if not os.environ.get("NINEZERO_CLICKHOUSE"):
        for path in sorted(RUN.glob("demo*/clickhouse"), key=lambda path: path.stat().st_mtime, reverse=True):
            return f"chdb://{path.absolute()}"
    return settings.clickhouse(os.environ)


@contextlib.contextmanager
def open_lines(file: str) -> Iterator[Iterable[bytes]]:
    """Opens a file, or standard input for `-`, as an iterable of lines.

    Raises:
        CommandError: the file cannot be read.
    """
    if file == "-":
        yield sys.stdin.buffer
        return
    with contextlib.ExitStack() as stack:
        try:
            source = stack.enter_context(Path(file).open("rb"))
        except OSError as error:
            raise CommandError(f"the file cannot be read ({error.strerror})") from None
        yield source


def csv_cell(value: Any) -> Any:
    """Returns a value that is safe in a spreadsheet: text that looks like a formula gets a leading quote."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


def print_table(rows: list[dict[str, Any]]) -> None:
    """Prints rows as a table whose columns are those of the first row.

    If the words of the columns do not fit side by side, each row is a block with one line for each column: nothing is cut.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        print("no rows")
        return
    names = [_printable(name) for name in rows[0]]
    lines = [["NULL" if value is None else _printable(str(value)) for value in row.values()] for row in rows]
    words = [
        max(cell_len(word) for text in column for word in text.split() or [""])
        for column in zip(names, *lines, strict=True)
    ]
    console = Console(width=None if sys.stdout.isatty() else 200)
    if sum(words) + 3 * len(words) + 1 > console.width:
        longest = max(map(cell_len, names))
        blocks = (
            "".join(
                f"{name}{' ' * (longest - cell_len(name))}  {text}\n" for name, text in zip(names, line, strict=True)
            )
            for line in lines
        )
        print("\n".join(blocks), end="")
        return
    table = Table()
    for name in names:
        table.add_column(Text(name), overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))
    console.print(table)


def _printable(text: str) -> str:
    """Escapes characters that control a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
