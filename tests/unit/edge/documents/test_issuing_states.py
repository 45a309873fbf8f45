"""Issuing states are those that a machine-readable zone carries."""

from __future__ import annotations

import pytest

from ninezero.streams.edge.documents.issuing_states import _states, issuing_state, named_state


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("D<<", "D"), ("deu", "D"), ("HKG", "CHN"), ("MAC", "CHN"), ("ＣＨＮ", "CHN"), ("TWN", "TWN"), ("GBD", "GBD"), ("RKS", "RKS"),
        ("UTO", "UTO"), ("XXB", "XXB"), ("EUE", "EUE"), ("U.S.A.", "USA"),
        *((text, None) for text in ("GER", "CN", "DE", "UK", "ROM", "YUG", "SUN", "ENG", "XYZ", "DD", "", "<<<", "中国", "CHNCHN")),
    ],
)  # fmt: skip
def test_a_code_is_one_of_the_list_or_none(text: str, code: str | None) -> None:
    assert issuing_state(text) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("德国", "D"), ("Germany", "D"), ("中国籍", "CHN"), ("中国香港", "CHN"), ("韩国", "KOR"), ("大韩民国", "KOR"), ("Korea, Republic of", "KOR"),
        ("the", None), ("美国 USA", "USA"), ("CHN 中国", "CHN"), ("China (CHN)", "CHN"), ("Türkiye", "TUR"), ("TURKIYE", "TUR"), ("uto", "UTO"),
        ("美国/中国", None), ("Korea", None), ("刚果", None), ("多米尼加", None), ("波多黎各", None), ("CN", None), ("外籍", None), ("中国台湾", "TWN"),
    ],
)  # fmt: skip
def test_a_name_is_read_if_it_means_one_state(text: str, code: str | None) -> None:
    assert named_state(text) == code


def test_the_codes_that_are_not_in_iso_3166_are_those_of_section_5_of_the_standard() -> None:
    others = {
        "D", "GBD", "GBN", "GBO", "GBP", "GBS", "RKS", "EUE", "UNO", "UNA", "UNK", "XBA", "XIM", "XCC", "XCE", "XCO", "XEC", "XPO", "XES", "XMP",
        "XOM", "XDC", "XXA", "XXB", "XXC", "XXX", "ANT", "NTZ", "UTO", "IAO",
    }  # fmt: skip
    in_iso_3166 = 249 - len(("DEU", "HKG", "MAC"))
    assert others <= _states().keys() and len(_states()) == in_iso_3166 + len(others)


def test_the_file_has_every_code_once_and_no_code_that_is_read_as_another() -> None:
    assert len(_states()) == 276 and not {"DEU", "HKG", "MAC"} & _states().keys()
    assert all(issuing_state(code) == code for code in _states())
    names = [name for names in _states().values() for name in names]
    assert len(names) == len(set(names)) > 600 and all(named_state(name) for name in names)
