"""The normal form of a document number, a phone number or a plate, which is what a token is made from (CONTRACT §1).

Nothing here raises, for any text. Published vectors for other implementations: `schemas/vectors/pseudonyms.json`.
"""

import re
import unicodedata
from typing import Literal

Domain = Literal["id", "passport", "phone", "plate", "pass"]
"""The kinds of identities. Tokens of different domains never match each other."""

_REMOVED = frozenset("\u00b7\u2022\u2027\u2212\u2219\u22c5\u25cf\u30fb\uff0e._/'")
_REMOVED_CLASSES = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Pd"})

# Unicode Script=Han, written out: Python's standard library has no scripts, and the result must not depend on its version.
_HAN = (
    "\u2e80-\u2e99\u2e9b-\u2ef3\u2f00-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufa6d\ufa70-\ufad9\U00016fe2\U00016fe3\U00016ff0\U00016ff1\U00020000-\U0002a6df\U0002a700-\U0002ee5d"
    "\U0002f800-\U0002fa1d\U00030000-\U000323af"
)
_LETTERS_AND_DIGITS = re.compile("[A-Z0-9]+")
_PLATE = re.compile(f"[A-Z0-9{_HAN}]+")
_PHONE = re.compile(r"\+?[0-9]+")
_RESIDENT_15 = re.compile("[0-9]{15}")
_STATE = re.compile("[A-Z]{3}|D")  # ICAO Doc 9303-3 §5: three letters, or D for Germany


def normalise(domain: Domain, text: str) -> str | None:
    """Returns the normal form of a value as written; `""` if it is empty, None if it can have no token.

    Apply it once, to what was written: the normal form of a foreign phone number has lost its `+`, so a second call would
    read it as a Chinese number.

    Args:
        domain: the kind of identity.
        text: the value as written. A passport is written as `STATE/NUMBER` (see `passport`).
    """
    if domain == "passport":
        state, slash, number = unicodedata.normalize("NFKC", text).partition("/")
        return passport(state, number) if slash else passport("", text)
    cleaned = _clean(text)
    if not cleaned:
        return ""
    if domain == "phone":
        return _e164(cleaned)
    if domain == "plate":
        return cleaned if _PLATE.fullmatch(cleaned) else None
    if not _LETTERS_AND_DIGITS.fullmatch(cleaned):
        return None
    return eighteen_digits(cleaned) if domain == "id" and _RESIDENT_15.fullmatch(cleaned) else cleaned


def passport(state: str, number: str) -> str | None:
    """Returns the normal form of a passport or travel permit: issuing state + `/` + number, without fillers (`<`).

    Args:
        state: the issuing state as in the MRZ: three letters, or `D` for Germany. Neither `CN` nor `DEU` is one.
        number: the number as in the MRZ. A long number of the formats TD1 and TD2 is given joined.

    Returns:
        `""` without a number; None without a state, or if one of the two has another character.
    """
    state, number = _clean(state).replace("<", ""), _clean(number).replace("<", "")
    if not number:
        return ""
    return f"{state}/{number}" if _STATE.fullmatch(state) and _LETTERS_AND_DIGITS.fullmatch(number) else None


def eighteen_digits(number: str) -> str:
    """Returns a 15-digit resident number in its 18-digit form: century 19, check character by GB 11643."""
    seventeen = f"{number[:6]}19{number[6:]}"
    return seventeen + check_character(seventeen)


def check_character(seventeen: str) -> str:
    """Returns the check character of a resident number by GB 11643, which uses ISO 7064 MOD 11-2.

    The weight of digit i, counted from 0 on the left, is 2^(17-i) mod 11.
    """
    return "10X98765432"[sum(int(digit) << (17 - i) for i, digit in enumerate(seventeen)) % 11]


def _clean(text: str) -> str:
    """Returns the text in NFKC and upper case, without spaces, control characters, dashes, dots and the like."""
    text = unicodedata.normalize("NFKC", text).upper()
    return "".join(c for c in text if c not in _REMOVED and unicodedata.category(c) not in _REMOVED_CLASSES)


def _e164(cleaned: str) -> str | None:
    """Returns a phone number in E.164 without `+`. Without a leading `+` or `00` it is a Chinese number.

    Letters are not accepted, although the library would read them: `138…OOO`, with the letter O in place of zero, would
    become another person's number, because O is on key 6. An extension is not part of E.164.
    """
    if not _PHONE.fullmatch(cleaned):
        return None
    import phonenumbers  # of the extra `edge`; `ninezero --version` must work without it

    try:
        number = phonenumbers.parse(cleaned, "CN")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
