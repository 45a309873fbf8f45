"""An end that is written as a midnight includes its day. If the column also has other times, that is a finding."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from tests.unit.edge.listfiles.reading import ID, OPTIONS, lines_of, local
from tests.unit.edge.listfiles.workbook_files import with_sheet_xml

MIDNIGHTS = [
    "2020-02-10", "2020-02-10 00:00:00", "2020/2/10 0:00", "2020-02-10T00:00:00", "2020-02-10 00:00:00.000", "2020年2月10日 0时0分", "2020年2月10日0点",
    "２０２０/2/10 00:00", "2020-02-10T00:00:00+08:00", "20200210", "2020.2.10 0:00:00",
]  # fmt: skip
DAY_INCLUDED, LAST = local(2020, 2, 11), ("valid_to:midnight",)


@pytest.mark.parametrize("end", MIDNIGHTS)
def test_a_midnight_end_includes_its_day(write_file: Any, end: str) -> None:
    [line] = lines_of(write_file(f"id,截止\n{ID},{end}\n"))
    assert (line.push.valid_to, line.findings) == (DAY_INCLUDED, ())
    [line] = lines_of(write_file(f"id,起始\n{ID},{end}\n"))
    assert line.push.valid_from == local(2020, 2, 10)


def test_a_column_of_midnights_holds_dates(write_file: Any) -> None:
    found = lines_of(write_file("id,截止\n" + "".join(f"{ID},{end}\n" for end in (*MIDNIGHTS, "", "待定"))))
    assert [(line.push.valid_to, line.findings) for line in found[:-2]] == [(DAY_INCLUDED, ())] * len(MIDNIGHTS)


@pytest.mark.parametrize(
    "other", ["2020-02-11 08:30", "2020-02-11 24:00", "2020-02-10T15:00:00Z", "2020-02-11 23:59:59", "2020年2月11日8时"]
)
def test_a_midnight_among_other_times_is_a_finding_and_includes_its_day(write_file: Any, other: str) -> None:
    for place in (0, 40):  # the other time comes before or after
        ends = ["2020-02-10 00:00"] * 40
        ends.insert(place, other)
        found = lines_of(write_file("id,截止\n" + "".join(f"{ID},{end}\n" for end in ends)))
        midnights = [line for number, line in enumerate(found) if number != place]
        assert {(line.push.valid_to, line.findings, line.code) for line in midnights} == {(DAY_INCLUDED, LAST, None)}
        assert found[place].findings == ()


def test_a_date_among_times_is_certain(write_file: Any) -> None:
    found = lines_of(write_file(f"id,截止\n{ID},2020-02-10\n{ID},2020-02-10 08:30\n{ID},20200210\n"))
    assert [line.push.valid_to for line in found] == [DAY_INCLUDED, local(2020, 2, 10, 8, 30), DAY_INCLUDED]
    assert [line.findings for line in found] == [()] * 3


def test_another_column_or_file_does_not_make_a_midnight_uncertain(write_file: Any) -> None:
    first = write_file(f"id,起始,截止,采样时间\n{ID},2020-02-01 08:30,2020-02-10 00:00,2020-02-02 09:15\n")
    second = write_file(f"id,截止\n{ID},2020-02-10 08:30\n")
    assert [line.findings for line in lines_of(first, second)] == [(), ()]


def test_a_local_midnight_written_in_another_zone_is_exact_and_a_finding(write_file: Any) -> None:
    found = lines_of(write_file(f"id,截止\n{ID},2020-02-09T16:00:00Z\n{ID},2020-02-09T16:30:00Z\n"))
    assert [(line.push.valid_to, line.findings) for line in found] == [
        (local(2020, 2, 10), LAST), (datetime(2020, 2, 9, 16, 30, tzinfo=UTC), ()),
    ]  # fmt: skip


def test_a_withdrawal_reads_no_dates(write_file: Any) -> None:
    path = write_file(f"id,截止\n{ID},2020-02-10 00:00\n{ID},2020-02-10 08:30\n")
    assert [line.findings for line in lines_of(path, options=OPTIONS._replace(mode="withdraw", days=None))] == [(), ()]


@pytest.mark.parametrize("code", ["yyyy-mm-dd hh:mm:ss", "yyyy/m/d h:mm;@", "yyyy-mm-dd", "General", "m/d/yy h:mm"])
def test_the_dates_of_a_workbook_include_their_day_in_every_format(make_workbook: Any, code: str) -> None:
    def format_(book: Any) -> None:
        for row in (2, 3, 4):
            book.worksheets[0].cell(row, 2).number_format = code

    days = [[ID, 43871], [ID, 43871.0], [ID, "2020-02-10"]]
    found = lines_of(make_workbook([["id", "截止"], *days], change=format_))
    assert [(line.push.valid_to, line.findings) for line in found] == [(DAY_INCLUDED, ())] * 3
    found = lines_of(make_workbook([["id", "截止"], *days, [ID, datetime(2020, 2, 12, 8, 30)]], change=format_))
    midnight = () if code == "yyyy-mm-dd" else LAST
    assert [(line.push.valid_to, line.findings) for line in found] == [
        (DAY_INCLUDED, midnight), (DAY_INCLUDED, midnight), (DAY_INCLUDED, ()), (local(2020, 2, 12, 8, 30), ()),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("iso", "end"),
    [
        ("2020-02-10", DAY_INCLUDED), ("2020-02-10T00:00:00", DAY_INCLUDED), ("2020-02-10T00:00:00.000", DAY_INCLUDED), ("2020-02-10T08:30:00", local(2020, 2, 10, 8, 30)),
        ("2020-02-10T00:00:00+08:00", DAY_INCLUDED), ("08:30:00", None), ("2020-02", None), ("", None), ("x", None),
    ],
)  # fmt: skip
def test_an_iso_date_of_a_workbook_is_a_date(make_workbook: Any, iso: str, end: datetime | None) -> None:
    rows = (
        '<row r="1"><c r="A1" t="str"><v>id</v></c><c r="B1" t="str"><v>截止</v></c></row>'
        f'<row r="2"><c r="A2" t="str"><v>{ID}</v></c><c r="B2" t="d"><v>{iso}</v></c></row>'
    )
    [line] = lines_of(with_sheet_xml(make_workbook([["x"]]), rows), options=OPTIONS._replace(days=None))
    assert (line.push.valid_to, line.findings) == (end, ())


def test_iso_dates_that_openpyxl_writes_are_dates(make_workbook: Any) -> None:
    def iso(book: Any) -> None:
        book.iso_dates = True

    path = make_workbook([["id", "截止"], [ID, datetime(2020, 2, 10)], [ID, datetime(2020, 2, 10).date()]], change=iso)
    assert [(line.push.valid_to, line.findings) for line in lines_of(path)] == [(DAY_INCLUDED, ())] * 2
    path = make_workbook([["pass", "姓名"], [datetime(2020, 2, 10), "甲"]], change=iso)
    assert [line.findings for line in lines_of(path)] == [("pass:number_format",)]


def test_an_iso_date_counts_no_epoch(make_workbook: Any) -> None:
    def old_mac(book: Any) -> None:
        book.epoch, book.iso_dates = CALENDAR_MAC_1904, True

    path = make_workbook(
        [["id", "截止"], [ID, datetime(2020, 2, 10)], [ID, datetime(2020, 2, 10, 8, 30)]], change=old_mac
    )
    found = lines_of(path)
    assert [line.push.valid_to for line in found] == [DAY_INCLUDED, local(2020, 2, 10, 8, 30)]
    assert [line.findings for line in found] == [LAST, ()]
