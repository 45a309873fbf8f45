"""The questions of `ninezero push` on a terminal, in the language of the person who pushes."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from ninezero.agents.cli.console import CommandError
from ninezero.schemas.events import is_identifier
from ninezero.schemas.line_codes import longest_days
from ninezero.streams.edge.bilingual import Bilingual, Language
from ninezero.streams.edge.listfiles import push_texts as texts
from ninezero.streams.edge.listfiles.column_mapping import FIELDS, IDENTITY_FIELDS

_YES = ("y", "yes", "是", "好")
_NO = ("n", "no", "否", "不")


class Dialog:
    """Asks on a terminal, and asks again until an answer can be used. Ctrl-D ends the command, and nothing is sent."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language

    @staticmethod
    def possible() -> bool:
        """Returns whether a person can answer."""
        return sys.stdin.isatty() and sys.stdout.isatty()

    def say(self, text: Bilingual, **values: object) -> None:
        """Prints a text."""
        print(text.of(self.language, **values), flush=True)

    def file(self) -> Path:
        """Asks for a file until there is one. Quotation marks around a path, as a file manager writes them, are left out."""
        while True:
            path = Path(self._answer(texts.ASK_FILE).strip("'\"")).expanduser()
            if path.is_file():
                return path
            self.say(texts.NO_SUCH_FILE)

    def identifier(self, option: str, what: Bilingual) -> str:
        """Asks for an identifier."""
        question = texts.ASK_IDENTIFIER.format(what=what, example=texts.EXAMPLES[option])
        while not is_identifier(answer := self._answer(question)):
            self.say(texts.WRONG_IDENTIFIER, option=option, form=texts.IDENTIFIER, example=texts.EXAMPLES[option])
        return answer

    def choice(self, question: Bilingual, values: Mapping[str, Bilingual]) -> str:
        """Asks for one of some values, by number or name."""
        print(f"{question.of(self.language)}:")
        for number, (value, meaning) in enumerate(values.items(), 1):
            print(f"  {number}  {meaning.of(self.language)} ({value})")
        names = [*values]
        while (answer := self._answer(texts.ASK_NUMBER)) not in values:
            if re.fullmatch("[0-9]{1,3}", answer) and 1 <= int(answer) <= len(names):
                return names[int(answer) - 1]
        return answer

    def columns(self, suggested: Mapping[str, str]) -> dict[str, str]:
        """Asks which column has which field. A suggestion is used if only Enter is pressed."""
        while True:
            self.say(texts.ASK_COLUMNS)
            found: dict[str, str] = {}
            for field in FIELDS:
                if (field in ("state", "nationality") and "passport" not in found) or (
                    field == "document_type" and "document" not in found
                ):
                    continue
                default = suggested.get(field, "")
                answer = self._answer(texts.FIELDS[field], default) or default
                if answer and answer not in ("-", "无"):
                    found[field] = answer
            if IDENTITY_FIELDS & found.keys():
                return found
            self.say(texts.NO_IDENTITY_COLUMN)

    def sheet(self) -> str:
        """Asks for a sheet of a workbook."""
        while not (answer := self._answer(texts.ASK_SHEET)):
            pass
        return answer

    def days(self, lines: int, category: str) -> int | None:
        """Asks for how many days a line without an end is valid. None: such lines are rejected."""
        longest = longest_days(category)
        question = texts.ASK_DAYS.format(lines=lines, longest=longest)
        while answer := self._answer(question):
            if re.fullmatch("[0-9]{1,5}", answer) and 1 <= int(answer) <= longest:
                return int(answer)
            self.say(texts.ASK_DAYS_AGAIN, longest=longest)
        return None

    def agrees(self, question: Bilingual) -> bool:
        """Asks a question that is answered with yes or no."""
        text = Bilingual(f"{question.zh} {texts.YES_OR_NO.zh}", f"{question.en} {texts.YES_OR_NO.en}")
        while (answer := self._answer(text).lower()) not in (*_YES, *_NO):
            pass
        return answer in _YES

    def _answer(self, question: Bilingual, default: str = "") -> str:
        shown = question.of(self.language) + (f" [{default}]" if default else "")
        try:
            return input(f"{shown}: ").strip()
        except (EOFError, UnicodeDecodeError):
            print()
            raise CommandError(texts.NOTHING_SENT.of(self.language)) from None
