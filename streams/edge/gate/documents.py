"""Reads documents, phones and plates, with a name before them or by their form alone."""

import re
from collections.abc import Sequence
from datetime import date

from ninezero.streams.edge.bilingual import joined
from ninezero.streams.edge.documents import checks, phones, plates
from ninezero.streams.edge.documents.characters import clean
from ninezero.streams.edge.documents.flag_reasons import REASONS
from ninezero.streams.edge.documents.mrz import mrz
from ninezero.streams.edge.documents.normal_forms import Domain, normalise, passport
from ninezero.streams.edge.documents.several_values import split_values
from ninezero.streams.edge.gate import texts
from ninezero.streams.edge.gate.items import Identity, Unclear, ZoneLines

LONGEST = 200
"""Longest document, phone or plate that is read, in characters, with all its blanks."""

ZONE_LINES = {30: 3, 36: 2, 44: 2}
"""Lines of a machine-readable zone, by characters in a line (ICAO Doc 9303)."""

_ZONE = re.compile("|".join(f"[A-Z0-9<]{{{width * n}}}" for width, lines in ZONE_LINES.items() for n in {1, lines}))
_FIRST_LINE = re.compile("[PVIAC][A-Z0-9<][A-Z<]{3}[A-Z0-9<]+")
_RESIDENT = re.compile("[0-9]{17}[0-9X]")
_RESIDENT_15 = re.compile("[0-9]{15}")
_FOREIGNER_15 = re.compile("[A-Z]{3}[0-9]{12}")
_ALMOST_RESIDENT = re.compile("[0-9]{13,14}X?|[0-9]{15,16}X|[0-9]{16,17}|[0-9]{18,19}X?|[0-9]{20}")
_TWO_RESIDENTS = re.compile("(?:[0-9]{17}[0-9X]){2,}")
_CONTAINS_RESIDENT = re.compile("(?<![0-9])[0-9]{17}[0-9X](?![0-9])")
_PHONE = re.compile(r"\+?[0-9()][0-9() .-]{5,24}")
_PASSPORT = re.compile(r"(?P<state>[A-Z]{3}|D)\s*/\s*(?P<number>[A-Z0-9 -]{4,})")
_PASSPORT_WITH_BLANK = re.compile(r"(?P<state>[A-Z]{3}|D)\s+(?P<number>(?=.*[0-9])[A-Z0-9]{4,})")
_MAYBE_DOCUMENT = re.compile("[A-Z]{1,2}[0-9]{5,9}")


def labelled(domain: Domain, text: str, today: date, state: str | None = None) -> Identity | ZoneLines | Unclear:
    """Reads the value of a kind that the guard named, with its issuing state if all documents of this name have one."""
    if len(text) > LONGEST:
        return Unclear(texts.LINE_TOO_LONG)
    if domain == "passport":
        if lines := zone_lines(text, begun=False):
            return lines
        if blank := _PASSPORT_WITH_BLANK.fullmatch(text.upper()):
            text = f"{blank['state']}/{blank['number']}"
        elif state and "/" not in text:
            text = f"{state}/{text}"
        return _identity("passport", text, today)
    if domain == "id":
        return _identity("id", text, today) if _is_resident(_compact(text)) else Unclear(texts.RESIDENT_LENGTH)
    if domain != "phone" and not any(char.isdigit() for char in text):  # 车牌 无, pass no
        return Unclear(texts.WITHOUT_DIGIT.format(what=texts.DOMAINS[domain]))
    found = by_form(text, today) if domain == "plate" else None
    if isinstance(found, Identity) and found.domain != "plate":
        return Unclear(texts.OTHER_KIND.format(what=texts.DOMAINS[domain], other=found.label))
    return _phone(text, today) if domain == "phone" else _identity(domain, text, today)


