"""A wrong policy file is answered with the line and the field of its fault, and with nothing that is in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ninezero.agents.cli.console import CommandError
from ninezero.agents.cli.operations.policy_choice import choose, faults_of_file
from ninezero.agents.cli.operations.policy_file import Positions, read_policy_file
from ninezero.schemas.policies import MAX_POLICY_BYTES

SECRET = "110105194912310021X"

GOOD = """{
  "policy": "winter", "version": 2,
  "author": "li-wei", "legal_basis": "JN-2026-7",
  "fever_c": 37.0,
  "plausible_c": [30.0,
    45.0],
  "max_list_age_s": 300,
  "outcomes": {"fever": "refer",
    "health_code_red": "hold"},
  "home": "site",
  "exempt_origins": ["37",
    "HK"]
}
"""


def changed(old: str, new: str) -> bytes:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new).encode()


FILES = [
    (b"", "the file is empty: start from a policy that ninezero policy show"),
    (b" \n\t\n", "the file is empty"),
    (b"\xef\xbb\xbf", "the file is empty"),
    (b"\x00\x01\xff\xfe\x80", "the file is not UTF-8"),
    (b"\x00\x01\x02", "line 1: it is not JSON"),
    (b"[" * (70 << 10), "the file has more than 64 KiB"),
    (b'{"policy": "' + b"a" * MAX_POLICY_BYTES, "the file has more than 64 KiB"),
    (b"[" * 60_000, "expected an object, not a list"),
    (b'{"outcomes":' * 5_000, "line 1: outcomes[…]: expected a name"),
    (changed('"home": "site"', '"home": ' + "[" * 30_000), "line 10: home: expected site or a division code"),
    (b"null", "expected an object, not null"),
    (GOOD[:100].encode(), "line 4: it is not JSON: it ends too early"),
    (GOOD.encode() + SECRET.encode(), "line 14: it is not JSON"),
    (changed("37.0", "NaN"), "line 4: it is not JSON"),
    (changed("37.0", "-Infinity"), "line 4: it is not JSON"),
    (changed("37.0", "1e999"), "line 4: fever_c: expected a number"),
    (changed("37.0", "9" * 400), "line 4: fever_c: expected a number"),
    (changed("37.0", f'"{SECRET}"'), "line 4: fever_c: expected a number, not text"),
    (changed("45.0]", f'"{SECRET}"]'), "line 6: plausible_c[1]: expected a number, not text"),
    (changed("45.0]", "45.0, 50.0]"), "line 5: plausible_c: expected a list of 2 entries"),
    (changed('"version": 2', '"version": 0'), "line 2: version: expected a whole number from 1"),
    (changed('"version": 2', '"version": 2.0'), "line 2: version: expected a whole number from 1"),
    (changed('"version": 2', f'"version": {10**30}'), "line 2: version: expected a whole number from 1"),
    (changed('"version": 2', '"version": 2, "version": 3'), "line 2: this name is in the object already"),
    (changed('"health_code_red"', '"fever"'), "line 9: this name is in the object already"),
    (changed('"health_code_red"', '"\\u0066ever"'), "line 9: this name is in the object already"),
    (changed('"winter"', '"13800138000"'), "line 2: policy: expected an identifier"),
    (changed('"li-wei"', f'"{SECRET} {SECRET}"'), "line 3: author: expected an identifier"),
    (changed('"author": "li-wei", ', ""), "author: missing"),
    (changed('"home"', '"hone"'), "line 10: unknown field; did you mean home?"),
    (changed('"home"', f'"{SECRET}"'), "line 10: unknown field; the fields are policy, version"),
    (changed('"refer"', "true"), "line 8: outcomes[…]: expected a name of small letters and '_', not true or false"),
    (changed('"hold"', f'"{SECRET}"'), "line 9: outcomes[…]: expected a name of small letters"),
    (changed('"health_code_red"', f'"{SECRET}"'), "line 9: outcomes, a name in it: expected a name of small letters"),
    (changed('"HK"', '"370"'), "line 12: exempt_origins[1]: expected the first 2, 4 or all 6 digits"),
    (changed('"site"', '"37011"'), "line 10: home: expected site or a division code of six digits"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "fault"), FILES, ids=[str(n) for n in range(len(FILES))])
def test_a_file_of_the_wrong_form_is_described_by_its_line(content: bytes, fault: str, tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_bytes(content)
    with pytest.raises(CommandError) as error:
        read_policy_file(tmp_path / "policy.json")
    found = str(error.value)
    assert found.startswith(fault) and SECRET not in found and "\n" not in found and len(found) < 250


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(GOOD, encoding="utf-8-sig")
    assert read_policy_file(tmp_path / "policy.json").record.fever_c == 37.0


VALUES = [
    (changed("37.0", "35.9"), ["line 4: fever_c: write a number from 36 to 39 °C"]),
    (changed("37.0", "39.1"), ["line 4: fever_c: write a number from 36 to 39 °C"]),
    (changed("30.0", "24"), ["line 5: plausible_c[0]: write a number from 25 to 35 °C"]),
    (changed("45.0]", "51]"), ["line 6: plausible_c[1]: write a number from 42 to 50 °C"]),
    (changed("300", "10"), ["line 7: max_list_age_s: write a number from 30 to 900 seconds"]),
    (changed('"refer"', '"clear"'), ["line 8: outcomes.fever: clear is below the floor of the rule"]),
    (changed('"health_code_red"', '"health_code_rad"'), ["line 9: outcomes: rule 2 is not known to this release; did you mean health_code_red?"]),
    (changed('"health_code_red"', '"zodiac"'), ["line 9: outcomes: rule 2 is not known to this release"]),
    (changed('"hold"', '"detain"'), ["line 9: outcomes.health_code_red: the outcome is not known to this release; it knows refer"]),
    (changed('"winter", "version": 2', '"default", "version": 1'), ["line 2: policy: default@1 is built in"]),
    (GOOD.replace("37.0", "12").replace('"refer"', '"clear"').encode(), ["line 4: fever_c", "line 8: outcomes.fever"]),
]  # fmt: skip


@pytest.mark.parametrize(("content", "faults"), VALUES, ids=[str(n) for n in range(len(VALUES))])
def test_every_value_that_is_not_allowed_is_described_by_its_line(
    content: bytes, faults: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(content)
    found = faults_of_file(read_policy_file(path))
    assert len(found) == len(faults) and all(map(str.startswith, found, faults)), found
    with pytest.raises(CommandError, match=r"correct it( \(1 more: see ninezero policy check\))?$"):
        choose(str(path), None)


@given(st.recursive(st.none() | st.integers() | st.text() | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(st.text("abc_", min_size=1), inner), max_leaves=20), st.sampled_from([None, 1]))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_the_line_of_each_value_is_where_it_is_written(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    lines = text.splitlines()
    positions = Positions(text)
    assert positions.twice == []
    for path, line in positions.lines.items():
        inner = value
        for key in path.replace("[", ".[").split(".") if path else ():
            if key.startswith("["):
                assert isinstance(inner, list)
                inner = inner[int(key[1:-1])]
            elif key:
                assert isinstance(inner, dict)
                inner = inner[key]
        if not isinstance(inner, (list, dict)):
            assert json.dumps(inner) in lines[line - 1]


@given(content=st.binary(max_size=300) | st.text('{}[]",:\\ \n0a', max_size=80).map(str.encode))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_content_leads_to_anything_but_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_bytes(content)
    with pytest.raises(CommandError):
        read_policy_file(tmp_path / "policy.json")
