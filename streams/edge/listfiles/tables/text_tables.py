"""Tables in text files: encoding and records, as programs and people really write them.

A file is read as a stream: memory is bounded by its longest row. RFC 4180 is the model, with other separators, other line
ends, other encodings and stray quotation marks.
"""

import codecs
import csv
from collections import deque
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO

from ninezero.streams.edge.listfiles.tables.cells import WIDEST, Cell, Unreadable

SEPARATORS = (",", "\t", ";", "|", "，", "；", "｜")
"""The full-width ones come from hand-typed lists."""

LONGEST_ROW = 1 << 20
"""Characters of a row, its line ends included."""

_LONGEST_SPAN = 20
"""Lines that a quoted cell may take, as an address does."""
_CHUNK = 1 << 20
_BLANK = " \t\r\n\v\f\x1a\"'\u00a0\u3000\ufeff"
_DAMAGED = "it is neither UTF-8, UTF-16 nor GB18030 throughout: save it again as CSV UTF-8"


class TextFile:
    """A text file of known encoding. Raises Unreadable, as does reading it; rows count from 1, blank ones included."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._encoding = _encoding(file)

    def records(self, separator: str, width: int = 0) -> Iterator[tuple[int, list[str]]]:
        """Row number and cells of each row that is not blank. `width`: the header's number of cells, if known.

        A quotation mark that is never closed is taken literally, and so are those around a cell that swallowed whole rows.
        So a stray one costs its own row at most, and no other is lost.
        """
        blank, row = _BLANK + separator, 0
        with self._path.open("rb") as raw, TextIOWrapper(raw, self._encoding, newline=None) as file:
            lines = _Lines(file)
            while (line := lines.next()) is not None:
                row += 1
                if len(line) >= LONGEST_ROW:
                    raise Unreadable(
                        f"row {row} has over {LONGEST_ROW:,} characters: no list has such a row, correct it"
                    )
                if '"' in line:
                    cells = _quoted(line, lines, separator, width)
                else:
                    cells = line.rstrip("\n").split(separator, WIDEST)
                if line.strip(blank) or any(cell.strip(blank) for cell in cells):
                    yield row, cells

    def rows(self, separator: str, columns: Sequence[int], width: int = 0) -> Iterator[tuple[int, list[Cell], bool]]:
        """Row number, the cells of `columns`, and whether it has more cells than the header: then they may have shifted."""
        for row, cells in self.records(separator, width):
            count = len(cells)
            extra = width and count > width and any(cell.strip() for cell in cells[width:])
            yield row, [cells[column] if column < count else "" for column in columns], bool(extra)


class _Lines:
    """A file's lines, each cut at `LONGEST_ROW`, and a way to put some back."""

    def __init__(self, file: TextIOWrapper) -> None:
        self._read = file.readline
        self._back: deque[str] = deque()

    def next(self) -> str | None:
        """None at the end."""
        return self._back.popleft() if self._back else self._read(LONGEST_ROW) or None

    def put_back(self, lines: list[str]) -> None:
        """They come next, in this order."""
        self._back.extendleft(reversed(lines))


def _quoted(line: str, lines: _Lines, separator: str, width: int) -> list[str]:
    """The cells of a record that begins with `line`, which has a quotation mark."""
    taken: list[str] = []

    def feed() -> Iterator[str]:
        more: str | None = line
        while more is not None and len(more) < LONGEST_ROW and len(taken) <= _LONGEST_SPAN:
            taken.append(more)
            yield more
            more = lines.next()
        if more is not None:
            lines.put_back([more])

    source = feed()
    try:
        cells = next(csv.reader(source, delimiter=separator, strict=True))
        if not any(_swallowed(cell, separator, width) for cell in cells):
            return cells
    except csv.Error:  # never closed, or closed in the middle of a cell
        pass
    lines.put_back(taken[1:])
    return line.rstrip("\n").split(separator, WIDEST)


def _swallowed(cell: str, separator: str, width: int) -> bool:
    """Whether a quoted cell holds so many separators that its line ends must be those of rows."""
    breaks = cell.rstrip("\n").count("\n")
    return bool(width and breaks) and cell.count(separator) >= breaks * (width - 1)


# -- encodings -------------------------------------------------------------------------------------------------------


def misread(text: str) -> bool:
    """Whether text read as UTF-8 is GB18030: the bytes of 鲁 and 豫 are valid UTF-8 too, for ³ and ԥ. Nobody writes those,
    unless there is Chinese about."""
    return ("³" in text or "ԥ" in text) and max(text) < "\u0800"


def _encoding(file: BinaryIO) -> str:
    """The one encoding in which the whole file is valid. Reads all of it once, or twice if it is not UTF-8."""
    start = file.read(4)
    if start in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        raise Unreadable("it is UTF-32: save it again as CSV UTF-8")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        if _fault(file, "utf-16") is not None:
            raise Unreadable(_DAMAGED)
        return "utf-16"
    fault = _fault(file, "utf-8")
    if fault is None:
        return "gb18030" if _all_misread(file) and _fault(file, "gb18030") is None else "utf-8-sig"
    if _mostly_utf8(file, fault):  # GB18030 would read it too, and make other characters of its plates
        raise Unreadable("it is UTF-8 with damaged characters in it: save it again as CSV UTF-8")
    if _fault(file, "gb18030") is not None:
        raise Unreadable(_DAMAGED)
    return "gb18030"


def _fault(file: BinaryIO, encoding: str) -> int | None:
    """The offset of the chunk in which the file stops being valid; None if it does not."""
    decoder = codecs.getincrementaldecoder(encoding)()
    file.seek(0)
    offset = 0
    while True:
        chunk = file.read(_CHUNK)
        if encoding != "utf-16" and b"\0" in chunk:
            raise Unreadable("it is no text: save it again as CSV UTF-8 or .xlsx")
        try:
            decoder.decode(chunk, not chunk)
        except UnicodeDecodeError:
            return offset
        if not chunk:
            return None
        offset += len(chunk)


def _all_misread(file: BinaryIO) -> bool:
    """`misread` of a whole file, which is valid UTF-8; most have something Chinese near the beginning."""
    decoder, found = codecs.getincrementaldecoder("utf-8")(), False
    file.seek(0)
    while chunk := file.read(_CHUNK):
        text = "" if chunk.isascii() else decoder.decode(chunk)
        if text and max(text) >= "\u0800":
            return False
        found = found or misread(text)
    return found


def _mostly_utf8(file: BinaryIO, fault: int) -> bool:
    """Whether, up to the chunk at `fault`, more characters beyond ASCII are valid in UTF-8 than are not."""
    file.seek(0)
    while file.tell() < fault:
        if not file.read(min(_CHUNK, fault - file.tell())).isascii():
            return True
    text = file.read(_CHUNK).decode("utf-8", "replace")
    bad = text.count("\ufffd")
    return sum(character > "\x7f" for character in text) - bad > bad
