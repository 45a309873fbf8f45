"""From the cells of a row to pseudonyms: what is written in an identity cell, and the tokens of a row."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ninezero.schemas.events import PushTokens
from ninezero.streams.edge.documents.key_ring import KeyRing
from ninezero.streams.edge.documents.normal_forms import Domain, normalise
from ninezero.streams.edge.listfiles.tables.cells import MAX_CELL_CHARACTERS, MAX_EXACT_NUMBER, Cell, FormattedValue

_DOMAINS: tuple[Domain, ...] = ("id", "passport", "phone", "plate", "pass")
_PLACEHOLDERS = frozenset(("无", "没有", "暂无", "不详", "未知", "空", "NA", "NONE", "NULL", "NIL", "NAN", "UNKNOWN"))
"""Texts that people write into a cell that has no value. As a token, such a text would make all of them one person."""
_WRAPPED = re.compile('="(.*)"')
_DIGITS_LOST = re.compile(r"[0-9]+(?:\.[0-9]+E\+?|E\+)[0-9]+", re.IGNORECASE)
_DECIMAL = re.compile(r"([0-9]+)\.0+")
_EXACT_DIGITS = len(str(MAX_EXACT_NUMBER - 1))


class RowTokens(NamedTuple):
    """The tokens of a row under every key of the ring, and the findings about its cells, each `field:flag`."""

    tokens: PushTokens
    findings: list[str]


def row_tokens(
    cells: Mapping[str, Cell], ring: KeyRing, check_identity: Callable[[Domain, str], Sequence[str]]
) -> RowTokens:
    """Turns the identities of a row into tokens.

    Args:
        cells: the row's cells by field.
        ring: the key ring of the deployment.
        check_identity: returns the quality flags of a value as it is written.
    """
    found: dict[str, list[str]] = {}
    findings: list[str] = []
    for domain in _DOMAINS:
        cell = cells.get(domain)
        if isinstance(cell, FormattedValue):
            if cell.shown is None and _is_exact(cell.value):
                findings.append(f"{domain}:number_format")
                continue
            cell = cell.shown if cell.shown is not None else cell.value
        text = _identity_text(domain, cell)
        if text is None:
            findings.append(f"{domain}:digits_lost")
            continue
        if domain == "passport" and text:
            text = _with_issuing_state(text, cells.get("state"))
        normal = normalise(domain, text) if len(text) <= MAX_CELL_CHARACTERS else None
        # A phone in E.164 has no flags (CONTRACT §1), and checking it again would take a third of the time of a push.
        if normal is None or (normal and domain != "phone"):
            findings += [f"{domain}:{flag}" for flag in check_identity(domain, text)]
        if normal:
            found["pass_" if domain == "pass" else domain] = ring.tokens(domain, normal)
    return RowTokens(PushTokens(**found), findings)


def _is_exact(value: float | str) -> bool:
    """Returns whether a cell's value has all its digits, so that only what the cell shows is in question."""
    return isinstance(value, str) or (value.is_integer() and 0 <= value < MAX_EXACT_NUMBER)


def _identity_text(domain: Domain, cell: str | float | None) -> str | None:
    """Returns what is written in an identity cell; empty if it states that there is no value, None if digits are lost."""
    if not cell:
        return "0" if cell == 0 and isinstance(cell, float) else ""
    if isinstance(cell, float):
        return str(int(cell)) if 0 <= cell < MAX_EXACT_NUMBER and cell.is_integer() else None
    if len(cell) > MAX_CELL_CHARACTERS:
        return cell
    plain = unicodedata.normalize("NFKC", cell).strip()
    if wrapped := _WRAPPED.fullmatch(plain):  # exports write ="…" to keep Excel from rounding the number
        plain = cell = wrapped[1].strip()
    if _DIGITS_LOST.fullmatch(plain):
        return None
    decimal = _DECIMAL.fullmatch(plain) if domain in ("id", "phone") else None
    if decimal:  # a program exported a column of numbers
        return decimal[1] if len(decimal[1]) <= _EXACT_DIGITS else None
    return "" if plain.upper().replace("/", "") in _PLACEHOLDERS else cell


def _with_issuing_state(number: str, cell: Cell) -> str:
    """Returns `STATE/NUMBER`, or the number alone if it already states its state or the cell is empty."""
    state = (
        unicodedata.normalize("NFKC", cell[:MAX_CELL_CHARACTERS]).replace("/", " ").strip()
        if isinstance(cell, str)
        else ""
    )
    return number if not state or "/" in unicodedata.normalize("NFKC", number) else f"{state}/{number}"
