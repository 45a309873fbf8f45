"""Errors of an engine have one line, and only statements that read pass the check."""

from __future__ import annotations

import pytest

from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import ClickHouseError, Engine


def test_a_rejected_statement_is_reported_in_one_line(engine: Engine) -> None:
    with pytest.raises(ClickHouseError) as error:
        engine.query("SELECT nothing FROM nowhere")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("sql", ["DROP TABLE x", "insert into x values (1)", ";", ""])
def test_only_statements_that_read_are_accepted(sql: str) -> None:
    with pytest.raises(ClickHouseError):
        clickhouse.check_read_only(sql)
