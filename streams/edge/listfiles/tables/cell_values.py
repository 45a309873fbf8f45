"""The values of a workbook's cells: shared strings, number formats, and the decoding of a cell's raw text (ECMA-376 part 1)."""

import re
from array import array
from typing import Any, NamedTuple
from zipfile import ZipFile

from ninezero.streams.edge.listfiles.tables.cells import MAX_CELL_CHARACTERS, Cell, UnreadableTable
from ninezero.streams.edge.listfiles.tables.office_archive import (
    DAMAGED,
    MAX_DEPTH,
    TOO_LARGE,
    elements,
    local_name,
    parse_part,
)

MAX_SHARED_BYTES = 128 << 20
"""Bytes of the shared strings. They are held in memory."""

_MAX_STYLES = 100_000
_ESCAPE = re.compile("_x([0-9A-Fa-f]{4})_")  # ECMA-376 part 1, 22.9.2.19
_ZEROS = re.compile("0{2,20}")


class SharedStrings:
    """The strings that cells refer to by number. They are packed into one buffer, which takes a tenth of the memory."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("L")

    def append(self, text: str) -> None:
        """Appends a string, cut to one character more than a cell may have."""
        self._bytes += text[: MAX_CELL_CHARACTERS + 1].encode()
        self._ends.append(len(self._bytes))
        if len(self._bytes) + self._ends.itemsize * len(self._ends) > MAX_SHARED_BYTES:
            raise UnreadableTable(TOO_LARGE)

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < len(self._ends):
            raise UnreadableTable(DAMAGED)
        return self._bytes[self._ends[number - 1] if number else 0 : self._ends[number]].decode()


class CellDecoder(NamedTuple):
    """Decodes the raw text of a cell.

    `zero_padding` has the styles that show a number with leading zeros, and the number of digits that they show.
    """

    shared_strings: SharedStrings
    zero_padding: dict[str, int]

    def decode(self, raw: str, type_: str, style: str) -> Cell:
        """Returns the value of a cell with these `t` and `s` attributes.

        Raises:
            UnreadableTable: the cell refers to a shared string that does not exist.
        """
        if type_ == "n":
            return self._number(raw, style)
        if type_ == "b":
            return f"#{raw}"  # as an error value such as `#N/A`: no identity has a `#`, so the cell gets no token
        if type_ == "s":
            number = raw.strip()
            raw = self.shared_strings[int(number) if number.isdigit() and len(number) < 10 else -1]
        return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), raw) if "_x" in raw else raw

    def _number(self, raw: str, style: str) -> Cell:
        try:
            number = float(raw)
        except ValueError:
            return raw
        width = self.zero_padding.get(style)
        return str(int(number)).zfill(width) if width and number.is_integer() and 0 <= number < 1e15 else number


def read_zero_padding(archive: ZipFile, part: str) -> dict[str, int]:
    """Returns the styles that show a number with leading zeros, and how many digits each shows.

    The zeros belong to the number of a health pass.
    """
    formats, padding, in_cell_formats, style = dict[str, int](), dict[str, int](), False, 0
    for element, attributes in elements(archive, part):
        if element == "numFmt" and _ZEROS.fullmatch(attributes.get("formatCode", "")):
            formats[attributes.get("numFmtId", "")] = len(attributes["formatCode"])
        elif element == "xf" and in_cell_formats:
            if attributes.get("numFmtId") in formats:
                padding[str(style)] = formats[attributes["numFmtId"]]
            style += 1
        elif element in ("cellStyleXfs", "cellXfs", "cellStyles"):
            in_cell_formats = element == "cellXfs"
        if style > _MAX_STYLES or len(formats) > _MAX_STYLES:
            raise UnreadableTable(TOO_LARGE)
    return padding


def read_shared_strings(archive: ZipFile, part: str) -> SharedStrings:
    """Reads the shared strings, plain or in runs, without the phonetic readings (`rPh`) that are shown above them."""
    strings, depth, in_phonetic, in_text, raw = SharedStrings(), 0, False, False, ""

    def start(name: str, _: dict[str, str]) -> None:
        nonlocal depth, in_phonetic, in_text
        depth += 1
        if depth > MAX_DEPTH:
            raise UnreadableTable(DAMAGED)
        name = local_name(name)
        in_phonetic = in_phonetic or name == "rPh"
        in_text = name == "t" and not in_phonetic

    def end(name: str) -> None:
        nonlocal depth, in_phonetic, in_text, raw
        depth -= 1
        in_text, name = False, local_name(name)
        if name == "rPh":
            in_phonetic = False
        elif name == "si":
            strings.append(raw)
            raw = ""

    def text(data: str) -> None:
        nonlocal raw
        if in_text and len(raw) <= MAX_CELL_CHARACTERS:
            raw += data

    def install(parser: Any) -> None:
        parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text

    for _ in parse_part(archive, part, install):
        pass
    return strings
