"""What a table's readers share: the cell, its limits, the fault of a file that cannot be read, and the private file."""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ninezero.streams.errors import UserError

Cell = str | float | None
"""Text as written, a number of a workbook, or nothing."""

LONGEST_CELL = 4096
"""Characters of a cell. What is longer is no identity and no time; readers keep one more, so that it shows."""

HEAD_ROWS = 20
"""Rows, blank ones left out, among which the header is looked for: titles often stand above it."""

WIDEST = 16_384
"""Columns of a sheet, as in Excel. What stands further right is not read."""


class SheetError(UserError):
    """A file that cannot be used: one line, which by its place on the command line, what is wrong and what to do."""


class Unreadable(Exception):
    """Why a file cannot be read, and what to do; it quotes nothing from the file, its name included."""


def letters(column: int) -> str:
    """A column's letters as a spreadsheet shows them: 0 is A, 26 is AA."""
    name = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(65 + rest) + name
    return name


def column_of(name: str) -> int | None:
    """The column from 0 of spreadsheet letters (any case) or of a number from 1; None if it is neither."""
    name = name.strip().upper()
    if not (name.isascii() and 1 <= len(name) <= 5):
        return None
    if name.isdigit():
        column = int(name) - 1
    elif name.isalpha() and len(name) <= 3:
        column = 0
        for letter in name:
            column = column * 26 + ord(letter) - 64
        column -= 1
    else:
        return None
    return column if 0 <= column < WIDEST else None


def write_private(path: Path, pieces: Iterable[bytes]) -> None:
    """Writes a file in one step, mode 0600; what was there stays until all is written. Raises SheetError."""
    temporary = ""
    try:
        fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".ninezero-")
        with os.fdopen(fd, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(fd)
        Path(temporary).replace(path)
    except BaseException as error:
        with suppress(OSError):
            Path(temporary).unlink()
        if not isinstance(error, OSError):
            raise
    else:
        return
    raise SheetError("a file cannot be written: check its folder, your rights there and its free space")
