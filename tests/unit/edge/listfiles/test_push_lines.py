"""A row becomes a line with tokens, a window, a code and findings."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import timedelta
from typing import Any, get_args

import pytest

from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import LineCode, PushBatch, PushLine, PushTokens
from ninezero.schemas.line_codes import MAX_TERM, line_code
from ninezero.schemas.times import unix_micros
from tests.support import decide_batch
from tests.unit.edge.listfiles.reading import (
    ID,
    NOW,
    OPTIONS,
    PASSPORT,
    PHONE,
    lines_of,
    local,
    tokens,
)


def test_an_empty_cell_gets_the_default_window_and_an_unreadable_one_none(write_file: Any) -> None:
    found = lines_of(
        write_file(
            f"id,开始,截止\n{ID},,\n{ID},2020-02-01,\n{ID},03/04/2020,\n{ID},,明天\n{ID},1960-01-01,2020-02-20\n{ID},明天,2020-02-20\n"
        )
    )
    assert [(line.push.valid_from, line.push.valid_to) for line in found[:2]] == [
        (None, NOW + timedelta(days=14)), (local(2020, 2, 1), local(2020, 2, 15)),
    ]  # fmt: skip
    assert [line.code for line in found] == [None, None, "no_window", "no_window", "term_too_long", "no_window"]
    [line] = lines_of(write_file(f"id\n{ID}\n"), options=OPTIONS._replace(days=None))
    assert line.code == "no_window" and line.push.valid_from is None
    [line] = lines_of(write_file(f"id\n{ID}\n"), options=OPTIONS._replace(valid_from=local(2020, 2, 9)))
    assert line.push.valid_to == local(2020, 2, 23)
    [line] = lines_of(write_file(f"id\n{ID}\n"), options=OPTIONS._replace(mode="withdraw", days=None))
    assert line.code is None and line.push.valid_from is None


@pytest.mark.parametrize("days", [1, 14, 28])
@pytest.mark.parametrize("seconds", [-590, 0, 590])
def test_days_without_a_start_are_accepted_by_a_broker_whose_clock_differs(
    write_file: Any, days: int, seconds: int
) -> None:
    [line] = lines_of(write_file(f"id\n{ID}\n"), options=OPTIONS._replace(days=days))
    broker_us = unix_micros(NOW + timedelta(seconds=seconds))
    assert line_code(line.push, "delta", OPTIONS.category, broker_us) is None
    assert line.push.valid_to is not None
    assert timedelta(days=days) - (line.push.valid_to - NOW) <= timedelta(minutes=10 if days == 28 else 0)


def test_the_same_file_gives_the_same_lines_whenever_it_is_read(write_file: Any) -> None:
    path = write_file(f"id,截止\n{ID},2020-02-20\n")
    later = OPTIONS._replace(now=NOW + timedelta(days=3))
    assert [line.push for line in lines_of(path)] == [line.push for line in lines_of(path, options=later)]


@pytest.mark.parametrize(
    "header,cell,token,findings",
    [
        ("护照号", PASSPORT, "UTO/L898902C3", ()), ("护照号", "L898902C3", None, ("passport:no_issuing_state",)),
        ("护照号,签发国", "L898902C3,uto", "UTO/L898902C3", ()), ("护照号,签发国", "L898902C3,CN", None, ("passport:no_issuing_state",)),
        ("护照号,签发国", "L898902C3,GER", None, ("passport:no_issuing_state",)), ("护照号,国籍", "L898902C3,", None, ("passport:no_issuing_state",)),
        ("护照号,国籍", "D/C01X00T47,UTO", "D/C01X00T47", ()), ("护照号,国籍", "-,UTO", None, ()), ("护照号,国籍", "Ｄ／C01X00T47,UTO", "D/C01X00T47", ()),
    ],
)  # fmt: skip
def test_a_passport_needs_its_issuing_state(
    write_file: Any, header: str, cell: str, token: str | None, findings: tuple[str, ...]
) -> None:
    [line] = lines_of(write_file(f"{header}\n{cell}\n"))
    assert line.findings == findings
    assert line.push.tokens == (PushTokens() if token is None else PushTokens(passport=tokens("passport", token)))


def test_findings_are_the_quality_flags_by_field(write_file: Any) -> None:
    found = lines_of(write_file("id,phone,plate\n110105194912310021,110,鲁A1\n张某,李某,王某\n"))
    assert (
        found[0].findings == ("id:checksum_failed", "phone:phone_invalid", "plate:plate_unrecognised")
        and found[0].code is None
    )
    assert found[1].findings == ("id:bad_character", "phone:bad_character", "plate:plate_unrecognised")


def test_what_exports_write_around_a_number_is_removed(write_file: Any) -> None:
    found = lines_of(write_file(f'id,phone\n="{ID}",{PHONE}.0\n"=""{ID}""",\'{PHONE}\n\t{ID}\t,="{PHONE}"\n'))
    assert [line.push.tokens for line in found] == [
        PushTokens(id=tokens("id", ID), phone=tokens("phone", "86" + PHONE))
    ] * 3


