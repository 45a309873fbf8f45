"""Splits what is written in one place into the numbers that it holds: two passports in one cell are not one long number (CONTRACT §1)."""

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from ninezero.streams.edge.documents.characters import HAN, clean
from ninezero.streams.edge.documents.issuing_states import named_state
from ninezero.streams.edge.documents.phones import NUMERALS, REMARK, e164
from ninezero.streams.edge.documents.plates import PROVINCE, is_recognised

Domain = Literal["id", "passport", "phone", "plate", "pass"]
"""The kinds of identities. Tokens of different domains never match each other."""

_LONGEST = 4096
"""Longest text that is split, in characters after NFKC, which can lengthen a text eighteenfold."""
_BETWEEN = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029;,|、]+")
"""Marks that stand between two numbers, after NFKC."""
_STATE_ON_ITS_LINE = re.compile(rf"/\s*{_BETWEEN.pattern}")
_BLANK_OR_SLASH = re.compile(r"[\s/]+")
"""Marks that stand between two numbers, or between the groups of one."""
_ANY_MARK = re.compile(r"[\s/·•._'\u2010-\u2015\u2212-]+")
"""Marks that stand between the groups of one number. Between two numbers, a dash can mean a range."""

_RESIDENT = re.compile("[0-9]{17}[0-9X]|[0-9]{15}|[A-Z]{3}[0-9]{12}")
_RESIDENTS = re.compile("(?:[0-9]{17}[0-9X]){2,}")
_PLATES = re.compile(f"(?:{PROVINCE}[A-Z][0-9A-Z]{{4,6}}[挂学警试超临港澳]?){{2,}}")
_NUMBER = {"passport": re.compile("(?=.*[0-9])[A-Z0-9]{5,}"), "pass": re.compile("(?=.*[0-9])[A-Z0-9]{3,}")}
_WHOLE_PASSPORT = re.compile("(?=.*[0-9])[A-Z0-9]{7,}")
_SERIAL = re.compile("([A-Z]+)([0-9]+)")
_SHORTEST_TWO: dict[Domain, int] = {"plate": 2 * len("鲁A12345")}
"""Characters of the shortest text that can hold two numbers without a mark between them. Of the other kinds it is longer than a resident number."""
_LONG_SERIAL = 8
"""Digits of a health pass's number that is not the group of a longer one."""
_PHONE_WORDS = re.compile(rf"(?:(?![{NUMERALS}转分机])[{HAN}])+")
_NAMES = re.compile(rf"(?:(?![转分机])[{HAN}])+")
"""Words that may hold a numeral, such as 张三."""


def split_values(domain: Domain, text: str) -> Sequence[str] | None:
    """Returns the numbers that a text holds, each as written; nothing if it holds none.

    A passport number of `STATE/NUMBER` keeps its state, also if several numbers follow one state. The result is None if the text
    holds a number and something else, or two numbers with a mark between them that can mean a range.

    Args:
        domain: the kind of identity.
        text: the text of a cell or a field.
    """
    if text.isalnum() and len(text) < _SHORTEST_TWO.get(domain, 19) and (domain != "phone" or text.isascii()):
        return [text]
    text = unicodedata.normalize("NFKC", text)
    if len(text) > _LONGEST:
        return [text]
    if domain == "phone":
        return _phones(text)
    if domain == "passport":
        text = _STATE_ON_ITS_LINE.sub("/", text)
    parts = [part for part in _BETWEEN.split(text) if clean(part)]
    found: list[str] = []
    for part in parts:
        numbers = _passports(part) if domain == "passport" else _numbers(domain, part)
        if numbers is None:
            return None
        found += numbers
    if any(_continues(domain, one, other) for one, other in pairwise(found)):
        return None
    if len(parts) < 2 or all(_is_number(domain, number) for number in found):
        return found
    joined = "".join(parts)  # a number of a fixed form can be wrapped in its cell
    wrapped = domain in ("id", "plate") and not any(_is_number(domain, number) for number in found)
    return [joined] if wrapped and _is_number(domain, joined) else None


def _numbers(domain: Domain, text: str) -> Sequence[str] | None:
    """Splits a text at marks that can also stand inside a number. It is split only if all pieces are whole numbers."""
    pieces = [piece for piece in _BLANK_OR_SLASH.split(text) if clean(piece)]
    if len(pieces) > 1 and _are_whole(domain, pieces):
        return pieces
    if len(pieces) > 2 and _are_several(domain, pieces):
        return None
    pieces = [piece for piece in _ANY_MARK.split(text) if clean(piece)]
    if len(pieces) > 1 and _are_whole(domain, pieces, strict=True):
        return None
    if domain in ("id", "plate") and not _is_number(domain, text) and any(_is_number(domain, p) for p in pieces):
        return [text] if len(pieces) == 1 else None
    without_marks = {"id": _RESIDENTS, "plate": _PLATES}.get(domain)
    return None if without_marks and without_marks.fullmatch(clean(text)) else [text]


