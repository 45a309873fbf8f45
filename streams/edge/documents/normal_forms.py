"""The normal form of a document number, a phone or a plate (CONTRACT §1)."""

import re
import unicodedata
from typing import Literal

import phonenumbers

Domain = Literal["id", "passport", "phone", "plate", "pass"]

_REMOVED = frozenset("\u00b7\u2022\u2027\u2212\u2219\u22c5\u25cf\u30fb\uff0e._/'")
_REMOVED_CLASSES = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Pd"})
# Unicode Script=Han, written out: the standard library knows no scripts, and a device's Python must not decide.
_HAN = (
    "\u2e80-\u2e99\u2e9b-\u2ef3\u2f00-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufa6d\ufa70-\ufad9\U00016fe2\U00016fe3\U00016ff0\U00016ff1\U00020000-\U0002a6df\U0002a700-\U0002ee5d"
    "\U0002f800-\U0002fa1d\U00030000-\U000323af"
)
_PLAIN = re.compile("[A-Z0-9]+")
_PLATE = re.compile(f"[A-Z0-9{_HAN}]+")
_PHONE = re.compile(r"\+?[0-9]+")
_RESIDENT_15 = re.compile("[0-9]{15}")
_STATE = re.compile("[A-Z]{3}|D")  # ICAO 9303-3 §5: three letters, or D for Germany


def normalise(kind: Domain, text: str) -> str | None:
    """The normal form that is hashed; `""` when nothing was written, None when it can have no token.

    Both are false, and `token` refuses both. A passport is read as `STATE/NUMBER` (see `passport`); what has no state
    before its first `/` gets None. Apply it once, to what was written: the normal form of a foreign phone has lost its
    `+` and would be read as a Chinese number. Never raises, whatever the text.
    """
    if kind == "passport":
        state, slash, number = unicodedata.normalize("NFKC", text).partition("/")
        return passport(state, number) if slash else passport("", text)
    cleaned = _cleaned(text)
    if not cleaned:
        return ""
    if kind == "phone":
        return _e164(cleaned)
    if kind == "plate":
        return cleaned if _PLATE.fullmatch(cleaned) else None
    if not _PLAIN.fullmatch(cleaned):
        return None
    return eighteen_digits(cleaned) if kind == "id" and _RESIDENT_15.fullmatch(cleaned) else cleaned


def passport(state: str, number: str) -> str | None:
    """Passport or travel permit: issuing state + `/` + number, both as in the MRZ, fillers (`<`) removed.

    The state is the MRZ's (three letters, `D` for Germany: neither `CN` nor `DEU`). A long number of TD1 or TD2 is given
    joined. `""` without a number; None without a state, or when either holds another character.
    """
    state, number = _cleaned(state).replace("<", ""), _cleaned(number).replace("<", "")
    if not number:
        return ""
    return f"{state}/{number}" if _STATE.fullmatch(state) and _PLAIN.fullmatch(number) else None


def eighteen_digits(number: str) -> str:
    """A 15-digit resident number in its 18-digit form: century 19, check character of GB 11643 (ISO 7064 MOD 11-2)."""
    seventeen = f"{number[:6]}19{number[6:]}"
    return seventeen + check_character(seventeen)


def check_character(seventeen: str) -> str:
    """GB 11643: the weight of digit i, from the left and from 0, is 2^(17-i) mod 11."""
    return "10X98765432"[sum(int(digit) << (17 - i) for i, digit in enumerate(seventeen)) % 11]


def _cleaned(text: str) -> str:
    """NFKC, upper case, then without blanks, controls, dashes, dots and the like."""
    text = unicodedata.normalize("NFKC", text).upper()
    return "".join(c for c in text if c not in _REMOVED and unicodedata.category(c) not in _REMOVED_CLASSES)


def _e164(cleaned: str) -> str | None:
    """E.164 without `+`. A leading `+` or 00 makes it international, else it is a Chinese number.

    No letters, though the library would read them: `138…OOO`, with the letter O for zero, would be somebody else's number
    (O is 6 on a keypad), and an extension is not part of E.164.
    """
    if not _PHONE.fullmatch(cleaned):
        return None
    try:
        number = phonenumbers.parse(cleaned, "CN")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