@pytest.mark.parametrize(
    "lost", ["3.70105E+17", "3.70105e17", "3E+17", "１．１Ｅ＋１７", "110105194912310020.0", '"=""1.1E+17"""']
)
def test_a_number_that_a_spreadsheet_rounded_gets_no_token(write_file: Any, lost: str) -> None:
    [line] = lines_of(write_file(f"id,phone\n{lost},{PHONE}\n"))
    assert line.findings == ("id:digits_lost",) and line.push.tokens == PushTokens(phone=tokens("phone", "86" + PHONE))


@pytest.mark.parametrize("field", ["pass", "passport", "plate"])
def test_a_number_that_a_program_exported_with_decimals_gets_no_token(write_file: Any, field: str) -> None:
    [line] = lines_of(write_file(f"{field},phone\n12345678.0,{PHONE}\n"))
    assert line.findings == (f"{field}:digits_lost",) and line.push.tokens == PushTokens(
        phone=tokens("phone", "86" + PHONE)
    )


@pytest.mark.parametrize("nothing", ["无", "-", "/", "——", "N/A", "NULL", "不详", "None", " "])
def test_a_placeholder_for_no_value_gets_no_token_and_no_finding(write_file: Any, nothing: str) -> None:
    [line] = lines_of(write_file(f"姓名,id,passport,phone,plate,pass\n张三{f',{nothing}' * 5}\n"))
    assert line.code == "no_token" and line.findings == ()


def test_lines_are_numbered_over_all_files_and_state_their_row(write_file: Any, make_workbook: Any) -> None:
    found = lines_of(write_file(f"id\n{ID}\n\n{ID}\n"), make_workbook([["id"], [ID]]))
    assert [(line.push.line, line.file, line.row) for line in found] == [(1, 1, 2), (2, 1, 4), (3, 2, 2)]


def test_a_line_gets_the_code_on_the_edge_that_the_worker_gives_it() -> None:
    times = [None, *(NOW + timedelta(days=days) for days in (-40, -1, 0, 1, 40)), NOW + MAX_TERM, NOW + 2 * MAX_TERM]
    identities = [PushTokens(), PushTokens(id=tokens("id", ID)), PushTokens(phone=["malformed"])]
    found: Counter[str | None] = Counter()
    for some, start, end, mode, category in itertools.product(
        identities, times, times, ("delta", "full", "withdraw"), ("close_contact", "health_pass")
    ):
        line = PushLine(line=1, tokens=some, valid_from=start, valid_to=end)
        batch = PushBatch("b", "a", "p", "l", category, mode, 1, NOW, "epidemic_control", 1, [line], "basis")
        receipt = decide_batch(batch, unix_micros(NOW), WatchlistIndex(), None)
        theirs = [reject.code for reject in receipt.rejects if reject.code != "not_listed"]
        code = line_code(line, mode, category, unix_micros(NOW))
        assert ([] if code is None else [code]) == theirs
        found[code] += 1
    assert set(found) == {None, *get_args(LineCode)} - {"not_listed"} and min(found.values()) > 10, found
