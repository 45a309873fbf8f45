"""Phone numbers as people write them, with brackets, extensions and remarks, read by libphonenumber."""

import re
import unicodedata

from ninezero.streams.edge.documents.characters import HAN, is_removed

_LONGEST = 250
"""Longest text that is read, in characters, as in libphonenumber."""
NUMERALS = "〇零一二三四五六七八九十两"
_WORDS = f"(?:(?![{NUMERALS}转])[{HAN}])+"
"""A Han word that cannot be a digit or the word for an extension: 母亲, 手机."""
REMARK = re.compile(r"\([^()0-9+]*\)")
"""A remark in brackets without a digit: (母亲). It is no part of a number."""
_LABEL = re.compile(rf"(?:{_WORDS}|(?:TELEPHONE|TEL|PHONE|MOBILE|MOB|CELL)\.?(?: ?NO\.?)?)\s*:?\s*")
_WORDS_BEHIND = re.compile(rf"\s*{_WORDS}$")
_EXTENSION = re.compile(r"\s*\(?\s*(?:EXT(?:ENSION)?[.:]?|X|#|转|分机号?)\s*[0-9]{1,7}\s*\)?$|\s*\(\s*[0-9]{1,7}\s*\)$")
_DIGITS = re.compile(r"[0-9+()-]+")
_CHINESE_MOBILE = re.compile("1[3-9][0-9]{9}")


def e164(text: str) -> str | None:
    """Returns a phone number in E.164 without `+`, or None if the text is not one valid number.

    Without a leading `+` or `00` it is a Chinese number. Brackets, dashes, dots and blanks are left to libphonenumber. An extension
    (`转801`, `ext 5`, `(801)`) is no part of E.164. A remark without digits, before, behind or in brackets, is not read.

    Other letters are not accepted, although the library would read them: `138…OOO`, with the letter O in place of zero, would
    become another person's number, because O is on key 6.
    """
    core = _core(text)
    if core is None:
        return None
    return _parse(core, "CN") or _parse(_number(_EXTENSION.sub("", _without_remarks(text))) or "", "CN")


def has_two_readings(text: str) -> bool:
    """Returns whether a valid number, as it is written, could also be one of another country.

    It is read as Chinese because it has no `+`, `00` or trunk prefix: `1-310-555-0100` is a Chinese mobile number, and also
    one of the United States. A mobile number of eleven digits that is not grouped in the American way has one reading, although
    a third of them would be valid after `+`.
    """
    core = _core(text)
    groups = re.findall("[0-9]+", core or "")
    if core is None or not groups or core.lstrip("(").startswith(("+", "0")):
        return False
    digits = "".join(groups)
    american = groups[0] == "1" or [len(group) for group in groups] == [4, 3, 4]
    if _CHINESE_MOBILE.fullmatch(digits) and not american:
        return False
    if _parse(core, "CN") != f"86{digits}":  # it states the country code, or is not Chinese
        return False
    return bool(_parse(f"+{digits}", None) or (len(digits) == 10 and _parse(f"+1{digits}", None)))


def has_only_digits(text: str) -> bool:
    """Returns whether a text holds digits and marks, and no letter outside remarks and words around it."""
    return _core(text) is not None


def _core(text: str) -> str | None:
    """Returns the number with its brackets and dashes, without remarks and a marked extension; None if another character is left."""
    if len(text) > _LONGEST:
        return None
    written = _without_remarks(text)
    return _number(written) or _number(_EXTENSION.sub("", written))


def _without_remarks(text: str) -> str:
    text = REMARK.sub(" ", unicodedata.normalize("NFKC", text).upper()).strip()
    label = _LABEL.match(text)
    return _WORDS_BEHIND.sub("", text[label.end() :] if label else text).strip()


def _number(written: str) -> str | None:
    """Returns the digits, brackets and `+`, with a dash in place of every other mark; None if there is a letter."""
    marks = "".join("-" if is_removed(c) and unicodedata.category(c) not in ("Cf", "Cc") else c for c in written)
    visible = "".join(c for c in marks if unicodedata.category(c) not in ("Cf", "Cc"))
    return visible if _DIGITS.fullmatch(visible) else None


def _parse(number: str, region: str | None) -> str | None:
    """Returns a number in E.164 without `+`, or None if it is not valid."""
    import phonenumbers  # of the extra `edge`; `ninezero --version` must work without it

    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
