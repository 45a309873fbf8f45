"""Reads the colour of a health code: a word, or the JSON or the address that its QR code holds.

Only the colour is read. The codes of the provinces differ, and most hold no colour in the clear; then the guard is asked.
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

Colour = Literal["green", "yellow", "red", "none"]

_COLOURS: dict[str, Colour] = {
    "green": "green", "绿": "green", "yellow": "yellow", "黄": "yellow", "amber": "yellow", "red": "red", "红": "red",
    "no": "none", "none": "none", "无": "none", "没有": "none", "没": "none",
}  # fmt: skip
_WORD = re.compile(
    f"(?:健康)?码?(?P<colour>{'|'.join(_COLOURS)})[ _-]?(?:health)?[ _-]?(?:code|健康码|色码|码|色)?", re.IGNORECASE
)
_ALONE = frozenset({"no", "none", "无", "没有", "没"})
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
_INVALID = re.compile(
    "(?:is)?(?:expired|invalid|revoked|void|disabled|inactive|cancell?ed)|.*(?:过期|失效|无效|作废|注销|吊销)"
)
"""Words for a code that is not valid any more, as a name or as the value of a name of `_KEYS` or `_VALIDITY`."""
_VALIDITY = re.compile("valid|有效")
_VALID = frozenset(["valid", "isvalid", "active", "isactive", "有效", "是否有效"])
_NO = frozenset(["false", "no", "n", "0", "none", "null", "", "否", "无"])
_END = re.compile("^exp$|expir|until|validto|validthru|notafter|endtime|enddate|validity|有效期|有效时间|截止|到期")
"""Names under which a code states until when it is valid."""
_DATE = re.compile("(?<![0-9])(20[0-9]{2})[-/.年]?(1[0-2]|0?[1-9])[-/.月]?([12][0-9]|3[01]|0?[1-9])")
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
    stated = (value for name, value in _members(text) if isinstance(value, str) and _plain(name) in _KEYS)
    colours = {colour for value in stated if (colour := of_word(value)) not in (None, "none")}
    return colours.pop() if len(colours) == 1 else None


def may_be_expired(text: str, today: date) -> bool:
    """Returns whether JSON or an address states that the code is not valid, or an end that is not after `today`.

    An end that cannot be read may have passed.
    """
    return any(_speaks_against(_plain(name), value, today) for name, value in _members(text))


def _speaks_against(name: str, value: Any, today: date) -> bool:
    """Returns whether a member of a code says that the code is not valid now."""
    word = str(value).strip().lower()
    if _INVALID.search(word) and (name in _KEYS or _VALIDITY.search(name)):
        return True
    if _INVALID.fullmatch(name):
        return word not in _NO
    if name in _VALID:
        return word in _NO
    return _END.search(name) is not None and not _is_after(word, today)


def _is_after(time: str, today: date) -> bool:
    """Returns whether a date, or a Unix time in s or ms, is after a day. Of a period (`2020-02-01~2020-02-08`) the end counts."""
    if re.fullmatch("[0-9]{10}|[0-9]{13}", time):
        return datetime.fromtimestamp(int(time[:10]), UTC).date() > today
    return any(
        (int(year), int(month), int(day)) > (today.year, today.month, today.day)
        for year, month, day in _DATE.findall(time)
    )


def _members(text: str) -> Iterator[tuple[str, Any]]:
    """Yields the names and values that JSON (at any depth) or the query of an address holds. A name may occur several times."""
    if text.startswith(("{", "[")):
        try:
            yield from _flat(json.loads(re.sub("[“”]", '"', text), object_pairs_hook=_Pairs))
        except (ValueError, RecursionError):
            return
        return
    try:
        parts = urlsplit(text)
    except ValueError:
        return
    for query in (parts.query, parts.fragment.rpartition("?")[2]):
        yield from parse_qsl(query)


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object, in order."""


def _flat(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, _Pairs):
        for name, one in value:
            if isinstance(one, list):
                yield from _flat(one)
            else:
                yield name, one
    elif isinstance(value, list):
        for one in value:
            yield from _flat(one)


def _plain(name: str) -> str:
    """Returns a name in small letters without separators."""
    return re.sub(r"[\s_-]", "", name).lower()
