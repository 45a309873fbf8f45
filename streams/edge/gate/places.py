"""Where a person comes from: reads a division code, a country code, or the name of a division or country.

Data: `schemas/divisions` (its README names the sources).
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from ninezero.streams.edge.bilingual import Bilingual

_WITHOUT_ZU = "维吾尔|柯尔克孜|哈萨克|塔吉克|蒙古|锡伯|达斡尔|鄂温克|朝鲜|土家|仫佬|毛南|仡佬|布依|哈尼|拉祜|布朗|纳西|景颇|傈僳|独龙|普米|裕固|东乡|保安|撒拉"
_GROUP_NAMES = re.compile(f"(?:(?:{_WITHOUT_ZU}|[满回畲苗瑶侗壮黎羌彝藏水傣佤白怒土各])族|{_WITHOUT_ZU})+$")
"""Names of ethnic groups at the end of an autonomous division's name; some divisions write them without 族."""
_AUTONOMOUS = re.compile("(?:自治区|自治州|自治县|自治旗)$|族区$")
_SUFFIX = re.compile("(?:特别行政区|新区|林区|特区|地区|[省市区县旗州盟])$")

_LONGEST = 80
"""Longest text that is read as a place, in characters."""

_ALIASES = {
    "xizang": "540000", "nei mongol": "150000", "macau": "820000",
    "usa": "US", "america": "US", "uk": "GB", "britain": "GB", "england": "GB", "korea": "KR", "burma": "MM",
}  # fmt: skip
"""Common names that are not in the tables."""


class Place(NamedTuple):
    """A division or country: its code as the contract has it, and its name."""

    code: str
    name: Bilingual


class Found(NamedTuple):
    """The places that a text may mean."""

    places: list[Place]
    exact: bool
    """False if the text names none of them, but resembles them: a suggestion."""

    @property
    def only(self) -> Place | None:
        """The place, if the text can mean no other."""
        return self.places[0] if self.exact and len(self.places) == 1 else None


def find(text: str) -> Found:
    """Returns the places that a text means: none, one, or several if the name is ambiguous.

    A name may have its suffix (湖北省) or not (湖北), and the names of its province and prefecture before it (湖北武汉). A name that
    a province and smaller places share means the province.
    """
    if len(text) > _LONGEST:
        return Found([], False)
    text = unicodedata.normalize("NFKC", text).strip()
    code = text.upper()
    if re.fullmatch("[0-9]{6}", code):
        return Found([_place(code)] if code in _known_codes() else [], True)
    countries = _countries()
    if code in countries:
        return Found([countries[code]], True)
    if found := _by_latin_name().get(_latin(text)):
        return Found([found], True)
    name = re.sub(r"[\s,、·]", "", text)
    codes = _divisions_named(name)
    if not codes:
        if same := [place for place in countries.values() if place.name.zh == name]:
            return Found(same, True)
        return Found([_place(code) for code in _resembling(name)], False)
    return Found([_place(code) for code in codes], True)


def _divisions_named(name: str) -> list[str]:
    """Returns the codes of the divisions with this name. Whole names come before names without their suffix."""
    for index in (_by_whole_name(), _by_any_name()):
        codes = sorted(
            code
            for start in range(len(name))
            for code in index.get(name[start:], ())
            if name[:start] in _prefixes(code)
        )
        if provinces := [code for code in codes if code.endswith("0000")]:
            return provinces
        if codes:
            return codes
    return []


def _resembling(name: str) -> list[str]:
    """Returns divisions whose name differs in its suffix, or with which the text begins."""
    if codes := _divisions_named(_SUFFIX.sub("", name)):
        return codes
    for end in range(len(name) - 1, 1, -1):
        if codes := _divisions_named(name[:end]):
            return codes
    return []


def _prefixes(code: str) -> set[str]:
    """Returns what may stand before a division's own name: nothing, its province, its prefecture, or both."""
    names = _names()
    province, prefecture = (
        {"", *_forms(names[parent])} if parent in names and parent != code else {""}
        for parent in (f"{code[:2]}0000", f"{code[:4]}00")
    )
    return {first + second for first in province for second in prefecture}


def _forms(name: str) -> list[str]:
    """Returns a division's name, and its name without suffix and ethnic groups if at least two characters are left."""
    short = _AUTONOMOUS.sub("", name)
    if short == name:
        short = _SUFFIX.sub("", name)
    elif len(without_groups := _GROUP_NAMES.sub("", short)) > 1:
        short = without_groups
    return [name, short] if len(short) > 1 and short != name else [name]


def _place(code: str) -> Place:
    names = _names()
    parents = [parent for parent in (f"{code[:2]}0000", f"{code[:4]}00") if parent != code and parent in names]
    chinese = "".join(names[part] for part in parents) + names.get(
        code, f"（代码 {code}）"
    )  # a code that is no longer in force
    english = _english_names().get(f"{code[:2]}0000", "")
    return Place(code, Bilingual(chinese, f"{english} {code}".strip()))


def _latin(text: str) -> str:
    """Returns a Latin name in one spelling: small letters without accents and punctuation, and without `province`."""
    letters = unicodedata.normalize("NFKD", text).casefold()
    return re.sub(r"\s+", " ", re.sub("[^a-z ]", " ", letters)).strip().removesuffix(" province")


# -- the tables, read when they are first needed -----------------------------------------------------------------------


def _lines(name: str) -> Iterable[list[str]]:
    for line in (files("ninezero.schemas") / "divisions" / name).read_text("utf-8").splitlines():
        yield line.split(" ", 2)


@cache
def _names() -> dict[str, str]:
    return {code: name for code, name, *_ in _lines("names.txt")}


@cache
def _english_names() -> dict[str, str]:
    return {code: english[0] for code, _, *english in _lines("names.txt") if english}


@cache
def _known_codes() -> frozenset[str]:
    return frozenset(code for code, *_ in _lines("gbt2260.txt"))


@cache
def _countries() -> dict[str, Place]:
    return {code: Place(code, Bilingual(zh, f"{en} {code}")) for code, zh, en in _lines("countries.txt")}


@cache
def _by_latin_name() -> dict[str, Place]:
    found = {_latin(place.name.en.removesuffix(code)): place for code, place in _countries().items()}
    found |= {_latin(english): _place(code) for code, english in _english_names().items()}
    for alias, code in _ALIASES.items():
        found[alias] = _place(code) if code.isdigit() else _countries()[code]
    return found


@cache
def _by_whole_name() -> dict[str, list[str]]:
    index = defaultdict(list)
    for code, name in _names().items():
        index[name].append(code)
    return dict(index)


@cache
def _by_any_name() -> dict[str, list[str]]:
    index = defaultdict(list)
    for code, name in _names().items():
        for form in _forms(name):
            index[form].append(code)
    return dict(index)