def by_form(text: str, today: date) -> Identity | Unclear | None:
    """Reads a document, phone or plate by its form; None if it has the form of none."""
    if len(text) > LONGEST:
        return None
    compact = _compact(text)
    if _is_resident(compact):
        return _resident(text, compact, today)
    if _TWO_RESIDENTS.fullmatch(compact):
        return Unclear(texts.TWO_NUMBERS)
    if _PHONE.fullmatch(text) and normalise("phone", text):
        return _phone(text, today)
    plate = normalise("plate", text) or ""
    if plates.resembles(plate):
        return _identity("plate", text, today)
    if _PASSPORT.fullmatch(text.upper()):
        return _identity("passport", text, today)
    if plates.is_recognised(plate) or _MAYBE_DOCUMENT.fullmatch(compact):
        return Unclear(texts.PLATE_OR_PASSPORT)
    if _ALMOST_RESIDENT.fullmatch(compact):
        return Unclear(texts.RESIDENT_LENGTH)
    return Unclear(texts.NUMBER_AMONG_TEXT) if _CONTAINS_RESIDENT.search(text.upper()) else None


def zone_lines(text: str, *, begun: bool) -> ZoneLines | Unclear | None:
    """Reads one or all lines of a machine-readable zone; None if the text is not one.

    Args:
        text: the text.
        begun: whether the lines before it belong to a zone. Only then a line without a filler (`<`) is one.
    """
    zone = re.sub(r"\s", "", text.upper())
    first = _FIRST_LINE.fullmatch(zone) is not None
    if not _ZONE.fullmatch(zone) or not ("<" in zone or begun):
        return Unclear(texts.ZONE_LENGTH) if zone.count("<") > 2 and re.fullmatch("[A-Z0-9<]+", zone) else None
    width = next(width for width, lines in ZONE_LINES.items() if len(zone) in (width, width * lines))
    if len(zone) > width and not first:
        return Unclear(texts.NOT_THE_FIRST_LINE)
    return ZoneLines(tuple(zone[start : start + width] for start in range(0, len(zone), width)), first)


def of_zone(lines: Sequence[str], today: date) -> Identity | Unclear:
    """Returns the document of a complete machine-readable zone."""
    zone = mrz(lines, today)
    if normal := passport(zone.state, zone.number):
        return Identity("passport", normal, tuple(lines), tuple(zone.flags))
    why = texts.SCAN_AGAIN.format(why=joined(REASONS[flag] for flag in zone.flags))
    return Unclear(texts.NOT_USED.format(what=texts.TRAVEL_DOCUMENT, why=why))


def _identity(domain: Domain, text: str, today: date) -> Identity | Unclear:
    """Returns the identity with its flags. A value that can have no token is not used: the person would have no identity."""
    flags = tuple(checks.check(domain, text, today))
    if normal := normalise(domain, text):
        return Identity(domain, normal, text, flags)
    values = split_values(domain, text)
    if values is None or len(values) > 1:
        return Unclear(texts.TWO_NUMBERS)
    if domain == "passport" and "no_issuing_state" in flags:
        return Unclear(texts.WITHOUT_STATE)
    why = texts.SCAN_AGAIN.format(why=joined(REASONS[flag] for flag in flags))
    return Unclear(texts.NOT_USED.format(what=texts.DOMAINS[domain], why=why))


def _phone(text: str, today: date) -> Identity | Unclear:
    """Reads a phone number. One that is valid in China and abroad, such as 1-310-555-0100, is asked about."""
    return Unclear(texts.TWO_READINGS) if phones.has_two_readings(text) else _identity("phone", text, today)


def _resident(text: str, compact: str, today: date) -> Identity | Unclear:
    """Reads a number with the form of a resident number. Other bar codes have as many digits, but seldom a birth date."""
    found = _identity("id", text, today)
    if isinstance(found, Unclear):
        return found
    wrong = {"checksum_failed", "bad_date", "birth_in_future", "unknown_division"}.intersection(found.flags)
    if len(wrong) > 1 or (len(compact) == 15 and wrong):
        return Unclear(texts.NOT_A_RESIDENT.format(why=found.findings))
    return found


def _is_resident(compact: str) -> bool:
    return any(form.fullmatch(compact) for form in (_RESIDENT, _RESIDENT_15, _FOREIGNER_15))


def _compact(text: str) -> str:
    """Returns the letters and digits alone, in upper case; empty if the text has another character."""
    cleaned = clean(text)
    return cleaned if cleaned.isascii() and cleaned.isalnum() else ""
