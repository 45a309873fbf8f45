"""The normal form of a document number, a phone number or a plate, which is what a token is made from (CONTRACT §1).

Nothing here raises, for any text. Published vectors for other implementations: `schemas/vectors/pseudonyms.json`.
"""

import re
import unicodedata

from ninezero.streams.edge.documents.characters import HAN, clean
from ninezero.streams.edge.documents.issuing_states import issuing_state
from ninezero.streams.edge.documents.phones import e164
from ninezero.streams.edge.documents.several_values import Domain, split_values

__all__ = ["Domain", "check_character", "eighteen_digits", "normal_form", "normalise", "passport"]

_LETTERS_AND_DIGITS = re.compile("[A-Z0-9]+")
_PLATE = re.compile(f"[A-Z0-9{HAN}]+")
_RESIDENT_15 = re.compile("[0-9]{15}")


def normalise(domain: Domain, text: str) -> str | None:
    """Returns the normal form of a value as written; `""` if it is empty, None if it can have no token.

    A text that holds several numbers has no normal form. `split_values` returns them.

    Apply it once, to what was written: the normal form of a foreign phone number has lost its `+`, so a second call would
    read it as a Chinese number.

    Args:
        domain: the kind of identity.
        text: the value as written. A passport is written as `STATE/NUMBER` (see `passport`).
    """
    values = split_values(domain, text)
    if values is None or len(values) > 1:
        return None
    return normal_form(domain, values[0]) if values else ""


def normal_form(domain: Domain, text: str) -> str | None:
    """Returns the normal form of one number, as `normalise` does."""
    if domain == "passport":
        state, slash, number = unicodedata.normalize("NFKC", text).partition("/")
        return passport(state, number) if slash else passport("", text)
    cleaned = clean(text)
    if not cleaned:
        return ""
    if domain == "phone":
        return e164(text)
    if domain == "plate":
        return cleaned if _PLATE.fullmatch(cleaned) else None
    if not _LETTERS_AND_DIGITS.fullmatch(cleaned):
        return None
    return eighteen_digits(cleaned) if domain == "id" and _RESIDENT_15.fullmatch(cleaned) else cleaned


def passport(state: str, number: str) -> str | None:
    """Returns the normal form of a passport or travel permit: issuing state + `/` + number, without fillers (`<`).

    Args:
        state: the issuing state, by a code of ICAO Doc 9303-3 section 5. `DEU` is read as `D`, `HKG` and `MAC` as `CHN`.
        number: the number as in the MRZ. A long number of the formats TD1 and TD2 is given joined.

    Returns:
        `""` without a number; None without a state, for several numbers, or if one of the two has another character.
    """
    values = split_values("passport", number)
    code, number = issuing_state(state), clean(number).replace("<", "")
    if not number:
        return ""
    if values is None or len(values) > 1:
        return None
    return f"{code}/{number}" if code and _LETTERS_AND_DIGITS.fullmatch(number) else None


def eighteen_digits(number: str) -> str:
    """Returns a 15-digit resident number in its 18-digit form: century 19, check character by GB 11643."""
    seventeen = f"{number[:6]}19{number[6:]}"
    return seventeen + check_character(seventeen)


def check_character(seventeen: str) -> str:
    """Returns the check character of a resident number by GB 11643, which uses ISO 7064 MOD 11-2.

    The weight of digit i, counted from 0 on the left, is 2^(17-i) mod 11.
    """
    return "10X98765432"[sum(int(digit) << (17 - i) for i, digit in enumerate(seventeen)) % 11]
