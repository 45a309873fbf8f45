"""Roles: how errors are described, and what periodic work logs."""

from __future__ import annotations

import asyncio
import logging

import pytest

from ninezero.agents.roles.recording import attempt
from ninezero.agents.roles.role import describe
from ninezero.streams.clickhouse import ClickHouseError

SECRET = "k1.9f86d081884c7d659a2feaa0c55ad015"


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_the_description_of_an_error_has_its_type_and_place_and_not_its_text() -> None:
    text = describe(raised(ValueError(SECRET)))
    assert text.startswith("ValueError in raised:")
    assert SECRET not in text


def test_the_description_of_a_group_is_that_of_its_first_error() -> None:
    group = raised(ExceptionGroup(SECRET, [raised(KeyError(SECRET)), raised(ValueError())]))
    assert describe(group).startswith("KeyError in raised:")


def test_an_error_that_was_never_raised_has_no_known_place() -> None:
    assert describe(ValueError(SECRET)) == "ValueError in an unknown place"


def test_periodic_work_logs_that_clickhouse_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ClickHouseError("the connection was lost")

    asyncio.run(attempt("silent devices cannot be counted", work))
    assert caplog.record_tuples == [
        ("ninezero.roles", logging.WARNING, "silent devices cannot be counted: the connection was lost")
    ]


def test_periodic_work_does_not_hide_another_error() -> None:
    async def work() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        asyncio.run(attempt("silent devices cannot be counted", work))
