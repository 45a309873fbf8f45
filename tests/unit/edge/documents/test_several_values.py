"""Several numbers in one place never become one number that nobody has."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninezero.streams.edge.documents.normal_forms import normal_form, normalise
from ninezero.streams.edge.documents.several_values import split_values

ID, ID2 = "11010519491231002X", "440524188001010014"


@pytest.mark.parametrize(
    ("domain", "text", "values"),
    [
        ("passport", "L898902C3\nL898902C4", ["L898902C3", "L898902C4"]),
        ("passport", "UTO/L898902C3/L898902C4", ["UTO/L898902C3", "UTO/L898902C4"]),
        ("passport", "UTO/L898902C3 / D/C01X00T47", ["UTO/L898902C3", "D/C01X00T47"]),
        ("passport", "UTO/L898902C3;D/C01X00T47", ["UTO/L898902C3", "D/C01X00T47"]),
        ("passport", "德国/C01X00T47 韩国/M12345678", ["德国/C01X00T47", "韩国/M12345678"]),
        ("passport", "E12345678，E12345679、", ["E12345678", "E12345679"]),
        ("passport", "UTO/D23145890 734", ["UTO/D23145890 734"]),
        ("pass", "P0001 P0002", ["P0001", "P0002"]),
        ("pass", "P0001/Q0002", ["P0001", "Q0002"]),
        ("pass", "20200001 20200002", ["20200001", "20200002"]),
        ("pass", "JY 2020 0001", ["JY 2020 0001"]),
        ("pass", "JY-2020-0001", ["JY-2020-0001"]),
        ("id", f"{ID}\r\n{ID2}", [ID, ID2]),
        ("id", f"{ID} {ID2}", [ID, ID2]),
        ("id", "110105194912310 02X", ["110105194912310 02X"]),
        ("plate", "鲁A12345 鲁A1234挂", ["鲁A12345", "鲁A1234挂"]),
        ("plate", "鲁A·12345、鲁B·12345", ["鲁A·12345", "鲁B·12345"]),
        ("plate", "鲁A1234 挂", ["鲁A1234 挂"]),
        ("phone", "13800138000 13900139000", ["13800138000", "13900139000"]),
        ("phone", "0531-84231234/138 0013 8000", ["0531-84231234", "138 0013 8000"]),
        ("phone", "母亲13800138000父亲13900139000", ["13800138000", "13900139000"]),
        ("phone", "0531 84231234", ["0531 84231234"]),
        ("phone", "张三13800138000，李四13900139000", ["13800138000", "13900139000"]),
        ("phone", "张三：13800138000 王五：0531-84231234转8", ["13800138000", "0531-84231234转8"]),
        ("phone", "138零0138000", ["138零0138000"]),
        ("passport", "123456789,98765432", ["123456789", "98765432"]),
    ],
)
def test_a_text_is_split_into_the_numbers_that_it_holds(domain: Any, text: str, values: list[str]) -> None:
    assert split_values(domain, text) == values
    assert len(values) == 1 or normalise(domain, text) is None


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        ("passport", "E12345678-E12345679"), ("passport", "UTO/L898902C3;L89"), ("pass", "P0001-P0010"), ("pass", "P0001;有效"),
        ("id", f"{ID}/E12345678"), ("id", f"{ID}{ID2}"), ("id", f"{ID}-{ID2}"), ("id", f"{ID}\n张三"),
        ("plate", "鲁A12345鲁B12345"), ("plate", "鲁A12345 黄"), ("phone", "13800138000,139"), ("phone", "84231234 13800138000"),
        ("passport", "L898902C3 or L898902C4"), ("passport", "E12345678,12345679"), ("pass", "JY2026-0001,0002"), ("pass", "20200001、0002"),
        ("pass", "1. P0001 2. P0002"), ("pass", "P0001 or P0002"),
    ],
)  # fmt: skip
def test_a_number_and_something_else_or_a_range_is_not_guessed(domain: Any, text: str) -> None:
    assert split_values(domain, text) is None and normalise(domain, text) is None


_separators = st.sampled_from(["\n", "\r\n", ";", "；", "、", ",", "，", " ", "/", " / ", "\u3000", "|"])
_numbers: dict[Any, st.SearchStrategy[str]] = {
    "id": st.integers(0, 999).map(lambda n: f"37011519800101{n:03d}X"),
    "passport": st.integers(0, 99_999_999).map(lambda n: f"E{n:08d}"),
    "pass": st.integers(0, 99_999).map(lambda n: f"JY{n:05d}"),
    "plate": st.integers(0, 99_999).map(lambda n: f"鲁A{n:05d}"),
    "phone": st.integers(0, 99_999_999).map(lambda n: f"139{n:08d}"),
}
_split: Counter[str] = Counter()


@given(st.data(), st.sampled_from(sorted(_numbers)), _separators)
def test_two_numbers_with_any_separator_are_two(data: st.DataObject, domain: Any, separator: str) -> None:
    one, two = data.draw(_numbers[domain]), data.draw(_numbers[domain])
    values = split_values(domain, f"{one}{separator}{two}") or ()
    state = "UTO/" if domain == "passport" else ""
    assert [normal_form(domain, state + value) for value in values] == [
        normalise(domain, state + n) for n in (one, two)
    ]
    _split[domain] += 1


def test_the_property_above_met_every_kind() -> None:
    test_two_numbers_with_any_separator_are_two()
    assert set(_split) == set(_numbers)
