"""Checks a CSV of documents."""

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date

from ninezero.schemas.events import QualityFlag
from ninezero.streams.edge.documents.checks import LONGEST_VALUE, check
from ninezero.streams.edge.documents.mrz import mrz
from ninezero.streams.edge.documents.normal_forms import Domain
from ninezero.streams.edge.listfiles.tables.text_tables import misread

_LONGEST_LINE = 2 * LONGEST_VALUE
_DOMAINS: dict[str, Domain] = {kind: kind for kind in ("id", "passport", "phone", "plate", "pass")}


def check_documents(lines: Iterable[bytes | str], today: date) -> Iterator[tuple[int, str, list[QualityFlag]]]:
    """Row, kind and flags of every record of a CSV `kind,value[,line2,line3]`, as they come.

    A row is the line where the record begins, from 1, a header not counted; blank lines give nothing. A kind that is not one
    is shown as `unknown` and flagged `bad_character`: what was not checked is never in order. Bytes are UTF-8 or GB18030, line
    by line. Memory is bounded by the longest line. Never raises, whatever the lines hold.
    """
    header = 0
    for row, text in _records(lines):
        try:
            cells = next(csv.reader([text]), [])
        except csv.Error:  # a line end outside of quotes
            cells = [text]
        kind = cells[0].strip().lower() if cells else ""
        if row == 0 and kind == "kind":
            header = 1
        elif kind == "mrz":
            yield row + 1 - header, kind, mrz(cells[1:4], today).flags
        elif kind in _DOMAINS:
            yield row + 1 - header, kind, check(_DOMAINS[kind], cells[1] if len(cells) > 1 else "", today)
        elif any(cell.strip() for cell in cells):
            yield row + 1 - header, "unknown", ["bad_character"]


def _records(lines: Iterable[bytes | str]) -> Iterator[tuple[int, str]]:
    """The line number from 0 and the text of each record, every line cut to `_LONGEST_LINE`.

    A quoted cell may hold line ends (a zone is often pasted as one cell): two more lines at most, and none with a comma,
    which would be a record. A quote that is never closed thus costs no line but its own.
    """
    source, ahead, row = (text for line in lines for text in _texts(line)), deque[str](), 0
    while (text := ahead.popleft() if ahead else next(source, None)) is not None:
        record = [text.removeprefix("\ufeff") if row == 0 else text]
        while _open(record) and len(record) < 3:
            more = ahead.popleft() if ahead else next(source, None)
            if more is None or "," in more:
                ahead.extendleft([] if more is None else [more])
                break
            record.append(more)
        if _open(record):
            ahead.extendleft(reversed(record[1:]))
            del record[1:]
        yield row, "\n".join(record)
        row += len(record)


def _open(record: list[str]) -> bool:
    return sum(line.count('"') for line in record) % 2 == 1


def _texts(line: bytes | str) -> list[str]:
    """A line's text; several where a carriage return alone ends a line, as in old files."""
    if isinstance(line, str):
        return [text[:_LONGEST_LINE] for text in line.rstrip("\r\n").split("\r")]
    return [_decoded(text[:_LONGEST_LINE]) for text in line.rstrip(b"\r\n").split(b"\r")]


def _decoded(line: bytes) -> str:
    """UTF-8, or else GB18030."""
    text = line.decode("utf-8", "replace")
    if "\ufffd" in text or misread(text):
        with suppress(UnicodeDecodeError):
            return line.decode("gb18030")
    return text
