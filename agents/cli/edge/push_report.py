"""What `ninezero push` prints: the rows that were rejected or need a check, and what became of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ninezero.agents.cli.console import CommandError
from ninezero.schemas.events import PushReceipt
from ninezero.streams.edge.bilingual import Bilingual, Language
from ninezero.streams.edge.listfiles import push_texts as texts
from ninezero.streams.edge.listfiles.explanations import BATCH_CODES, CONFIRMATION_CODES
from ninezero.streams.edge.listfiles.list_file import ListFile
from ninezero.streams.edge.listfiles.push_lines import CheckedLine
from ninezero.streams.edge.listfiles.push_summary import PushSummary, reasons_of
from ninezero.streams.edge.listfiles.remedies import explanation, kind_of, remedy

_SHOWN_KINDS = 20
"""Number of kinds of findings that are printed. The rejects file has all rows."""
_SHOWN_ROWS = 8
"""Number of rows that are named for a kind."""


class _Kind(NamedTuple):
    """Rows of a file that have the same code or finding."""

    file: int
    reason: str
    rejected: bool


class RowReport:
    """The rows that have a code or findings, together by file and reason: what is wrong, and what to do.

    Args:
        files: the files, whose columns are named.
        language: the language of the texts.
    """

    def __init__(self, files: Sequence[ListFile], language: Language) -> None:
        self.count = 0
        """The number of rows that have a code or findings."""
        self.rejected = 0
        """The number of rows that have a code."""
        self._columns = {file.number: file.columns for file in files}
        self._language = language
        self._kinds: dict[_Kind, list[int]] = {}
        self._counts: dict[_Kind, int] = {}

    def add(self, line: CheckedLine) -> None:
        """Adds a line."""
        reasons = reasons_of(line)
        self.count += bool(reasons)
        self.rejected += line.code is not None
        for reason in reasons:
            kind = _Kind(line.file, kind_of(reason), line.code is not None)
            self._counts[kind] = self._counts.get(kind, 0) + 1
            rows = self._kinds.setdefault(kind, [])
            if len(rows) < _SHOWN_ROWS:
                rows.append(line.row)

    def print(self, sent: bool) -> None:
        """Prints what is wrong and what to do, at most `_SHOWN_KINDS` times.

        Args:
            sent: whether the lines were sent, or will be.
        """
        for kind, rows in [*self._kinds.items()][:_SHOWN_KINDS]:
            left = self._counts[kind] - len(rows)
            named = Bilingual("、".join(map(str, rows)), ", ".join(map(str, rows)))
            if left:
                more = texts.MORE_ROWS.format(count=left)
                named = Bilingual(f"{named.zh}{more.zh}", f"{named.en}{more.en}")
            place = texts.PLACE.format(file=kind.file, rows=named, s="s" if self._counts[kind] > 1 else "")
            text = texts.ROW_REJECTED if kind.rejected else texts.ROW_SENT if sent else texts.ROW_CHECK
            about = explanation(kind.reason)
            print(text.of(self._language, place=place, code=kind.reason, meaning=about.meaning))
            print(texts.NEXT.of(self._language, remedy=remedy(kind.reason, self._columns[kind.file])))
            if about.command:
                print(texts.NEXT.of(self._language, remedy=about.command))

    def print_place(self, path: Path) -> None:
        """Prints where all rows are listed."""
        plural = "s" if self.count != 1 else ""
        print(texts.REJECTS_FILE.of(self._language, count=self.count, path=path, s=plural))


def row_report(lines: Iterable[CheckedLine], files: Sequence[ListFile], language: Language) -> RowReport:
    """Returns the report about all lines."""
    report = RowReport(files, language)
    for line in lines:
        report.add(line)
    return report


def counts_text(summary: PushSummary, language: Language) -> str:
    """Returns how many lines were read, and how many have which code and findings."""
    counts = "".join(
        f", {name} {count:,}" for some in (summary.codes, summary.findings) for name, count in some.most_common()
    )
    counts = counts.replace(", ", "，") if language == "zh" else counts
    return texts.LINES.of(
        language, lines=summary.lines, good=summary.accepted, counts=counts, s="s" if summary.lines != 1 else ""
    )


def print_receipt(receipt: PushReceipt, language: Language) -> None:
    """Prints what became of an applied batch.

    Raises:
        CommandError: the batch is held or rejected, so the list stays as it was.
    """
    if receipt.status == "applied":
        print(
            texts.APPLIED.of(
                language, accepted=receipt.accepted, duplicate=receipt.duplicate, rejected=receipt.rejected,
                withdrawn=receipt.withdrawn, leaving=_leaving(receipt, texts.LEAVING),
            )
        )  # fmt: skip
        return
    about = BATCH_CODES[receipt.code] if receipt.code is not None else None
    if about is None:
        raise CommandError(receipt.status)
    said: dict[str, Any] = {
        "code": receipt.code, "meaning": about.meaning, "remedy": about.remedy, "command": about.command.format(batch=receipt.batch_id),
    }  # fmt: skip
    if receipt.status == "held":
        raise CommandError(texts.HELD.of(language, leaving=_leaving(receipt, texts.WOULD_LEAVE), **said))
    stale = receipt.code == "stale_sequence"
    last = texts.LAST_SEQUENCE.format(sequence=receipt.sequence) if stale else ""
    raise CommandError(texts.REJECTED.of(language, last=last, **said))


def confirmation_error(receipt: PushReceipt, language: Language) -> CommandError | None:
    """Returns why a confirmation changed nothing, or None if it did."""
    if receipt.confirmation is None:
        return None
    about = CONFIRMATION_CODES[receipt.confirmation]
    command = about.command.format(batch=receipt.batch_id)
    return CommandError(texts.NOT_CONFIRMED.of(language, meaning=about.meaning, remedy=about.remedy, command=command))


def print_held(receipt: PushReceipt, language: Language) -> None:
    """Prints what a held batch would do, for the person who is to confirm it."""
    about = BATCH_CODES[receipt.code] if receipt.code is not None else None
    print(
        texts.HELD_BATCH.of(
            language, batch=receipt.batch_id, authority=receipt.authority, list=receipt.list, lines=receipt.lines_declared, by=receipt.by,
            category=texts.CATEGORIES.get(receipt.category, ""), mode=texts.MODES.get(receipt.mode, ""),
        )
    )  # fmt: skip
    if about is not None:
        leaving = _leaving(receipt, texts.WOULD_LEAVE)
        print(texts.HELD_FOR.of(language, code=receipt.code, meaning=about.meaning, leaving=leaving))


def print_place_in_time(receipt: PushReceipt, language: Language) -> None:
    """Prints who pushed or confirmed a batch, and when it was decided."""
    text = texts.CONFIRMED_BY if receipt.confirmed else texts.PUSHED_BY
    print(text.of(language, batch=receipt.batch_id, by=receipt.by, at=f"{receipt.at:%Y-%m-%dT%H:%M:%SZ}"))


def _leaving(receipt: PushReceipt, text: Bilingual) -> Bilingual | str:
    """Returns how many entries leave the list, or would leave it. Empty if none does."""
    return text.format(leaving=receipt.leaving, listed=receipt.listed) if receipt.leaving else ""
