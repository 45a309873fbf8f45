"""Errors of an engine have one line, only statements that read pass the check, and an insert waits for the quorum of another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import ClickHouseError, Engine, inserts


def test_a_rejected_statement_is_reported_in_one_line(engine: Engine) -> None:
    with pytest.raises(ClickHouseError) as error:
        engine.query("SELECT nothing FROM nowhere")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("sql", ["DROP TABLE x", "insert into x values (1)", ";", ""])
def test_only_statements_that_read_are_accepted(sql: str) -> None:
    with pytest.raises(ClickHouseError):
        clickhouse.check_read_only(sql)


class Busy:
    """An engine on which the insert of another process has not reached its quorum yet, for a number of attempts."""

    def __init__(self, attempts: int, code: int) -> None:
        self.left, self.code, self.inserted = attempts, code, 0

    def insert(self, table: str, columns: object, rows: Sequence[object]) -> None:
        if self.left:
            self.left -= 1
            raise ClickHouseError(
                f"Code: {self.code}. DB::Exception: Quorum for previous write has not been satisfied yet"
            )
        self.inserted += len(rows)


def test_an_insert_waits_for_the_quorum_of_another_one_but_for_no_other_error(monkeypatch: pytest.MonkeyPatch) -> None:
    busy: Any = Busy(2, 286)
    inserts.insert(busy, "site_register", [("s", "gate", "370115", 0, 1)])
    assert busy.inserted == 1
    with pytest.raises(ClickHouseError):
        inserts.insert(Busy(1, 242), "site_register", [])  # type: ignore[arg-type]
    monkeypatch.setattr(inserts, "QUORUM_SECONDS", 0)
    with pytest.raises(ClickHouseError):
        inserts.insert(Busy(5, 286), "site_register", [])  # type: ignore[arg-type]
