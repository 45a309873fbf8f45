"""From the cells of a row to pseudonyms: what is written in an identity cell, and the tokens of a row."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ninezero.schemas.events import PushTokens
from ninezero.streams.edge.documents.issuing_states import named_state
from ninezero.streams.edge.documents.key_ring import KeyRing
from ninezero.streams.edge.documents.normal_forms import Domain, normal_form, normalise
from ninezero.streams.edge.documents.phones import has_two_readings
from ninezero.streams.edge.documents.several_values import has_resident_form, split_values
from ninezero.streams.edge.listfiles.document_types import DocumentType, document_type
from ninezero.streams.edge.listfiles.tables.cells import MAX_CELL_CHARACTERS, MAX_EXACT_NUMBER, Cell, FormattedValue

CheckValue = Callable[[Domain, str], Sequence[str]]
"""Returns the quality flags of a value as it is written."""

_DOMAINS: tuple[Domain, ...] = ("id", "passport", "phone", "plate", "pass")
_PLACEHOLDERS = frozenset(("无", "没有", "暂无", "不详", "未知", "空", "NA", "NONE", "NULL", "NIL", "NAN", "UNKNOWN"))
"""Texts that people write into a cell that has no value. As a token, such a text would make all of them one person."""
_WRAPPED = re.compile('="(.*)"', re.DOTALL)
_DIGITS_LOST = re.compile(r"[0-9]+(?:\.[0-9]+E\+?|E\+)[0-9]+", re.IGNORECASE)
_DECIMAL = re.compile(r"([0-9]+)\.0+")
_EXACT_DIGITS = len(str(MAX_EXACT_NUMBER - 1))
_VALID_ENOUGH = frozenset({"fifteen_digit", "unknown_division"})
"""Flags of a number that is certainly one. Several numbers in one cell may have no other."""
_ENUMERATOR = re.compile("[\u2460-\u249b\u24eb-\u24ff\u2776-\u2793]")
"""A number of an enumeration in one character: ①, ⑴, ⒈. NFKC would make digits of it."""
_PASSPORT_LABEL = re.compile(r"\s*(?:护照|PASSPORT|NO\s*[.:：]|NUMBER\s*[.:：])", re.IGNORECASE)
_STATE_BEFORE = re.compile(r"([A-Za-z]{3,})\s+(?=.*[0-9])(.+)", re.DOTALL)
"""An issuing state and a number with a blank between them. No passport's number begins with three letters that name a state."""


class RowTokens(NamedTuple):
    """The tokens of a row under every key of the ring, and the findings about its cells, each `field:flag`."""

    people: list[PushTokens]
    """One for each person: a row that holds two resident numbers is about two people. There is at least one."""
    findings: list[str]


class _Identity(NamedTuple):
    """An identity cell: the kind of what it holds, and the issuing state of a passport if the document type says it."""

    domain: Domain
    cell: Cell
    state: str | None = None


def row_tokens(
    cells: Mapping[str, Cell], ring: KeyRing, check_identity: CheckValue, untyped: bool = False
) -> RowTokens:
    """Turns the identities of a row into tokens.

    Args:
        cells: the row's cells by field.
        ring: the key ring of the deployment.
        check_identity: returns the quality flags of a value as it is written.
        untyped: whether the header of `id` is that of any document.
    """
    findings: list[str] = []
    identities = _identities(cells, untyped, findings)
    found: dict[Domain, dict[str, None]] = {}
    for identity in identities:
        normal_forms, about = _normal_forms(identity, cells, check_identity)
        found.setdefault(identity.domain, {}).update(dict.fromkeys(normal_forms))
        findings += [f"{identity.domain}:{finding}" for finding in about]
    tokens = {
        "pass_" if domain == "pass" else domain: [token for form in forms for token in ring.tokens(domain, form)]
        for domain, forms in found.items()
        if forms and domain != "id"
    }
    numbers = found.get("id") or {}
    people = [PushTokens(id=ring.tokens("id", number), **tokens) for number in numbers]
    return RowTokens(people or [PushTokens(**tokens)], findings)


def _identities(cells: Mapping[str, Cell], untyped: bool, findings: list[str]) -> list[_Identity]:
    """Returns the identity cells of a row. There are none if it states a document type that is not known, which is a finding.

    The type is that of the number in the column for any document (`证件号码`). Without such a column it is that of the resident
    number, unless the row has a passport in a column of its own.
    """
    identities = [_Identity(domain, cells[domain]) for domain in _DOMAINS if domain in cells]
    typed = "document" if "document" in cells else "id"
    if typed == "id" and _is_written(cells.get("passport")):
        return identities
    cell = cells.get(typed)
    if not _is_written(cell):
        return identities
    certain = typed == "id" and "document_type" not in cells and not untyped
    kind = _type_of(cells.get("document_type"), cell, certain)
    others = [identity for identity in identities if identity.domain != typed]
    if kind is None:
        findings.append("document_type:unknown_type")
        stated = _is_written(cells.get("document_type"))
        has_other = any(one.domain in ("id", "passport") and _is_written(one.cell) for one in others)
        return others if has_other and not stated else []
    return [_Identity(kind.domain, cell, kind.state), *others]


def _type_of(stated: Cell, number: Cell, certain: bool) -> DocumentType | None:
    """Returns the type of the document with a number, or None if it is not known.

    If no type is stated, `STATE/NUMBER` is a passport. Anything else is a resident number if its column says so (`certain`), and
    otherwise only if it has the form of one, or has lost its digits.
    """
    if _is_written(stated):
        name = _as_shown(stated)
        return document_type(name) if isinstance(name, str) else None
    text = _identity_text("id", number)
    if text is None:
        return DocumentType("id")
    if "/" in text and normalise("passport", text):
        return DocumentType("passport")
    numbers = split_values("id", text) or ()
    return DocumentType("id") if certain or (numbers and all(map(has_resident_form, numbers))) else None


