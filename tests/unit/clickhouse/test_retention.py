"""The views of dispositions and completeness equal a naive count, before and after days are sealed, on both engines."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import pytest

from ninezero.agents.recording import retention
from ninezero.agents.recording.completeness import roll_up_devices
from ninezero.agents.recording.erasure import erase_tables, kept_tables
from ninezero.schemas.rows import FIRST_WINS, DeviceEvent, DispositionFact, ScreeningFact
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import ClickHouseError, Engine
from tests.engines.clickhouse_server import ClickHouseServer
from tests.support import Killed

FIRST = date(2026, 3, 1)
DAYS = 6


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """No flush and no query runs beside retention, unless a test says so."""
    monkeypatch.setattr(retention, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(retention, "READ_SECONDS", 0)


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.server)])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if request.param == "server":
        server: ClickHouseServer = request.getfixturevalue("clickhouse_server")
        connection = clickhouse.connect(server.url)
    else:
        connection = clickhouse.connect(f"chdb://{tmp_path_factory.mktemp('chdb')}")
    clickhouse.migrate(connection)
    yield connection
    connection.close()


class Deployment:
    """Scans and dispositions of three devices, with gaps, repetitions, conflicts and wrong days, and the rows of them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.scans: list[ScreeningFact] = []
        self.disposition_facts: list[DispositionFact] = []
        self.events: list[DeviceEvent] = []
        self._version = FIRST_WINS - 1_000
        for device in ("d1", "d2", "d3"):
            self._device(device)

    def _device(self, device: str) -> None:
        rng, numbers = self.rng, []
        for seq in range(120):
            if rng.random() < 0.2:
                continue  # lost or dead-lettered
            day = FIRST + timedelta(days=min(DAYS - 1, max(0, seq // 20 + rng.choice([0, 0, 0, 0, -1, 1]))))
            site, digest = rng.choice(["s1", "s2"]), rng.randrange(2**32)
            self._version -= 2
            event = DeviceEvent(day, device, seq, site, digest, int(rng.random() < 0.1), self._version)
            self.events += [event] * rng.choice([1, 1, 1, 2])
            if (
                rng.random() < 0.1
            ):  # the same number with another content, which came earlier or later, often on another day
                self._version -= 2
                other = min(
                    max(day + timedelta(days=rng.choice([-2, 0, 1, 2])), FIRST), FIRST + timedelta(days=DAYS - 1)
                )
                version = event.version + rng.choice([-1, 1])
                self.events.append(event._replace(day=other, digest=digest ^ 1, site_id="s1", version=version))
            if numbers and rng.random() < 0.4:
                # About any scan of the device, one that never existed, or one that follows.
                of = rng.choice([*numbers, 5000 + rng.randrange(3), seq + 1])
                disposition = DispositionFact(day, device, seq, site, device, of, rng.choice(["released", "referred"]),
                                       rng.choice(["", "", "other"]), self._version)  # fmt: skip
                self.disposition_facts += [disposition] * rng.choice([1, 2])
            else:
                numbers.append(seq)
                minute = 1_772_300_000 // 60 * 60 + (day - FIRST).days * 86_400
                scan = ScreeningFact(day, minute, site, device, seq, rng.choice(["vehicle", "pedestrian"]), "in", "", 1,
                                     "clear", 0, [], "default@1", [], [], self._version)  # fmt: skip
                self.scans += [scan] * rng.choice([1, 2])

    def dispositions(self) -> dict[tuple[str, str, str, str], tuple[int, int]]:
        kinds = {(s.device_id, s.seq): s.kind for s in self.scans}
        found: dict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0, 0])
        for fact in {(t.device_id, t.seq): t for t in self.disposition_facts}.values():
            cell = found[str(fact.day), fact.site_id, kinds.get((fact.of_device, fact.of_seq), ""), fact.action]
            cell[0] += fact.override != ""
            cell[1] += 1
        return {key: (a, b) for key, (a, b) in found.items()}

    def completeness(self) -> dict[tuple[str, str, str], dict[str, int]]:
        contents: dict[tuple[str, int], list[DeviceEvent]] = defaultdict(list)
        for event in self.events:
            contents[event.device_id, event.seq].append(event)
        rows: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
        before: dict[str, int] = {}
        for (device, seq), some in sorted(contents.items()):
            first = max(some, key=lambda e: e.version)
            row = rows[device, str(first.day), first.site_id]
            if not row:
                row["first_seq"] = seq
            row["last_seq"] = seq
            row["received"] += 1
            row["missing"] += seq - before.get(device, -1) - 1
            row["conflicts"] += len({e.digest for e in some}) > 1
            row["late"] += first.late
            before[device] = seq
        return {key: dict(row) for key, row in rows.items()}


def write(engine: Engine, rows: list[Any]) -> None:
    """Inserts rows as the recording role does."""
    kinds = {ScreeningFact: "screening_facts", DeviceEvent: "device_events", DispositionFact: "disposition_facts"}
    sealed = {row["day"] for row in engine.query("SELECT DISTINCT day FROM ninezero_data.sealed_days")}
    for kind, table in kinds.items():
        some = [row for row in rows if isinstance(row, kind) and str(row.day) not in sealed]
        if some:
            engine.insert(f"ninezero_data.{table}", kind._fields, some)


AGED = "SELECT day, events, made - 61 AS made, device_id, site_id, late, starts, ends FROM ninezero_data.device_rolled"


def age(engine: Engine) -> None:
    """Makes the rollup a minute older, so that the views use it."""
    engine.execute("CREATE TABLE ninezero_data.aged AS ninezero_data.device_rolled")
    engine.execute(f"INSERT INTO ninezero_data.aged {AGED}")
    engine.execute("TRUNCATE TABLE ninezero_data.device_rolled")
    engine.execute("INSERT INTO ninezero_data.device_rolled SELECT * FROM ninezero_data.aged")
    engine.execute("DROP TABLE ninezero_data.aged")


def make_freeze_effective(engine: Engine) -> None:
    """Dates the freezes six seconds back: after five seconds, completeness does not read the events of a frozen day any more."""
    engine.execute(
        "INSERT INTO ninezero_data.sealed_days SELECT day, 1, at - 6 FROM ninezero_data.sealed_days WHERE frozen = 1"
    )


def check(engine: Engine, deployment: Deployment) -> None:
    got = {
        (r["day"], r["site_id"], r["kind"], r["action"]): (int(r["overrides"]), int(r["count"]))
        for r in engine.query("SELECT * FROM ninezero.dispositions_by_day")
    }
    assert got == deployment.dispositions()
    rows = engine.query("SELECT * FROM ninezero.device_completeness")
    names = ("first_seq", "last_seq", "received", "missing", "conflicts", "late")
    complete = {(r["device_id"], r["day"], r["site_id"]): {n: int(r[n]) for n in names} for r in rows}
    assert complete == deployment.completeness()
    assert len(rows) == len(complete)
    passages = engine.query("SELECT sum(passages) AS n FROM ninezero.screening_by_day")[0]["n"]
    assert int(passages) == len({(s.device_id, s.seq) for s in deployment.scans})


@pytest.mark.parametrize("seed", range(3))
def test_the_views_equal_a_naive_count_in_any_order_and_after_days_are_dropped(engine: Engine, seed: int) -> None:
    deployment = Deployment(seed)
    rows: list[Any] = [*deployment.scans, *deployment.disposition_facts, *deployment.events]
    deployment.rng.shuffle(rows)
    for start in range(0, len(rows), 150):
        write(engine, rows[start : start + 150])
        roll_up_devices(engine, FIRST + timedelta(days=DAYS - 1))  # the next rows make the rollup stale
        age(engine)
    check(engine, deployment)
    for days in (2, 4, DAYS):  # retention continues day by day
        before = FIRST + timedelta(days=days)
        assert retention.seal(engine, before) == 2
        assert retention.drop(engine, before) == []
        assert retention.freeze(engine, before) == 2
        if seed:
            make_freeze_effective(engine)
        check(engine, deployment)
        assert [d.day for d in retention.drop(engine, before)] == [
            before - timedelta(days=2),
            before - timedelta(days=1),
        ]
        check(engine, deployment)
        write(engine, rows)  # a replay from the beginning
        check(engine, deployment)
        assert retention.retain(engine, before, before) == []
    for table in retention.FACT_TABLES:
        assert engine.query(f"SELECT count() AS n FROM ninezero_data.{table}")[0]["n"] in (0, "0")


@pytest.mark.parametrize("seed", range(2))
def test_completeness_is_the_same_whether_days_are_rolled_up_or_not(
    request: pytest.FixtureRequest, engine: Engine, seed: int
) -> None:
    deployment = Deployment(100 + seed)
    for event in deployment.rng.sample(deployment.events, 12):  # the same number with another content on another day
        day = FIRST + timedelta(days=deployment.rng.randrange(DAYS))
        deployment.events.append(
            event._replace(day=day, digest=event.digest ^ 3, version=event.version - deployment.rng.choice([-900, 900]))
        )
    deployment.rng.shuffle(deployment.events)
    write(engine, [*deployment.scans, *deployment.disposition_facts, *deployment.events])
    check(engine, deployment)
    if (
        request.node.callspec.params["engine"] == "server"
    ):  # as at a restart, which reads the definitions of views again
        for view in engine.query(
            "SELECT database, name FROM system.tables WHERE database LIKE 'ninezero%' AND engine = 'View'"
        ):
            for word in ("DETACH", "ATTACH"):
                engine.execute(f"{word} TABLE {view['database']}.{view['name']}")
        check(engine, deployment)
    past = FIRST + timedelta(days=DAYS - 2)
    while roll_up_devices(engine, past):
        check(engine, deployment)
        age(engine)
        check(engine, deployment)
    engine.execute("OPTIMIZE TABLE ninezero_data.device_events")  # the facts stay, in other parts
    rolled = "SELECT count() AS n, max(day) AS last FROM ninezero_data.device_rolled_days"
    assert [(int(r["n"]), r["last"]) for r in engine.query(rolled)] == [(DAYS - 2, str(past - timedelta(days=1)))]

    late = DeviceEvent(FIRST, "d9", 4, "s1", 1, 1, FIRST_WINS - 1)
    deployment.events += [late]
    write(engine, [late])
    check(engine, deployment)  # the day is stale, and so is its rollup
    assert roll_up_devices(engine, past) and not roll_up_devices(engine, past)
    check(engine, deployment)
    age(engine)
    check(engine, deployment)
    engine.execute(
        f"ALTER TABLE ninezero_data.device_rolled DROP PARTITION '{FIRST}'"
    )  # lost: the events are read again
    check(engine, deployment)
    assert roll_up_devices(engine, past) and not roll_up_devices(engine, past)


def retain_facts(engine: Engine, before: date) -> None:
    """Does what `retention.retain` does, without the deletion of cases, of which one process is refused."""
    retention.seal(engine, before)
    if retention.freeze(engine, before):
        time.sleep(retention.READ_SECONDS)
    retention.drop_facts(engine, before)


@pytest.mark.server
def test_the_views_show_the_same_counts_at_every_moment_of_a_change(
    clickhouse_server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts are repeated, parts are merged, days are rolled up, and dropped by two processes at the same time.

    Each of these changes where a query finds its data.
    """
    engine = clickhouse.connect(clickhouse_server.url)
    clickhouse.migrate(engine)
    deployment = Deployment(3)
    rows: list[Any] = [*deployment.scans, *deployment.disposition_facts, *deployment.events]
    write(engine, rows)
    monkeypatch.setattr(retention, "READ_SECONDS", 1)
    over, queries = threading.Event(), 0

    def change() -> None:
        try:
            changing, rng = clickhouse.connect(clickhouse_server.url), random.Random(3)
            other = clickhouse.connect(clickhouse_server.url)
            for before in (FIRST + timedelta(days=days) for days in range(DAYS)):
                with ThreadPoolExecutor(2) as both:
                    runs = [both.submit(retain_facts, one, before) for one in (changing, other)]
                    for run in runs:
                        run.result()
                for _ in range(20):
                    write(changing, rng.sample(rows, 5))
                    changing.execute("OPTIMIZE TABLE ninezero_data.device_events")
                    roll_up_devices(changing, FIRST + timedelta(days=DAYS))
                    if rng.random() < 0.3:
                        changing.execute(f"INSERT INTO ninezero_data.device_rolled {AGED}")
            changing.close()
            other.close()
        finally:
            over.set()

    with ThreadPoolExecutor(1) as pool:
        changes = pool.submit(change)
        while not over.is_set():
            check(engine, deployment)
            queries += 1
        changes.result()
    engine.close()
    assert queries > 20


def test_retention_that_is_killed_at_any_statement_changes_no_count(engine: Engine) -> None:
    deployment = Deployment(7)
    write(engine, [*deployment.scans, *deployment.disposition_facts, *deployment.events])
    before = FIRST + timedelta(days=3)
    for statements in range(30):
        killed = Killed(engine, statements)
        try:
            retention.seal(killed, before)
            retention.freeze(killed, before)
            retention.drop(killed, before)
        except ClickHouseError:
            check(engine, deployment)
        else:
            break
    else:
        raise AssertionError("retention did not finish")
    check(engine, deployment)
    left = engine.query("SELECT DISTINCT day FROM ninezero_data.device_events ORDER BY day")
    assert [row["day"] for row in left] == [str(before + timedelta(days=n)) for n in range(3)]


def test_retention_changes_no_count_of_a_number_with_contents_on_two_days(engine: Engine) -> None:
    """The days are dropped in each order, and the first content is on each of them."""

    def counts() -> list[str]:
        rows = engine.query("SELECT * FROM ninezero.device_completeness ORDER BY device_id, day")
        return [
            f"{r['device_id']} {r['day'][-1]}: {r['first_seq']}-{r['last_seq']}, {r['received']}, {r['conflicts']}"
            for r in rows
        ]

    later = FIRST + timedelta(days=2)
    for device, (first, second) in {"d1": (FIRST, later), "d2": (later, FIRST)}.items():
        days = {**dict.fromkeys(range(5), FIRST), **dict.fromkeys((5, 6, 7), later), 3: first}
        write(engine, [DeviceEvent(day, device, seq, "s", seq, 0, FIRST_WINS - 10 - seq) for seq, day in days.items()])
        write(engine, [DeviceEvent(second, device, 3, "s", 30, 0, FIRST_WINS - 30)])
    expected = ["d1 1: 0-4, 5, 1", "d1 3: 5-7, 3, 0", "d2 1: 0-4, 4, 0", "d2 3: 3-7, 4, 1"]
    assert counts() == expected
    late = [DeviceEvent(FIRST + timedelta(days=4), "d1", seq, "s", 50, 0, FIRST_WINS - 50) for seq in (3, 8)]
    for step in (retention.seal, retention.freeze, lambda *_: make_freeze_effective(engine), retention.drop_facts):
        step(engine, FIRST + timedelta(days=1))
        assert counts() == expected, step
    # A third content of number 3 does not count, because the second was on a day that is not frozen.
    write(engine, late)
    expected.insert(2, "d1 5: 8-8, 1, 0")
    assert counts() == expected
    for step in (retention.seal, retention.freeze, lambda *_: make_freeze_effective(engine), retention.drop_facts):
        step(engine, FIRST + timedelta(days=DAYS - 2))
        assert counts() == expected, step
    # Of number 4, no day knows a content any more; of number 3, the day of the third content does.
    write(engine, [late[0]._replace(seq=4, digest=60), late[0]._replace(digest=61)])
    expected[2] = "d1 5: 4-8, 2, 0"
    assert counts() == expected


def test_a_disposition_of_a_scan_whose_day_was_dropped_has_no_kind(engine: Engine) -> None:
    scan = ScreeningFact(
        FIRST, 1_772_300_040, "s", "d", 0, "vehicle", "in", "", 1, "clear", 0, [], "default@1", [], [], FIRST_WINS - 1
    )
    write(engine, [scan])
    retention.seal(engine, FIRST + timedelta(days=1))
    retention.freeze(engine, FIRST + timedelta(days=1))
    retention.drop(engine, FIRST + timedelta(days=1))
    write(engine, [DispositionFact(FIRST + timedelta(days=3), "d", 1, "s", "d", 0, "released", "", FIRST_WINS - 2)])
    rows = engine.query("SELECT kind, count FROM ninezero.dispositions_by_day")
    assert [(row["kind"], int(row["count"])) for row in rows] == [("", 1)]


def test_a_device_that_sent_an_event_today_but_not_recently_is_silent(engine: Engine) -> None:
    now_ms = time.time_ns() // 1_000_000
    today = date.fromtimestamp(now_ms / 1000)
    minutes = {"awake": [600, 5], "silent": [700, 45], "gone": [26 * 60], "resent": [50, 40]}
    events = [
        DeviceEvent(today, device, seq, f"at-{device}", seq, 0, FIRST_WINS - (now_ms - ago * 60_000))
        for device, some in minutes.items()
        for seq, ago in enumerate(some)
    ]
    engine.insert("ninezero_data.device_events", DeviceEvent._fields, events)
    rows = engine.query("SELECT * FROM ninezero.devices_silent ORDER BY device_id")
    assert [(r["device_id"], r["site_id"], int(r["minutes"])) for r in rows] == [
        ("resent", "at-resent", 40),
        ("silent", "at-silent", 45),
    ]


def test_every_table_is_either_kept_by_erase_or_emptied_on_purpose(engine: Engine) -> None:
    """A new table of counts must have the comment `kept by erase`, or `erase` empties it."""
    rows = engine.query("SELECT name FROM system.tables WHERE database = 'ninezero_data' AND engine LIKE '%MergeTree'")
    emptied = {"recorder_progress", "recorder_tallies", "recorder_epochs", *retention.FACT_TABLES}
    emptied.add("care_alert_facts")
    cases = {"quarantine_cases", "followup_cases"}
    assert {row["name"] for row in rows} - kept_tables(engine) - emptied == cases


def test_erase_removes_every_fact_and_no_count(engine: Engine) -> None:
    deployment = Deployment(11)
    write(engine, [*deployment.scans, *deployment.disposition_facts, *deployment.events])
    lines = {line.what.removeprefix("table ninezero_data."): line for line in erase_tables(engine, "Asia/Shanghai")}
    check(engine, deployment)
    for table in retention.FACT_TABLES:
        assert engine.query(f"SELECT * FROM ninezero_data.{table}") == []
        assert lines[table].state == "erased"
    assert lines["screening_facts"].number != "0 rows"
    assert lines["screening_days"].state == lines["device_days"].state == "stays"
    assert {line.state for line in erase_tables(engine, "Asia/Shanghai")} == {"erased", "stays"}  # again
    check(engine, deployment)
