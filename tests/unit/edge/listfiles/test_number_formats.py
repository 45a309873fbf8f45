"""A number of a workbook becomes the text that its cell shows, or a finding and no token."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninezero.schemas.events import PushTokens
from ninezero.streams.edge.listfiles.push_lines import CheckedLine
from ninezero.streams.edge.listfiles.tables.cells import FormattedValue
from ninezero.streams.edge.listfiles.tables.number_formats import number_format
from tests.unit.edge.listfiles.reading import ID, PHONE, lines_of, tokens
from tests.unit.edge.listfiles.workbook_files import MAIN, XML, with_parts, with_sheet_xml

WPS_ACCOUNTING = '_ * #,##0_ ;_ * \\-#,##0_ ;_ * "-"??_ ;_ @_ '


def line_of(make_workbook: Any, header: str, value: Any, code: str) -> CheckedLine:
    """Returns the line of a workbook with one cell of this number format."""

    def format_(book: Any) -> None:
        book.worksheets[0]["A2"].number_format = code

    [line] = lines_of(make_workbook([[header, "姓名"], [value, "甲"]], change=format_))
    return line


SHOWN: list[tuple[float, str, str]] = [
    (123, "000000", "000123"), (123, '"JY"000000', "JY000123"), (123, "\\J\\Y000000", "JY000123"), (123, "000-0000", "0000123"),
    (123, "000000;-000000", "000123"), (123, "000000_ ", "000123"), (123, '"No."000', "NO123"), (123, "0_ ", "123"),
    (123, "0_);[Red]\\(0\\)", "123"), (123, WPS_ACCOUNTING, "123"), (1234567, "#,##0", "1234567"), (123, "0.00", "123"), (123, "0.00_ ", "123"),
    (123, "[$-804]General", "123"), (123, 'General"X"', "123X"), (123, "[红色]000000", "000123"), (123, "[Color10]0000", "0123"),
    (123, "[$JY-804]000000", "JY000123"), (5, '[>=100]"A"0000;[<100]"B"000', "B005"), (500, '[>=100]"A"0000;[<100]"B"000', "A0500"),
    (500, '[<=99]"L"00;"H"0000', "H0500"), (0, '0000;-0000;"X"', "X"), (12345678, "000-0000", "12345678"), (123, "JY", None),
    (123, "00 00 00", "000123"), (123, '0"-"000"-"000', "0000123"), (20261210, '"JY"0000"-"00"-"00', "JY20261210"), (123, "????0", "123"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "code", "shown"), SHOWN)
def test_a_pass_has_the_number_that_its_cell_shows(
    make_workbook: Any, value: float, code: str, shown: str | None
) -> None:
    line = line_of(make_workbook, "健康通行证编号", value, code)
    if shown is None:
        assert (line.push.tokens, line.findings) == (PushTokens(), ("pass:number_format",))
    else:
        assert (line.push.tokens.pass_, line.findings) == (tokens("pass", shown), ())


@pytest.mark.parametrize(
    "code",
    [
        "0%", "0.00%", "0.00E+00", "##0.0E+0", "# ?/?", "000/000", "?/1000", "[DBNum1]0", "[DBNum2][$-804]General", "[$-30804]0", "[NatNum1]0",
        "0,", "0.0,,", "yyyy-mm-dd", 'm"月"d"日"', 'yyyy"年"', "h:mm", "[h]:mm", "aaaa", "JY000000", "*00", "*-0", ";;;", ";;", '"JY"@', "0####", ".000",
        '[>1000]"A"0;[>2000]"B"0', "[$-804]yyyy\"年\"m\"月\"d\"日\";@", "G", "0@", '0"', "0" * 2000, "[Unknown]0", "0.0.0", '0."-"0', '#,##0"-"000', '0,"A"000', '0"A"0.0',
    ],
)  # fmt: skip
def test_what_cannot_be_shown_for_certain_is_a_finding_and_no_token(make_workbook: Any, code: str) -> None:
    if code == '0"':  # openpyxl does not write it
        format_ = number_format(code)
        assert format_ is not None and format_.format_number(123.0) == FormattedValue(123.0, None, "other")
        return
    line = line_of(make_workbook, "健康通行证编号", 123, code)
    assert (line.push.tokens, line.code, line.findings) == (PushTokens(), "no_token", ("pass:number_format",))


@pytest.mark.parametrize("value", [-123, -0.5, 123.5, 1e15, 1.1010519491231e17])
def test_a_number_without_all_its_digits_has_lost_them_whatever_its_format(make_workbook: Any, value: float) -> None:
    for code in ('"JY"000000', "000000;-000000", "0.00", "yyyy-mm-dd"):
        assert line_of(make_workbook, "健康通行证编号", value, code).findings == ("pass:digits_lost",)


@pytest.mark.parametrize(
    ("text", "code", "shown"),
    [("000123", '"JY"@', "JY000123"), ("000123", '0;0;0;"JY"@', "JY000123"), ("000123", "@", "000123"), ("000123", WPS_ACCOUNTING, "000123"),
     ("000123", "0;-0;;@", "000123"), ("000123", '"JY"000000', "000123"), ("000123", ";;;", None), ("000123", '@*-', None)],
)  # fmt: skip
def test_a_text_is_read_with_what_its_format_puts_around_it(
    make_workbook: Any, text: str, code: str, shown: str | None
) -> None:
    line = line_of(make_workbook, "健康通行证编号", text, code)
    assert line.push.tokens == (PushTokens() if shown is None else PushTokens(pass_=tokens("pass", shown)))
    assert line.findings == (() if shown is not None else ("pass:number_format",))


@pytest.mark.parametrize(
    "code", ["0", "0_ ", "0.00", "0.00_ ", "#,##0", "000-0000-0000", "@", "000 0000 0000", "General"]
)
def test_a_phone_is_read_in_every_format_of_numbers(make_workbook: Any, code: str) -> None:
    line = line_of(make_workbook, "手机号", int(PHONE), code)
    assert (line.push.tokens.phone, line.findings) == (tokens("phone", "86" + PHONE), ())


def test_zeros_that_a_format_hides_are_empty_cells(make_workbook: Any) -> None:
    def format_(book: Any) -> None:
        for row in book.worksheets[0]["A2:C3"]:
            for cell in row:
                cell.number_format = "0;-0;;@"

    [line] = lines_of(make_workbook([["id", "phone", "pass"], [ID, 0, 0], [0, 0, 0]], change=format_))
    assert (line.row, line.findings, line.push.tokens) == (2, (), PushTokens(id=tokens("id", ID)))


def test_a_format_that_a_file_names_by_number_is_the_one_of_excel_and_wps(make_workbook: Any) -> None:
    def styled(number: int, code: str = "") -> Path:
        formats = f'<numFmts count="1"><numFmt numFmtId="{number}" formatCode="{code}"/></numFmts>' if code else ""
        styles = f'{XML}<styleSheet {MAIN}>{formats}<cellXfs count="1"><xf numFmtId="{number}"/></cellXfs></styleSheet>'
        rows = (
            '<row r="1"><c r="A1" t="str"><v>pass</v></c><c r="B1" t="str"><v>截止</v></c></row>'
            '<row r="2"><c r="A2"><v>123</v></c><c r="B2"><v>43878</v></c></row>'
        )
        path = with_sheet_xml(make_workbook([["x"]]), rows)
        return with_parts(path, lambda name, data: styles.encode() if name == "xl/styles.xml" else data)

    plain, unsure = True, False
    end, none = datetime(2020, 2, 17, 16, tzinfo=UTC), None
    for number, code, certain, window in [
        (0, "", plain, end), (1, "", plain, end), (3, "", plain, end), (37, "", plain, end), (49, "", plain, end), (200, "", plain, end),
        (9, "", unsure, none), (11, "", unsure, none), (12, "", unsure, none), (44, "", unsure, none), (14, "", unsure, end), (22, "", unsure, end),
        (27, "", unsure, none), (31, "", unsure, end), (58, "", unsure, end), (20, "", unsure, none), (46, "", unsure, none),
        (176, "reserved-0x1F", unsure, end), (177, "reserved-0x1b", unsure, none), (31, 'yyyy/m/d;@', unsure, end),
    ]:  # fmt: skip
        [line] = lines_of(styled(number, code))
        assert ("pass:number_format" not in line.findings, line.push.valid_to) == (certain, window), number
        assert (line.push.tokens == PushTokens(pass_=tokens("pass", "123"))) == certain


@pytest.mark.parametrize(
    ("value", "code", "end"),
    [
        (43878, "yyyy-mm-dd", "day"), (43878.35, "yyyy-mm-dd", "day"), (43878, '[$-804]yyyy"年"m"月"d"日";@', "day"), (43878, "[$-F800]dddd, mmmm dd, yyyy", "day"),
        (43878, 'm"月"d"日"', "day"), (43878, "yyyy-mm-dd hh:mm:ss", "day"), (43878, "yyyy/m/d h:mm;@", "day"), (43878, "[DBNum1][$-804]yyyy年m月d日", "day"),
        (43878, "0.00", "day"), (43878, "General", "day"), (20200217, "0000-00-00", "day"), (200217, '"20"00-00-00', "day"), (43878.5, "yyyy/m/d h:mm", "noon"),
        (43878, 'yyyy"年"m"月"', None), (43878, "h:mm", None), (43878, "[h]:mm:ss", None), (43878, "aaaa", None), (43878, "0%", None),
        (43878, '[>=43878]"已解除";yyyy-mm-dd', None), (43870, '[>=43878]"已解除";yyyy-mm-dd', "earlier"), (43878, ";;;", None), (43878, "mm:ss", None),
    ],
)  # fmt: skip
def test_a_date_is_read_as_it_is_shown(make_workbook: Any, value: float, code: str, end: str | None) -> None:
    def format_(book: Any) -> None:
        book.worksheets[0]["B2"].number_format = code

    [line] = lines_of(make_workbook([["id", "截止"], [ID, value]], change=format_))
    days = {"day": (17, 16), "noon": (17, 4), "earlier": (9, 16)}
    assert line.push.valid_to == (None if end is None else datetime(2020, 2, *days[end], tzinfo=UTC))
    assert line.findings == (() if end is not None else ("valid_to:number_format",))
    assert line.code == (None if end is not None else "no_window")


@given(
    st.text(alphabet='0#?.,%/@;"\\_*[]EeGymdhsab-+$<>=1 年JY', max_size=30),
    st.floats(allow_nan=True),
    st.text(max_size=5),
)
def test_any_format_code_gives_a_value(code: str, number: float, text: str) -> None:
    format_ = number_format(code)
    if format_ is None:
        return
    shown = format_.format_number(number)
    assert shown is None or (shown.kind in ("number", "date", "date_time", "other") and "123" not in repr(shown))
    assert isinstance(format_.format_text(text), str | FormattedValue)
