"""Rows of tables to the lines of a push: tokens and a window, and what the authority is told of each line.

All lines are sent, so that `declared_lines` and the receipt agree with the files; the verdict here, the same as the workers'
(CONTRACT §5), is for the screen and the rejects file. Nothing made here holds an identity or any other cell.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Literal, NamedTuple

from ninezero.schemas.events import LineCode, PushLine, PushTokens, encode
from ninezero.schemas.line_codes import line_code
from ninezero.schemas.times import unix_micros
from ninezero.streams.edge.documents.key_ring import KeyRing
from ninezero.streams.edge.documents.normal_forms import Domain, normalise
from ninezero.streams.edge.listfiles.dates import FOREVER, moment
from ninezero.streams.edge.listfiles.list_file import Sheet
from ninezero.streams.edge.listfiles.tables.cells import LONGEST_CELL, Cell, SheetError, write_private

MOST_BYTES = 900_000
"""Of one part's JSON; a record over 1 MiB is refused."""

Check = Callable[[Domain, str, date], Sequence[str]]
"""As `ninezero.streams.edge.documents.checks.check`: the quality flags of a value as written."""

_DOMAINS: tuple[Domain, ...] = ("id", "passport", "phone", "plate", "pass")
_NOTHING = frozenset(("无", "没有", "暂无", "不详", "未知", "空", "NA", "NONE", "NULL", "NIL", "NAN", "UNKNOWN"))
"""What people write where they have nothing: as a token it would make them all one person."""
_WRAPPED = re.compile('="(.*)"')
_DIGITS_LOST = re.compile(r"[0-9]+(?:\.[0-9]+E\+?|E\+)[0-9]+", re.IGNORECASE)
_DECIMAL = re.compile(r"([0-9]+)\.0+")
_EXACT = 10**15
"""Spreadsheets keep fifteen digits of a number; a longer one has lost the rest."""


class Terms(NamedTuple):
    """What the files do not say. Fixed for a push, so that its lines come out the same however often they are read.

    `now` and `valid_from` have a zone; times in files without an offset are local in `zone`. `valid_from` (default: now) and
    `days` (1 to 36,500) stand for cells that are empty or have no column; without `days` there is no default end.
    """

    mode: Literal["delta", "full", "withdraw"]
    category: str
    now: datetime
    zone: tzinfo
    valid_from: datetime | None = None
    days: int | None = None


class Line(NamedTuple):
    """One line to push, and what is told of it.

    `push.line` counts from 1 over all files; `file` is the file's place on the command line and `row` its row there, as a
    spreadsheet numbers them. `code` is the worker's verdict as far as it can be known here. `findings` are `field:flag`, with
    the flags of CONTRACT §1 and two of our own: `digits_lost` (a number that a spreadsheet has rounded: no token) and
    `row:shifted` (more cells than the header; if another finding agrees, nothing of the row is taken).
    """

    push: PushLine
    file: int
    row: int
    code: LineCode | None
    findings: tuple[str, ...]


def read_lines(sheets: Iterable[Sheet], ring: KeyRing, terms: Terms, check: Check) -> Iterator[Line]:
    """The lines of all files, in order, as they are read. Raises SheetError."""
    number, today, now_us = 0, terms.now.astimezone(terms.zone).date(), unix_micros(terms.now)
    for sheet in sheets:
        for row in sheet.rows():
            number += 1
            cells = dict(zip(sheet.fields, row.cells, strict=True))
            tokens, findings = _tokens(cells, ring, lambda domain, text: check(domain, text, today))
            if row.shifted:
                tokens = PushTokens() if findings else tokens
                findings.append("row:shifted")
            first, last = (None, None) if terms.mode == "withdraw" else _window(cells, terms, sheet.epoch_1904)
            push = PushLine(line=number, tokens=tokens, valid_from=first, valid_to=last)
            code = line_code(push, terms.mode, terms.category, now_us)
            yield Line(push, sheet.file, row.row, code, tuple(dict.fromkeys(findings)))


def parts(lines: Iterable[Line], header_bytes: int, most: int = MOST_BYTES) -> Iterator[list[Line]]:
    """Groups lines so that a part's JSON, its header of `header_bytes` included, has at most `most` bytes.

    No lines make no part. Raises SheetError if a line alone is too long.
    """
    part: list[Line] = []
    size = header_bytes
    for line in lines:
        more = len(encode(line.push)) + 1  # and a comma
        if header_bytes + more > most:
            raise SheetError(
                "a line has too many tokens to be sent: the key ring has too many keys, ask for a newer one"
            )
        if part and size + more > most:
            yield part
            part, size = [], header_bytes
        part.append(line)
        size += more
    if part:
        yield part


