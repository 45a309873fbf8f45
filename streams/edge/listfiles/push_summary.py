"""The summary of a push before it is sent: counts for the screen, and the rejects file."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path

from ninezero.schemas.events import PushReceipt
from ninezero.streams.edge.bilingual import Language
from ninezero.streams.edge.listfiles.batch_parts import split_into_parts
from ninezero.streams.edge.listfiles.list_file import ListFile
from ninezero.streams.edge.listfiles.private_files import write_private
from ninezero.streams.edge.listfiles.push_lines import CheckedLine
from ninezero.streams.edge.listfiles.remedies import remedy
from ninezero.streams.edge.listfiles.same_entries import SAME_ENTRY, SameEntries
from ninezero.streams.edge.listfiles.sent_batches import BatchContent


class PushSummary:
    """Counts of a push: lines and parts to declare, and how many lines have which code and findings."""

    def __init__(self) -> None:
        self.lines = self.parts = self.accepted = 0
        """`accepted` counts the lines without a code. The worker can still reject some as `not_listed`."""
        self.codes: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"PushSummary(lines={self.lines}, parts={self.parts}, accepted={self.accepted})"


def summarise(
    lines: Iterable[CheckedLine],
    header_bytes: int,
    same: SameEntries | None = None,
    content: BatchContent | None = None,
) -> PushSummary:
    """Reads all lines and counts them.

    Args:
        lines: the lines to push.
        header_bytes: the size of a part without its lines.
        same: is given each line, to find those that are the same entry. Not for withdrawals.
        content: is given each line, to name the batch by what is in it.

    Raises:
        ListFileError: a file cannot be read, or a line is too long for a part.
    """
    summary = PushSummary()
    for part in split_into_parts(lines, header_bytes):
        summary.parts += 1
        for line in part:
            summary.lines += 1
            summary.accepted += line.code is None
            summary.findings.update(line.findings)
            if same is not None:
                same.add(line)
            if content is not None:
                content.add(line.push)
            if line.code is not None:
                summary.codes[line.code] += 1
    if same is not None:
        same.finish()
        summary.accepted -= same.codes.total()
        summary.codes += same.codes
        if same:
            summary.findings[SAME_ENTRY] = len(same)
    return summary


def decided(lines: Iterable[CheckedLine], receipt: PushReceipt) -> Iterator[CheckedLine]:
    """Yields the lines with the codes that the receipt states.

    A receipt that names every rejected line decides alone: a line may have expired since its batch was applied.
    """
    codes = {reject.line: reject.code for reject in receipt.rejects}
    all_named = receipt.status == "applied" and len(codes) == receipt.rejected
    for line in lines:
        yield line._replace(code=codes.get(line.push.line, None if all_named else line.code))


def write_rejects(
    path: Path, lines: Iterable[CheckedLine], files: Sequence[ListFile], language: Language = "en"
) -> None:
    """Writes the rejects file: every line that has a code or findings.

    The file is CSV `file,row,code,findings,what_to_do` (UTF-8 with a byte order mark, for Excel) with mode 0600. A line with findings
    and without a code is sent and counts, but should be checked. Files are given by their number, because a file name can contain an
    identity.

    Args:
        path: the rejects file.
        lines: the lines of the files.
        files: the files, whose columns are named.
        language: the language of the last column.

    Raises:
        ListFileError: a list file cannot be read, or the rejects file cannot be written. An existing rejects file is kept then.
    """
    write_private(path, _csv_rows(lines, {file.number: file.columns for file in files}, language))


def _csv_rows(
    lines: Iterable[CheckedLine], columns: Mapping[int, Mapping[str, str]], language: Language
) -> Iterator[bytes]:
    text = StringIO()
    rows = csv.writer(text, lineterminator="\r\n")
    text.write("\ufeff")
    rows.writerow(("file", "row", "code", "findings", "what_to_do"))
    for line in lines:
        reasons = reasons_of(line)
        if reasons:
            remedies = dict.fromkeys(remedy(reason, columns[line.file]).of(language) for reason in reasons)
            rows.writerow((line.file, line.row, line.code or "", ";".join(line.findings), "; ".join(remedies)))
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def reasons_of(line: CheckedLine) -> list[str]:
    """Returns why a line is in the rejects file: its code and its findings."""
    return [*([line.code] if line.code is not None else ()), *line.findings]
