"""Views of cases in the embedded engine: they agree with the oracle, also after closed cases were removed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ninezero.agents.recording.case_deletion import delete_all_cases, delete_closed_cases
from ninezero.agents.recording.case_tables import quarantine_warnings, record_cases
from ninezero.agents.recording.projections.events import followup_fact_row, quarantine_fact_row
from ninezero.schemas.case_facts import QuarantineFact
from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import TABLES, PushReceiptRow, SiteRow
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import ClickHouseError, Engine
from tests.case_events import (
    DAYS,
    PLACE,
    ZONE,
    Events,
    check,
    facts,
    followup_event,
    make,
    quarantine_event,
    today,
    view,
)
from tests.engines.clickhouse_server import ClickHouseServer


@pytest.fixture(scope="module")
def chdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    connection = clickhouse.connect(f"chdb://{tmp_path_factory.mktemp('chdb')}")
    clickhouse.migrate(connection, ZONE)
    yield connection
    connection.close()


@pytest.fixture
def engine(chdb: Engine) -> Engine:
    """The engine without any case."""
    empty(chdb)
    return chdb


CASE_TABLES = [
    "quarantine_cases",
    "followup_cases",
    "quarantine_kept",
    "followup_kept",
]


def empty(engine: Engine) -> None:
    for table in (*CASE_TABLES, "push_receipts", "site_register"):
        engine.execute(f"TRUNCATE TABLE ninezero_data.{table}")


def write(engine: Engine, events: Events) -> None:
    written: dict[str, list[Any]] = {"quarantine_facts": [], "followup_facts": []}
    for some in facts(events).values():
        for fact in some:
            if isinstance(fact, QuarantineFact):
                written["quarantine_facts"].append(quarantine_fact_row(fact))
            else:
                written["followup_facts"].append(followup_fact_row(fact))
    record_cases(engine, {table: Block(table, rows) for table, rows in written.items()}, DAYS)


def everything(engine: Engine) -> dict[str, Any]:
    """Returns the rows of all views of cases."""
    return {
        name: view(engine, name, *keys)
        for name, keys in {
            "quarantine_by_day": ("day", "site_id"),
            "quarantine_balance": ("day", "site_id"),
            "quarantine_anomalies_by_day": ("day", "site_id"),
            "quarantine_occupancy": ("site_id",),
            "followups_by_day": ("day", "district"),
            "followup_anomalies_by_day": ("day", "district"),
            "followup_closings_by_day": ("day", "district", "closed"),
            "followup_delay_by_day": ("day", "district"),
        }.items()
    }


@pytest.mark.parametrize("seed", range(6))
def test_inserts_in_any_order_and_repeated_give_the_views_of_the_oracle(engine: Engine, seed: int) -> None:
    rng = random.Random(seed)
    events = make(rng)
    order = events + rng.sample(events, 20)
    rng.shuffle(order)
    for start in range(0, len(order), 25):
        write(engine, order[start : start + 25])
    check(engine, events)
    before = everything(engine)
    write(engine, rng.sample(events, 30))
    assert everything(engine) == before


def test_an_earlier_admission_that_arrives_late_moves_the_case_completely(engine: Engine) -> None:
    now = datetime.now(UTC)
    first = [(10, quarantine_event("admitted", now - timedelta(days=3), "q1") | {"seq": 5})]
    late = [(20, quarantine_event("admitted", now - timedelta(days=5), "q2") | {"seq": 4})]
    write(engine, first)
    write(engine, late)
    check(engine, first + late)
    assert {site for _, site in view(engine, "quarantine_by_day", "day", "site_id")} == {"q2"}


def test_a_late_write_of_a_replaced_worker_changes_nothing(engine: Engine) -> None:
    events = make(random.Random(9))
    write(engine, events[: len(events) // 2])
    names = ", ".join(TABLES["quarantine_cases"]._fields)
    stale = [tuple(row.values()) for row in engine.query(f"SELECT {names} FROM ninezero_data.quarantine_cases FINAL")]
    write(engine, events)
    before = everything(engine)
    engine.insert("ninezero_data.quarantine_cases", TABLES["quarantine_cases"]._fields, stale)
    assert everything(engine) == before


def old_and_new(engine: Engine) -> Events:
    """Inserts cases that were closed long ago, cases that were closed lately, and open cases, with the rows that views join."""
    old, new = make(random.Random(4), (40, 20)), make(random.Random(5))
    renumbered = [
        (ms, event | {"case_id": "c." + "f" * 30 + event["case_id"][-2:], "device_id": "z"}) for ms, event in new
    ]
    issued = int((datetime.now(UTC) - timedelta(days=50)).timestamp())
    receipt = PushReceiptRow("b1", "cdc", "list", "close_contact", "delta", "applied", "", 1, 1, 0, 0, 0, issued, 1)
    engine.insert("ninezero_data.push_receipts", PushReceiptRow._fields, [receipt])
    write(engine, old + renumbered)
    return old + renumbered


def counts(engine: Engine, table: str) -> int:
    return int(engine.query(f"SELECT count() AS n FROM ninezero_data.{table}")[0]["n"])


def check_removal(engine: Engine) -> None:
    events = old_and_new(engine)
    before = everything(engine)
    assert len(before["followup_delay_by_day"]) > 3 and len(before["followup_closings_by_day"]) > 3
    cases = counts(engine, "quarantine_cases") + counts(engine, "followup_cases")
    removed = delete_closed_cases(engine, today() - timedelta(days=14))
    assert removed > 4
    assert everything(engine) == before
    assert delete_closed_cases(engine, today() - timedelta(days=14)) == 0
    assert everything(engine) == before
    assert counts(engine, "quarantine_cases") + counts(engine, "followup_cases") <= cases - removed
    # cases that were closed later are removed later, and a resend of a removed case does not count
    assert delete_closed_cases(engine, today() - timedelta(days=1)) >= 0
    after = everything(engine)
    for name in before:
        assert after[name] == before[name], name
    write(
        engine,
        [
            (ms, event)
            for ms, event in events
            if event["device_id"] != "z" and event["type"] in ("admitted", "released", "opened", "closed")
        ],
    )
    check_days(engine, before)


def check_days(engine: Engine, before: dict[str, Any]) -> None:
    """Checks that no closing and no release is counted twice. A removed case can only look open again."""
    closings = view(engine, "followup_closings_by_day", "day", "district", "closed")
    assert closings == before["followup_closings_by_day"]
    released = {k: r["released"] for k, r in view(engine, "quarantine_by_day", "day", "site_id").items()}
    assert all(released.get(k, 0) == r["released"] for k, r in before["quarantine_by_day"].items())


def test_cases_that_were_closed_long_ago_are_removed_and_their_counts_stay(engine: Engine) -> None:
    check_removal(engine)


class Failing:
    """A real engine whose connection is lost before the n-th statement."""

    def __init__(self, engine: Engine, after: int) -> None:
        self._engine, self._left = engine, after

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ClickHouseError("lost")

    def query(self, sql: str) -> list[clickhouse.Row]:
        return self._engine.query(sql)

    def execute(self, sql: str) -> None:
        self._spend()
        self._engine.execute(sql)

    def insert(self, table: str, columns: Any, rows: Any) -> None:
        self._spend()
        self._engine.insert(table, columns, rows)

    def close(self) -> None:
        pass


def test_a_removal_that_is_stopped_at_any_statement_counts_nothing_twice_and_is_completed_later(engine: Engine) -> None:
    limit = today() - timedelta(days=14)
    events = old_and_new(engine)
    before = everything(engine)
    for statements in range(100):
        for table in CASE_TABLES:
            engine.execute(f"TRUNCATE TABLE ninezero_data.{table}")
        write(engine, events)
        try:
            delete_closed_cases(Failing(engine, statements), limit)
            break
        except ClickHouseError:
            assert everything(engine) == before, f"after {statements} statements"
            delete_closed_cases(engine, limit)
        assert everything(engine) == before
        for kind in PLACE:
            removed = f"SELECT count() AS n FROM ninezero_data.{kind}_cases WHERE closed_on < '{limit}'"
            assert int(engine.query(removed)[0]["n"]) == 0
    assert statements > 8


def test_erase_removes_every_case_and_the_counts_stay(engine: Engine) -> None:
    check_erase(engine)


def check_erase(engine: Engine) -> None:
    events = old_and_new(engine)
    delete_closed_cases(engine, today() - timedelta(days=14))
    before = everything(engine)
    with pytest.raises(ClickHouseError):
        delete_all_cases(Failing(engine, 3), today())
    assert delete_all_cases(engine, today()) > 4
    after = everything(engine)
    assert after.pop("quarantine_occupancy") == {} and before.pop("quarantine_occupancy") != {}
    assert after == before
    assert all(counts(engine, f"{kind}_{what}") == 0 for kind in PLACE for what in ("facts", "cases"))
    write(engine, events)
    assert delete_all_cases(engine, today()) > 4
    assert {name: rows for name, rows in everything(engine).items() if name in before} == before


def test_the_report_warns_of_a_full_site_and_the_view_shows_free_places(engine: Engine) -> None:
    now = datetime.now(UTC)
    engine.insert(
        "ninezero_data.site_register",
        SiteRow._fields,
        [
            SiteRow("q1", "quarantine", "370115", 1, 1),
            SiteRow("q2", "quarantine", "370115", 40, 1),
            SiteRow("road", "checkpoint", "370115", 0, 1),
        ],
    )
    write(engine, [(n, quarantine_event("admitted", now - timedelta(days=2), "q1", n=n) | {"seq": n}) for n in (1, 2)])
    assert view(engine, "quarantine_occupancy", "site_id") == {
        ("q1",): {"capacity": 1, "present": 2, "free": -1},
        ("q2",): {"capacity": 40, "present": 0, "free": 40},
    }
    assert quarantine_warnings(engine.query) == ["q1 holds 2 people and has room for 1"]
    write(engine, [(9, quarantine_event("released", now - timedelta(days=1), "q2", n=1) | {"seq": 9})])
    assert quarantine_warnings(engine.query)[0].startswith("the quarantine balance is wrong on 2 days")


def test_a_real_outbreak_replayed_as_follow_ups_balances(engine: Engine) -> None:
    """Line list of MERS in Al-Hofuf, 2013. A case is opened at its onset and visited every other day. It is closed as `withdrawn`
    if the person died, as `completed` after 14 days if the person recovered, and as `lost` after 28 days otherwise. Its term is the
    usual one of 14 days."""
    zone, events, ends = ZoneInfo(ZONE), [], []
    for line in (Path(__file__).parents[2] / "data" / "mers_al_hofuf_2013.csv").read_text().splitlines():
        if line.startswith("#"):
            continue
        number, onset, end = line.split(",")
        opened = datetime.fromisoformat(onset + "T09:00").replace(tzinfo=zone)
        if end[:1].isdigit():
            closed, how = datetime.fromisoformat(end + "T18:00").replace(tzinfo=zone), "withdrawn"
        else:
            closed, how = (opened + timedelta(days=14), "completed") if end else (opened + timedelta(days=28), "lost")
        ends.append((opened.date(), closed.date(), how))
        visits = [opened + timedelta(days=n, hours=1) for n in range(0, (closed.date() - opened.date()).days, 2)]
        steps = [
            ("opened", opened, {}),
            *(("visit", at, {"visit": "seen_well"}) for at in visits),
            ("closed", closed, {"closed": how}),
        ]
        events += [(len(events) + n, followup_event(kind, at, "al-hofuf", n=int(number), **more) | {"device_id": number, "seq": n})
                 for n, (kind, at, more) in enumerate(steps)]  # fmt: skip
    random.Random(1).shuffle(events)
    write(engine, events)
    rows = {day: row for (day, _), row in view(engine, "followups_by_day", "day", "district").items()}
    for day, row in rows.items():
        assert row["open"] == sum(first <= day < last for first, last, _ in ends)
        ages = [(day - first).days for first, last, _ in ends if day < last]
        assert row["overdue"] == sum(0 < age <= 14 and age % 2 for age in ages)
        assert row["term_exceeded"] == sum(age > 14 for age in ages)
    assert sum(row["opened"] for row in rows.values()) == sum(row["closed"] for row in rows.values()) == 21
    closings = engine.query("SELECT closed, sum(count) AS n FROM ninezero.followup_closings_by_day GROUP BY closed")
    assert {row["closed"]: int(row["n"]) for row in closings} == {"withdrawn": 10, "completed": 8, "lost": 3}


@pytest.mark.server
def test_a_server_gives_the_views_of_the_oracle_too(clickhouse_server: ClickHouseServer) -> None:
    engine = clickhouse.connect(clickhouse_server.url)
    clickhouse.migrate(engine, ZONE)
    for seed in range(2):
        empty(engine)
        events = make(random.Random(seed))
        for start in range(0, len(events), 40):
            write(engine, events[start : start + 40])
        check(engine, events)
    empty(engine)
    check_removal(engine)
    empty(engine)
    check_erase(engine)
    engine.close()
