"""The summary counts the lines of a push, and the rejects file lists those that need a check."""

from __future__ import annotations

import csv
import io
import re
import stat
from pathlib import Path
from typing import Any, get_args

from ninezero.schemas.events import (
    BatchCode,
    ConfirmationCode,
    HoldCode,
    LineCode,
    PushReceipt,
    QualityFlag,
    Reject,
)
from ninezero.streams.edge.documents.checks import check
from ninezero.streams.edge.listfiles.explanations import BATCH_CODES, CONFIRMATION_CODES, FINDINGS, LINE_CODES
from ninezero.streams.edge.listfiles.list_file import open_list_file
from ninezero.streams.edge.listfiles.push_lines import read_lines
from ninezero.streams.edge.listfiles.push_summary import decided, summarise, write_rejects
from ninezero.streams.edge.listfiles.remedies import explanation, kind_of, remedy
from tests.unit.edge.listfiles.reading import (
    ID,
    OPTIONS,
    RING,
    error_line,
)


def test_the_summary_counts_and_the_rejects_file_lists_each_row(write_file: Any, tmp_path: Path) -> None:
    file = open_list_file(write_file(f"id,phone,截止\n{ID},,\n110105194912310021,,\n无,,\n{ID},1,2020-02-01\n"), 2)
    path = tmp_path / "rejects.csv"
    path.write_text("old")
    summary = summarise(read_lines([file], RING, OPTIONS, check), 300)
    write_rejects(path, read_lines([file], RING, OPTIONS, check), [file])
    assert (summary.lines, summary.parts, summary.accepted) == (4, 1, 2)
    assert summary.codes == {"no_token": 1, "expired": 1}
    assert summary.findings == {"id:checksum_failed": 1, "phone:phone_invalid": 1}
    compare, write_a_number = (
        "column A: " + FINDINGS["checksum_failed"].remedy.en,
        "column B: " + FINDINGS["phone_invalid"].remedy.en,
    )
    assert list(csv.reader(io.StringIO(path.read_text("utf-8-sig")))) == [
        ["file", "row", "code", "findings", "what_to_do"], ["2", "3", "", "id:checksum_failed", compare],
        ["2", "4", "no_token", "", "columns A, B: " + LINE_CODES["no_token"].remedy.en],
        ["2", "5", "expired", "phone:phone_invalid", f"column C: {LINE_CODES['expired'].remedy.en}; {write_a_number}"],
    ]  # fmt: skip
    assert path.read_bytes().startswith(b"\xef\xbb\xbf") and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_receipt_that_names_every_rejected_line_decides_alone(write_file: Any) -> None:
    file = open_list_file(write_file(f"id,截止\n{ID},2020-02-01\n{ID},3/2/2020\n"))
    lines = list(read_lines([file], RING, OPTIONS, check))
    assert [line.code for line in lines] == ["expired", "no_window"]

    def codes(status: Any, rejected: int, *rejects: Reject) -> list[str | None]:
        receipt = PushReceipt(
            "b", "cdc", "l", "close_contact", "delta", status, None, 2, 1, 0, rejected, 0, [*rejects], OPTIONS.now, OPTIONS.now
        )  # fmt: skip
        return [line.code for line in decided(lines, receipt)]

    assert codes("applied", 1, Reject(2, "no_window")) == [None, "no_window"], "the first was valid when it was applied"
    assert codes("applied", 1_001, Reject(2, "bad_window")) == ["expired", "bad_window"], (
        "the receipt does not name all"
    )
    assert codes("held", 0) == codes("rejected", 0) == ["expired", "no_window"]


def test_every_code_of_a_push_is_explained_in_both_languages() -> None:
    codes = {*get_args(HoldCode)}.union(*(get_args(one) or (one,) for one in get_args(BatchCode)))
    assert set(BATCH_CODES) == codes and set(CONFIRMATION_CODES) == set(get_args(ConfirmationCode))
    assert set(LINE_CODES) == set(get_args(LineCode)) and set(get_args(QualityFlag)) <= FINDINGS.keys()
    every = [*BATCH_CODES.values(), *CONFIRMATION_CODES.values(), *LINE_CODES.values(), *FINDINGS.values()]
    for text in (text for one in every for text in (one.meaning, one.remedy)):
        assert re.search("[\u4e00-\u9fff]", text.zh) and re.search("[a-z]{2}", text.en), text
    assert all(one.command for one in [*BATCH_CODES.values(), *CONFIRMATION_CODES.values()])


def test_a_remedy_names_the_column_of_its_finding() -> None:
    assert remedy("same as row 12 of file 1", {}) == remedy("same as row 7", {"id": "A"}) != remedy("other", {})
    assert kind_of("same as row 12 of file 1") == kind_of("same as row 7") == "same as row"
    assert remedy("phone:a_new_flag", {"phone": "AB"}) == ("AB 列：请核对", "column AB: check it")
    assert remedy("row:shifted", {"id": "A"}) == FINDINGS["shifted"].remedy
    assert explanation("same as row 7") == explanation("same as row")


def test_a_rejects_file_that_cannot_be_completed_leaves_the_old_one(write_file: Any, tmp_path: Path) -> None:
    file = open_list_file(write_file("id\n" + "1\n" * 30 + "9" * 2_000_000))
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "rejects.csv"
    path.write_text("old")
    error_line(lambda: write_rejects(path, read_lines([file], RING, OPTIONS, check), [file]))
    assert path.read_text() == "old" and len(list(path.parent.iterdir())) == 1
    error_line(lambda: write_rejects(tmp_path / "none" / "rejects.csv", iter(()), []))
