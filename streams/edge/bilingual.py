"""Texts in Chinese and English, as the screens of guards and clerks show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, get_args

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


def language(environ: Mapping[str, str]) -> Language:
    """Returns the language of a person at a terminal, as the locale states it: Chinese, or English for every other locale."""
    locale = environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or ""
    return "zh" if locale.lower().startswith("zh") else "en"


class Bilingual(NamedTuple):
    """One text in both languages.

    The screen shows them side by side, so that no setting can be wrong for a guard. A command shows one of them.
    """

    zh: str
    en: str

    def __str__(self) -> str:
        return f"{self.zh} {self.en}"

    def of(self, language: Language, **values: object) -> str:
        """Returns the text in one language with its `{names}` filled in."""
        text = self.format(**values) if values else self
        return text.zh if language == "zh" else text.en

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
