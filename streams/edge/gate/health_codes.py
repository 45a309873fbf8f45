"""Reads the colour of a health code: a word, or the JSON or the address that its QR code holds.

Only the colour is read. The codes of the provinces differ, and most hold no colour in the clear; then the guard is asked.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

Colour = Literal["green", "yellow", "red", "none"]

_COLOURS: dict[str, Colour] = {
    "green": "green", "绿": "green", "yellow": "yellow", "黄": "yellow", "amber": "yellow", "red": "red", "红": "red",
    "no": "none", "none": "none", "无": "none", "没有": "none",
}  # fmt: skip
_WORD = re.compile(
    f"(?:健康)?码?(?P<colour>{'|'.join(_COLOURS)})[ _-]?(?:health)?[ _-]?(?:code|健康码|色码|码|色)?", re.IGNORECASE
)
_ALONE = frozenset({"no", "none", "无", "没有"})
"""Words that mean a health code only behind its name."""
_KEYS = frozenset(
    [
        "color",
        "colour",
        "codecolor",
        "codecolour",
        "colorcode",
        "colourcode",
        "healthcode",
        "healthcodecolor",
        "healthcodecolour",
        "healthcolor",
        "healthcolour",
        "healthcodestatus",
        "healthstatus",
        "codestatus",
        "codestate",
        "codelevel",
        "qrcolor",
        "qrcodecolor",
        "jkm",
        "jkmcolor",
        "jkmcolour",
        "jkmstatus",
        "jkmzt",
        "jkmys",
        "mazhuangtai",
        "code",
        "status",
        "state",
        "level",
        "result",
        "risk",
        "risklevel",
        "type",
        "颜色",
        "码色",
        "码颜色",
        "健康码",
        "健康码颜色",
        "健康码状态",
        "状态",
        "码状态",
        "码",
    ]
)
"""Names, without case and separators, under which a code states its colour."""
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:/?/.*|(?:www\.|(?:[a-z0-9-]+\.)+[a-z]{2,}[/?#]).*", re.IGNORECASE | re.DOTALL)


def of_word(text: str, *, labelled: bool = False) -> Colour | None:
    """Returns the colour that a word names (绿码, `green`), or None.

    Args:
        text: the word.
        labelled: the text stood behind the name of the health code, so `none` means that there is no code.
    """
    found = _WORD.fullmatch(text.strip())
    if found is None:
        return None
    colour = found["colour"].lower()
    if colour in _ALONE and not labelled and colour == text.strip().lower():
        return None
    return _COLOURS[colour]


def is_payload(text: str) -> bool:
    """Returns whether a text is what a QR code holds: JSON or an address."""
    return text.startswith(("{", "[")) or _ADDRESS.fullmatch(text) is not None


def of_payload(text: str) -> Colour | None:
    """Returns the one colour that JSON or an address states, or None if it states none or several."""
    colours = {colour for value in _values(text) if (colour := of_word(value)) not in (None, "none")}
    return colours.pop() if len(colours) == 1 else None


def _values(text: str) -> Iterator[str]:
    """Yields the texts under the names of `_KEYS`."""
    if text.startswith(("{", "[")):
        try:
            yield from _stated(json.loads(re.sub("[“”]", '"', text)))
        except (ValueError, RecursionError):
            return
        return
    try:
        parts = urlsplit(text)
    except ValueError:
        return
    for query in (parts.query, parts.fragment.rpartition("?")[2]):
        for name, value in parse_qsl(query):
            if _is_key(name):
                yield value


def _stated(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _stated(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if isinstance(one, str) and _is_key(name):
                yield one
            else:
                yield from _stated(one)


def _is_key(name: str) -> bool:
    return re.sub(r"[\s_-]", "", name).lower() in _KEYS
