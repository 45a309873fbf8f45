"""Texts in Chinese and English, as the screens of guards and clerks show them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Bilingual(NamedTuple):
    """One text in both languages. The screen shows them side by side, so that no setting can be wrong for a guard."""

    zh: str
    en: str

    def __str__(self) -> str:
        return f"{self.zh} {self.en}"

    def format(self, **values: object) -> Bilingual:
        """Returns the text with its `{names}` filled in. A bilingual value gives each language its own text."""
        return Bilingual(
            self.zh.format(**{name: getattr(value, "zh", value) for name, value in values.items()}),
            self.en.format(**{name: getattr(value, "en", value) for name, value in values.items()}),
        )


def joined(texts: Iterable[Bilingual]) -> Bilingual:
    """Returns several texts as one, each language for itself."""
    written = list(texts)
    return Bilingual(" · ".join(text.zh for text in written), " · ".join(text.en for text in written))
