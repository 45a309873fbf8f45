"""The values of a workbook's cells: shared strings, number formats, and the decoding of a cell's raw text (ECMA-376 part 1)."""

import re
from array import array
from datetime import datetime
from typing import Any, NamedTuple
from zipfile import ZipFile

from ninezero.streams.edge.listfiles.tables.cells import (
    EPOCH_1900,
    EPOCH_1904,
    MAX_CELL_CHARACTERS,
    Cell,
    FormattedValue,
    UnreadableTable,
)
from ninezero.streams.edge.listfiles.tables.number_formats import NumberFormat, number_format
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
_MAX_FORMATS = 10_000
"""Excel writes at most some 250 number formats of its own."""

_ESCAPE = re.compile("_x([0-9A-Fa-f]{4})_")  # ECMA-376 part 1, 22.9.2.19


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

    `formats` has the styles that show something else than the value, and their formats.
    """

    shared_strings: SharedStrings
    formats: dict[str, NumberFormat]
    epoch_1904: bool

    def decode(self, raw: str, type_: str, style: str) -> Cell:
        """Returns the value of a cell with these `t` and `s` attributes, with what the cell shows if that is something else.

        Raises:
            UnreadableTable: the cell refers to a shared string that does not exist.
        """
        format_ = self.formats.get(style or "0")
        if type_ == "b":
            return f"#{raw}"  # as an error value such as `#N/A`: no identity has a `#`, so the cell gets no token
        number = _number(raw) if type_ == "n" else _day_number(raw, self.epoch_1904) if type_ == "d" else None
        if number is not None:
            if format_ is not None:
                return format_.format_number(number)
            return number if type_ == "n" else FormattedValue(number, None, "date_time" if "T" in raw else "date")
        if type_ == "s":
            index = raw.strip()
            raw = self.shared_strings[int(index) if index.isdigit() and len(index) < 10 else -1]
        text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), raw) if "_x" in raw else raw
        return text if format_ is None else format_.format_text(text)


def _number(raw: str) -> float | None:
    try:
        return float(raw)
    except ValueError:
        return None


def _day_number(raw: str, epoch_1904: bool) -> float | None:
    """Returns the day number of an ISO date or time without an offset, as the other cells have it."""
    try:
        time = datetime.fromisoformat(raw.strip())
    except ValueError:
        return None
    return None if time.tzinfo else (time - (EPOCH_1904 if epoch_1904 else EPOCH_1900)).total_seconds() / 86_400


def read_formats(archive: ZipFile, part: str) -> dict[str, NumberFormat]:
    """Returns the number formats of the styles that show something else than the value of a cell."""
    codes, parsed = dict[str, str](), dict[str, NumberFormat | None]()
    formats, in_cell_formats, style = dict[str, NumberFormat](), False, 0
    for element, attributes in elements(archive, part):
        if element == "numFmt":
            codes[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
        elif element == "xf" and in_cell_formats:
            number = attributes.get("numFmtId", "0")
            if number not in parsed:
                known = int(number) if number.isdigit() and len(number) < 10 else 0
                parsed[number] = number_format(codes.get(number, ""), known)
            format_ = parsed[number]
            if format_ is not None:
                formats[str(style)] = format_
            style += 1
        elif element in ("cellStyleXfs", "cellXfs", "cellStyles"):
            in_cell_formats = element == "cellXfs"
        if style > _MAX_STYLES or len(codes) > _MAX_FORMATS:
            raise UnreadableTable(TOO_LARGE)
    return formats


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
