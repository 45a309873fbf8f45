"""Checks the documents of a CSV file, for `ninezero check-document`."""

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date
from typing import NamedTuple

from ninezero.schemas.events import QualityFlag
from ninezero.streams.edge.documents.checks import LONGEST_VALUE, check
from ninezero.streams.edge.documents.mrz import mrz
from ninezero.streams.edge.documents.normal_forms import Domain
from ninezero.streams.edge.text_encoding import is_misread_gb18030

_LONGEST_LINE = 2 * LONGEST_VALUE
"""Longest line that is read, in characters. The rest of a longer one is cut off."""
_DOMAINS: dict[str, Domain] = {kind: kind for kind in ("id", "passport", "phone", "plate", "pass")}


class CheckedRecord(NamedTuple):
    """The result of one record."""

    row: int
    """The line on which the record begins, from 1, not counting a header."""
    kind: str
    """The kind as given, or `unknown`."""
    flags: list[QualityFlag]


def check_documents(lines: Iterable[bytes | str], today: date) -> Iterator[CheckedRecord]:
    """Yields the result of each record of a CSV `kind,value[,line2,line3]` as it is read.

    Blank lines are skipped. A record of another kind gives `unknown` with the flag `bad_character`, so that a value that was
    not checked never appears to be valid. Memory is bounded by the longest line. Nothing raises, whatever the lines contain.

    Args:
        lines: the lines; each line of bytes is UTF-8 or GB18030.
        today: the date with which birth and expiry dates are compared.
    """
    header = 0
    for row, text in _records(lines):
        try:
            cells = next(csv.reader([text]), [])
        except csv.Error:  # a carriage return outside quotes
            cells = [text]
        kind = cells[0].strip().lower() if cells else ""
        if row == 0 and kind == "kind":
            header = 1
        elif kind == "mrz":
            yield CheckedRecord(row + 1 - header, kind, mrz(cells[1:4], today).flags)
        elif kind in _DOMAINS:
            value = cells[1] if len(cells) > 1 else ""
            yield CheckedRecord(row + 1 - header, kind, check(_DOMAINS[kind], value, today))
        elif any(cell.strip() for cell in cells):
            yield CheckedRecord(row + 1 - header, "unknown", ["bad_character"])


def _records(lines: Iterable[bytes | str]) -> Iterator[tuple[int, str]]:
    """Yields the line number, from 0, and the text of each record. Every line is cut to `_LONGEST_LINE`.

    A quoted cell may contain line ends, because a machine-readable zone is often pasted as one cell. It continues for at
    most two more lines, and ends before a line with a comma, because that line is a record of its own. So a quote that is
    never closed affects its own line only.
    """
    source, ahead, row = (text for line in lines for text in _texts(line)), deque[str](), 0
    while (text := ahead.popleft() if ahead else next(source, None)) is not None:
        record = [text.removeprefix("\ufeff") if row == 0 else text]
        while _in_quotes(record) and len(record) < 3:
            more = ahead.popleft() if ahead else next(source, None)
            if more is None or "," in more:
                ahead.extendleft([] if more is None else [more])
                break
            record.append(more)
        if _in_quotes(record):
            ahead.extendleft(reversed(record[1:]))
            del record[1:]
        yield row, "\n".join(record)
        row += len(record)


def _in_quotes(record: list[str]) -> bool:
    """Returns whether the record ends inside quotes."""
    return sum(line.count('"') for line in record) % 2 == 1


def _texts(line: bytes | str) -> list[str]:
    """Returns the text of a line. It gives several lines if they end with a carriage return alone, as in old files."""
    if isinstance(line, str):
        return [text[:_LONGEST_LINE] for text in line.rstrip("\r\n").split("\r")]
    return [_decoded(text[:_LONGEST_LINE]) for text in line.rstrip(b"\r\n").split(b"\r")]


def _decoded(line: bytes) -> str:
    """Decodes a line as UTF-8, or as GB18030 if it is not UTF-8."""
    text = line.decode("utf-8", "replace")
    if "\ufffd" in text or is_misread_gb18030(text):
        with suppress(UnicodeDecodeError):
            return line.decode("gb18030")
    return text
