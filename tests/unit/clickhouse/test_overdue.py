"""Work that should have been done is found in the data, on the real embedded engine, and its failures are counted."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from ninezero.agents.doctor import check_clickhouse
from ninezero.agents.recording import retention
from ninezero.agents.recording.overdue import overdue_days
from ninezero.schemas.rows import FIRST_WINS, ScreeningFact
from ninezero.streams import metrics
from ninezero.streams.clickhouse import ClickHouseError, Engine, progress, tallies
from ninezero.streams.suppressed_errors import SuppressedErrors

NOW = datetime(2026, 3, 20, 4, tzinfo=UTC)
TODAY = NOW.date()
FACT = ScreeningFact(TODAY, 0, "s", "d", 1, "vehicle", "in", "", 1, "clear", 0, [], "default@1", [], [], FIRST_WINS - 1)


def record_day(engine: Engine, days_ago: int) -> None:
    fact = FACT._replace(day=TODAY - timedelta(days=days_ago), seq=days_ago)
    engine.insert("ninezero_data.screening_facts", ScreeningFact._fields, [fact])


def test_facts_that_are_kept_too_long_are_found_until_they_are_dropped(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(retention, "READ_SECONDS", 0)
    none = {"retention": 0, "case_deletion": 0, "publishing": 0}
    assert overdue_days(engine, NOW, "Asia/Shanghai") == none
    record_day(engine, retention.KEPT_DAYS)
    assert overdue_days(engine, NOW, "Asia/Shanghai") == none
    record_day(engine, retention.KEPT_DAYS + 3)
    assert overdue_days(engine, NOW, "Asia/Shanghai") == none | {"retention": 3}
    retention.retain(
        engine,
        retention.first_kept_day(NOW, "Asia/Shanghai"),
        retention.first_counted_alert_day(NOW, "Asia/Shanghai"),
    )
    assert overdue_days(engine, NOW, "Asia/Shanghai") == none


def test_days_that_wait_for_their_publication_are_found_once_a_day_was_published(engine: Engine) -> None:
    for days_ago in (9, 8, 7, 1):
        record_day(engine, days_ago)
    assert overdue_days(engine, NOW, "Asia/Shanghai")["publishing"] == 0
    day = TODAY - timedelta(days=9)
    engine.insert("ninezero_data.publications", ("day", "at", "k", "screening", "arrivals"), [(day, 1, 11, "[]", "[]")])
    assert overdue_days(engine, NOW, "Asia/Shanghai")["publishing"] == 6, "the day 8 days ago was due 3 days after it"


def test_doctor_names_facts_that_are_kept_too_long_and_rows_that_kafka_does_not_have(engine: Engine) -> None:
    deployment: Any = SimpleNamespace(replay=False, timezone="Asia/Shanghai")

    def findings() -> list[tuple[str, str]]:
        found = [*check_clickhouse._overdue(engine, deployment), *check_clickhouse._lost(engine)]
        return [(result.status, result.found.partition(" since ")[0]) for result in found]

    def state() -> tallies.TableState:
        return tallies.read_states(engine, ["push_receipts"])["push_receipts"]

    assert findings() == [("ok", "no facts and no closed cases are kept too long")]
    day = datetime.now(UTC).date() - timedelta(days=retention.KEPT_DAYS + 9)
    engine.insert("ninezero_data.screening_facts", ScreeningFact._fields, [FACT._replace(day=day)])
    tallies.store(engine, "push_receipts", state(), {progress.NO_DAY: 5}, 1000)
    tallies.begin_rebuild(engine, "push_receipts", state())
    (kept, rebuilding) = findings()
    assert kept[0] == "failed" and kept[1].endswith("days older than they may be: retention fails")
    assert rebuilding == ("warning", "rows of push_receipts were lost and are recorded again")
    tallies.store(engine, "push_receipts", state(), {progress.NO_DAY: 3}, state().rebuild_ms + 1)
    assert findings()[1][0] == "failed" and findings()[1][1].startswith("2 rows of push_receipts that were lost")


def test_an_error_is_counted_each_time_and_logged_once_per_outage(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    attempts = SuppressedErrors("retention", "facts cannot be dropped", ClickHouseError)
    counter = metrics.suppressed_errors.labels("retention")._value  # the client library has no public reader
    before = counter.get()
    for failure in (True, True, False, False, True):
        with attempts:
            if failure:
                raise ClickHouseError("Code: 36")
    assert counter.get() == before + 3
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "facts cannot be dropped: Code: 36"),
        ("INFO", "retention works again"),
        ("WARNING", "facts cannot be dropped: Code: 36"),
    ]
    with pytest.raises(ValueError, match="another"), attempts:
        raise ValueError("another")