def _are_whole(domain: Domain, pieces: Sequence[str], *, strict: bool = False) -> bool:
    """Returns whether each piece is a number of its own, not the group of one.

    Health passes have no common form. They are several numbers if they are one series (`P0001 P0002`) or, unless `strict`, have the
    same form (`P0001 Q0002`).
    """
    texts = [clean(piece).replace("<", "") for piece in pieces]
    if domain == "passport":
        return all(_WHOLE_PASSPORT.fullmatch(text) for text in texts)
    if domain != "pass":
        return all(_is_number(domain, text) for text in texts)
    serials = [found for text in texts if (found := _SERIAL.fullmatch(text))]
    if len(serials) == len(texts):
        same_form = len({(len(found[1]), len(found[2])) for found in serials}) == 1
        return len({found[1] for found in serials}) == 1 or (same_form and not strict)
    return (
        not strict
        and len({len(text) for text in texts}) == 1
        and all(text.isdigit() and len(text) >= _LONG_SERIAL for text in texts)
    )


def _are_several(domain: Domain, pieces: Sequence[str]) -> bool:
    """Returns whether two of the pieces are whole numbers, whatever the others are: `L898902C3 or L898902C4`, `1. P0001 2. P0002`."""
    if domain == "passport":
        return sum(_WHOLE_PASSPORT.fullmatch(clean(piece)) is not None for piece in pieces) > 1
    if domain == "pass":
        serials = [found for piece in pieces if (found := _SERIAL.fullmatch(clean(piece)))]
        return len(serials) > len({(found[1], len(found[2])) for found in serials})
    return False


def _continues(domain: Domain, number: str, following: str) -> bool:
    """Returns whether the second of two numbers may be the end of one that begins like the first: `JY2026-0001, 0002`."""
    if domain not in ("passport", "pass"):
        return False
    number, following = (clean(text.rpartition("/")[2]) for text in (number, following))
    ending = re.search("[0-9]*$", number)
    digits = len(ending[0]) if ending else 0
    begins_with_letters = digits < len(number)
    return following.isdigit() and (
        len(following) * 2 <= len(number) or (begins_with_letters and len(following) == digits)
    )


def _is_number(domain: Domain, text: str) -> bool:
    """Returns whether a text has the form of one number of its kind."""
    if domain == "phone":
        return e164(text) is not None
    if domain == "plate":
        return is_recognised(clean(text))
    if domain == "id":
        return _RESIDENT.fullmatch(clean(text)) is not None
    return _NUMBER[domain].fullmatch(clean(text.rpartition("/")[2]).replace("<", "")) is not None


def has_resident_form(text: str) -> bool:
    """Returns whether a text has the form of one number of an identity card or residence permit."""
    return _is_number("id", text)


def _passports(text: str) -> Sequence[str] | None:
    """Splits passport numbers, each with the state before it: `UTO/L898902C3/L898902C4`, `UTO/L898902C3 D/C01X00T47`."""
    head, slash, rest = text.partition("/")
    if not slash or any(c.isdigit() for c in head):
        head, rest = "", text
    groups = [(head, list[str]())]
    words = re.findall(r"/|[^\s/]+", rest)
    for at, word in enumerate(words):
        if words[at + 1 : at + 2] == ["/"] and not any(c.isdigit() for c in word) and named_state(word):
            groups.append((word, []))
        else:
            groups[-1][1].append(word)
    found: list[str] = []
    for state, pieces in groups:
        numbers = _numbers("passport", " ".join(pieces).strip(" /"))
        if numbers is None:
            return None
        found += [f"{state}/{number}" if state else number for number in numbers if number or len(groups) == 1]
    return found


def _phones(text: str) -> Sequence[str] | None:
    """Splits phone numbers. Words and remarks stand between them too: `13800138000(母亲) 13900139000(父亲)`."""
    if e164(text) is not None:
        return [text]
    text_alone = REMARK.sub("\n", text)
    found: list[bool] = []
    for words in (_NAMES, _PHONE_WORDS):
        apart = words.sub("\n", text_alone)
        for separator in (
            _BETWEEN,
            re.compile(f"{_BETWEEN.pattern}|/"),
            re.compile(f"{_BETWEEN.pattern}|{_BLANK_OR_SLASH.pattern}"),
        ):
            parts = [part.strip(" :") for part in separator.split(apart) if any(c.isdigit() for c in part)]
            found = [_is_number("phone", part) for part in parts]
            if parts and all(found):
                return parts
    if len(found) > 1 and any(found):
        return None
    return [text] if clean(text) else []
