"""Understands one line of the screen: as items, or as a question to the guard. It never guesses."""

import re
import unicodedata
from datetime import date
from typing import TypeGuard

from ninezero.streams.edge.bilingual import Bilingual, joined
from ninezero.streams.edge.gate import documents, health_codes, places, temperatures, texts, words
from ninezero.streams.edge.gate.items import Fact, Identity, Item, Unclear, ZoneLines

LONGEST = 8192
"""Longest line that is read, in characters. A QR code holds at most 7,089."""

_SCANNER_PREFIX = re.compile(r"\][A-Za-z][0-9A-Za-z]")
"""The symbology identifier that a scanner may send before a code, such as `]C1` (ISO/IEC 15424)."""
_CLOSING = re.compile(r"(?<!^[0-9]{2})[。;、!]+$")
"""Marks at the end of a line, which a Chinese keyboard has next to Enter. `36。` is left, since its decimal is missing."""
_BETWEEN = re.compile(r"[\s;、|]+|(?<![0-9]),|,(?![0-9]{1,2}(?![0-9.,]))")
"""What stands between two items. A comma between digits can be that of `36,5`."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,3}(?:[.,。][0-9]*)?\s*(?:°?[cf]|度|华氏度?|k)?", re.IGNORECASE)
"""A number that is too small for a document or phone. It is meant as a temperature."""
_MOST_ITEMS = 12
_PLACES_SHOWN = 6


def prepared(line: str) -> str:
    """Returns the line in NFKC, which makes full-width characters narrow, without blanks around it and a scanner's prefix."""
    text = unicodedata.normalize("NFKC", line[: LONGEST + 1]).strip()
    text = _SCANNER_PREFIX.sub("", text, count=1).strip() if text.startswith("]") else text
    return _CLOSING.sub("", text)


def understand(text: str, today: date, *, zone_begun: bool = False) -> list[Item] | Unclear:
    """Returns the items of a line, in order, or the question why it is not used.

    Args:
        text: the prepared line.
        today: the date with which birth and expiry dates are compared.
        zone_begun: whether the lines before it begin a machine-readable zone.
    """
    if len(text) > LONGEST:
        return Unclear(texts.LINE_TOO_LONG)
    if health_codes.is_payload(text):
        colour = health_codes.of_payload(text)
        if colour and health_codes.may_be_expired(text, today):
            return Unclear(texts.CODE_MAY_BE_EXPIRED)
        return [_health_code(colour)] if colour else Unclear(texts.WHICH_COLOUR)
    whole = _item(text, today, zone_begun)
    if isinstance(whole, ZoneLines) or (
        _is_sure(whole) and not _is_free(whole) and not _is_plate_and_number(whole, text)
    ):
        return [whole]
    several = _several(text, today)
    if several and _is_sure(whole):
        return Unclear(texts.ONE_AT_A_TIME.format(why=joined(_label(item) for item in several)))
    if several:
        return several
    if _is_plate_and_number(whole, text):
        return Unclear(texts.ONE_AT_A_TIME.format(why=texts.DOMAINS["plate"]))
    if whole is None:
        return Unclear(texts.NOT_A_TEMPERATURE if _NUMBER.fullmatch(text) else texts.NOT_RECOGNISED)
    return whole if isinstance(whole, Unclear) else [whole]


def _item(text: str, today: date, zone_begun: bool = False) -> Item | Unclear | None:
    """Returns what a text is as a whole, the question if it is unclear, or None if it has the form of nothing."""
    if lines := documents.zone_lines(text, begun=zone_begun):
        return lines
    if fact := words.fact(text):
        return fact
    if colour := health_codes.of_word(text):
        return _health_code(colour)
    if named := words.named(text):
        return _named(named, today)
    celsius = temperatures.read(text)
    if celsius is not None:
        return _temperature("temperature", celsius)
    if identity := documents.by_form(text, today):
        return identity
    if re.search("[\u4e00-\u9fff]", text) and (place := places.find(text)).places and place.exact:
        return _origin(text)
    return None


def _named(named: words.Named, today: date) -> Item | Unclear:
    """Reads a value by the name before it."""
    stands_for, value, state = named
    if stands_for == "temperature" or stands_for == "confirmed":
        celsius = temperatures.read(value)
        return Unclear(texts.NOT_A_TEMPERATURE) if celsius is None else _temperature(stands_for, celsius)
    if stands_for == "health_code":
        colour = health_codes.of_word(value, labelled=True)
        return _health_code(colour) if colour else Unclear(texts.NOT_A_COLOUR)
    if stands_for == "origin":
        return _origin(re.sub("(?:过?来的?|的)$", "", value) or value)
    if stands_for == "direction":
        return words.direction(value) or Unclear(texts.NOT_RECOGNISED)
    if stands_for == "name":
        return Unclear(texts.NO_NAMES)
    return documents.labelled(stands_for, value, today, state)


def _origin(text: str) -> Fact | Unclear:
    found = places.find(text)
    if place := found.only:
        return Fact("origin", place.code, texts.FROM.format(place=place.name))
    if not found.places:
        return Unclear(texts.NO_SUCH_PLACE)
    shown = [place.name for place in found.places[:_PLACES_SHOWN]]
    more = [Bilingual("…", "…")] if len(found.places) > _PLACES_SHOWN else []
    return Unclear(texts.WHICH_PLACE.format(places=joined([*shown, *more])))


def _temperature(name: str, celsius: float) -> Fact:
    lowest, highest = temperatures.PLAUSIBLE
    remark = None if lowest <= celsius <= highest else texts.IMPLAUSIBLE
    if name == "confirmed":
        return Fact("confirmed", celsius, texts.CONFIRMED.format(value=celsius), remark)
    return Fact("temperature", celsius, texts.TEMPERATURE.format(value=celsius), remark)


def _health_code(colour: health_codes.Colour) -> Fact:
    return Fact("health_code", colour, texts.COLOURS[colour])


def _several(text: str, today: date) -> list[Item] | None:
    """Returns the items of a line that holds several, each without a doubt; None otherwise."""
    pieces = [piece for piece in _BETWEEN.split(text) if piece]
    if not 2 <= len(pieces) <= _MOST_ITEMS:
        return None
    found: list[Item] = []
    start = 0
    while start < len(pieces):
        for end in range(len(pieces) - (start == 0), start, -1):
            item = _item(" ".join(pieces[start:end]), today)
            if _is_sure(item) and not (_is_free(item) and end - start > 2):
                found.append(item)
                start = end
                break
        else:
            return None
    return found


def _is_sure(item: Item | Unclear | None) -> TypeGuard[Fact | Identity]:
    """Returns whether an item can mean nothing else."""
    return isinstance(item, Fact) or (isinstance(item, Identity) and not item.misread)


def _is_free(item: Item | Unclear | None) -> bool:
    """Returns whether an item has no form that is checked, so that it could have swallowed another item behind it."""
    return isinstance(item, Identity) and item.domain in ("pass", "passport") and isinstance(item.written, str)


def _is_plate_and_number(item: Item | Unclear | None, text: str) -> bool:
    """Returns whether the last blank in a plate may separate it from a temperature (鲁A123 36)."""
    plate, blank, last = text.rpartition(" ")
    is_plate = isinstance(item, Identity) and item.domain == "plate" and plate.strip() != ""
    return is_plate and blank != "" and temperatures.read(last) is not None


def _label(item: Item) -> Bilingual:
    return (
        item.words if isinstance(item, Fact) else texts.TRAVEL_DOCUMENT if isinstance(item, ZoneLines) else item.label
    )
