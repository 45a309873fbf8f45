"""Findings about documents, plates and phones as flags of the closed list (CONTRACT §1).

A finding never blocks: real people have odd numbers, and a person decides. Nothing here raises, whatever the text, and
nothing that is shown holds an identity. Published vectors: `schemas/vectors/documents.json`.
"""

import csv
import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date
from functools import cache
from importlib.resources import files

from ninezero.schemas.events import QualityFlag
from ninezero.streams.edge.documents import plates
from ninezero.streams.edge.documents.mrz import Zone, check_digit, mrz
from ninezero.streams.edge.documents.pseudonyms import Domain, check_character, normalise, passport
from ninezero.streams.edge.listfiles.tables.text_tables import misread

__all__ = ["Zone", "check", "check_documents", "mrz"]

_LONGEST = 4096
"""Characters of a value. What is longer is no document, and is flagged unread."""
_LONGEST_LINE = 2 * _LONGEST
_LONGEST_NUMBER = 22
"""Characters of a travel document's number: nine, and at most thirteen more in TD1's optional data (ICAO 9303-5)."""
_OLDEST = 1800
"""No holder of a document was born earlier; such a year is misread."""

_RESIDENT = re.compile("[0-9]{17}[0-9X]")
_RESIDENT_15 = re.compile("[0-9]{15}")
_FOREIGNER_15 = re.compile("[A-Z]{3}[0-9]{12}")
_DOMAINS: dict[str, Domain] = {kind: kind for kind in ("id", "passport", "phone", "plate", "pass")}


def check(kind: Domain, text: str, today: date) -> list[QualityFlag]:
    """The flags of one value as written, without repeats; none when it is in order, at least one when it has no token.

    A birth date is compared with `today`. One cause gives one flag. Never raises, whatever the text.
    """
    if len(text) > _LONGEST:
        return ["phone_invalid" if kind == "phone" else "plate_unrecognised" if kind == "plate" else "bad_length"]
    normal = normalise(kind, text)
    if normal == "":
        return ["empty"]
    if normal is None:
        return _without_token(kind, text)
    if kind == "id":
        # The normal form of a pass is that of an id before fifteen digits become eighteen.
        return _resident(normalise("pass", text) or "", normal, today)
    if kind == "plate":
        return [] if plates.recognised(normal) else ["plate_unrecognised"]
    if kind == "passport":
        return [] if len(normal.partition("/")[2]) <= _LONGEST_NUMBER else ["bad_length"]
    return []


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


def _without_token(kind: Domain, text: str) -> list[QualityFlag]:
    """Why `normalise` gives None: what is not a letter or digit, or else what this kind lacks."""
    text = unicodedata.normalize("NFKC", text)
    if kind == "phone":
        return ["phone_invalid" if normalise("pass", text.removeprefix("+")) else "bad_character"]
    if kind != "passport":
        return ["bad_character"]
    state, slash, number = text.partition("/")
    if not slash:
        state, number = "", text
    flags: list[QualityFlag] = [] if passport(state, "0") else ["no_issuing_state"]
    return flags if passport("UTO", number) else [*flags, "bad_character"]


def _resident(number: str, eighteen: str, today: date) -> list[QualityFlag]:
    """Resident identity numbers (GB 11643), residence permits of Hong Kong, Macao and Taiwan residents (the same with the
    divisions 810000, 820000 and 830000), and foreigners' permanent residence cards of both forms."""
    if _RESIDENT_15.fullmatch(number):
        return ["fifteen_digit", *_birth(eighteen[6:14], today), *_division(eighteen[:6])]
    if _FOREIGNER_15.fullmatch(number):
        return _foreigner(number, today)
    if len(number) != 18:
        return ["bad_length"]
    if not _RESIDENT.fullmatch(number):
        return ["bad_character"]
    flags: list[QualityFlag] = [] if check_character(number[:17]) == number[17] else ["checksum_failed"]
    flags += _birth(number[6:14], today)
    # Foreigners' card of 2023: 9, the province that issued it, the nationality of ISO 3166 as three digits, then as GB 11643.
    return flags + _division(f"{number[1:3]}0000" if number[0] == "9" else number[:6])


def _foreigner(number: str, today: date) -> list[QualityFlag]:
    """Foreigners' card before 2023: nationality, four digits of the division that issued it, birth as YYMMDD, a digit, and
    the check digit of ICAO 9303 over the rest. Two digits do not tell the century."""
    flags: list[QualityFlag] = [] if check_digit(number[:14]) == number[14] else ["checksum_failed"]
    births = [_birth(century + number[7:13], today) for century in ("19", "20")]
    return flags + ([] if [] in births else births[0]) + _division(f"{number[3:5]}0000")


def _birth(digits: str, today: date) -> list[QualityFlag]:
    """YYYYMMDD (GB 11643 §3.3)."""
    try:
        born = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return ["bad_date"]
    if born.year < _OLDEST:
        return ["bad_date"]
    return ["birth_in_future"] if born > today else []


def _division(code: str) -> list[QualityFlag]:
    """GB/T 2260 in any year: people keep the code of where they were first registered, and may be older than it."""
    return [] if code in _divisions() else ["unknown_division"]


@cache
def _divisions() -> frozenset[str]:
    lines = (files("ninezero.schemas") / "divisions" / "gbt2260.txt").read_text("ascii").splitlines()
    return frozenset(line[:6] for line in lines)


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
