"""Reads and checks the machine-readable zone (MRZ) of a travel document or visa by ICAO Doc 9303 (8th edition).

Formats: TD1 (3 × 30, part 5), TD2 (2 × 36, part 6), TD3 (2 × 44, part 4), MRV-A (2 × 44) and MRV-B (2 × 36, part 7).
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import cycle
from typing import Any, NamedTuple

from ninezero.schemas.events import QualityFlag
from ninezero.streams.edge.documents.normal_forms import passport

_LONGEST = 1000
"""Longest text that is read, in characters. A zone has at most 90, not counting spaces."""
_SHAPES = {90: 30, 88: 44, 72: 36}
"""Characters per line, by characters of the whole zone."""
_ZONE = re.compile("[A-Z][A-Z0-9<]+")
_STATE = re.compile("[A-Z<]{3}")
_INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})
_VALUES = {"<": 0} | {c: i for i, c in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")}
_FOR_LIFE = frozenset({"990101", "991231"})
"""Expiry dates of documents that are valid for life, such as the Spanish DNI permanente (01 01 9999 on the card)."""


class Zone(NamedTuple):
    """The content of a zone: quality flags, and the issuing state and the number as in the zone, without fillers.

    State and number are empty if the format is unknown. The repr shows neither.
    """

    flags: list[QualityFlag]
    state: str = ""
    number: str = ""

    def __repr__(self) -> str:
        return f"Zone(flags={self.flags!r}, …)"

    def __rich_repr__(self) -> Any:  # rich prints the locals of a traceback with this
        yield "flags", self.flags


class _Fields(NamedTuple):
    """The parts of a zone that are checked. A check digit that the format does not have is None."""

    state: str
    number: str
    number_check: str
    birth: str
    birth_check: str
    expiry: str
    expiry_check: str
    optional: str
    optional_check: str | None
    composite: str
    composite_check: str | None


def mrz(lines: Iterable[str], today: date) -> Zone:
    """Reads and checks a zone. No text makes it raise.

    Lower case, full-width characters, spaces, line ends, and all lines in one string are accepted. A number is returned even
    if its check digit fails; the flag says so.

    Args:
        lines: the two or three lines, or all of them in one string.
        today: the date with which the expiry date is compared.
    """
    zone = _lines(lines)
    if not zone:
        return Zone(["mrz_format" if zone is None else "empty"])
    fields = _fields(zone)
    if fields is None or not _STATE.fullmatch(fields.state):
        return Zone(["mrz_format"])
    flags: list[QualityFlag] = []
    state, number = fields.state.replace("<", ""), fields.number.replace("<", "")
    if not number:
        flags.append("empty")
    if not passport(state, number or "0"):
        flags.append("no_issuing_state")
    if not _number_is_valid(fields.number, fields.number_check):
        flags.append("mrz_number_failed")
    checks: tuple[tuple[QualityFlag, str, str | None], ...] = (
        ("mrz_birth_failed", fields.birth, fields.birth_check),
        ("mrz_expiry_failed", fields.expiry, fields.expiry_check),
        ("mrz_optional_failed", fields.optional, fields.optional_check),
        ("mrz_composite_failed", fields.composite, fields.composite_check),
    )
    flags += [flag for flag, text, check in checks if check is not None and not _is_valid(text, check)]
    expiry = _expiry(fields.expiry, today)
    if expiry is None or not _is_possible_birth(fields.birth):
        flags.append("bad_date")
    if expiry is not None and expiry < today:
        flags.append("document_expired")
    return Zone(flags, state, number)


def check_digit(text: str) -> str:
    """Returns the check digit of a text by Doc 9303-3 §4.9.

    The weights are 7, 3, 1 repeated; digits have their value, A to Z are 10 to 35, the filler is 0; the sum is taken modulo 10.
    """
    return str(sum(_VALUES[c] * weight for c, weight in zip(text, cycle((7, 3, 1)), strict=False)) % 10)


def _is_valid(text: str, check: str) -> bool:
    """Returns whether a check digit is right. An unused field may have a filler for its 0 (Doc 9303-4 §4.2.2.2, note)."""
    return check == check_digit(text) or (check == "<" and not text.strip("<"))


def _number_is_valid(number: str, check: str) -> bool:
    """Returns whether the check digit of a document number is right.

    A long number has a filler in its tenth place. Some issuers include it in the sum (published specimens of Portugal and
    Belgium), others do not (other Belgian specimens); the example of Doc 9303-5 fits both.
    """
    return _is_valid(number, check) or (len(number) > 9 and _is_valid(number[:9] + number[10:], check))


def _lines(lines: Iterable[str]) -> list[str] | None:
    """Returns the lines in A–Z, 0–9 and `<`. The list is empty if nothing was written; None if the shape is unknown."""
    text = ""
    for line in lines:
        text += line[:_LONGEST] + "\n"
        if len(text) > _LONGEST:
            return None
    written = [cleaned for line in text.splitlines() if (cleaned := "".join(_visible(line)))]
    whole = "".join(written)
    width = _SHAPES.get(len(whole))
    if not whole:
        return []
    if width is None or not _ZONE.fullmatch(whole):
        return None
    if len(written) == 1:
        return [whole[at : at + width] for at in range(0, len(whole), width)]
    return written if all(len(line) == width for line in written) else None


def _visible(line: str) -> Iterator[str]:
    """Returns the characters of a line in NFKC and upper case, without spaces and control characters."""
    return (c for c in unicodedata.normalize("NFKC", line).upper() if unicodedata.category(c) not in _INVISIBLE)


def _fields(zone: list[str]) -> _Fields | None:
    """Returns the fields of a zone, or None if it is a format with the same shape that is not ICAO's."""
    if len(zone) == 3:
        return _td1(zone[0], zone[1])
    first, second = zone
    visa, wide = first[0] == "V", len(first) == 44
    if not visa and not wide and first.startswith("IDFRA"):
        return None  # the French card of 1988 to 2021: its number has twelve characters, of which nine would be read
    optional = second[28:42] if wide and not visa else second[28:35]
    number, check = second[:9], second[9]
    if not visa and not wide:
        number, check = _joined_number(number, check, optional)
    return _Fields(
        first[2:5], number, check, second[13:19], second[19], second[21:27], second[27],
        optional, second[42] if wide and not visa else None,
        second[:10] + second[13:20] + second[21:-1], None if visa else second[-1],
    )  # fmt: skip


