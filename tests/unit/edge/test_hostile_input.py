"""Hostile input to every parser: the result is a documented value or error, it comes soon, and it repeats nothing of the input.

tests/fuzz runs the same parsers under atheris. Zones, text tables and workbooks have more tests in files of their own.
"""

from __future__ import annotations

import io
import json
import time
import typing
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ninezero.schemas import events
from ninezero.streams.edge.documents.checks import check
from ninezero.streams.edge.documents.csv_checks import check_documents
from ninezero.streams.edge.documents.key_ring import KeyRing, KeyRingError
from ninezero.streams.edge.documents.mrz import mrz
from ninezero.streams.edge.documents.normal_forms import normalise, passport
from ninezero.streams.edge.listfiles.column_mapping import ColumnMapping
from ninezero.streams.edge.listfiles.dates import FOREVER, parse_time
from ninezero.streams.edge.listfiles.errors import ListFileError
from ninezero.streams.edge.listfiles.list_file import open_list_file
from ninezero.streams.edge.listfiles.push_lines import PushOptions, read_lines
from ninezero.streams.kafka.decoding import Rejected, decode

TODAY, CHINA = date(2026, 1, 1), ZoneInfo("Asia/Shanghai")
FLAGS = set(typing.get_args(events.QualityFlag))
KINDS: tuple[Any, ...] = ("id", "passport", "phone", "plate", "pass")
WIRE = [events.Scan, events.Arrival, events.PushBatch, events.Disposition, events.QuarantineEvent, events.FollowupEvent]
OPTIONS = PushOptions("delta", "close_contact", datetime(2020, 2, 3, tzinfo=UTC), CHINA, days=14)
RING = KeyRing("k1", {"k1": (b"1" * 32, None)})
PLANTED = "11010519491231002X"

anything = st.binary(max_size=200) | st.text(st.characters(), max_size=80).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)
dated = st.text("0123456789-/.:T+Zz年月日号时点分秒 　２０\n", max_size=30)
# JSON that is almost valid: field names of the contract with arbitrary values.
names = st.sampled_from(
    ["device_id", "seq", "site_id", "observed_at", "kind", "people", "tokens", "id", "phone", "active", "keys", "k1", "hex",
     "not_after", "lines", "mode", "first_row"]
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(PLANTED),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
    max_leaves=12,
)
jsons = st.dictionaries(names, values, max_size=8).map(lambda value: json.dumps(value).encode())
slow_machine_settings = settings(deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])


def repeats_nothing(error: Exception) -> bool:
    """Returns whether neither the error nor its causes, which a traceback would show, contain the input."""
    shown = f"{error!r} {error.__cause__!r} {error.__context__!r}"
    return "\n" not in str(error) and PLANTED not in shown


@given(st.text(st.characters(), max_size=60), st.text("CHNDUTO<- ", max_size=5))
@example("ﷺ" * 60, "UTO")
def test_a_normal_form_is_plain_and_has_a_token(text: str, state: str) -> None:
    for kind in KINDS:
        normal = normalise(kind, text)
        assert not normal or (RING.token(kind, normal) and normal == normal.upper() and " " not in normal)
        assert normal or check(kind, text, TODAY)
    found = passport(state, text)
    assert not found or normalise("passport", f"{state}/{text}") == found


@given(st.lists(anything, max_size=6))
def test_results_of_documents_contain_only_known_kinds_and_flags(lines: list[bytes]) -> None:
    for row, kind, flags in check_documents(lines, TODAY):
        assert (
            1 <= row <= len(lines) + b"".join(lines).count(b"\r")
            and kind in (*KINDS, "mrz", "unknown")
            and set(flags) <= FLAGS
        )


@given(dated | st.text(max_size=40) | st.floats() | st.none(), st.booleans(), st.booleans())
def test_any_cell_gives_a_time_in_utc_or_none(cell: str | float | None, end: bool, old_mac: bool) -> None:
    found = parse_time(cell, CHINA, end=end, epoch_1904=old_mac)
    assert found is None or (found.tzinfo is UTC and found <= FOREVER)


