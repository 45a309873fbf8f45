"""Columns are found by known headers or by a mapping. What is not certain is rejected."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from ninezero.streams.edge.listfiles.column_mapping import ColumnMapping
from ninezero.streams.edge.listfiles.errors import ListFileError
from ninezero.streams.edge.listfiles.list_file import open_list_file
from tests.unit.edge.listfiles.reading import (
    ID,
    PHONE,
    error_line,
    lines_of,
    tokens,
)


def test_known_headers_are_found_and_others_are_not_read(write_file: Any) -> None:
    sheet = open_list_file(
        write_file(
            "序号,姓名,公民身份号码,护照号,国籍,联系电话,号牌号码,健康通行证编号,隔离开始日期,解除日期,紧急联系人电话\n1,,,,,,,,,,2"
        )
    )
    assert sheet.columns == {
        "id": "C", "passport": "D", "nationality": "E", "phone": "F", "plate": "G", "pass": "H", "valid_from": "I", "valid_to": "J",
    }  # fmt: skip
    assert [list(row.cells) for row in sheet.rows()] == [[""] * 8]


@pytest.mark.parametrize(
    ("headers", "columns"),
    [
        ("姓名,证件号码,电话", {"id": "B", "phone": "C"}),
        ("姓名,证件类型,证件号码", {"document": "C", "document_type": "B"}),
        ("姓名,证件种类（必填）,身份证号", {"id": "C", "document_type": "B"}),
        ("身份证号,其他证件类型,证件号码", {"id": "A", "document": "C"}),
        (
            "ID type,Document No.,Nationality,Issuing State",
            {"document": "B", "document_type": "A", "nationality": "C", "state": "D"},
        ),
        ("护照号,国籍/地区,签发国（地区）", {"passport": "A", "nationality": "B", "state": "C"}),
    ],
)
def test_the_number_of_any_document_its_type_and_both_states_have_columns_of_their_own(
    write_file: Any, headers: str, columns: dict[str, str]
) -> None:
    assert open_list_file(write_file(f"{headers}\n1,2,3,4\n")).columns == columns


def test_a_guardians_number_is_not_the_persons(write_file: Any) -> None:
    assert open_list_file(write_file("身份证号（18位）,身份证号（监护人）,手机号\n1,2,3")).columns == {
        "id": "A",
        "phone": "C",
    }


def test_two_columns_of_one_field_are_rejected(write_file: Any) -> None:
    message = error_line(lambda: open_list_file(write_file("电话;身份证号;手机号\n1;2;3")))
    assert "columns A and C both look like `phone`" in message


def test_a_table_without_a_known_header_needs_a_mapping(write_file: Any) -> None:
    path = write_file(f"张三,{ID},{PHONE}\n")
    assert "give --map id=B --map phone=C" in error_line(lambda: open_list_file(path))
    found = lines_of(path, mapping=ColumnMapping(id="b", phone=3))
    assert [(line.row, line.push.tokens.id) for line in found] == [(1, tokens("id", ID))]


def test_a_mapping_names_headers_and_nothing_else_is_read(write_file: Any) -> None:
    path = write_file(f"名单\n姓名;Dokument Nr.;手机号;Telefon\n张三;{ID};10086;{PHONE}\n")
    sheet = open_list_file(path, mapping=ColumnMapping(id="dokument nr", phone="TELEFON"))
    assert sheet.columns == {"id": "B", "phone": "D"} and [row.number for row in sheet.rows()] == [3]


def test_columns_by_position_start_below_a_known_header_or_at_the_given_row(write_file: Any) -> None:
    assert [line.row for line in lines_of(write_file(f"身份证号\n{ID}"), mapping=ColumnMapping(id="A"))] == [2]
    assert [line.row for line in lines_of(write_file(f"DOC\n{ID}"), mapping=ColumnMapping(id=1, first_row=2))] == [2]


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (f"Naam,Nummer,Telefoon,Auto\n张三,{ID},{PHONE},鲁A12345\n", {"id": "B", "phone": "C", "plate": "D"}),
        (f"x,y\n{ID},无\n", {"id": "A"}),
        (f"x,y\n{ID},11010519491231002X\n", {}),  # either could be the person's
        ("x,y\n张三,李四\n", {}),
    ],
)
def test_an_unknown_header_is_answered_with_the_options_that_the_content_suggests(
    write_file: Any, table: str, columns: dict[str, str]
) -> None:
    with pytest.raises(ListFileError) as raised:
        open_list_file(write_file(table))
    assert (raised.value.asks, raised.value.suggested) == ("columns", columns)
    options = " ".join(f"--map {field}={letters}" for field, letters in columns.items())
    assert (options or "--map id=C") in str(raised.value) and (options or "--map id=C") in raised.value.chinese
    assert ID not in str(raised.value) and "{" not in str(raised.value)


@pytest.mark.parametrize(
    ("rows", "read"),
    [
        (["Nr,Nummer", f"1,{ID}"], [2]),
        (["附件：名单", "Nr,Nummer", f"1,{ID}"], [3]),  # a title above the header
        ([f"1,{ID}", f"2,{ID}"], [1, 2]),  # no header
        (["1,无", f"2,{ID}"], [1, 2]),  # a person without a number is a person
        (["Nr,Nummer"], []),  # a header alone, to empty a list
    ],
)
def test_a_header_above_columns_that_are_given_by_letters_is_no_person(
    write_file: Any, rows: list[str], read: list[int]
) -> None:
    path = write_file("\n".join(rows) + "\n")
    assert [line.row for line in lines_of(path, mapping=ColumnMapping(id="B"))] == read
    described = open_list_file(path, mapping=ColumnMapping(id="B")).describe()
    assert ("is read as the header" in described.en) == ("Nummer" in "".join(rows)) == ("当作表头" in described.zh)


@pytest.mark.parametrize(
    "mapping",
    [
        ColumnMapping(id="没有"),
        ColumnMapping(id="tel"),
        ColumnMapping(id=0),
        ColumnMapping(id=99_999),
        ColumnMapping(valid_to="A"),
        ColumnMapping(),
    ],
)
def test_a_mapping_that_does_not_fit_is_rejected(write_file: Any, mapping: ColumnMapping) -> None:
    error_line(lambda: open_list_file(write_file(f"id,x\n{ID},1"), mapping=mapping))


def test_a_mapping_is_saved_for_its_owner_and_loaded_again(tmp_path: Path) -> None:
    mapping = ColumnMapping(id="证件号", pass_=4, first_row=2)
    mapping.save(tmp_path / "m.json")
    assert ColumnMapping.load(tmp_path / "m.json") == mapping
    assert stat.S_IMODE((tmp_path / "m.json").stat().st_mode) == 0o600
    assert (tmp_path / "m.json").read_text("utf-8").startswith('{\n  "id": "证件号",\n  "pass": 4')


@pytest.mark.parametrize("content", ["", "[]", '{"name": "A"}', '{"id": null, "first_row": 0}', "{" * 9999, "\ud800"])
def test_a_bad_mapping_file_is_rejected(tmp_path: Path, content: str) -> None:
    (tmp_path / "m").write_bytes(content.encode("utf-8", "surrogatepass"))
    error_line(lambda: ColumnMapping.load(tmp_path / "m"))
    error_line(lambda: ColumnMapping.load(tmp_path / "none"))
    error_line(lambda: ColumnMapping(id="A").save(tmp_path / "none" / "m"))


def test_a_saved_mapping_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text('{"version": 2, "columns": {"id": "C"}}')
    message = error_line(lambda: ColumnMapping.load(tmp_path / "map.json"))
    assert message == "the mapping was saved by a newer release: install that release on this machine"
    (tmp_path / "map.json").write_text('{"version": 1, "id": "C"}')
    assert ColumnMapping.load(tmp_path / "map.json") == ColumnMapping(id="C")


def test_a_mapping_to_a_column_after_the_last_one_is_rejected_with_the_columns_that_there_are(
    write_file: Any,
) -> None:
    file = write_file(f"编号,甲乙\n1,{ID}\n")
    for mapping in (ColumnMapping(id="Z"), ColumnMapping(id=3), ColumnMapping(id="C", phone="D")):
        with pytest.raises(
            ListFileError, match=r"its last column is B, and the mapping names one after it.* --map id=B"
        ):
            open_list_file(file, mapping=mapping)
    assert open_list_file(file, mapping=ColumnMapping(id="B", phone="C")).columns == {"id": "B", "phone": "C"}
