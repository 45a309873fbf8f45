"""Tokens and the key ring."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.edge.pseudonyms import KeyRing, KeyRingError, new_ring, normalise, passport, token


@pytest.mark.parametrize(
    ("domain", "text", "expected"),
    [
        ("id", "37011519900101123x", "37011519900101123X"),
        ("id", " ３７０１１５ 19900101-123X ", "37011519900101123X"),
        ("id", "370115900101123", "370115199001011231"),
        ("id", "王37011", None),
        ("id", "", None),
        ("plate", "鲁a·12345", "鲁A12345"),
        ("plate", "鲁A•D12345", "鲁AD12345"),
        ("plate", "鲁A#1", None),
        ("phone", "139 1234 5678", "8613912345678"),
        ("phone", "+86-139-1234-5678", "8613912345678"),
        ("phone", "12", None),
        ("pass", "jy_00.1/2'3", "JY00123"),
    ],
)
def test_normalisation(domain: str, text: str, expected: str | None) -> None:
    got = normalise(domain, text)  # type: ignore[arg-type]  # parametrised
    if domain == "id" and expected and len(expected) == 18 and len(text) == 15:
        assert got is not None and got[:17] == expected[:17]
    else:
        assert got == expected


def test_a_passport_needs_its_issuing_state() -> None:
    assert passport("UTO", "L898902C3<") == "UTO/L898902C3"
    assert passport("", "L898902C3") is None


def test_the_token_is_what_the_contract_says() -> None:
    key = bytes(range(32))
    expected = hmac.new(key, b"id\x00X1", hashlib.sha256).hexdigest()[:32]
    assert token("k1", key, "id", "X1") == f"k1.{expected}"


@given(st.sampled_from(["id", "plate", "phone", "pass", "passport"]), st.text(max_size=40))
def test_normalising_never_raises_and_is_stable(domain: str, text: str) -> None:
    once = normalise(domain, text)  # type: ignore[arg-type]  # sampled
    if once is not None and domain in ("id", "plate", "pass"):
        assert normalise(domain, once) == once  # type: ignore[arg-type]  # sampled


def test_a_new_ring_is_private_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    new_ring(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert KeyRing.load(path).token("id", "X").startswith("k1.")
    with pytest.raises(KeyRingError):
        new_ring(path)


def test_a_ring_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    new_ring(path)
    path.chmod(0o644)
    with pytest.raises(KeyRingError, match="chmod 600"):
        KeyRing.load(path)


def test_a_key_past_its_time_is_not_used_and_no_error_quotes_a_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    ring = {
        "active": "k2",
        "keys": {
            "k1": {"hex": "a" * 64, "not_after": "2020-01-01T00:00:00Z"},
            "k2": {"hex": "b" * 64, "not_after": None},
        },
    }
    path.write_text(json.dumps(ring))
    path.chmod(0o600)
    assert [t[:3] for t in KeyRing.load(path).tokens("id", "X")] == ["k2."]
    path.write_text(json.dumps(ring | {"active": "k1"}))
    with pytest.raises(KeyRingError) as error:
        KeyRing.load(path)
    assert "aaaa" not in str(error.value)
