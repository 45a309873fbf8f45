"""Number formats of a workbook's cells (ECMA-376 part 1, 18.8.31): what a cell shows for its value.

Only whole numbers from 0 are rendered, because an identity is one, and only what has one rendering on every machine. Anything else
(percentages, fractions, exponents, Chinese numerals, negative numbers, dates) has no text here, and the caller reports it. Of a
date it is known which parts the format shows.

No library is used. `ssf` 0.2.2, the Python package that renders these formats, has had no release since 2020, needs seven packages for
calendars and languages, does not start with Babel 2.19, and leaves out the text beside `General`. openpyxl only knows whether a format is
a date.
"""

import operator
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from ninezero.streams.edge.listfiles.tables.cells import MAX_EXACT_NUMBER, FormattedValue

_MAX_CODE_CHARACTERS = 255
"""As in Excel. A longer code is not read."""

_TOKEN = re.compile(
    r"""
      "(?P<quoted>[^"]*)" | \\(?P<escaped>.) | _(?P<skipped>.) | \*(?P<fill>.) | \[(?P<bracket>[^\]]*)\]
    | (?P<general>General|G/通用格式) | (?P<half_day>AM/PM|A/P|上午/下午) | (?P<exponent>E[+-])
    | (?P<date>y+|m+|d+|h+|s+(?:\.0+)?|e+|g+|b+|a{3,}) | (?P<digit>[0#?]) | (?P<symbol>[.,%/@;"])
    | (?P<literal>.)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=)\s*(-?[0-9]+(?:\.[0-9]*)?)")
_COLOUR = re.compile(
    r"black|blue|cyan|green|magenta|red|white|yellow|color\s*[0-9]+|黑色?|蓝色?|青色?|绿色?|洋红色?|红色?|白色?|黄色?|颜色\s*[0-9]+",
    re.IGNORECASE,
)
_LOCALE = re.compile(r"\$(?P<symbol>[^-]*)(?:-(?P<locale>.*))?", re.DOTALL)
_PLAIN_LOCALE = re.compile("[0-9a-f]{1,4}", re.IGNORECASE)
"""Longer ones also select other digits or another calendar."""
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq, "<>": operator.ne,
}  # fmt: skip

_BUILT_IN = {
    1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%", 11: "0.00E+00", 12: "# ?/?", 13: "# ??/??",
    14: "yyyy/m/d", 15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss",
    22: "yyyy/m/d h:mm", 27: 'yyyy"年"m"月"', 28: 'm"月"d"日"', 29: 'm"月"d"日"', 30: "m-d-yy", 31: 'yyyy"年"m"月"d"日"',
    32: 'h"时"mm"分"', 33: 'h"时"mm"分"ss"秒"', 34: 'AM/PMh"时"mm"分"', 35: 'AM/PMh"时"mm"分"ss"秒"', 36: 'yyyy"年"m"月"',
    37: r"#,##0_);\(#,##0\)", 38: r"#,##0_);[Red]\(#,##0\)", 39: r"#,##0.00_);\(#,##0.00\)", 40: r"#,##0.00_);[Red]\(#,##0.00\)",
    41: r'_(* #,##0_);_(* \(#,##0\);_(* "-"_);_(@_)', 43: r'_(* #,##0.00_);_(* \(#,##0.00\);_(* "-"??_);_(@_)',
    45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0", 48: "##0.0E+0", 50: 'yyyy"年"m"月"', 51: 'm"月"d"日"', 52: 'yyyy"年"m"月"',
    53: 'm"月"d"日"', 54: 'm"月"d"日"', 55: 'AM/PMh"时"mm"分"', 56: 'AM/PMh"时"mm"分"ss"秒"', 57: 'yyyy"年"m"月"', 58: 'm"月"d"日"',
}  # fmt: skip
"""The formats that a file names by number alone, as Excel and WPS show them in Chinese (18.8.30). 5 to 8, 23 to 26, 42, 44 and those from
59 on depend on the machine."""
_GENERAL = frozenset((0, 49))
"""`General` and `@` show a value as it is."""
_FIRST_CUSTOM = 164
_RESERVED = re.compile("reserved-0x([0-9a-f]{1,3})", re.IGNORECASE)
"""How WPS writes that a format is the built-in one of this number."""


class _Token(NamedTuple):
    """`kind` is the name of a group of `_TOKEN`, or the symbol itself; `text` is its content."""

    kind: str
    text: str


class _Condition(NamedTuple):
    compare: Callable[[float, float], bool]
    limit: float


class _Section(NamedTuple):
    """One of the sections of a format. `renderable` is false if it shows digits that are not those of the number."""

    tokens: tuple[_Token, ...]
    condition: _Condition | None
    renderable: bool


class NumberFormat:
    """A parsed format code."""

    def __init__(self, sections: list[_Section]) -> None:
        self._text = _text_section(sections)
        has_text = len(sections) < 4 and self._text is not None
        self._numbers = sections[:-1] if has_text else sections[:3]
        self._dates = [_date_kind(section.tokens) for section in self._numbers]

    def format_number(self, number: float) -> FormattedValue | None:
        """Returns a number with what its cell shows; None if a format that hides zeros hides it."""
        chosen = self._section_of(number)
        if chosen is None:
            return FormattedValue(number, None, "other")
        section, dates = self._numbers[chosen], self._dates[chosen]
        if dates is not None:
            return FormattedValue(number, None, dates)
        shown = _render(section, number)
        if shown == "":
            return None if number == 0 else FormattedValue(number, None, "other")
        shows_digits = any(token.kind in ("digit", "general") for token in section.tokens)
        return FormattedValue(number, shown, "number" if shows_digits and shown is not None else "other")

    def format_text(self, text: str) -> str | FormattedValue:
        """Returns what a cell with this text shows. If it is not known or is nothing, the result is a value without a shown text."""
        if self._text is None or not text:
            return text
        pieces = [text if token.kind == "@" else _literal(token) for token in self._text.tokens]
        shown = "".join(piece for piece in pieces if piece is not None)
        return FormattedValue(text, None, "other") if None in pieces or not shown.strip() else shown

    def _section_of(self, number: float) -> int | None:
        """Returns the place of the section for a number, or None if there is none or programs differ about it."""
        conditions = [section.condition for section in self._numbers]
        count = len(conditions)
        if not any(conditions):
            signs = (0, 0, 0) if count == 1 else (0, 1, 0) if count == 2 else (0, 1, 2)
            return signs[0 if number > 0 else 1 if number < 0 else 2] if count else None
        for place, condition in enumerate(conditions):
            if condition is None:
                return place if place and place == count - 1 else None
            if condition.compare(number, condition.limit):
                return place
        return None


def number_format(code: str, number: int = _FIRST_CUSTOM) -> NumberFormat | None:
    """Returns the format with this code and number; None if it shows every value as it is.

    Args:
        code: the format code; empty if the file names the format by its number alone.
        number: the number of the format (`numFmtId`).
    """
    reserved = _RESERVED.fullmatch(code.strip())
    if reserved:
        code, number = "", int(reserved[1], 16)
    if not code:
        if number in _GENERAL or number >= _FIRST_CUSTOM:  # Excel ignores a custom format that the file does not have
            return None
        code = _BUILT_IN.get(number, "")
    return _parsed(code)


def _parsed(code: str) -> NumberFormat | None:
    if not code or len(code) > _MAX_CODE_CHARACTERS:
        return NumberFormat([])
    sections: list[list[_Token]] = [[]]
    for match in _TOKEN.finditer(code):
        kind, text = match.lastgroup or "", match[match.lastgroup or 0]
        if kind == "symbol" and text == ";":
            sections.append([])
        else:
            sections[-1].append(_Token(text if kind == "symbol" else kind, text))
    if len(sections) == 1 and [token.kind for token in sections[0]] in (["general"], ["@"]):
        return None
    return NumberFormat([_section(tokens) for tokens in sections[:4]])


def _section(tokens: list[_Token]) -> _Section:
    """Reads the brackets of a section: conditions, colours, currencies and digits of other scripts."""
    kept: list[_Token] = []
    condition, renderable = None, True
    for token in tokens:
        if token.kind != "bracket":
            kept.append(token)
        elif found := _CONDITION.fullmatch(token.text.strip()):
            condition = _Condition(_COMPARE[found[1]], float(found[2]))
        elif token.text.lower() in ("h", "hh", "m", "mm", "s", "ss"):
            kept.append(_Token("elapsed", token.text))
        elif symbol := _LOCALE.fullmatch(token.text):
            kept.append(_Token("quoted", symbol["symbol"]))
            renderable = renderable and (symbol["locale"] is None or bool(_PLAIN_LOCALE.fullmatch(symbol["locale"])))
        elif not _COLOUR.fullmatch(token.text.strip()):
            renderable = False
    return _Section(tuple(kept), condition, renderable)


def _text_section(sections: list[_Section]) -> _Section | None:
    """Returns the section for texts: the fourth, or the last if it has an `@`."""
    if len(sections) == 4 or (sections and any(token.kind == "@" for token in sections[-1].tokens)):
        return sections[-1]
    return None


def _date_kind(tokens: tuple[_Token, ...]) -> Literal["date", "date_time", "other"] | None:
    """Returns what a date format shows: a whole date, one with a clock time, or something else; None if it is no date format."""
    parts = [token for token in tokens if token.kind in ("date", "elapsed", "half_day")]
    if not parts:
        return None
    letters = [part.text[0].lower() if part.kind == "date" else part.kind for part in parts]
    clock = month = False
    for place, letter in enumerate(letters):
        minutes = letter == "m" and (
            letters[max(place - 1, 0)] in ("h", "elapsed") or letters[place + 1 : place + 2] == ["s"]
        )
        month = month or (letter == "m" and not minutes)
        clock = clock or minutes or letter in ("h", "s", "elapsed", "half_day")
    day = any(part.kind == "date" and part.text.lower() in ("d", "dd") for part in parts)
    if (
        not (day and month)
        or "elapsed" in letters
        or any(token.kind in ("digit", "general", "exponent", "@", "%") for token in tokens)
    ):
        return "other"
    return "date_time" if clock else "date"


def _literal(token: _Token) -> str | None:
    """Returns what a token shows that is no part of a number or date; None if that is not known."""
    if token.kind in ("quoted", "escaped", "literal"):
        return token.text
    if token.kind == "skipped":
        return " "
    if token.kind == "fill":  # fills the width of the column, which nobody knows
        return "" if token.text == " " else None
    return None


def _render(section: _Section, number: float) -> str | None:
    """Returns a whole number from 0 as the section shows it, without separators of thousands and without decimals, which are zeros.

    Returns None for another number, and for a section that shows something else than the number's digits and fixed texts.
    """
    if not section.renderable or not (number.is_integer() and 0 <= number < MAX_EXACT_NUMBER):
        return None
    kinds = [token.kind for token in section.tokens]
    point = kinds.index(".") if "." in kinds else len(kinds)
    places = [place for place, kind in enumerate(kinds[:point]) if kind == "digit"]
    if not _is_supported(kinds, point, places):
        return None
    digits = str(int(number)) if number else ""
    shown = _placed(digits, [section.tokens[place].text for place in places])
    if shown is None or ("," in kinds and "".join(shown).strip() != str(int(number))):
        return None
    pieces: list[str | None] = []
    for place, token in enumerate(section.tokens):
        if token.kind == "general":
            pieces.append(digits or "0")
        elif token.kind == "digit":
            pieces.append(shown.pop(0) if place < point else "")
        elif token.kind in (".", ","):
            pieces.append("")
        else:
            pieces.append(_literal(token))
    return None if None in pieces else "".join(piece for piece in pieces if piece is not None)


def _is_supported(kinds: list[str], point: int, places: list[int]) -> bool:
    """Returns whether a section shows the digits of a whole number and nothing calculated from it."""
    after = [place for place, kind in enumerate(kinds) if kind == "digit" and place > point]
    if any(kind in ("%", "/", "@", "exponent", '"') for kind in kinds) or kinds.count(".") > 1:
        return False
    if "general" in kinds and (places or after or kinds.count("general") > 1 or "," in kinds or "." in kinds):
        return False
    if point < len(kinds) and (
        not places or any(kind != "digit" for kind in kinds[point + 1 : after[-1] if after else point + 1])
    ):
        return False
    # A comma between digits separates thousands. After the last digit it divides by a thousand. Programs differ about a text among
    # the digits of a number with commas or a point.
    if "," not in kinds and (point == len(kinds) or places[-1] - places[0] < len(places)):
        return True
    between = kinds[places[0] : places[-1] + 1] if places else []
    return between.count(",") == kinds.count(",") and set(between) <= {"digit", ","}


def _placed(digits: str, placeholders: list[str]) -> list[str] | None:
    """Distributes digits over placeholders from the right. The first placeholder takes the digits that are left over.

    Returns None if a `#` or `?` after a `0` has no digit, because programs differ about it.
    """
    shown: list[str] = []
    padded = False
    for number, placeholder in enumerate(placeholders):
        missing = len(placeholders) - number > len(digits)
        padded = padded or placeholder == "0"
        if missing and padded and placeholder != "0":
            return None
        if missing:
            shown.append({"0": "0", "?": " "}.get(placeholder, ""))
        elif number == 0:
            shown.append(digits[: len(digits) - len(placeholders) + 1])
        else:
            shown.append(digits[number - len(placeholders)])
    return shown