class Summary:
    """Counts of a push, from a first reading: what it declares, and what the screen shows before anything is sent."""

    def __init__(self) -> None:
        self.lines = self.parts = self.accepted = 0
        """`accepted`: lines without a code, as far as can be known here."""
        self.codes: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"Summary(lines={self.lines}, parts={self.parts}, accepted={self.accepted})"


def summarise(lines: Iterable[Line], header_bytes: int, rejects: Path | None = None) -> Summary:
    """Reads all lines and keeps none; writes the rejects file if a path is given. Raises SheetError.

    The rejects file is CSV `file,row,code,findings` (UTF-8 with BOM, for Excel), mode 0600, of every line that has a code or
    findings; without a code it is sent and counts, but somebody should look at it. Files are numbers, since a name may
    hold an identity.
    """
    summary = Summary()

    def count() -> Iterator[Line]:
        for part in parts(lines, header_bytes):
            summary.parts += 1
            for line in part:
                summary.lines += 1
                summary.accepted += line.code is None
                summary.findings.update(line.findings)
                if line.code is not None:
                    summary.codes[line.code] += 1
                yield line

    if rejects is None:
        for _ in count():
            pass
    else:
        write_private(rejects, _table(count()))
    return summary


def _table(lines: Iterable[Line]) -> Iterator[bytes]:
    yield "\ufefffile,row,code,findings\r\n".encode()
    for line in lines:
        if line.code is not None or line.findings:
            yield f"{line.file},{line.row},{line.code or ''},{';'.join(line.findings)}\r\n".encode()


# -- one line --------------------------------------------------------------------------------------------------------


def _tokens(
    cells: dict[str, Cell], ring: KeyRing, check: Callable[[Domain, str], Sequence[str]]
) -> tuple[PushTokens, list[str]]:
    """The tokens of a row's identities under every key, and what was found about them."""
    found: dict[str, list[str]] = {}
    findings: list[str] = []
    for domain in _DOMAINS:
        text = _identity(domain, cells.get(domain))
        if text is None:
            findings.append(f"{domain}:digits_lost")
            continue
        if domain == "passport" and text:
            text = _with_state(text, cells.get("state"))
        normal = normalise(domain, text) if len(text) <= LONGEST_CELL else None
        # A phone in E.164 has no flags (CONTRACT §1), and reading it twice would be a third of all the work.
        if normal is None or (normal and domain != "phone"):
            findings += [f"{domain}:{flag}" for flag in check(domain, text)]
        if normal:
            found["pass_" if domain == "pass" else domain] = ring.tokens(domain, normal)
    return PushTokens(**found), findings


def _identity(domain: Domain, cell: Cell) -> str | None:
    """What is written in a cell, empty if that says there is nothing; None for a number that has lost digits."""
    if not cell:
        return "0" if cell == 0 and isinstance(cell, float) else ""
    if isinstance(cell, float):
        return str(int(cell)) if 0 <= cell < _EXACT and cell.is_integer() else None
    if len(cell) > LONGEST_CELL:
        return cell
    plain = unicodedata.normalize("NFKC", cell).strip()
    if wrapped := _WRAPPED.fullmatch(plain):  # what exports write to keep Excel from rounding it
        plain = cell = wrapped[1].strip()
    if _DIGITS_LOST.fullmatch(plain):
        return None
    if domain in ("id", "phone") and (
        decimal := _DECIMAL.fullmatch(plain)
    ):  # a number column that some program exported
        return decimal[1] if len(decimal[1]) <= 15 else None
    return "" if plain.upper().replace("/", "") in _NOTHING else cell


def _with_state(number: str, cell: Cell) -> str:
    """`STATE/NUMBER`, unless the number says its state itself."""
    state = (
        unicodedata.normalize("NFKC", cell[:LONGEST_CELL]).replace("/", " ").strip() if isinstance(cell, str) else ""
    )
    return number if not state or "/" in unicodedata.normalize("NFKC", number) else f"{state}/{number}"


def _window(cells: dict[str, Cell], terms: Terms, epoch_1904: bool) -> tuple[datetime | None, datetime | None]:
    """In UTC. A cell that is not empty and not certain gives None, never a default."""
    first: datetime | None = (terms.valid_from or terms.now).astimezone(UTC)
    last: datetime | None = None
    if _filled(cells.get("valid_from")):
        first = moment(cells["valid_from"], terms.zone, end=False, epoch_1904=epoch_1904)
    if _filled(cells.get("valid_to")):
        last = moment(cells["valid_to"], terms.zone, end=True, epoch_1904=epoch_1904)
    elif first is not None and terms.days is not None:
        last = first + timedelta(days=terms.days) if first < FOREVER - timedelta(days=terms.days) else FOREVER
    return first, last


def _filled(cell: Cell) -> bool:
    return bool(cell.strip()) if isinstance(cell, str) else cell is not None