def _is_written(cell: Cell) -> bool:
    return _identity_text("id", cell) != ""


def _normal_forms(
    identity: _Identity, cells: Mapping[str, Cell], check_identity: CheckValue
) -> tuple[list[str], list[str]]:
    """Returns the normal forms of the numbers in a cell, and the findings about them."""
    domain, text = identity.domain, _identity_text(identity.domain, identity.cell)
    if text is None:
        return [], [_reason_without_text(identity.cell)]
    if len(text) > MAX_CELL_CHARACTERS:
        return [], list(check_identity(domain, text))
    if domain == "passport" and _PASSPORT_LABEL.match(text):
        return [], ["bad_character"]
    values = split_values(domain, text) if text else ()
    if values is None:
        return [], ["several_values"]
    findings: list[str] = []
    if domain == "passport":
        values = [_with_issuing_state(value, identity.state, cells, findings) for value in values]
    normal_forms = list[str]()
    if domain == "passport" and any(_is_resident(value, check_identity) for value in values):
        return [], ["resident_number"]
    for value in values or ([text] if text else []):
        normal = normal_form(domain, value)
        # A phone in E.164 has no flags (CONTRACT §1), and checking it again would take a third of the time of a push.
        flags = check_identity(domain, value) if normal is None or (normal and domain != "phone") else ()
        if len(values) > 1 and (not normal or not _VALID_ENOUGH.issuperset(flags)):
            return [], ["several_values"]
        findings += flags
        if domain == "phone" and normal and has_two_readings(value):
            findings.append("two_readings")
        if normal and (domain != "plate" or any(c.isascii() for c in normal)):  # 步行 is no plate
            normal_forms.append(normal)
    return normal_forms, findings


def _is_resident(passport: str, check_identity: CheckValue) -> bool:
    """Returns whether a number that stands where a passport's should is a resident number without a fault."""
    number = normalise("id", passport.rpartition("/")[2]) or ""
    return len(number) == len("11010519491231002X") and not check_identity("id", number)


def _reason_without_text(cell: Cell) -> str:
    """Returns why it is not certain what a cell has."""
    if isinstance(cell, FormattedValue) and cell.kind == "formula":
        return "not_calculated"
    return "number_format" if _is_hidden_by_format(cell) else "digits_lost"


def _is_hidden_by_format(cell: Cell) -> bool:
    """Returns whether a cell's value has all its digits, so that only what the cell shows is in question."""
    if not isinstance(cell, FormattedValue) or cell.shown is not None:
        return False
    value = cell.value
    return isinstance(value, str) or (value.is_integer() and 0 <= value < MAX_EXACT_NUMBER)


def _as_shown(cell: Cell) -> str | float | None:
    """Returns what a cell shows, or its value if that is not known."""
    if isinstance(cell, FormattedValue):
        return cell.shown if cell.shown is not None else cell.value
    return cell


def _identity_text(domain: Domain, cell: Cell) -> str | None:
    """Returns what is written in an identity cell; empty if it states that there is no value, None if it is not certain."""
    if isinstance(cell, FormattedValue) and cell.kind == "elsewhere":
        return ""
    if _is_hidden_by_format(cell):
        return None
    cell = _as_shown(cell)
    if not cell:
        return "0" if cell == 0 and isinstance(cell, float) else ""
    if isinstance(cell, float):
        return str(int(cell)) if 0 <= cell < MAX_EXACT_NUMBER and cell.is_integer() else None
    if len(cell) > MAX_CELL_CHARACTERS:
        return cell
    if not cell.isascii():
        cell = _ENUMERATOR.sub("\n", cell)
    plain = unicodedata.normalize("NFKC", cell).strip()
    if wrapped := _WRAPPED.fullmatch(plain):  # exports write ="…" to keep Excel from rounding the number
        plain = cell = wrapped[1].strip()
    if _DIGITS_LOST.fullmatch(plain):
        return None
    if decimal := _DECIMAL.fullmatch(
        plain
    ):  # a program exported a column of numbers; other numbers may have had zeros in front
        return decimal[1] if domain in ("id", "phone") and len(decimal[1]) <= _EXACT_DIGITS else None
    return "" if is_placeholder(plain) else cell


def is_placeholder(plain: str) -> bool:
    """Returns whether the text of a cell, in NFKC, says that there is no value."""
    return not (text := plain.upper().replace("/", "")) or text in _PLACEHOLDERS


def _with_issuing_state(number: str, state: str | None, cells: Mapping[str, Cell], findings: list[str]) -> str:
    """Returns `STATE/NUMBER` with the code of the state, or the number alone if no state is written.

    Looks at the document type, the number itself, the column of the issuing state and, if there is nothing else, the nationality:
    people can have the passport of another state, so that is a finding.
    """
    written, slash, rest = unicodedata.normalize("NFKC", number).partition("/")
    if slash and not any(c.isdigit() for c in written):
        code = named_state(written)
        return f"{state or code or written.strip()}/{rest}"
    if state:
        return f"{state}/{number}"
    if (before := _STATE_BEFORE.fullmatch(written.strip())) and (code := named_state(before[1])):
        return f"{code}/{before[2]}"
    for field in ("state", "nationality"):
        cell = _as_shown(cells.get(field))
        text = unicodedata.normalize("NFKC", cell).strip() if isinstance(cell, str) else ""
        if text and not is_placeholder(text):
            code = named_state(text)
            if code and field == "nationality":
                findings.append("state_from_nationality")
            return f"{code or text.replace('/', ' ')}/{number}"
    return number