@slow_machine_settings
@given(anything | jsons)
def test_any_mapping_file_is_read_or_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mapping").write_bytes(content)
    try:
        read = ColumnMapping.load(tmp_path / "mapping")
    except ListFileError as error:
        assert repeats_nothing(error)
    else:
        read.save(tmp_path / "again")
        assert ColumnMapping.load(tmp_path / "again") == read


@slow_machine_settings
@given(anything | jsons)
def test_any_key_ring_is_read_or_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys"
    path.touch(0o600)
    path.write_bytes(content)
    try:
        KeyRing.load(path)
    except KeyRingError as error:
        assert repeats_nothing(error)


@given(anything | jsons)
@example(json.dumps({"kind": PLANTED}).encode())
@example(b"[" * 1_000_000)
@example(b'{"seq":' + b"9" * 100_000 + b"}")
@example(b'{"a":' * 100_000)
def test_any_record_is_decoded_or_rejected(content: bytes) -> None:
    for kind in WIRE:
        try:
            assert isinstance(decode(kind, content), kind)
        except Rejected as error:
            assert error.reason in ("not_json", "schema_invalid", "too_large") and repeats_nothing(error)
            assert PLANTED not in error.path


# -- time limits


def count_lines(content: bytes, folder: Path) -> int:
    """Returns the number of lines of a list file, or 0 if the file is rejected."""
    path = folder / "list"
    path.write_bytes(content)
    try:
        return sum(1 for _ in read_lines([open_list_file(path)], RING, OPTIONS, check))
    except ListFileError as error:
        assert repeats_nothing(error)
        return 0


@pytest.mark.parametrize(
    "content",
    [
        b"id\n" + "ﷺ".encode() * 4000 + b"\n", ("id,截止\n1,2020年2月" + " " * 4000 + "3\n").encode() * 200,
        b'id,x\n"' + b"a," * 400_000, b"id,x\n" + b'"a,b\n' * 20_000, b'id,x\n"' + b'"' * 999_000,
        "\n".join("".join(f"a{i}/b{j}{',;|'[i % 3]}" for i in range(40_000)) for j in range(20)).encode(),
        b" " * 10_000_000 + b"id", b"\n" * 1_000_000 + b"id", b"id\n" + b"+" * 4000 + b"\n",
    ],
    ids=["compatibility forms", "blanks in dates", "a quote in a megabyte", "quotes in every row", "only quotes",
         "columns by the thousand", "blanks", "blank lines", "signs"],
)  # fmt: skip
def test_no_text_file_takes_long(tmp_path: Path, content: bytes) -> None:
    began = time.monotonic()
    count_lines(content, tmp_path)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("xml", [b"<x/>", b"<row/>", b"<c/>", b"<x><x></x></x>", b" "])
def test_a_workbook_that_unpacks_to_a_thousand_times_its_size_is_rejected_soon(tmp_path: Path, xml: bytes) -> None:
    packed, began = io.BytesIO(), time.monotonic()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"<workbook>" + xml * ((64 << 20) // len(xml)))
    assert count_lines(packed.getvalue(), tmp_path) == 0
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("piece", ["P<UTO", "<", "\n", ",", '"', "P<UTO\n", "ﷺ", "\u0300", "a\u0300", "\0"])
def test_no_pasted_text_takes_long(piece: str) -> None:
    text, began = piece * 200_000, time.monotonic()
    for make in (
        lambda: mrz([text], TODAY),
        lambda: mrz(text.split("\n"), TODAY),
        lambda: passport(text[:4000], text[:4000]),
    ):
        make()
    assert parse_time(text, CHINA, end=True) is None
    assert list(check_documents([text, *text[:5000].split("\n")], TODAY)) is not None
    assert time.monotonic() - began < 5
