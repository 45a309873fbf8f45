"""What a person asks of `ninezero push`: checked as a whole, and completed by questions on a terminal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ninezero.agents.cli.console import CommandError
from ninezero.agents.cli.edge.push_dialog import Dialog
from ninezero.agents.cli.edge.push_report import confirmation_error, print_held, print_place_in_time, print_receipt
from ninezero.schemas.events import is_identifier
from ninezero.schemas.line_codes import longest_days
from ninezero.streams.edge.bilingual import Bilingual, Language
from ninezero.streams.edge.listfiles import push_texts as texts
from ninezero.streams.edge.listfiles.column_mapping import FIELDS, ColumnMapping
from ninezero.streams.edge.listfiles.push_client import confirm_batch, receipts_of
from ninezero.streams.settings import Settings

_POSITION = re.compile("[a-z_]+=([A-Za-z]{1,3}|[0-9]{1,3})")


@dataclass
class PushRequest:
    """The options of a push, as they were given or answered. An empty text is a missing one."""

    files: list[Path]
    authority: str
    list_: str
    category: str
    by: str
    basis: str
    days: int | None
    since: str
    mode: str
    reason: str
    columns: list[str]
    mapping: Path | None
    save_mapping: Path | None
    sheet: str | None
    hidden: str
    rejects: Path | None
    check: bool
    yes: bool
    again: bool
    batch_id: str
    sequence: int | None
    excluding: bool
    """Whether --full and --withdraw were both given."""
    answered: bool = False
    """Whether a question was answered, so that the command line is worth to be printed."""

    def complete(self, dialog: Dialog | None, language: Language) -> None:
        """Asks for what is missing. Without a terminal, everything that is missing or wrong is named together.

        Raises:
            CommandError: an option is missing or wrong, or two exclude each other.
        """
        self._check_combinations(language)
        if dialog is None:
            if not self.files:
                raise CommandError(texts.NO_FILES.of(language))
            self._require_all(language)
            self.mode = self.mode or "delta"
            return
        if not self.files:
            self.files, self.answered = [dialog.file()], True
        for option, what in () if self.check else texts.OPTIONS.items():
            value = self._value(option)
            if value and not self._is_right(option):
                dialog.say(self._wrong(option))
            if not self._is_right(option):
                answer = (
                    dialog.choice(what, texts.CATEGORIES) if option == "category" else dialog.identifier(option, what)
                )
                setattr(self, _attribute(option), answer)
                self.answered = True
        if self.answered and not self.mode:
            self.mode = dialog.choice(texts.ASK_MODE, texts.MODES)
        self.mode = self.mode or "delta"
        if self.mode == "withdraw" and not self.reason:
            self.reason, self.answered = dialog.choice(texts.ASK_REASON, texts.REASONS), True
        self._check_combinations(language)

    def _check_combinations(self, language: Language) -> None:
        if self.excluding:
            raise CommandError(texts.FULL_AND_WITHDRAW.of(language))
        if self.reason and self.reason not in texts.REASONS:
            raise CommandError(texts.ONE_OF.of(language, option="reason", values=", ".join(texts.REASONS)))
        if self.reason and self.mode != "withdraw":
            raise CommandError(texts.WITHDRAW_REASON.of(language, values=", ".join(texts.REASONS)))
        longest = longest_days(self.category)
        if self.days is not None and self.days > longest:
            raise CommandError(texts.TOO_MANY_DAYS.of(language, longest=longest))
        if self.hidden not in ("", *texts.HIDDEN):
            raise CommandError(texts.ONE_OF.of(language, option="hidden", values=", ".join(texts.HIDDEN)))
        if self.batch_id and not is_identifier(self.batch_id):
            raise CommandError(self._wrong("batch-id").of(language))
        if self.columns and self.mapping:
            raise CommandError(texts.MAP_AND_MAPPING.of(language))

    def _require_all(self, language: Language) -> None:
        if self.mode == "withdraw" and not self.reason:
            raise CommandError(texts.WITHDRAW_REASON.of(language, values=", ".join(texts.REASONS)))
        needed = ("category",) if self.check else tuple(texts.OPTIONS)
        wrong = [option for option in needed if self._value(option) and not self._is_right(option)]
        if wrong:
            raise CommandError("; ".join(self._wrong(option).of(language) for option in wrong))
        missing = [option for option in needed if not self._value(option) and not self.check]
        if missing:
            named = [
                f"--category ({texts.OPTIONS[option].of(language)}: {', '.join(texts.CATEGORIES)})"
                if option == "category"
                else self._missing(option, language)
                for option in missing
            ]
            raise CommandError(texts.MISSING.of(language, options=", ".join(named)))

    def _value(self, option: str) -> str:
        return str(getattr(self, _attribute(option)))

    def _is_right(self, option: str) -> bool:
        value = self._value(option)
        return value in texts.CATEGORIES if option == "category" else is_identifier(value)

    @staticmethod
    def _missing(option: str, language: Language) -> str:
        what = texts.ASK_IDENTIFIER.of(language, what=texts.OPTIONS[option], example=texts.EXAMPLES[option])
        return f"--{option} ({what})"

    @staticmethod
    def _wrong(option: str) -> Bilingual:
        if option == "category":
            return texts.ONE_OF.format(option=option, values=", ".join(texts.CATEGORIES))
        return texts.WRONG_IDENTIFIER.format(option=option, form=texts.IDENTIFIER, example=texts.EXAMPLES[option])

    def column_mapping(self, language: Language) -> ColumnMapping | None:
        """Returns the columns that were named, and saves them if that was asked; None if none was named."""
        if self.mapping:
            return ColumnMapping.load(self.mapping)
        if not self.columns:
            return None
        pairs = dict(column.partition("=")[::2] for column in self.columns)
        if not all(pairs.values()) or not pairs.keys() <= set(FIELDS):
            raise CommandError(texts.MAP_FORM.of(language, fields=", ".join(FIELDS)))
        mapping = msgspec.convert(pairs, ColumnMapping)
        if self.save_mapping:
            mapping.save(self.save_mapping)
        return mapping

    def command(self) -> str:
        """Returns the command line without questions. Files and headers are left out, because they can contain an identity."""
        words = ["ninezero push FILE"]
        words += [f"--{option} {self._value(option)}" for option in texts.OPTIONS if self._value(option)]
        words += [f"--{self.mode}"] if self.mode != "delta" else []
        words += [f"--reason {self.reason}"] if self.reason else []
        words += [f"--days {self.days}"] if self.days else []
        words += [f"--valid-from {self.since}"] if self.since else []
        words += [f"--hidden {self.hidden}"] if self.hidden else []
        words += [f"--map {one}" if _POSITION.fullmatch(one) else "--map …" for one in self.columns]
        words += ["--mapping …"] if self.mapping else []
        words += ["--sheet …"] if self.sheet else []
        return " ".join(words)


def _attribute(option: str) -> str:
    return "list_" if option == "list" else option


def confirm_held(settings: Settings, batch_id: str, request: PushRequest, language: Language) -> None:
    """Confirms a held batch. On a terminal, shows it first, and asks for the person.

    Raises:
        CommandError: the person is missing, there is no such batch, or the confirmation changed nothing.
    """
    dialog = Dialog(language) if Dialog.possible() else None
    if request.by and not is_identifier(request.by):
        raise CommandError(PushRequest._wrong("by").of(language))
    if not request.by and dialog is None:
        raise CommandError(texts.MISSING.of(language, options=PushRequest._missing("by", language)))
    authority = request.authority or None
    if dialog is not None:
        found = receipts_of(settings, batch_id, authority)
        if not found:
            raise CommandError(texts.NOT_FOUND.of(language))
        held = found[-1].status == "held"
        if held:
            print_held(found[-1], language)
        by = request.by or dialog.identifier("by", texts.OPTIONS["by"])
        if held and not request.yes and not dialog.agrees(texts.ASK_CONFIRM):
            raise CommandError(texts.NOTHING_SENT.of(language))
        request.by = by
    receipt = confirm_batch(settings, batch_id, request.by, authority)
    if error := confirmation_error(receipt, language):
        raise error
    print_receipt(receipt, language)


def show_result(settings: Settings, batch_id: str, authority: str, language: Language) -> None:
    """Prints what became of a batch.

    Raises:
        CommandError: there is no receipt of it, or it is held or rejected.
    """
    found = receipts_of(settings, batch_id, authority or None)
    if not found:
        if not is_identifier(batch_id):
            raise CommandError(PushRequest._wrong("batch-id").of(language))
        raise CommandError(texts.NO_RECEIPT.of(language, batch=batch_id))
    for receipt in found:
        print_place_in_time(receipt, language)
    print_receipt(found[-1], language)
