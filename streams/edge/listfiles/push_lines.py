"""From rows of list files to lines of a push: tokens, a window of validity, a code and findings.

Every line is sent, also one with a code, so that `declared_lines` and the receipt agree with the files. The code shown here is the
one that the worker will give (contract §5), except `not_listed`, which only the worker knows. Nothing made here contains an
identity or another cell.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal, NamedTuple

from ninezero.schemas.events import LineCode, PushLine, PushTokens
from ninezero.schemas.line_codes import MAX_TERM, line_code
from ninezero.schemas.times import unix_micros
from ninezero.streams.edge.documents.key_ring import KeyRing
from ninezero.streams.edge.documents.normal_forms import Domain
from ninezero.streams.edge.listfiles.date_findings import date_findings
from ninezero.streams.edge.listfiles.dates import FOREVER, parse_time
from ninezero.streams.edge.listfiles.identity_cells import row_tokens
from ninezero.streams.edge.listfiles.known_headers import field_of
from ninezero.streams.edge.listfiles.list_file import ListFile
from ninezero.streams.edge.listfiles.tables.cells import Cell

CLOCK_ALLOWANCE = timedelta(minutes=10)
"""How far the clock of this machine may be ahead."""

CheckIdentity = Callable[[Domain, str, date], Sequence[str]]
"""The signature of `ninezero.streams.edge.documents.checks.check`: the quality flags of a value as it is written."""


class PushOptions(NamedTuple):
    """The values that the files do not state. They are fixed for a push, so that reading the files again gives the same lines.

    `now` and `valid_from` have a zone. `zone` is the zone of times in the files that state no offset. `valid_from` (default: no
    start, so that a line holds whenever something was observed) and `days` (1 to `longest_days`; default: no end) replace start and
    end where a cell is empty or there is no column. Days count from the start, or from `now` where there is none.
    """

    mode: Literal["delta", "full", "withdraw"]
    category: str
    now: datetime
    zone: tzinfo
    valid_from: datetime | None = None
    days: int | None = None


class CheckedLine(NamedTuple):
    """One line to push, with its place in the files and what is known about it before it is sent.

    `push.line` counts from 1 over all files. `file` is the file's number on the command line, `row` its row as a spreadsheet shows
    it. A row with the resident numbers of two people gives two lines. `code` is the reason for which the worker will reject the line,
    if any. `findings` are `field:flag` with the flags of CONTRACT §1 and these:

    - No token: `digits_lost` (a spreadsheet has rounded the number), `number_format` (the cell shows something else than its value,
      and what it shows is no text or date that can be read), `not_calculated` (a formula without its result), `several_values` (the cell holds several numbers, and not each
      of them is valid), `passport:resident_number` (it is the number of an identity card).
    - No token of the row at all: `document_type:unknown_type`; `row:note` (the row is a total, a note about the list, or the header again); `row:shifted`
      (the row has more cells than the header) with another finding.
    - To be checked: `midnight` (see `date_findings`), `passport:state_from_nationality` (no issuing state is written, so the
      nationality was used), `phone:two_readings` (a Chinese number that could also be one of another country).
    """

    push: PushLine
    file: int
    row: int
    code: LineCode | None
    findings: tuple[str, ...]


class _Window(NamedTuple):
    start: datetime | None
    end: datetime | None


def read_lines(
    files: Iterable[ListFile], ring: KeyRing, options: PushOptions, check: CheckIdentity
) -> Iterator[CheckedLine]:
    """Yields the lines of all files in order, while the files are read.

    Raises:
        ListFileError: a file is damaged, or has changed since it was opened.
    """
    number, today, now_us = 0, options.now.astimezone(options.zone).date(), unix_micros(options.now)
    for file in files:
        for row in file.rows():
            cells = dict(zip(file.fields, row.cells, strict=True))
            people, findings = row_tokens(cells, ring, lambda domain, text: check(domain, text, today), file.untyped)
            if (row.note or _is_header(cells)) and (findings or people != [PushTokens()]):
                people, findings = [PushTokens()], ["row:note"]
            if row.shifted:
                people = [PushTokens()] if findings else people
                findings.append("row:shifted")
            window = _Window(None, None)
            if options.mode != "withdraw":
                window = _window(cells, options, file.epoch_1904)
                findings += date_findings(file, cells, options.zone)
            for tokens in people:
                number += 1
                push = PushLine(line=number, tokens=tokens, valid_from=window.start, valid_to=window.end)
                code = line_code(push, options.mode, options.category, now_us)
                yield CheckedLine(push, file.number, row.number, code, tuple(dict.fromkeys(findings)))


def _is_header(cells: Mapping[str, Cell]) -> bool:
    """Returns whether a row repeats the header, as at the top of a printed page."""
    filled = {field: cell for field, cell in cells.items() if _is_filled(cell)}
    first = next(iter(filled.values()), None)
    if not isinstance(first, str) or any(map(str.isdigit, first)):  # so it is with nearly all rows
        return False
    return all(field_of(cell) in (field, "document") for field, cell in filled.items())


def _window(cells: Mapping[str, Cell], options: PushOptions, epoch_1904: bool) -> _Window:
    """Returns the window in UTC. If a filled cell holds no unambiguous time, there is no end, so the line is rejected."""
    start = None if options.valid_from is None else options.valid_from.astimezone(UTC)
    if _is_filled(cells.get("valid_from")):
        start = parse_time(cells["valid_from"], options.zone, end=False, epoch_1904=epoch_1904)
        if start is None:  # without a start, the line would hold from ever
            return _Window(None, None)
    if _is_filled(cells.get("valid_to")):
        return _Window(start, parse_time(cells["valid_to"], options.zone, end=True, epoch_1904=epoch_1904))
    return _Window(start, None if options.days is None else _end_after(options, options.days, start))


def open_end(options: PushOptions) -> datetime | None:
    """Returns the end of a line that states neither a start nor an end, or None if it has none."""
    if options.days is None or options.mode == "withdraw" or options.valid_from is not None:
        return None
    return _end_after(options, options.days, None)


def _end_after(options: PushOptions, days: int, start: datetime | None) -> datetime:
    """Returns the end of a window of some days. Without a start, the longest term ends a little early.

    The worker counts such a term from its own time. If the clock of this machine is ahead, the window would be too long for it.
    """
    term = timedelta(days=days)
    if start is None:
        start = options.now.astimezone(UTC)
        term -= CLOCK_ALLOWANCE if term == MAX_TERM and options.category != "health_pass" else timedelta(0)
    return start + term if start < FOREVER - term else FOREVER


def _is_filled(cell: Cell) -> bool:
    return bool(cell.strip()) if isinstance(cell, str) else cell is not None
