"""A day is published once and then stays as it is, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest

from ninezero.agents.recording import publishing
from ninezero.schemas.rows import FIRST_WINS, ScreeningFact, SiteRow
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import ClickHouseError, Engine
from tests.engines.clickhouse_server import ClickHouseServer
from tests.support import Killed

DAY = date(2026, 3, 1)
MINUTE = 1_772_300_040


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.server)])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if request.param == "server":
        server: ClickHouseServer = request.getfixturevalue("clickhouse_server")
        connection = clickhouse.connect(server.url)
    else:
        connection = clickhouse.connect(f"chdb://{tmp_path_factory.mktemp('chdb')}")
    clickhouse.migrate(connection)
    sites = [SiteRow("s1", "road", "370115", 0, 1), SiteRow("s2", "road", "370115", 0, 1)]
    connection.insert("ninezero_data.site_register", SiteRow._fields, sites)
    yield connection
    connection.close()


def passages(engine: Engine, site: str, count: int, outcome: str = "clear", stage: str = "", day: date = DAY) -> None:
    device = f"{site}{outcome}{stage}{day}"
    facts = [
        ScreeningFact(day, MINUTE + (day - DAY).days * 86_400, site, device, n, "rail" if stage else "vehicle", "in", stage, 1,
                      outcome, 0, [], "default@1", [], [], FIRST_WINS - 1)
        for n in range(count)
    ]  # fmt: skip
    engine.insert("ninezero_data.screening_facts", ScreeningFact._fields, facts)


def screening(engine: Engine) -> list[tuple[object, ...]]:
    rows = engine.query("SELECT * FROM ninezero_published.screening_by_day ORDER BY day, division")
    return [
        (r["day"], r["division"], *(None if r[n] is None else int(r[n]) for n in publishing.SCREENING_COUNTS))
        for r in rows
    ]


def test_a_day_is_summed_by_division_then_suppressed_then_frozen(engine: Engine) -> None:
    passages(engine, "s1", 8)
    passages(engine, "s2", 8)
    passages(engine, "s2", 3, "refer")
    passages(engine, "elsewhere", 14)
    passages(engine, "s1", 13, stage="boarded")
    passages(engine, "s1", 40, day=date(2026, 3, 2))
    (done,) = publishing.publish(engine, DAY, 11)
    assert (done.day, done.rows, done.unregistered_sites) == (DAY, 3, 1)
    expected = [
        ("2026-03-01", "", 15, 15, 15, 0, 0, 0, 0, 0),
        ("2026-03-01", "370115", 20, 20, 15, None, 0, 0, 0, 0),
    ]
    assert screening(engine) == expected
    arrivals = engine.query("SELECT * FROM ninezero_published.arrivals_by_day")
    assert [(*r.values(),) for r in arrivals] in (
        [("2026-03-01", "370115", "rail", "boarded", 15)],
        [("2026-03-01", "370115", "rail", "boarded", "15")],
    )
    passages(engine, "s1", 90, "hold")  # late
    engine.insert("ninezero_data.site_register", SiteRow._fields, [SiteRow("elsewhere", "road", "370116", 0, 2)])
    assert publishing.publish(engine, DAY, 12) == []
    assert screening(engine) == expected
    assert [day.day for day in publishing.publish(engine, date(2026, 3, 2), 11)] == [date(2026, 3, 2)]
    assert screening(engine)[:2] == expected


def test_a_table_that_had_no_rows_when_the_day_was_published_gets_none_later(engine: Engine) -> None:
    passages(engine, "s1", 20)
    publishing.publish(engine, DAY, 11)
    passages(engine, "s1", 30, stage="boarded")  # late
    assert publishing.publish(engine, DAY, 11) == []
    assert engine.query("SELECT * FROM ninezero_published.arrivals_by_day") == []


def test_a_row_whose_total_is_suppressed_is_blank_and_a_day_of_before_keeps_its_form(engine: Engine) -> None:
    before = (DAY, 1, 11, '[["370115", null, 40, null, 0, 0, 0, 0, 0]]', "[]")
    engine.insert("ninezero_data.publications", ("day", "at", "k", "screening", "arrivals"), [before])
    passages(engine, "s1", 10, day=date(2026, 3, 2))
    passages(engine, "s1", 10, stage="boarded", day=date(2026, 3, 2))
    publishing.publish(engine, date(2026, 3, 2), 11)
    assert screening(engine) == [
        ("2026-03-01", "370115", None, 40, None, 0, 0, 0, 0, 0),
        ("2026-03-02", "370115", *[None] * len(publishing.SCREENING_COUNTS)),
    ]
    assert [row["people"] for row in engine.query("SELECT people FROM ninezero_published.arrivals_by_day")] == [None]


def test_an_interrupted_run_is_finished_with_its_first_numbers(engine: Engine) -> None:
    passages(engine, "s1", 20)
    passages(engine, "s1", 30, stage="boarded")
    for n, statements in enumerate(
        (0, 1, 1)
    ):  # before the first insert, after the publication is stored, between the two tables
        with pytest.raises(ClickHouseError):
            publishing.publish(Killed(engine, statements), DAY, 11)
        if n:
            passages(engine, "s1", 100 * n, "refer")  # late, between the two runs
    publishing.publish(engine, DAY, 11)
    publishing.publish(engine, DAY, 11)
    assert screening(engine) == [("2026-03-01", "370115", 20, 20, 20, 0, 0, 0, 0, 0)]
    assert len(engine.query("SELECT * FROM ninezero_published.arrivals_by_day")) == 1


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2026-03-03T15:59:59", "2026-02-28"),
        ("2026-03-03T16:00:00", "2026-03-01"),
        ("2026-03-04T15:59:59", "2026-03-01"),
    ],
)
def test_a_day_is_published_48_hours_after_its_local_end(now: str, last: str) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert str(publishing.last_publishable_day(at, "Asia/Shanghai")) == last
