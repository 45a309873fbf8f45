"""`ninezero push`: sends the files of a health authority to the watchlist, or confirms a held batch."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
import typer

from ninezero.agents.cli.console import CommandError
from ninezero.schemas.events import CATEGORIES, PushBatch, PushReceipt
from ninezero.streams import settings as settings_

SHOWN = 20
"""Number of rejected lines that are printed. The rejects file has all of them."""

_HELD = {
    "count_mismatch": "it does not have the number of lines that it declares",
    "would_empty": "it would empty the list",
    "would_shrink": "it would remove a large part of the list",
    "unknown_key_ids": "no other list has tokens of its keys, so this machine may use a wrong key ring: check NINEZERO_KEYS",
}
_REJECTED = {
    "no_legal_basis": "it names no legal basis: give --basis",
    "unknown_category": "its category is not one of the closed list",
    "stale_sequence": "the list has had a batch of the same or a higher sequence: leave --sequence out, or give a higher one",
    "sequence_ahead": "its sequence is more than a day ahead of the broker's clock: check this machine's clock, or give a lower"
    " --sequence",
    "incomplete": "some of its parts did not arrive within 24 hours: push the files again, under another batch_id",
    "needs_upgrade_finish": "the deployment is being upgraded: let its operators finish the upgrade, then push the files again",
}
_CONFIRMATION = {
    "same_person": "the person who pushed a batch cannot confirm it: a second person has to",
    "overtaken": "a later batch of the list was applied since: push the files again",
    "not_held": "the batch is not held",
    "gone": "the batch is too old and its lines are deleted: push the files again",
}


def push(
    files: Annotated[
        list[Path] | None, typer.Argument(help="CSV or .xlsx files. They are sent as one batch, in this order.")
    ] = None,
    authority: Annotated[str, typer.Option(help="Health authority that pushes.")] = "",
    list_: Annotated[str, typer.Option("--list", help="Name of the list of this authority.")] = "",
    category: Annotated[str, typer.Option(help=f"Reason for the list: {', '.join(sorted(CATEGORIES))}.")] = "",
    by: Annotated[str, typer.Option(help="Person who pushes or confirms.")] = "",
    basis: Annotated[str, typer.Option(help="Legal basis of the batch, an identifier.")] = "",
    full: Annotated[bool, typer.Option("--full", help="Replace the whole list by the files.")] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Remove the people in the files from the list.")] = False,
    reason: Annotated[
        str, typer.Option(help="Reason for a withdrawal: expired, cleared or mistake. Only with --withdraw.")
    ] = "",
    confirm: Annotated[
        str, typer.Option(metavar="BATCH_ID", help="Apply a held batch. This needs a second person.")
    ] = "",
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Days for which a line without an end is valid.")
    ] = None,
    valid_from: Annotated[
        str,
        typer.Option(
            help="Start of lines that state none, in RFC 3339 with an offset. By default they hold whenever something was observed."
        ),
    ] = "",
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN",
            help="Column of a field, for example id=C or phone=联系人电话. May be repeated.",
        ),
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="File with a saved mapping of columns.")] = None,
    save_mapping: Annotated[Path | None, typer.Option(help="File in which the mapping of --map is saved.")] = None,
    sheet: Annotated[str | None, typer.Option(help="Sheet of a workbook, by name or number.")] = None,
    hidden: Annotated[
        str,
        typer.Option(
            metavar="include|skip",
            help="Push or leave out the rows and columns that a sheet does not show. Needed if there are any.",
        ),
    ] = "",
    rejects: Annotated[
        Path | None, typer.Option(help="File for rejected lines. The default is rejects-BATCH_ID.csv.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check the files and send nothing.")] = False,
    batch_id: Annotated[
        str, typer.Option(help="Id of the batch, to send it again or to use a numbering of your own.")
    ] = "",
    sequence: Annotated[
        int | None, typer.Option(min=1, help="Number that rises with every batch of a list. The default is the time.")
    ] = None,
) -> None:
    """Pushes files to a list: each line becomes tokens on this machine, and its result is reported."""
    settings = settings_.load(edge=True, also_needed=() if confirm else ("NINEZERO_KEYS",))
    if confirm:
        _confirm(settings, confirm, by, authority)
        return
    if not files:
        raise CommandError("name the files to push, or --confirm BATCH_ID: see ninezero push --help")
    if withdraw and full:
        raise CommandError("--full and --withdraw exclude each other")
    if withdraw != bool(reason):
        raise CommandError("--withdraw and --reason (expired, cleared or mistake) go together")
    if hidden not in ("", "include", "skip"):
        raise CommandError("--hidden is include or skip")
    now = datetime.now(UTC)
    head = _head(
        {
            "batch_id": batch_id or f"{list_[:30] or 'batch'}-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
            "authority": authority,
            "pushed_by": by,
            "list": list_,
            "category": category,
            "mode": "withdraw" if withdraw else "full" if full else "delta",
            "sequence": sequence or int(now.timestamp() * 1000),
            "issued_at": now,
            "legal_basis": basis,
            "purpose": "epidemic_control",
            "declared_lines": 0,
            "withdraw_reason": reason or None,
            "lines": [],
        }
    )
    chosen = _mapping(columns, mapping, save_mapping)
    _Push(settings, head, files, chosen, sheet, hidden, days, valid_from).run(rejects, check)


class _Push:
    """One push. It reads the files up to three times: to check and summarise them, to send them, and to write the rejects file."""

    def __init__(
        self,
        settings: settings_.Settings,
        head: PushBatch,
        files: list[Path],
        mapping: Any,
        sheet: str | None,
        hidden: str,
        days: int | None,
        since: str,
    ) -> None:
        from ninezero.streams.edge.documents.key_ring import KeyRing
        from ninezero.streams.edge.listfiles.list_file import open_list_file
        from ninezero.streams.edge.listfiles.push_lines import PushOptions

        if settings.keys is None:
            raise settings_.not_set("NINEZERO_KEYS")
        self._settings, self._head = settings, head
        self._ring = KeyRing.load(settings.keys)
        choice: Any = hidden or None
        self._files = [open_list_file(path, number, mapping, sheet, choice) for number, path in enumerate(files, 1)]
        start = None
        if since:
            try:
                start = msgspec.convert(since, datetime)
            except msgspec.ValidationError:
                start = None
            if start is None or start.tzinfo is None:
                raise CommandError("--valid-from is not a time: give RFC 3339 with an offset")
        self._same: Any = None
        """Which lines are the same entry. Known after the first reading; None for a withdrawal."""
        self._options = PushOptions(head.mode, head.category, head.issued_at, ZoneInfo(settings.timezone), start, days)

    def run(self, rejects: Path | None, check: bool) -> None:
        """Checks the files and prints a summary; unless `check`, sends them and prints the receipt.

        Args:
            rejects: file for rejected lines; None for the default name.
        """
        from ninezero.streams.edge.listfiles.batch_parts import header_bytes
        from ninezero.streams.edge.listfiles.push_client import push_batch
        from ninezero.streams.edge.listfiles.push_summary import summarise
        from ninezero.streams.edge.listfiles.same_entries import SameEntries

        for file in self._files:
            print(f"file {file.number}: {file.describe()}")
            if self._options.days and self._head.mode != "withdraw" and "valid_to" not in file.fields:
                print(f"file {file.number}: no column of ends is recognised, so --days counts for every row")
        if self._head.mode != "withdraw":
            self._same = SameEntries(self._head.category, self._head.issued_at)
        summary = summarise(self._lines(), header_bytes(self._head), self._same)
        print(
            f"{summary.lines:,} line{'s' if summary.lines != 1 else ''}: {summary.accepted:,} good{_counts_text(summary.codes)}{_counts_text(summary.findings)}"
        )
        path = rejects or Path(f"rejects-{self._head.batch_id}.csv")
        if check:
            self._report_rejects(path, {})
            print("nothing was sent")
            return
        head = msgspec.structs.replace(self._head, declared_lines=summary.lines)
        shown = f"batch {head.batch_id}, sequence {head.sequence}"
        print(f"sending as {shown}" + (f", in {summary.parts} parts" if summary.parts > 1 else ""))
        receipt = push_batch(
            self._settings, head, self._lines(), part_count=summary.parts, progress=_progress(summary.lines)
        )
        if summary.codes or summary.findings or receipt.rejects:
            self._report_rejects(path, {reject.line: reject.code for reject in receipt.rejects})
        _print_receipt(receipt)

    def _lines(self) -> Iterator[Any]:
        from ninezero.streams.edge.documents.checks import check
        from ninezero.streams.edge.listfiles.push_lines import read_lines

        return read_lines(self._files, self._ring, self._options, check)

    def _report_rejects(self, path: Path, codes: dict[int, str]) -> None:
        """Prints the lines that were rejected or have findings, and writes the rejects file, if there are any."""
        from ninezero.streams.edge.listfiles.push_summary import reasons_of, write_rejects
        from ninezero.streams.edge.listfiles.remedies import kind_of, remedy

        def with_codes() -> Iterator[Any]:
            for line in self._same.annotated(self._lines()) if self._same is not None else self._lines():
                yield line._replace(code=codes.get(line.push.line, line.code))

        count, remedies = 0, dict[str, None]()
        columns = {file.number: file.columns for file in self._files}
        for line in with_codes():
            reasons = reasons_of(line)
            if reasons:
                count += 1
                if count <= SHOWN:
                    print(f"file {line.file} row {line.row}: {' '.join([line.code or 'sent', *line.findings])}")
                for reason in reasons:
                    remedies[f"file {line.file}, {kind_of(reason)}: {remedy(reason, columns[line.file])}"] = None
        if count:
            write_rejects(path, with_codes(), self._files)
            for text in [*remedies][:SHOWN]:
                print(text)
            print(f"{count:,} line{'s' if count != 1 else ''} with findings: see the rejects file {path}")


def _head(fields: dict[str, Any]) -> PushBatch:
    if fields["category"] not in CATEGORIES:
        raise CommandError(f"--category must be one of {', '.join(sorted(CATEGORIES))}")
    if not fields["legal_basis"]:
        raise CommandError("--basis is missing: every batch states its legal basis")
    try:
        return msgspec.convert(fields, PushBatch)
    except msgspec.ValidationError as error:
        field = str(error).rpartition("`$.")[2].rstrip("`")
        option = {"pushed_by": "by", "legal_basis": "basis", "withdraw_reason": "reason"}.get(field, field)
        raise CommandError(
            f"--{option.replace('_', '-')} is missing or wrong: give letters, digits, '.', '_' and '-', at most 64,"
            " no eleven digits in a row" + (" (expired, cleared or mistake)" if option == "reason" else "")
        ) from None


def _mapping(columns: list[str] | None, path: Path | None, save: Path | None) -> Any:
    from ninezero.streams.edge.listfiles.column_mapping import FIELDS, ColumnMapping

    if columns and path:
        raise CommandError("--map and --mapping exclude each other")
    if not columns:
        return ColumnMapping.load(path) if path else None
    pairs = dict(column.partition("=")[::2] for column in columns)
    if not all(pairs.values()) or not pairs.keys() <= set(FIELDS):
        raise CommandError(f"--map is FIELD=COLUMN: the fields are {', '.join(FIELDS)}")
    mapping = msgspec.convert(pairs, ColumnMapping)
    if save:
        mapping.save(save)
    return mapping


def _confirm(settings: settings_.Settings, batch_id: str, by: str, authority: str) -> None:
    from ninezero.streams.edge.listfiles.push_client import confirm_batch

    if not by:
        raise CommandError("--by is missing: name the person who confirms")
    receipt = confirm_batch(settings, batch_id, by, authority or None)
    if receipt.confirmation is not None:
        raise CommandError(f"not confirmed: {_CONFIRMATION[receipt.confirmation]}")
    _print_receipt(receipt)


def _print_receipt(receipt: PushReceipt) -> None:
    if receipt.status == "applied":
        print(
            f"applied: {receipt.accepted:,} accepted, {receipt.duplicate:,} duplicate, {receipt.rejected:,} rejected,"
            f" {receipt.withdrawn:,} withdrawn{_leaving_text(receipt, 'leave')}"
        )
    elif receipt.status == "held":
        raise CommandError(
            f"held ({receipt.code}): {_HELD[str(receipt.code)]}{_leaving_text(receipt, 'would leave')}; the list stays as it was. If the batch is right, a second person"
            f" runs: ninezero push --confirm {receipt.batch_id} --by WHO"
        )
    else:
        last = f" (the last one applied is {receipt.sequence})" if receipt.code == "stale_sequence" else ""
        raise CommandError(f"rejected ({receipt.code}): {_REJECTED[str(receipt.code)]}{last}; the list stays as it was")


def _leaving_text(receipt: PushReceipt, leave: str) -> str:
    """Returns how many entries leave the list, or would leave it. Empty if none does."""
    return f"; {receipt.leaving:,} of {receipt.listed:,} entries {leave} the list" if receipt.leaving else ""


def _counts_text(counts: Any) -> str:
    return "".join(f", {name} {count:,}" for name, count in counts.most_common())


def _progress(total: int) -> Any:
    """Returns a callback that shows how many lines are sent, on a terminal only."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda sent: print(f"\r{sent:,} of {total:,} lines", end="\n" if sent == total else "", file=sys.stderr)
