"""Checks one document number, plate or phone number, and returns quality flags of the closed list (CONTRACT §1).

A flag never changes an outcome: real people have unusual numbers, and a person decides. Nothing here raises, whatever the
text, and nothing returned contains an identity. Published vectors for other implementations:
`schemas/vectors/documents.json`.
"""

import re
import unicodedata
from datetime import date
from functools import cache
from importlib.resources import files

from ninezero.schemas.events import QualityFlag
from ninezero.streams.edge.documents import phones, plates
from ninezero.streams.edge.documents.characters import clean
from ninezero.streams.edge.documents.mrz import check_digit
from ninezero.streams.edge.documents.normal_forms import Domain, check_character, normalise, passport
from ninezero.streams.edge.documents.several_values import split_values

LONGEST_VALUE = 4096
"""Longest value that is read, in characters. A longer one is not a document; it gets a flag."""
_LONGEST_NUMBER = 22
"""Longest number of a travel document: nine characters, and up to thirteen more in TD1's optional data (ICAO Doc 9303-5)."""
_OLDEST = 1800
"""Earliest year of birth. An earlier one was misread."""

_NO_NUMBER: dict[Domain, QualityFlag] = {
    "id": "bad_length",
    "passport": "bad_length",
    "phone": "phone_invalid",
    "plate": "plate_unrecognised",
    "pass": "bad_length",
}
"""The flag of a text that is too long for one number, or holds several numbers."""

_RESIDENT = re.compile("[0-9]{17}[0-9X]")
_RESIDENT_15 = re.compile("[0-9]{15}")
_FOREIGNER_15 = re.compile("[A-Z]{3}[0-9]{12}")


def check(kind: Domain, text: str, today: date) -> list[QualityFlag]:
    """Returns the flags of one value as written, each at most once.

    The list is empty if the value is valid, and has at least one flag if the value can have no token. One cause gives one flag.

    Args:
        kind: the kind of identity.
        text: the value as written.
        today: the date with which a birth date is compared.
    """
    if len(text) > LONGEST_VALUE:
        return [_NO_NUMBER[kind]]
    normal = normalise(kind, text)
    if normal == "":
        return ["empty"]
    if normal is None:
        return _without_token(kind, text)
    if kind == "id":
        return _resident(clean(text), normal, today)
    if kind == "plate":
        return [] if plates.is_recognised(normal) else ["plate_unrecognised"]
    if kind == "passport":
        return [] if len(normal.partition("/")[2]) <= _LONGEST_NUMBER else ["bad_length"]
    return []


def _without_token(kind: Domain, text: str) -> list[QualityFlag]:
    """Returns why `normalise` returned None: several numbers, a character that is not allowed, or a part that is missing."""
    text = unicodedata.normalize("NFKC", text)
    if kind == "phone":
        written = clean(text).isascii() and clean(text).isalnum()
        return ["phone_invalid" if written or phones.has_only_digits(text) else "bad_character"]
    values = split_values(kind, text)
    if values is None or len(values) > 1:
        return [_NO_NUMBER[kind]]
    if kind != "passport":
        return ["bad_character"]
    state, slash, number = text.partition("/")
    if not slash:
        state, number = "", text
    flags: list[QualityFlag] = [] if passport(state, "0") else ["no_issuing_state"]
    return flags if passport("UTO", number) else [*flags, "bad_character"]


def _resident(number: str, eighteen: str, today: date) -> list[QualityFlag]:
    """Checks the number of an identity card or residence permit.

    These are resident identity numbers (GB 11643), residence permits of Hong Kong, Macao and Taiwan residents (the same form
    with the divisions 810000, 820000 and 830000), and foreigners' permanent residence cards of both forms.
    """
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
    # Foreigners' card since 2023: 9, the issuing province, the nationality as three digits of ISO 3166, then as GB 11643.
    return flags + _division(f"{number[1:3]}0000" if number[0] == "9" else number[:6])


def _foreigner(number: str, today: date) -> list[QualityFlag]:
    """Checks a foreigner's card issued before 2023.

    It has the nationality, four digits of the issuing division, the birth date as YYMMDD, one digit, and the check digit of
    ICAO Doc 9303 over the rest. Two digits do not define the century, so both centuries are tried.
    """
    flags: list[QualityFlag] = [] if check_digit(number[:14]) == number[14] else ["checksum_failed"]
    births = [_birth(century + number[7:13], today) for century in ("19", "20")]
    return flags + ([] if [] in births else births[0]) + _division(f"{number[3:5]}0000")


def _birth(digits: str, today: date) -> list[QualityFlag]:
    """Checks a birth date, YYYYMMDD (GB 11643 §3.3)."""
    try:
        born = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return ["bad_date"]
    if born.year < _OLDEST:
        return ["bad_date"]
    return ["birth_in_future"] if born > today else []


def _division(code: str) -> list[QualityFlag]:
    """Checks a division code against GB/T 2260 of all years: people keep the code of their first registration."""
    return [] if code in _divisions() else ["unknown_division"]


@cache
def _divisions() -> frozenset[str]:
    lines = (files("ninezero.schemas") / "divisions" / "gbt2260.txt").read_text("ascii").splitlines()
    return frozenset(line[:6] for line in lines)
