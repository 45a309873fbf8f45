"""Work that should have been done is found in the data, on the real embedded engine, and its failures are counted."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from ninezero.agents.recording import retention
from ninezero.agents.recording.overdue import overdue_days
from ninezero.schemas.rows import FIRST_WINS, ScreeningFact
from ninezero.streams import metrics
from ninezero.streams.clickhouse import ClickHouseError, Engine
from ninezero.streams.suppressed_errors import SuppressedErrors

NOW = datetime(2026, 3, 20, 4, tzinfo=UTC)
TODAY = NOW.date()


def record_day(engine: Engine, days_ago: int) -> None:
    fact = ScreeningFact(TODAY - timedelta(days=days_ago), 0, "s", "d", days_ago, "vehicle", "in", "", 1, "clear", 0, [], FIRST_WINS - 1)  # fmt: skip
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
    retention.retain(engine, retention.first_kept_day(NOW, "Asia/Shanghai"))
    assert overdue_days(engine, NOW, "Asia/Shanghai") == none


def test_days_that_wait_for_their_publication_are_found_once_a_day_was_published(engine: Engine) -> None:
    for days_ago in (9, 8, 7, 1):
        record_day(engine, days_ago)
    assert overdue_days(engine, NOW, "Asia/Shanghai")["publishing"] == 0
    day = TODAY - timedelta(days=9)
    engine.insert("ninezero_data.publications", ("day", "at", "k", "screening", "arrivals"), [(day, 1, 11, "[]", "[]")])
    assert overdue_days(engine, NOW, "Asia/Shanghai")["publishing"] == 6, "the day 8 days ago was due 3 days after it"


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
