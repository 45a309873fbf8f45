"""Times are read in the forms that lists use, and only if they are unambiguous."""

from __future__ import annotations

from datetime import datetime

import pytest

from ninezero.schemas.times import FOREVER_US
from ninezero.streams.edge.listfiles.dates import FOREVER, parse_time
from tests.unit.edge.listfiles.reading import (
    CHINA,
    local,
)


@pytest.mark.parametrize(
    "text",
    [
        "2020-02-03",
        "2020/2/3",
        "2020.2.3",
        "2020年2月3日",
        "20200203",
        "２０２０／２／３",
        " 2020-2-03 ",
        "2020年02月3号",
    ],
)
def test_a_date_begins_at_its_midnight_and_ends_at_the_next(text: str) -> None:
    assert parse_time(text, CHINA, end=False) == local(2020, 2, 3)
    assert parse_time(text, CHINA, end=True) == local(2020, 2, 4)


@pytest.mark.parametrize(
    "text,time",
    [
        ("2020-02-03 08:30", local(2020, 2, 3, 8, 30)), ("2020/2/3 8:30:15", local(2020, 2, 3, 8, 30, 15)),
        ("2020年2月3日8时30分", local(2020, 2, 3, 8, 30)), ("2020年2月3日 8时", local(2020, 2, 3, 8)), ("2020-02-03 24:00", local(2020, 2, 4)),
        ("2020-02-03T08:30:00Z", local(2020, 2, 3, 16, 30)), ("2020-02-03T08:30:00.5+09:00", local(2020, 2, 3, 7, 30, 0, 500_000)),
        ("20200203 0830", None), ("03/04/2020", None), ("3-4-20", None), ("20-02-03", None), ("2020-02/03", None), ("2020-02-30", None),
        ("2020-02-03 25:00", None), ("2020-02-03 24:01", None), ("2020-02-03T08:30+24:00", None), ("0020-02-03", None), ("43864", None),
        ("明天", None), ("", None), ("2020-02", None), ("2" * 9999, None), ("2020-02-03 08:30 PM", None), ("²020-02-03", local(2020, 2, 3)),
    ],
)  # fmt: skip
def test_a_time_is_read_only_if_it_is_unambiguous(text: str, time: datetime | None) -> None:
    assert parse_time(text, CHINA, end=False) == time
    if time is not None and ":" in text:
        assert parse_time(text, CHINA, end=True) == time


@pytest.mark.parametrize(
    "end", ["9999-12-31", "9999-12-31 24:00", "9999-06-01", "9999-12-31T23:00:00-08:00", 2_958_465.0]
)
def test_a_time_beyond_the_calendar_is_cut_as_the_workers_cut_it(end: str | float) -> None:
    assert parse_time(end, CHINA, end=True) == FOREVER
    assert round(FOREVER.timestamp() * 1_000_000) == FOREVER_US


@pytest.mark.parametrize(
    "number", [-1.0, 0.5, 60.0, 2_958_466.0, 3e6, float("nan"), float("inf"), 1e300, 20200230.0, 20200203.5]
)
def test_a_number_that_is_no_day_is_not_read(number: float) -> None:
    assert parse_time(number, CHINA, end=True) is None
