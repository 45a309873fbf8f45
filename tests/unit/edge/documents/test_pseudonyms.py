"""Normal forms do not depend on the spelling, and tokens follow the formula of the contract."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninezero.schemas import events
from ninezero.streams.edge.documents.normal_forms import eighteen_digits, normalise, passport
from ninezero.streams.edge.documents.pseudonyms import token
from tests.unit.edge.documents.inputs import PSEUDONYM_VECTORS, kinds, texts

KEY = bytes(range(32))


@pytest.mark.parametrize("vector", PSEUDONYM_VECTORS["vectors"], ids=lambda v: f"{v['kind']}: {v['note']}")
def test_a_published_vector_holds(vector: dict[str, Any]) -> None:
    key_id, key = PSEUDONYM_VECTORS["test_key"]["key_id"], bytes.fromhex(PSEUDONYM_VECTORS["test_key"]["hex"])
    if vector["kind"] == "passport":
        normalised = passport(vector["state"], vector["number"])
        assert (normalise("passport", f"{vector['state']}/{vector['number']}") or None) == vector["normalised"]
    else:
        normalised = normalise(vector["kind"], vector["input"])
    assert (normalised or None) == vector["normalised"]
    assert (token(key_id, key, vector["kind"], normalised) if normalised else None) == vector["token"]


@given(kinds, texts)
def test_no_text_raises_and_every_normal_form_has_a_token(kind: Any, text: str) -> None:
    normalised = normalise(kind, text)
    if normalised:
        assert msgspec.convert(token("k1", KEY, kind, normalised), events.Token)
        assert normalised.replace("/", "").isalnum()


@given(kinds.filter(lambda kind: kind != "phone"), texts)
def test_a_normal_form_is_its_own_normal_form(kind: Any, text: str) -> None:
    once = normalise(kind, text)
    assert once is None or normalise(kind, once) == once


@given(st.integers(0, 99_999_999))
def test_a_chinese_mobile_number_is_its_own_normal_form(n: int) -> None:
    assert normalise("phone", f"139{n:08d}") == normalise("phone", f"86139{n:08d}") == f"86139{n:08d}"


@given(kinds, st.lists(st.sampled_from(" \t\u00a0\u3000\u200b\ufeff-–—−._'·•‧∙⋅●・．")))
def test_an_empty_value_differs_from_an_unreadable_one(kind: Any, blanks: list[str]) -> None:
    assert normalise(kind, "".join(blanks)) == ""
    assert normalise(kind, "".join([*blanks, "#"])) is None


@given(st.integers(0, 10**15 - 1))
def test_a_fifteen_digit_number_gets_a_valid_check_character(n: int) -> None:
    number = eighteen_digits(f"{n:015d}")
    values = [10 if c == "X" else int(c) for c in number]
    assert sum(v * 2 ** (17 - i) for i, v in enumerate(values)) % 11 == 1  # the congruence of ISO 7064 MOD 11-2
    assert (number[:6], number[6:8], number[8:17]) == (f"{n:015d}"[:6], "19", f"{n:015d}"[6:])


@pytest.mark.parametrize(
    "text", ["L898902C3", "/L898902C3", "CN/E1234", "DEU1/C01X", "12/34", "GER/C01X00T47", "德国/C01X00T47"]
)
def test_a_passport_without_the_state_of_its_mrz_has_no_token(text: str) -> None:
    assert normalise("passport", text) is None


def test_the_token_follows_the_formula_of_the_contract() -> None:
    expected = hmac.new(KEY, "plate\0鲁A12345".encode(), hashlib.sha256).hexdigest()[:32]
    assert token("k1", KEY, "plate", "鲁A12345") == f"k1.{expected}"


def test_tokens_of_different_domains_and_keys_differ() -> None:
    tokens = {token(i, k, d, "X1") for i, k in (("a", KEY), ("b", KEY[::-1])) for d in ("id", "pass", "phone", "plate")}
    assert len({t.partition(".")[2] for t in tokens}) == 8


@pytest.mark.parametrize(("domain", "text"), [("id", ""), ("id", "37011\ud800"), ("37011519", "id")])
def test_a_value_without_a_token_is_rejected_without_being_quoted(domain: Any, text: str) -> None:
    with pytest.raises(ValueError, match="normal form") as caught:
        token("k1", KEY, domain, text)
    assert caught.value.__context__ is None  # a UnicodeEncodeError would contain the text
    assert "37011" not in str(caught.value)
