"""The clerk sees which rows are one entry, and the code that the worker gives to those that cannot be joined."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import PushBatch
from ninezero.schemas.times import unix_micros
from ninezero.streams.edge.documents.checks import check
from ninezero.streams.edge.listfiles.list_file import open_list_file
from ninezero.streams.edge.listfiles.push_lines import CheckedLine, read_lines
from ninezero.streams.edge.listfiles.push_summary import PushSummary, summarise
from ninezero.streams.edge.listfiles.same_entries import SAME_ENTRY, SameEntries
from tests.support import decide_batch
from tests.unit.edge.listfiles.reading import ID, NOW, OPTIONS, PASSPORT, RING

OTHER = "110105194912310021"


def checked(*paths: Any) -> tuple[PushSummary, list[CheckedLine]]:
    """Reads files twice, as a push does. Returns the summary and the lines as they are reported."""

    def lines() -> Any:
        return read_lines([open_list_file(path, n) for n, path in enumerate(paths, 1)], RING, OPTIONS, check)

    same = SameEntries(OPTIONS.category, OPTIONS.now)
    return summarise(lines(), 300, same), list(same.annotated(lines()))


def test_a_row_of_the_same_person_is_reported_with_the_first_row(write_file: Any) -> None:
    path = write_file(
        f"id,护照号,截止\n{ID},,2020-02-15\n{OTHER},,2020-02-15\n{ID},,2020-02-10\n,{PASSPORT},2020-02-09\n{ID},{PASSPORT},2020-02-08\n"
    )
    summary, lines = checked(path)
    same = [[finding for finding in line.findings if finding.startswith("same")] for line in lines]
    assert same == [[], [], ["same as row 2"], ["same as row 2"], ["same as row 2"]]
    assert (summary.accepted, summary.findings[SAME_ENTRY], summary.codes) == (5, 3, {})


def test_a_row_of_another_file_is_named_with_its_file(write_file: Any, tmp_path: Any) -> None:
    first = write_file(f"id,截止\n{ID},2020-02-15\n")
    second = tmp_path / "second.csv"
    second.write_text(f"id,截止\n{OTHER},2020-02-15\n{ID},2020-02-15\n")
    _, lines = checked(first, second)
    assert lines[2].findings == ("same as row 2 of file 1",)


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (("2020-02-03,2020-02-04", "2020-02-08,2020-02-09"), "bad_window"),
        (("2020-01-20,2020-02-12", "2020-02-05,2020-02-29"), "term_too_long"),
    ],
)
def test_a_row_that_cannot_be_joined_has_the_code_that_the_worker_gives(
    write_file: Any, rows: tuple[str, str], code: str
) -> None:
    summary, lines = checked(write_file("id,开始,截止\n" + "".join(f"{ID},{row}\n" for row in rows)))
    assert [line.code for line in lines] == [None, code]
    assert (summary.accepted, summary.codes, lines[1].findings) == (1, {code: 1}, ("same as row 2",))
    record = {"batch_id": "b", "authority": "a", "pushed_by": "p", "list": "l", "category": OPTIONS.category, "mode": "delta", "sequence": 1,
              "issued_at": NOW, "legal_basis": "lb", "purpose": "epidemic_control", "declared_lines": 2, "lines": [line.push for line in lines]}  # fmt: skip
    change = decide_batch(msgspec.convert(record, PushBatch), unix_micros(NOW), WatchlistIndex(), None)
    assert [(reject.line, reject.code) for reject in change.rejects] == [(2, code)]
