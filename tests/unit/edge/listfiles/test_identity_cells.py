"""Identities in lists: document types, issuing states, several numbers in a cell, and the same tokens as a device makes."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninezero.schemas.events import PushTokens
from ninezero.streams.edge.device.travellers import Traveller, pseudonymise
from ninezero.streams.edge.documents.checks import check
from ninezero.streams.edge.listfiles.document_types import _TYPES, document_type
from ninezero.streams.edge.listfiles.explanations import FINDINGS
from ninezero.streams.edge.listfiles.identity_cells import row_tokens
from ninezero.streams.edge.listfiles.remedies import remedy
from tests.unit.edge.listfiles.reading import ID, PHONE, RING, lines_of, tokens

OTHER, TODAY = "440524188001010014", date(2020, 2, 3)


def line_tokens(**normal_forms: str | list[str]) -> PushTokens:
    """Returns the tokens of a line with these normal forms."""
    fields = {name: [form] if isinstance(form, str) else form for name, form in normal_forms.items()}
    return PushTokens(
        **{name: [t for form in forms for t in tokens(name.rstrip("_"), form)] for name, forms in fields.items()}
    )


@pytest.mark.parametrize(
    ("kind", "number", "expected", "findings"),
    [
        ("身份证", ID, {"id": ID}, ()), ("01-居民身份证", ID, {"id": ID}, ()), ("居住证（港澳台）", "810000199408230021", {"id": "810000199408230021"}, ()),
        ("护照", "UTO/L898902C3", {"passport": "UTO/L898902C3"}, ()), ("护照", "E12345678", None, ("passport:no_issuing_state",)),
        ("Passport 护照", "D/C01X00T47", {"passport": "D/C01X00T47"}, ()), ("中国护照", "E12345678", {"passport": "CHN/E12345678"}, ()),
        ("港澳居民来往内地通行证", "H01234567", {"passport": "CHN/H01234567"}, ()), ("台胞证", "01234567", {"passport": "CHN/01234567"}, ()),
        ("台胞证", "TWN/01234567", {"passport": "CHN/01234567"}, ()), ("往来港澳通行证", "C12345678", {"passport": "CHN/C12345678"}, ()),
        ("Resident ID card", ID, {"id": ID}, ()), ("健康通行证", "JY00123", {"pass_": "JY00123"}, ()),
        ("军官证", "12345678", None, ("document_type:unknown_type",)), ("414", "E12345678", None, ("document_type:unknown_type",)),
        ("身份证/护照", ID, None, ("document_type:unknown_type",)), ("其他", ID, None, ("document_type:unknown_type",)),
        ("", ID, {"id": ID}, ()), ("不详", "UTO/L898902C3", {"passport": "UTO/L898902C3"}, ()),
        ("美国护照", "E12345678", {"passport": "USA/E12345678"}, ()), ("护照（中国）", "E12345678", {"passport": "CHN/E12345678"}, ()),
        ("", "E12345678", None, ("document_type:unknown_type",)), ("护照", ID, None, ("passport:resident_number",)),
        ("护照", "UTO/L898902C3、UTO/L898902C4", {"passport": ["UTO/L898902C3", "UTO/L898902C4"]}, ()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("header", ["证件号码", "身份证号"])
def test_the_document_type_chooses_what_a_number_is(
    write_file: Any, header: str, kind: str, number: str, expected: dict[str, Any] | None, findings: tuple[str, ...]
) -> None:
    [line] = lines_of(write_file(f"证件类型|{header}|车牌号\n{kind}|{number}|\n"))
    assert (line.push.tokens, line.findings) == (line_tokens(**expected or {}), findings)
    assert line.code == (None if expected else "no_token")
    assert all(finding.rpartition(":")[2] in FINDINGS for finding in findings)


@pytest.mark.parametrize(
    ("number", "expected", "findings"),
    [
        (ID, {"id": ID}, ()), ("E12345678", {}, ("document_type:unknown_type",)), ("CHN/E12345678", {"passport": "CHN/E12345678"}, ()),
        ("110105491231002", {"id": ID}, ("id:fifteen_digit",)), ("A123456", {}, ("document_type:unknown_type",)),
        ("1.10105E+17", {}, ("id:digits_lost",)),
    ],
)  # fmt: skip
def test_a_number_of_any_document_without_a_type_is_a_resident_number_only_if_it_has_the_form_of_one(
    write_file: Any, number: str, expected: dict[str, Any], findings: tuple[str, ...]
) -> None:
    [line] = lines_of(write_file(f"姓名,证件号码\n甲,{number}\n"))
    assert (line.push.tokens, line.findings) == (line_tokens(**expected), findings)


def test_a_number_without_a_type_is_left_out_beside_a_resident_number_of_its_own_column(write_file: Any) -> None:
    [line] = lines_of(write_file(f"身份证号,证件号码\n{ID},E12345678\n"))
    assert (line.push.tokens, line.findings, line.code) == (line_tokens(id=ID), ("document_type:unknown_type",), None)


@pytest.mark.parametrize(
    ("number", "form", "findings"),
    [
        ("CHN E12345678", "CHN/E12345678", ()), ("UTO L898902C3", "UTO/L898902C3", ()), ("PAA 123456", "CHN/PAA123456", ()),
        ("Passport E12345678", None, ("passport:bad_character",)), ("No. E12345678", None, ("passport:bad_character",)),
    ],
)  # fmt: skip
def test_words_before_a_passport_number_are_no_part_of_it(
    write_file: Any, number: str, form: str | None, findings: tuple[str, ...]
) -> None:
    [line] = lines_of(write_file(f"护照号,签发国\n{number},CHN\n"))
    assert (line.push.tokens, line.findings) == (line_tokens(passport=form) if form else PushTokens(), findings)


def test_a_plate_without_a_letter_or_digit_is_none(write_file: Any) -> None:
    found = lines_of(write_file(f"车牌号,手机号\n步行,{PHONE}\n同上,\n"))
    assert [(line.push.tokens, line.findings) for line in found] == [
        (line_tokens(phone="86" + PHONE), ("plate:plate_unrecognised",)), (PushTokens(), ("plate:plate_unrecognised",)),
    ]  # fmt: skip


def test_an_unknown_type_refuses_the_whole_line(write_file: Any) -> None:
    found = lines_of(write_file(f"证件类型,证件号码,手机号\n军官证,12345678,{PHONE}\n军官证,,{PHONE}\n"))
    assert [(line.code, line.push.tokens) for line in found] == [
        ("no_token", PushTokens()),
        (None, line_tokens(phone="86" + PHONE)),
    ]


def test_a_finding_of_a_typed_number_names_the_column_of_the_number() -> None:
    columns = {"document": "C", "document_type": "B", "phone": "D"}
    assert remedy("passport:no_issuing_state", columns).en.startswith("column C: give the issuing state")
    assert remedy("phone:phone_invalid", columns).en.startswith("column D: ")


def test_columns_of_their_own_are_not_changed_by_the_type(write_file: Any) -> None:
    [line] = lines_of(write_file(f"证件类型,身份证号,护照号\n护照,{ID},UTO/L898902C3\n"))
    assert line.push.tokens == line_tokens(id=ID, passport="UTO/L898902C3")
    [line] = lines_of(write_file(f"身份证号,证件类型,证件号码\n{ID},护照,UTO/L898902C3\n"))
    assert line.push.tokens == line_tokens(id=ID, passport="UTO/L898902C3")


def test_every_name_of_a_document_type_is_known_in_any_spelling() -> None:
    assert len(_TYPES) > 100
    for name, kind in _TYPES.items():
        assert document_type(name.upper()) == document_type(f" 02. {name}（必填）") == kind


@pytest.mark.parametrize(
    ("headers", "cells", "form", "findings"),
    [
        ("国籍", "德国", "D/C01X00T47", ("passport:state_from_nationality",)), ("国籍", "D", "D/C01X00T47", ("passport:state_from_nationality",)),
        ("国籍,签发国", "中国,DEU", "D/C01X00T47", ()), ("国籍,签发国", "中国,", "CHN/C01X00T47", ("passport:state_from_nationality",)),
        ("国籍,签发国", "中国,无", "CHN/C01X00T47", ("passport:state_from_nationality",)), ("国籍,签发国", "德国,GER", None, ("passport:no_issuing_state",)),
        ("国籍", "CN", None, ("passport:no_issuing_state",)), ("国籍", "外籍", None, ("passport:no_issuing_state",)), ("签发国", "香港", "CHN/C01X00T47", ()),
        ("Issuing country", "United States of America", "USA/C01X00T47", ()), ("签发国", "韩国(KOR)", "KOR/C01X00T47", ()),
    ],
)  # fmt: skip
def test_the_nationality_is_the_issuing_state_only_if_nothing_else_is_written(
    write_file: Any, headers: str, cells: str, form: str | None, findings: tuple[str, ...]
) -> None:
    [line] = lines_of(write_file(f"护照号,{headers}\nC01X00T47,{cells}\n"))
    assert (line.push.tokens, line.findings) == (line_tokens(passport=form) if form else PushTokens(), findings)


@pytest.mark.parametrize(
    ("header", "cell", "expected", "findings"),
    [
        ("护照号|签发国", '"L898902C3\nL898902C4"|UTO', {"passport": ["UTO/L898902C3", "UTO/L898902C4"]}, ()),
        ("护照号|签发国", "L898902C3；L89|UTO", None, ("passport:several_values",)),
        ("护照号", "UTO/L898902C3/L898902C4", {"passport": ["UTO/L898902C3", "UTO/L898902C4"]}, ()),
        ("护照号", "L898902C3、L898902C4", None, ("passport:several_values",)),
        ("通行证号", "①P0001②P0002", {"pass_": ["P0001", "P0002"]}, ()), ("通行证号", "①P0001", {"pass_": "P0001"}, ()),
        ("通行证号", "P0001 P0002", {"pass_": ["P0001", "P0002"]}, ()), ("通行证号", "P0001-P0002", None, ("pass:several_values",)),
        ("车牌号", "鲁A12345 鲁B1234挂", {"plate": ["鲁A12345", "鲁B1234挂"]}, ()), ("车牌号", "鲁A12345;无", None, ("plate:several_values",)),
        ("手机号", f"{PHONE}（父） 13900139000（母）", {"phone": [f"86{PHONE}", "8613900139000"]}, ()),
        ("手机号", f"{PHONE}/8423", None, ("phone:several_values",)), ("手机号", "1-310-555-0100", {"phone": "8613105550100"}, ("phone:two_readings",)),
        ("身份证号", f"{ID}、110105194912310021", None, ("id:several_values",)), ("身份证号", f"{ID}、{ID}", {"id": ID}, ()),
    ],
)  # fmt: skip
def test_several_numbers_in_one_cell_are_split_or_refused(
    write_file: Any, header: str, cell: str, expected: dict[str, Any] | None, findings: tuple[str, ...]
) -> None:
    [line] = lines_of(write_file(f"{header}|备注\n{cell}|\n"))
    assert (line.push.tokens, line.findings) == (line_tokens(**expected or {}), findings)


def test_a_row_with_two_resident_numbers_is_two_lines_so_that_one_can_be_withdrawn(write_file: Any) -> None:
    found = lines_of(write_file(f'身份证号,手机号\n"{ID}\n{OTHER}",{PHONE}\n{ID},\n'))
    assert [(line.push.line, line.row, line.push.tokens) for line in found] == [
        (1, 2, line_tokens(id=ID, phone="86" + PHONE)), (2, 2, line_tokens(id=OTHER, phone="86" + PHONE)), (3, 3, line_tokens(id=ID)),
    ]  # fmt: skip


_values = {
    "id": st.sampled_from([ID, ID.lower(), "110105 19491231-002x", "370115000230123", "１１０１０５１９４９１２３１００２Ｘ", f"{ID} {OTHER}", f"{ID};", "无此人#"]),
    "passport": st.sampled_from(
        ["UTO/L898902C3", "uto/l898 902 c3", "DEU/C01X00T47", "D<</C01X00T47", "HKG/K1234567", "GER/C01X00T47", "UTO/L1234567/L1234568", "L898902C3"]
    ),
    "phone": st.sampled_from(["(0531)84231234", "13800138000（母亲）", "1-310-555-0100", "+1 310 555 0100", "138 0013 8000;", "84231234", "1391234OOOO"]),
    "pass": st.sampled_from(["JY-2020-0001", "jy 00123", "P0001 P0002", "P0001;P0002", "JY00123", "#"]),
}  # fmt: skip
_agreed: Counter[str] = Counter()


@given(st.fixed_dictionaries({}, optional=dict(_values)))  # type: ignore[arg-type]
def test_a_device_and_a_list_make_the_same_token_of_what_is_written(written: dict[str, str]) -> None:
    person = pseudonymise(
        Traveller(role="driver", **{"pass_" if k == "pass" else k: v for k, v in written.items()}),
        RING,
        TODAY,  # type: ignore[arg-type]
    ).person.tokens
    pushed, _ = row_tokens(dict(written), RING, lambda domain, text: check(domain, text, TODAY))
    for kind in written:
        field = "pass_" if kind == "pass" else kind
        found = {token for line in pushed for token in (getattr(line, field) or ())}
        token = getattr(person, field)
        if not token:  # a device has one number: what holds several, or none, has no token there
            assert not found or len(found) > len(RING.tokens("id", "X"))
            _agreed[f"{kind} none"] += 1
        else:
            assert token in found and len(found) == len(RING.tokens("id", "X"))
            _agreed[kind] += 1


def test_the_property_above_met_every_kind_with_and_without_a_token() -> None:
    test_a_device_and_a_list_make_the_same_token_of_what_is_written()
    assert set(_agreed) == {*_values, *(f"{kind} none" for kind in _values)} and min(_agreed.values()) >= 5, _agreed


def test_no_error_or_finding_quotes_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"证件类型,证件号码,国籍,手机号\n张三的证,{ID},李四国,王五电话\n护照,{ID},李四国,12\n", "utf-8")
    shown = repr(lines_of(path))
    assert not any(word in shown for word in ("张三", "李四", "王五", ID))
