"""Phone numbers are read as people write them, and never become another person's number."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninezero.streams.edge.documents.normal_forms import normalise
from ninezero.streams.edge.documents.phones import e164, has_two_readings

MOBILE, LANDLINE = "8613800138000", "8653184231234"


@pytest.mark.parametrize(
    "text",
    [
        "13800138000（母亲）", "(母亲)13800138000", "13800138000(微信同号)", "13800138000 母亲", "手机：138-0013-8000", "Tel. 13800138000",
        "（86）13800138000", "(+86) 138 0013 8000", "+86(0)13800138000", "１３８００１３８０００", "013800138000", "13800138000;", "138 0013\n8000",
        "13800138000 [本人]",
    ],
)  # fmt: skip
def test_marks_words_and_remarks_around_a_mobile_number_are_not_part_of_it(text: str) -> None:
    assert normalise("phone", text) == MOBILE


@pytest.mark.parametrize(
    "text",
    [
        "(0531)84231234", "（0531） 8423 1234", "0531-84231234转801", "0531-84231234(801)", "0531-84231234（转 801）", "0531-84231234 ext. 801",
        "053184231234x801", "+86 531 84231234", "(0531)84231234（单位）", "0531—84231234分机801",
    ],
)  # fmt: skip
def test_an_area_code_in_brackets_and_an_extension_are_read(text: str) -> None:
    assert normalise("phone", text) == LANDLINE


@pytest.mark.parametrize(
    "text",
    ["1391234OOOO", "13A800138000", "138001380〇0", "1380013张8000", "一三八", "13800138000+5", "138001380001", "0531-84231234-801", "+13800138000"],
)  # fmt: skip
def test_a_number_that_is_not_certain_has_no_token(text: str) -> None:
    """A letter is not converted by the keypad: O is on key 6, so a mistyped zero would become another person's number."""
    assert normalise("phone", text) is None


@pytest.mark.parametrize(
    "text", ["1-310-555-0100", "1 (310) 555-0100", "1.310.555.0100", "1310-555-0100", "79161234567", "310-555-0100"]
)
def test_a_number_that_could_be_another_countrys_has_two_readings(text: str) -> None:
    assert has_two_readings(text) and (e164(text) or "").startswith("86")


@pytest.mark.parametrize(
    "text",
    [
        "13105550100", "131-0555-0100", "131 0555 0100", "+1-310-555-0100", "001-310-555-0100", "+86 131 0555 0100", "8613105550100",
        "0531-84231234", "(0310)5550100", "13800138000（母亲）", "1-234-555-0100", "无", "",
    ],
)  # fmt: skip
def test_a_number_that_states_its_country_or_is_written_as_in_china_has_one_reading(text: str) -> None:
    assert not has_two_readings(text)


@given(
    st.integers(3, 9),
    st.integers(0, 999_999_999),
    st.sampled_from(["{}", "{} （家长）", "tel:{}", "({})", "+86{}", "0086 {}", "{};", "电话{}"]),
)
def test_every_way_to_write_a_mobile_number_gives_one_normal_form(second: int, rest: int, way: str) -> None:
    number = f"1{second}{rest:09d}"
    plain = normalise("phone", number)
    _ways[plain is not None] += 1
    assert normalise("phone", way.format(number)) == plain
    assert normalise("phone", way.format(f"{number[:3]}-{number[3:7]} {number[7:]}")) == plain


_ways: Counter[bool] = Counter()


def test_most_numbers_of_the_property_above_were_valid() -> None:
    test_every_way_to_write_a_mobile_number_gives_one_normal_form()
    assert _ways[True] > 50