def _td1(first: str, second: str) -> _Fields:
    """Returns the fields of the first two lines of TD1."""
    number, check = _joined_number(first[5:14], first[14], first[15:])
    return _Fields(
        first[2:5], number, check, second[:6], second[6], second[8:14], second[14],
        first[15:], None, first[5:] + second[:7] + second[8:15] + second[18:29], second[29],
    )  # fmt: skip


def _joined_number(number: str, check: str, optional: str) -> tuple[str, str]:
    """Returns a number and its check digit, joined with the part of a long number in the optional data.

    A filler in place of the check digit means that the rest of the number, and then its check digit, stand at the beginning of
    the optional data, up to the next filler (Doc 9303-5 and -6 §4.2.2.2, note j). The result keeps the filler between the parts.
    """
    rest = optional.partition("<")[0]
    return (f"{number}<{rest[:-1]}", rest[-1]) if check == "<" and number[-1] != "<" and rest else (number, check)


def _is_possible_birth(text: str) -> bool:
    """Returns whether a birth date is one of the calendar. An unknown year, month or day is `<<` (Doc 9303-3 §4.8).

    Two digits do not define the century, so a date in the future cannot be detected.
    """
    if not re.fullmatch("(?:[0-9]{2}|<<){3}", text):
        return False
    year, month, day = (text[at : at + 2].replace("<<", unknown) for at, unknown in ((0, "00"), (2, "01"), (4, "01")))
    return _date(2000 + int(year), int(month), int(day)) is not None


def _expiry(text: str, today: date) -> date | None:
    """Returns the expiry date of a document, or None if it is not a date.

    Doc 9303 has two digits for the year. The century is the one that puts the date nearest to today, so at most 50 years
    away: most documents are issued for ten years.
    """
    if text in _FOR_LIFE or text == "<<<<<<":
        return date.max
    if not re.fullmatch("[0-9]{6}", text):
        return None
    year, month, day = int(text[:2]), int(text[2:4]), int(text[4:])
    century = today.year // 100 * 100
    found = [_date(c + year, month, day) for c in (century - 100, century, century + 100)]
    return min((d for d in found if d), key=lambda d: abs(d - today), default=None)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
