"""One push, from the files to the receipt: reads, shows what is understood, asks, and sends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import msgspec

from ninezero.agents.cli.console import CommandError
from ninezero.agents.cli.edge.push_dialog import Dialog
from ninezero.agents.cli.edge.push_report import counts_text, print_receipt, row_report
from ninezero.agents.cli.edge.push_request import PushRequest
from ninezero.schemas.events import PushBatch, PushReceipt, is_identifier
from ninezero.streams.edge.bilingual import Bilingual, Language
from ninezero.streams.edge.documents.checks import check
from ninezero.streams.edge.documents.key_ring import KeyRing
from ninezero.streams.edge.listfiles import push_texts as texts
from ninezero.streams.edge.listfiles.batch_parts import header_bytes
from ninezero.streams.edge.listfiles.errors import ListFileError
from ninezero.streams.edge.listfiles.list_file import ListFile, open_list_file
from ninezero.streams.edge.listfiles.list_sheets import Hidden
from ninezero.streams.edge.listfiles.push_client import earlier_receipts, push_batch
from ninezero.streams.edge.listfiles.push_lines import CheckedLine, PushOptions, open_end, read_lines
from ninezero.streams.edge.listfiles.push_summary import PushSummary, decided, summarise, write_rejects
from ninezero.streams.edge.listfiles.same_entries import SameEntries
from ninezero.streams.edge.listfiles.sent_batches import BatchContent, category_of, next_sequence, sent_before
from ninezero.streams.settings import Settings, not_set

_PLACEHOLDER = "check"
"""The names in the head of a batch that is checked and never sent."""


def run_push(settings: Settings, request: PushRequest, now: datetime, language: Language) -> None:
    """Pushes files, or checks them only.

    Raises:
        UserError: something is missing or wrong, Kafka does not answer, or the batch is held or rejected.
    """
    dialog = Dialog(language) if Dialog.possible() else None
    if settings.keys is None:
        raise not_set("NINEZERO_KEYS")
    ring = KeyRing.load(settings.keys)
    push: _Push | None = None
    try:
        request.complete(dialog, language)
        push = _Push(settings, ring, request, now, dialog, language)
        push.run()
    except KeyboardInterrupt:
        batch = "" if push is None else push.sent
        text = texts.INTERRUPTED.of(language, batch=batch) if batch else texts.NOTHING_SENT.of(language)
        print(f"\n{text}", file=sys.stderr, flush=True)
        raise


class _Push:
    """One push. It reads the files up to four times: to check and summarise them, to show findings, to send, to write the rejects file."""

    def __init__(
        self,
        settings: Settings,
        ring: KeyRing,
        request: PushRequest,
        now: datetime,
        dialog: Dialog | None,
        language: Language,
    ) -> None:
        self._settings, self._ring, self._request, self._now = settings, ring, request, now
        self._dialog, self._language = dialog, language
        self._zone = ZoneInfo(settings.timezone)
        self._files: list[ListFile] = []
        self._options = PushOptions(
            cast(Any, request.mode), request.category, now, self._zone, _time(request.since, language), request.days
        )
        self.sent = ""
        """The name of the batch, from when it may have been sent; empty before."""
        self._same: SameEntries | None = None
        """Which lines are the same entry. Known after the first reading; None for a withdrawal."""

    def run(self) -> None:
        """Shows what is in the files; unless they are only checked, sends them and prints the receipt."""
        request = self._request
        self._files = self._open()
        head = self._head()
        summary, content = self._summarise(head)
        open_lines = summary.codes["no_window"] if request.mode != "withdraw" and request.days is None else 0
        if self._dialog and open_lines and not request.yes:
            days = self._dialog.days(open_lines, request.category)
            if days is not None:
                request.days, request.answered = days, True
                self._options = self._options._replace(days=days)
                summary, content = self._summarise(head)
        for file in self._files:
            self._say(texts.FILE, number=file.number, what=file.describe())
            if request.days and request.mode != "withdraw" and "valid_to" not in file.fields:
                self._say(texts.FILE, number=file.number, what=texts.DAYS_FOR_EVERY_ROW)
        print(counts_text(summary, self._language))
        if request.check:
            name = request.batch_id or content.batch_id()
            self._report_rows(request.rejects or Path(f"rejects-{name}.csv"), summary)
            self._say(texts.NOTHING_SENT)
            return
        head = msgspec.structs.replace(head, declared_lines=summary.lines)
        if self._dialog and not request.yes:
            self._confirm(summary)
        receipt = self._send(head, summary, content)
        problem: ListFileError | None = None
        try:
            self._report_rows(request.rejects or Path(f"rejects-{receipt.batch_id}.csv"), summary, receipt)
        except ListFileError as error:  # the receipt is shown all the same
            problem = error
        print_receipt(receipt, self._language)
        if request.answered:
            self._say(texts.NEXT_TIME, command=request.command())
        if problem is not None:
            raise problem

    def _send(self, head: PushBatch, summary: PushSummary, content: BatchContent) -> PushReceipt:
        """Sends the batch and returns its receipt, or returns that of the same batch that was sent before."""
        request, receipts = self._request, earlier_receipts(self._settings)
        self._check_category(category_of(receipts, head.authority, head.list))
        if not request.batch_id:
            before = sent_before(content, receipts, head.authority, head.list)
            if before.yesterday is not None:
                self._say_sent(texts.SENT_YESTERDAY, before.yesterday)
            if before.standing is not None and not request.again:
                self._say_sent(texts.SENT_BEFORE, before.standing)
                if self._dialog is None or request.yes or not self._dialog.agrees(texts.ASK_AGAIN):
                    return before.standing
            head = msgspec.structs.replace(head, batch_id=before.batch_id)
        if not request.sequence and (number := next_sequence(receipts, head.authority, head.list)) is not None:
            head = msgspec.structs.replace(head, sequence=number)
        parts = texts.PARTS.format(parts=summary.parts) if summary.parts > 1 else ""
        self._say(texts.SENDING, batch=head.batch_id, sequence=head.sequence, parts=parts)
        self.sent = head.batch_id
        return push_batch(
            self._settings, head, self._lines(), part_count=summary.parts, progress=_progress(summary.lines)
        )

    def _check_category(self, known: str | None) -> None:
        """Sends a batch of another category than the last one of its list only after a question on a terminal.

        The entries of people who are listed take the new category: with `health_pass`, they would be clear.
        """
        given = self._request.category
        if known in (None, given):
            return
        names = {name: texts.CATEGORIES.get(value, value) for name, value in (("known", known), ("given", given))}
        text = texts.OTHER_CATEGORY.format(list=self._request.list_, **names)
        if self._dialog is None:
            raise CommandError(text.of(self._language))
        self._dialog.say(text)
        if not self._dialog.agrees(texts.ASK_CATEGORY):
            raise CommandError(texts.NOTHING_SENT.of(self._language))

    def _open(self) -> list[ListFile]:
        """Opens the files. On a terminal, a question that a file raises is asked, and the files are opened again."""
        request = self._request
        mapping = request.column_mapping(self._language)
        while True:
            try:
                return [
                    open_list_file(path, number, mapping, request.sheet, cast(Hidden | None, request.hidden or None))
                    for number, path in enumerate(request.files, 1)
                ]
            except ListFileError as error:
                if self._dialog is None or not error.asks:
                    raise
                self._dialog.say(Bilingual(error.chinese, str(error)))
                request.answered = True
                if error.asks == "hidden":
                    request.hidden = self._dialog.choice(texts.ASK_HIDDEN, texts.HIDDEN)
                elif error.asks == "sheet":
                    request.sheet = self._dialog.sheet()
                else:
                    found = self._dialog.columns(error.suggested)
                    request.columns, request.mapping = [f"{field}={column}" for field, column in found.items()], None
                    mapping = request.column_mapping(self._language)

    def _head(self) -> PushBatch:
        request = self._request
        checked = request.check
        fields = {
            "batch_id": request.batch_id or _PLACEHOLDER,
            "authority": _PLACEHOLDER if checked else request.authority,
            "pushed_by": _PLACEHOLDER if checked else request.by,
            "list": request.list_ if is_identifier(request.list_) else _PLACEHOLDER,
            "category": request.category,
            "mode": request.mode,
            "sequence": request.sequence or int(self._now.timestamp() * 1000),
            "issued_at": self._now,
            "legal_basis": _PLACEHOLDER if checked else request.basis,
            "purpose": "epidemic_control",
            "declared_lines": 0,
            "withdraw_reason": request.reason or None,
            "lines": [],
        }
        return msgspec.convert(fields, PushBatch)

    def _summarise(self, head: PushBatch) -> tuple[PushSummary, BatchContent]:
        self._same = None if head.mode == "withdraw" else SameEntries(head.category, self._now)
        day = self._now.astimezone(self._zone).date()
        content = BatchContent(head, day, self._options.days, open_end(self._options))
        plain = read_lines(self._files, self._ring, self._options, check)
        size = header_bytes(msgspec.structs.replace(head, batch_id="x" * 64))
        return summarise(plain, size, self._same, content), content

    def _lines(self) -> Iterator[CheckedLine]:
        return read_lines(self._files, self._ring, self._options, check)

    def _confirm(self, summary: PushSummary) -> None:
        """Shows what would be sent, and asks."""
        request = self._request
        if summary.codes or summary.findings:
            row_report(self._annotated(), self._files, self._language).print(sent=False)
        mode = texts.MODES[request.mode]
        if request.reason:
            mode = texts.WITH_REASON.format(mode=mode, reason=texts.REASONS[request.reason])
        category = texts.CATEGORIES[request.category]
        self._say(
            texts.BATCH, mode=mode, authority=request.authority, list=request.list_, category=category, by=request.by, basis=request.basis
        )  # fmt: skip
        if self._dialog is not None and not self._dialog.agrees(texts.ASK_SEND):
            raise CommandError(texts.NOTHING_SENT.of(self._language))

    def _annotated(self, receipt: PushReceipt | None = None) -> Iterator[CheckedLine]:
        """Returns the lines with the codes that are known: of the receipt, and of lines that are the same entry."""
        lines = self._same.annotated(self._lines()) if self._same is not None else self._lines()
        return lines if receipt is None else decided(lines, receipt)

    def _report_rows(self, path: Path, summary: PushSummary, receipt: PushReceipt | None = None) -> None:
        """Prints the rows that were rejected or have findings, and writes the rejects file, if there are any."""
        if not (summary.codes or summary.findings or (receipt is not None and receipt.rejects)):
            return
        report = row_report(self._annotated(receipt), self._files, self._language)
        if not report.count:
            return
        report.print(sent=receipt is not None)
        write_rejects(path, self._annotated(receipt), self._files, self._language)
        report.print_place(path)
        if receipt is not None and report.rejected:
            self._say(texts.CORRECT)

    def _say_sent(self, text: Bilingual, receipt: PushReceipt) -> None:
        self._say(text, batch=receipt.batch_id, by=receipt.by, at=f"{receipt.at:%Y-%m-%dT%H:%M:%SZ}")

    def _say(self, text: Bilingual, **values: object) -> None:
        print(text.of(self._language, **values), flush=True)


def _time(text: str, language: Language) -> datetime | None:
    if not text:
        return None
    try:
        start = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        start = None
    if start is None or start.tzinfo is None:
        raise CommandError(texts.VALID_FROM.of(language))
    return start


def _progress(total: int) -> Callable[[int], None]:
    """Returns a callback that shows how many lines are sent, on a terminal only."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda sent: print(f"\r{sent:,} / {total:,}", end="\n" if sent == total else "", file=sys.stderr)
