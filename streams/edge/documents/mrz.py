"""The machine-readable zone of a travel document or visa, read and checked by ICAO Doc 9303 (8th edition).

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
"""Characters; whoever pastes more than this did not paste a zone (90 at most, with blanks between them)."""
_SHAPES = {90: 30, 88: 44, 72: 36}  # characters in all: characters a line
_ZONE = re.compile("[A-Z][A-Z0-9<]+")
_STATE = re.compile("[A-Z<]{3}")
_NOT_SEEN = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})
_VALUES = {"<": 0} | {c: i for i, c in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")}
# Documents for life: 9999 on the card (the Spanish DNI permanente: 01 01 9999), 99 in the zone.
_FOR_LIFE = frozenset({"990101", "991231"})


class Zone(NamedTuple):
    """What a zone says: flags of the closed list; state and number as written in it, without fillers.

    Both are empty where the format is unknown. The repr shows neither.
    """

    flags: list[QualityFlag]
    state: str = ""
    number: str = ""

    def __repr__(self) -> str:
        return f"Zone(flags={self.flags!r}, …)"

    def __rich_repr__(self) -> Any:  # rich's tracebacks print locals by this
        yield "flags", self.flags


class _Fields(NamedTuple):
    """The parts of a zone that are checked; a check digit that the format lacks is None."""

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
    """Reads and checks a zone. Never raises, whatever the text.

    Lenient where nothing is ambiguous: lower case, full-width, blanks, line ends, all lines in one. A number whose check
    digit fails is still given, as a resident number is: a flag never blocks.
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
    if not _number_holds(fields.number, fields.number_check):
        flags.append("mrz_number_failed")
    checks: tuple[tuple[QualityFlag, str, str | None], ...] = (
        ("mrz_birth_failed", fields.birth, fields.birth_check),
        ("mrz_expiry_failed", fields.expiry, fields.expiry_check),
        ("mrz_optional_failed", fields.optional, fields.optional_check),
        ("mrz_composite_failed", fields.composite, fields.composite_check),
    )
    flags += [flag for flag, text, check in checks if check is not None and not _holds(text, check)]
    expiry = _expiry(fields.expiry, today)
    if expiry is None or not _birth_is_possible(fields.birth):
        flags.append("bad_date")
    if expiry is not None and expiry < today:
        flags.append("document_expired")
    return Zone(flags, state, number)


def check_digit(text: str) -> str:
    """Doc 9303-3 §4.9: weights 7, 3, 1, digits as such, A = 10 … Z = 35, the filler 0, modulo 10."""
    return str(sum(_VALUES[c] * weight for c, weight in zip(text, cycle((7, 3, 1)), strict=False)) % 10)


def _holds(text: str, check: str) -> bool:
    """Whether a check digit fits. An unused field may have a filler for its zero (9303-4 §4.2.2.2 note, and in practice)."""
    return check == check_digit(text) or (check == "<" and not text.strip("<"))


def _number_holds(number: str, check: str) -> bool:
    """A long number has a filler in its tenth place. Some issuers count it (Portugal's and some of Belgium's published
    specimens), some do not (other Belgian ones); the example of 9303-5 fits both."""
    return _holds(number, check) or (len(number) > 9 and _holds(number[:9] + number[10:], check))


def _lines(lines: Iterable[str]) -> list[str] | None:
    """The lines in A–Z, 0–9 and `<`, in one of the known shapes; none when nothing was written; None otherwise."""
    text = ""
    for line in lines:
        text += line[:_LONGEST] + "\n"
        if len(text) > _LONGEST:
            return None
    written = [cleaned for line in text.splitlines() if (cleaned := "".join(_seen(line)))]
    whole = "".join(written)
    width = _SHAPES.get(len(whole))
    if not whole:
        return []
    if width is None or not _ZONE.fullmatch(whole):
        return None
    if len(written) == 1:
        return [whole[at : at + width] for at in range(0, len(whole), width)]
    return written if all(len(line) == width for line in written) else None


def _seen(line: str) -> Iterator[str]:
    return (c for c in unicodedata.normalize("NFKC", line).upper() if unicodedata.category(c) not in _NOT_SEEN)


def _fields(zone: list[str]) -> _Fields | None:
    """The fields of a zone; None for the formats that have its shape and are not ICAO's."""
    if len(zone) == 3:
        return _td1(zone[0], zone[1])
    first, second = zone
    visa, wide = first[0] == "V", len(first) == 44
    if not visa and not wide and first.startswith("IDFRA"):
        return None  # the French card of 1988 to 2021: its twelve-character number would be cut to nine
    optional = second[28:42] if wide and not visa else second[28:35]
    number, check = second[:9], second[9]
    if not visa and not wide:
        number, check = _long(number, check, optional)
    return _Fields(
        first[2:5], number, check, second[13:19], second[19], second[21:27], second[27],
        optional, second[42] if wide and not visa else None,
        second[:10] + second[13:20] + second[21:-1], None if visa else second[-1],
    )  # fmt: skip


def _td1(first: str, second: str) -> _Fields:
    number, check = _long(first[5:14], first[14], first[15:])
    return _Fields(
        first[2:5], number, check, second[:6], second[6], second[8:14], second[14],
        first[15:], None, first[5:] + second[:7] + second[8:15] + second[18:29], second[29],
    )  # fmt: skip


def _long(number: str, check: str, optional: str) -> tuple[str, str]:
    """Doc 9303-5 and -6 §4.2.2.2, note j: a filler for the check digit sends the rest of a long number, and then its check
    digit, to the beginning of the optional data, up to the next filler. The number comes with the filler between."""
    rest = optional.partition("<")[0]
    return (f"{number}<{rest[:-1]}", rest[-1]) if check == "<" and number[-1] != "<" and rest else (number, check)


def _birth_is_possible(text: str) -> bool:
    """Doc 9303-3 §4.8: an unknown year, month or day is `<<`. Two digits do not tell the century, nor so the future."""
    if not re.fullmatch("(?:[0-9]{2}|<<){3}", text):
        return False
    year, month, day = (text[at : at + 2].replace("<<", unknown) for at, unknown in ((0, "00"), (2, "01"), (4, "01")))
    return _date(2000 + int(year), int(month), int(day)) is not None


def _expiry(text: str, today: date) -> date | None:
    """Until when a document is valid; None for no date. Doc 9303 gives two digits and no century.

    The nearest to today is meant, so at most 50 years away: documents are issued for ten years, some for some more.
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
