"""Alerts about cases that were sent: each counts once, a day is frozen 72 hours after its end, and its rows are dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from ninezero.agents.recording import retention
from ninezero.agents.recording.erasure import erase_tables
from ninezero.agents.recording.overdue import overdue_days
from ninezero.agents.recording.projections.topics import project, projections
from ninezero.schemas.events import Alert, CareAlert, Correction, encode
from ninezero.schemas.rows import FIRST_WINS, CareAlertFact
from ninezero.streams import clickhouse, metrics, settings
from ninezero.streams.clickhouse import ClickHouseError, Engine
from ninezero.streams.kafka.internal_records import UnreadableRecord
from ninezero.streams.kafka.topics import ALERTS
from tests.support import Killed, default_policies

ZONE = "America/Sao_Paulo"
FIRST = date(2026, 3, 1)
ENDS = datetime(2026, 3, 2, 3, tzinfo=UTC)
"""The end of the first day in São Paulo."""


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(retention, "READ_SECONDS", 0)


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.server)])
def engine(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Engine]:
    url = request.getfixturevalue("clickhouse_server").url if request.param == "server" else f"chdb://{tmp_path}"
    connection = clickhouse.connect(url)
    clickhouse.migrate(connection, ZONE)
    yield connection
    connection.close()


def fact(
    n: int, day: int = 0, rule: str = "fever", site: str = "q1", district: str = "", sent: int = 1
) -> CareAlertFact:
    return CareAlertFact(FIRST + timedelta(days=day), rule, site, district, f"{n:032x}", FIRST_WINS - sent)


def insert(engine: Engine, *facts: CareAlertFact) -> None:
    engine.insert("ninezero_data.care_alert_facts", CareAlertFact._fields, list(facts))


def counted(engine: Engine) -> Counter[tuple[str, ...]]:
    rows = engine.query("SELECT * FROM ninezero.care_alerts_by_day")
    assert all(list(row) == ["day", "site_id", "district", "rule", "alerts"] for row in rows)
    found = Counter({(r["day"], r["site_id"], r["district"], r["rule"]): int(r["alerts"]) for r in rows})
    assert len(found) == len(rows)
    return found


def facts_left(engine: Engine) -> int:
    return int(engine.query("SELECT count() AS n FROM ninezero_data.care_alert_facts FINAL")[0]["n"])


def retain(engine: Engine, before: date) -> None:
    for step in (retention.seal, retention.freeze, retention.drop_facts):
        step(engine, before, retention.ALERTS_SENT)  # type: ignore[operator]


SENT = [
    fact(1),
    fact(2),
    fact(2, site="q2", sent=5),
    fact(3, rule="symptoms", site="", district="d1"),
    fact(4, day=1),
    fact(5, day=2),
]
EXPECTED = {
    ("2026-03-01", "q1", "", "fever"): 2, ("2026-03-01", "", "d1", "symptoms"): 1, ("2026-03-02", "q1", "", "fever"): 1,
    ("2026-03-03", "q1", "", "fever"): 1,
}  # fmt: skip


def test_a_frozen_day_is_never_counted_again(engine: Engine) -> None:
    insert(engine, *SENT)
    insert(engine, *SENT)  # the recorder reads them again
    assert counted(engine) == EXPECTED
    retain(engine, FIRST + timedelta(days=2))
    assert (counted(engine), facts_left(engine)) == (EXPECTED, 1)
    insert(
        engine, *SENT, fact(9), fact(10, rule="release_due", site="q7")
    )  # a rebuild, and alerts that were recorded late
    assert counted(engine) == EXPECTED
    retain(engine, FIRST + timedelta(days=2))
    assert (counted(engine), facts_left(engine)) == (EXPECTED, 1)


def test_a_freeze_that_is_stopped_at_any_statement_counts_nothing_twice(engine: Engine) -> None:
    for statements in range(20):
        for table in ("care_alert_facts", "care_alert_days", "sealed_alert_days"):
            engine.execute(f"TRUNCATE TABLE ninezero_data.{table}")
        insert(engine, *SENT)
        try:
            retain(Killed(engine, statements), FIRST + timedelta(days=2))
            break
        except ClickHouseError:
            assert counted(engine) == EXPECTED, statements
            retain(engine, FIRST + timedelta(days=2))
        assert (counted(engine), facts_left(engine)) == (EXPECTED, 1)
    assert statements > 4


def test_erase_leaves_the_counts_and_no_alert(engine: Engine) -> None:
    insert(engine, *SENT)
    lines = {line.what: line for line in erase_tables(engine, ZONE)}
    assert (counted(engine), facts_left(engine)) == (EXPECTED, 0)
    assert lines["table ninezero_data.care_alert_facts"].state == "erased"
    assert lines["table ninezero_data.care_alert_days"].state == "stays"


def test_alerts_that_are_kept_too_long_are_found(engine: Engine) -> None:
    insert(engine, *SENT)
    for after, overdue in (({"hours": 71, "minutes": 59}, 0), ({"hours": 72}, 1), ({"hours": 72 + 48}, 3)):
        assert overdue_days(engine, ENDS + timedelta(**after), ZONE)["retention"] == overdue


def recorded(value: bytes, at: datetime, *, replay: bool = False) -> list[tuple[Any, ...]]:
    """Returns the rows that the recorder makes of a record on the topic of the alerts."""
    given = {
        "ORDER": "o", "SUNSET": "2100-01-01T00:00:00Z", "KAFKA": "k:1", "CLICKHOUSE": "clickhouse://c", "TIMEZONE": ZONE,
        "REPLAY": str(int(replay)),
    }  # fmt: skip
    loaded = settings.load({f"NINEZERO_{name}": text for name, text in given.items()})
    (projection,) = (one for one in projections(loaded, default_policies(loaded)) if one.topic is ALERTS)
    record = SimpleNamespace(value=value, timestamp=int(at.timestamp() * 1000), offset=0, key=b"q1", headers=[])
    chunk: Any = SimpleNamespace(records=[record], tp=TP(ALERTS.name, 0))
    return list(project(projection, chunk, {FIRST}).rows["care_alert_facts"])


def care_alert(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "alert_id": "a" * 32, "rule": "release_due", "case_id": "c." + "0" * 32, "site_id": "q1", "district": None,
        "transfer_id": None, "day": FIRST, "slot": None, "at": ENDS,
    }  # fmt: skip
    return encode(CareAlert(**fields | changes))


def late_alerts() -> float:
    return metrics.late_alerts._value.get()


def test_an_alert_counts_until_72_hours_after_the_end_of_its_day() -> None:
    last = ENDS + timedelta(hours=72)
    one = timedelta(milliseconds=1)
    assert recorded(care_alert(), ENDS) == [
        (FIRST, "release_due", "q1", "", "a" * 32, FIRST_WINS - int(ENDS.timestamp() * 1000))
    ]
    assert len(recorded(care_alert(), last - one)) == 1
    before = late_alerts()
    assert recorded(care_alert(), last) == []
    assert late_alerts() == before + 1
    assert len(recorded(care_alert(), last + timedelta(days=900), replay=True)) == 1


def test_only_alerts_about_cases_and_transfers_are_counted() -> None:
    assert [row[1:4] for row in recorded(care_alert(site_id=None, district="d1", rule="visit_overdue"), ENDS)] == [
        ("visit_overdue", "", "d1")
    ]
    transfer = care_alert(case_id=None, transfer_id="t1", rule="not_delivered")
    assert [row[1:4] for row in recorded(transfer, ENDS)] == [("not_delivered", "q1", "")]
    screened = Alert("b" * 32, "default@1", "s", "d", 1, ENDS, ENDS, "refer", False, 1, [])
    assert recorded(encode(screened), ENDS) == recorded(encode(Correction("b" * 32, "s", ENDS, "mistake")), ENDS) == []


def test_an_alert_that_cannot_be_read_ends_the_recorder() -> None:
    with pytest.raises(UnreadableRecord):
        recorded(b'{"case_id": 7}', ENDS)
