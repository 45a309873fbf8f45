"""What one line of the screen can mean. No repr holds an identity, so that no traceback does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ninezero.schemas.events import QualityFlag
from ninezero.streams.edge.bilingual import Bilingual, joined
from ninezero.streams.edge.documents.flag_reasons import REASONS
from ninezero.streams.edge.documents.normal_forms import Domain
from ninezero.streams.edge.gate import texts

Command = Literal["next", "take_back", "replace", "clear", "help", "quit"]
"""What a guard can tell the screen to do, besides entering something."""

FactName = Literal["temperature", "confirmed", "health_code", "origin", "direction", "vehicle", "no_document"]

_READ_CORRECTLY: frozenset[QualityFlag] = frozenset({"fifteen_digit", "document_expired", "unknown_division"})
"""Flags of documents that were read correctly: scanning again would not change them."""


@dataclass(frozen=True, repr=False)
class Identity:
    """A document, phone or plate.

    Attributes:
        domain: its kind.
        normal: its normal form; two spellings of one document have the same.
        written: the value as it is given to `Traveller` or `Passage`; the lines of a machine-readable zone.
        flags: what was found wrong with it.
    """

    domain: Domain
    normal: str
    written: str | tuple[str, ...]
    flags: tuple[QualityFlag, ...]

    @property
    def label(self) -> Bilingual:
        """What it is, without its value."""
        return texts.TRAVEL_DOCUMENT if isinstance(self.written, tuple) else texts.DOMAINS[self.domain]

    @property
    def misread(self) -> bool:
        """Whether it was probably misread, so that scanning it again helps."""
        return any(flag not in _READ_CORRECTLY for flag in self.flags)

    @property
    def findings(self) -> Bilingual | None:
        """The words of the flags; None without any."""
        return joined(REASONS[flag] for flag in self.flags) if self.flags else None


@dataclass(frozen=True)
class Fact:
    """Something that is not an identity, with the words that repeat it to the guard.

    Attributes:
        name: what it is.
        value: °C, a colour, the code of a place, a direction, or whether it applies.
        words: what is shown, the value included.
        remark: what the guard must check; None if nothing.
    """

    name: FactName
    value: float | str | bool
    words: Bilingual
    remark: Bilingual | None = None


@dataclass(frozen=True, repr=False)
class ZoneLines:
    """One or all lines of a machine-readable zone, each of the same width.

    Attributes:
        lines: the lines as scanned, in A–Z, 0–9 and `<`.
        first: whether the first of them can begin a zone.
    """

    lines: tuple[str, ...]
    first: bool


Item = Identity | Fact | ZoneLines


class Unclear(NamedTuple):
    """A line that is not used, and the question to the guard. It quotes nothing that can be an identity."""

    question: Bilingual
