"""Rows that are lost are noticed and recorded again, in random histories on the real embedded engine.

Kafka and the consumers are simulated in this process. Two recorders share the partitions and exchange them.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from ninezero.agents.recording import checkpoint, loss_check
from ninezero.agents.recording import recorder as recorder_module
from ninezero.agents.recording.recorder import Recorder
from ninezero.agents.recording.sealed_days import sealed_by
from ninezero.schemas.rows import FIRST_WINS, CareAlertFact, DeadLetterRow, DeviceEvent, ScreeningFact
from ninezero.streams.clickhouse import Engine, tallies
from ninezero.streams.transport.offset_tracker import Chunk, OffsetTracker

START_MS, FIRST_DAY = 1_767_200_040_000, date(2026, 1, 1)
TABLES = {
    "decisions": frozenset({"screening_facts", "device_events"}),
    "letters": frozenset({"dead_letter_facts"}),
    "alerts": frozenset({"care_alert_facts"}),
}
SEALED = {"sealed_days": ("screening_facts", "device_events"), "sealed_alert_days": ("care_alert_facts",)}
"""The tables of facts with one partition per day, by the table of their sealed days."""
DAY_TABLES = [table for tables in SEALED.values() for table in tables]
PARTITIONS = [TP("decisions", 0), TP("decisions", 1), TP("letters", 0), TP("alerts", 0)]
KEYS = {
    "screening_facts": "device_id, seq",
    "device_events": "device_id, seq",
    "dead_letter_facts": "partition, offset",
    "care_alert_facts": "alert_id, rule",
}


class Simulation:
    """Kafka, ClickHouse and two recorders, with a simulated clock."""

    def __init__(self, engine: Engine, rng: random.Random) -> None:
        self.engine, self.rng, self.now_ms = engine, rng, START_MS
        self.log: dict[TP, list[tuple[int, dict[str, Any]]]] = {tp: [] for tp in PARTITIONS}
        self.committed: dict[TP, int] = dict.fromkeys(PARTITIONS, 0)
        self.owner = dict.fromkeys(PARTITIONS, 0)
        self.earliest = dict.fromkeys(PARTITIONS, 0)
        """The offset of the oldest record that Kafka still has."""
        self.today = FIRST_DAY
        self.sealed: dict[str, set[date]] = {table: set() for table in SEALED}
        self.deleted_letters: set[int] = set()
        self.copies: dict[str, str] = {}
        self.losses: Counter[str] = Counter()
        self.damaged: set[str] = set()
        """Tables that have lost rows since their last rebuild began."""
        self.unnoticed: set[str] = set()
        """Those of them whose topic was not being recorded again: the loss must be noticed. A running rebuild repairs it."""
        self.recorders = [self.start(n) for n in (0, 1)]

    def start(self, number: int) -> Recorder:
        """Starts a recorder: it reads from the committed offsets, and its memory is empty."""
        simulation = self

        class Connection:
            async def call(self, work: Callable[[Engine], Any]) -> Any:
                return work(simulation.engine)

        class Consumer:
            topic_ids: dict[str, str] = dict.fromkeys(TABLES, "id")

            def __init__(self) -> None:
                self.trackers: dict[TP, OffsetTracker] = {}
                self.positions: dict[TP, int] = {}

            def assignment(self) -> set[TP]:
                return {tp for tp, owner in simulation.owner.items() if owner == number}

            async def end_offsets(self, tps: list[TP]) -> dict[TP, int]:
                return {tp: len(simulation.log[tp]) for tp in tps}

            async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
                return {tp: simulation.earliest[tp] for tp in tps}

            async def position(self, tp: TP) -> int:
                return self.positions.setdefault(tp, simulation.committed[tp])

            def rewind(self, tp: TP, offset: int) -> None:
                if tracker := self.trackers.pop(tp, None):
                    tracker.close()
                self.positions[tp] = offset

        connection: Any = Connection()
        consumer: Any = Consumer()
        writer: Any = None
        return Recorder(connection, consumer, writer, "Asia/Shanghai", TABLES)

    # -- what happens ------------------------------------------------------------------------------------------------

    def produce(self) -> None:
        """Appends events to Kafka; some are of the day before, some are sent again."""
        for _ in range(self.rng.randrange(1, 30)):
            tp = self.rng.choice(PARTITIONS)
            log = self.log[tp]
            self.now_ms += self.rng.randrange(0, 50)
            if log and self.rng.random() < 0.1:
                log.append((self.now_ms, self.rng.choice(log)[1]))
                continue
            seq, decided = len(log), self.now_ms - self.rng.randrange(0, 2000)
            day = self.today - timedelta(days=int(self.rng.random() < 0.2))
            if any(day in days for days in self.sealed.values()):
                continue
            device = f"d{tp.partition}"
            fact = ScreeningFact(day, decided // 60_000 * 60, "s", device, seq, "vehicle", "in", "", 1, "clear", 0, [], "default@1", [], [], FIRST_WINS - decided)  # fmt: skip
            event = DeviceEvent(day, device, seq, "s", 7, 0, FIRST_WINS - decided)
            letter = DeadLetterRow(0, "t", 0, seq, "00", "not_json", decided)
            alert = CareAlertFact(
                day, self.rng.choice(["fever", "release_due"]), "q", "", f"{seq:032x}", FIRST_WINS - decided
            )
            rows = {
                "decisions": {"screening_facts": fact, "device_events": event},
                "letters": {"dead_letter_facts": letter},
                "alerts": {"care_alert_facts": alert},
            }[tp.topic]
            log.append((self.now_ms, rows))

    def record(self, number: int) -> None:
        """A recorder reads some records of each of its partitions and flushes."""
        recorder = self.recorders[number]
        consumer: Any = recorder._consumer

        async def flush() -> None:
            for tp in sorted(consumer.assignment()):
                position = await consumer.position(tp)
                found = self.log[tp][position : position + self.rng.randrange(1, 60)]
                if not found:
                    continue
                tracker = consumer.trackers.get(tp)
                if tracker is None:
                    tracker = consumer.trackers[tp] = OffsetTracker()
                    tracker.position = position
                records = [
                    SimpleNamespace(offset=position + n, value=b"", timestamp=at) for n, (at, _) in enumerate(found)
                ]
                chunk = Chunk(tp, records, tracker)
                tracker.deliver(chunk)
                consumer.positions[tp] = position + len(found)
                rows: dict[str, list[Any]] = {}
                for _, some in found:
                    for table, row in some.items():
                        if not self.is_sealed(table, row):
                            rows.setdefault(table, []).append(row)
                await recorder.append(chunk, rows)
            for topic, buffer in list(recorder._buffers.items()):
                if not buffer.empty:
                    await recorder._flush(topic, buffer)
            for tp, tracker in consumer.trackers.items():
                self.committed[tp] = tracker.watermark

        asyncio.run(flush())

    def check(self, number: int) -> None:
        """A recorder checks for losses, as it does every few seconds."""
        self.now_ms += 4000
        before = tallies.read_epochs(self.engine)
        recorder = self.recorders[number]

        async def run() -> None:
            await recorder._checkpoint.check_losses()
            await recorder._check_positions()

        asyncio.run(run())
        self.note_rebuilds(before)

    def note_rebuilds(self, before: dict[str, tallies.TableState]) -> None:
        for table, state in tallies.read_epochs(self.engine).items():
            if state.rebuild > before.get(table, tallies.TableState()).rebuild:
                assert table in self.damaged, f"{table}: a loss was noticed that did not happen"
                self.damaged.discard(table)
                self.unnoticed.discard(table)

    def restart(self, number: int) -> None:
        self.recorders[number] = self.start(number)

    def rebalance(self) -> None:
        """Partitions change their owner. Both recorders read their partitions from the committed offsets."""
        self.owner = {tp: self.rng.randrange(2) for tp in PARTITIONS}
        for recorder in self.recorders:
            consumer: Any = recorder._consumer
            for tracker in consumer.trackers.values():
                tracker.close()
            consumer.trackers, consumer.positions = {}, {}

    def next_day(self) -> None:
        self.now_ms += 1000
        self.today += timedelta(days=1)

    def seal(self) -> None:
        """Retention seals a day of some tables that gets no more events, and drops it. Alerts are not kept as long as events."""
        sealed = self.rng.choice(["sealed_days", "sealed_alert_days", "sealed_alert_days"])
        day = min(set(self.days(SEALED[sealed][0])) - self.sealed[sealed], default=None)
        if day is None or day >= self.today - timedelta(days=1):
            return
        self.sealed[sealed].add(day)
        self.engine.insert(f"ninezero_data.{sealed}", ("day", "frozen"), [(day, 0)])
        for table in SEALED[sealed]:
            self.engine.execute(f"ALTER TABLE ninezero_data.{table} DROP PARTITION '{day}'")

    def is_sealed(self, table: str, row: Any) -> bool:
        """Returns whether the day of a row is sealed."""
        return getattr(row, "day", None) in self.sealed[sealed_by(table)]

    def delete_on_purpose(self) -> None:
        """Some rows are deleted as closed cases are; they may not be recorded again, so Kafka loses them, too."""
        before = tallies.read_epochs(self.engine)
        loss_check.begin_deletion(self.engine, ["dead_letter_facts"])
        self.note_rebuilds(before)
        if self.rng.random() < 0.5:
            self.check(self.rng.randrange(2))
        log = self.log[TP("letters", 0)]
        gone = {rows["dead_letter_facts"].offset for _, rows in log if rows and self.rng.random() < 0.3}
        self.log[TP("letters", 0)] = [
            (at, {} if rows and rows["dead_letter_facts"].offset in gone else rows) for at, rows in log
        ]
        for recorder in self.recorders:
            assert all(buffer.empty for buffer in recorder._buffers.values())
        if gone:
            self.engine.execute(
                f"ALTER TABLE ninezero_data.dead_letter_facts DELETE WHERE offset IN ({', '.join(map(str, gone))}) SETTINGS mutations_sync = 2"
            )
        tallies.end_deletion(self.engine, ["dead_letter_facts"])
        self.copies.pop("dead_letter_facts", None)
        self.check(self.rng.randrange(2))

    def copy(self) -> None:
        """Makes the older state of a table that `lose` may restore."""
        table = self.rng.choice(list(KEYS))
        self.engine.execute(f"DROP TABLE IF EXISTS ninezero_data.copy_{table}")
        self.engine.execute(f"CREATE TABLE ninezero_data.copy_{table} AS ninezero_data.{table}")
        self.engine.execute(f"INSERT INTO ninezero_data.copy_{table} SELECT * FROM ninezero_data.{table}")
        self.copies[table] = f"ninezero_data.copy_{table}"

    def lose(self) -> None:
        """Rows are lost in one of five ways."""
        table = self.rng.choice(list(KEYS))
        name, execute = f"ninezero_data.{table}", self.engine.execute
        before = len(self.rows(table))
        how = self.rng.choice(("truncated", "partition dropped", "part detached", "deleted by hand", "older state"))
        if how == "truncated":
            execute(f"TRUNCATE TABLE {name}")
        elif how == "partition dropped" and table in DAY_TABLES and (days := self.days(table)):
            execute(f"ALTER TABLE {name} DROP PARTITION '{self.rng.choice(days)}'")
        elif how == "part detached":
            parts = self.engine.query(
                f"SELECT name FROM system.parts WHERE database = 'ninezero_data' AND table = '{table}' AND active AND rows > 0 ORDER BY name"
            )
            if parts:
                execute(f"ALTER TABLE {name} DETACH PART '{self.rng.choice(parts)['name']}'")
        elif (
            how == "deleted by hand"
        ):  # the latest rows are covered by marks only, which prove inserts and not each row
            state = tallies.read_states(self.engine, [table])[table]
            counted = min(state.counted_to_ms, self.now_ms) if state.cause != "deletion" else 0
            at = tallies.time_expression(table)
            execute(f"ALTER TABLE {name} DELETE WHERE {at} <= {counted} AND rand() % 3 = 0 SETTINGS mutations_sync = 2")
        elif how == "older state" and table in self.copies:
            execute(f"TRUNCATE TABLE {name}")
            sealed = ", ".join(f"'{day}'" for day in self.sealed[sealed_by(table)]) or "toDate(0)"
            kept = f"WHERE day NOT IN ({sealed})" if table in DAY_TABLES else ""
            execute(f"INSERT INTO {name} SELECT * FROM {self.copies[table]} {kept}")
        if len(self.rows(table)) < before:
            self.losses[how] += 1
            self.damaged.add(table)
            topic = next(some for some in TABLES.values() if table in some)
            states = tallies.read_states(self.engine, topic).values()
            if all(state.epoch > state.rebuild or state.counted_to_ms >= state.rebuild_ms for state in states):
                self.unnoticed.add(table)

    # -- what is there -----------------------------------------------------------------------------------------------

    def days(self, table: str) -> list[date]:
        rows = self.engine.query(f"SELECT DISTINCT day FROM ninezero_data.{table} ORDER BY day")
        return [date.fromisoformat(row["day"]) for row in rows]

    def rows(self, table: str) -> set[tuple[Any, ...]]:
        """Returns the keys of the rows of a table."""
        return {
            tuple(map(str, row.values()))
            for row in self.engine.query(f"SELECT DISTINCT {KEYS[table]} FROM ninezero_data.{table}")
        }

    def expected(self, table: str) -> set[tuple[Any, ...]]:
        """Returns the keys of every row in Kafka that is not of a sealed day."""
        return {
            tuple(str(getattr(row, name)) for name in KEYS[table].split(", "))
            for log in self.log.values()
            for _, rows in log
            if (row := rows.get(table)) is not None and not self.is_sealed(table, row)
        }


@pytest.fixture
def simulated_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[Simulation], None]:
    def install(simulation: Simulation) -> None:
        clock = SimpleNamespace(
            time=lambda: simulation.now_ms / 1000, time_ns=lambda: simulation.now_ms * 1_000_000, monotonic=lambda: 0.0
        )
        monkeypatch.setattr(recorder_module, "time", clock)
        monkeypatch.setattr(tallies, "time", clock)
        monkeypatch.setattr(checkpoint, "time", clock)

    return install


def history(engine: Engine, seed: int, install: Callable[[Simulation], None], steps: int = 45) -> Counter[str]:
    """Runs a random history, and then only reading and checks. Returns how often rows were lost in which way."""
    rng = random.Random(seed)
    simulation = Simulation(engine, rng)
    install(simulation)
    actions: list[tuple[int, Callable[[], None]]] = [
        (10, simulation.produce),
        (12, lambda: simulation.record(rng.randrange(2))),
        (8, lambda: simulation.check(rng.randrange(2))),
        (1, lambda: simulation.restart(rng.randrange(2))),
        (1, simulation.rebalance),
        (1, simulation.next_day),
        (1, simulation.seal),
        (1, simulation.delete_on_purpose),
        (2, simulation.copy),
        (5, simulation.lose),
    ]
    weights, functions = zip(*actions, strict=True)
    for action in rng.choices(functions, weights, k=steps):
        action()
    for _ in range(30):
        for number in (0, 1):
            simulation.record(number)
            simulation.check(number)
        if not simulation.unnoticed and all(simulation.rows(table) == simulation.expected(table) for table in KEYS):
            break
    assert not simulation.unnoticed, f"seed {seed}: lost rows of {simulation.unnoticed} were not noticed"
    for table in KEYS:
        assert simulation.rows(table) == simulation.expected(table), f"seed {seed}: {table}"
    return simulation.losses


def test_every_loss_is_noticed_and_repaired_and_nothing_else_is_taken_for_one(
    engine: Engine, simulated_time: Callable[[Simulation], None], caplog: pytest.LogCaptureFixture
) -> None:
    losses: Counter[str] = Counter()
    caplog.set_level(logging.CRITICAL)
    for seed in range(4):
        for table in (*KEYS, "recorder_progress", "recorder_tallies", "recorder_epochs", *SEALED):
            engine.execute(f"TRUNCATE TABLE ninezero_data.{table}")
        losses += history(engine, seed, simulated_time)
    assert losses.total() >= 8 and len(losses) >= 4, losses


def test_what_kafka_does_not_have_any_more_is_said_in_one_line(
    engine: Engine, simulated_time: Callable[[Simulation], None], caplog: pytest.LogCaptureFixture
) -> None:
    simulation = Simulation(engine, random.Random(1))
    simulated_time(simulation)

    def work(rounds: int) -> None:
        for _ in range(rounds):
            simulation.record(0)
            simulation.check(0)

    simulation.owner = dict.fromkeys(PARTITIONS, 0)
    for _ in range(4):
        simulation.produce()
        work(2)
    work(3)
    before, log = len(simulation.rows("dead_letter_facts")), simulation.log[PARTITIONS[2]]
    simulation.earliest[PARTITIONS[2]] = len(log) // 2
    engine.execute("TRUNCATE TABLE ninezero_data.dead_letter_facts")
    simulation.damaged.add("dead_letter_facts")
    work(8)
    missing = before - len(simulation.rows("dead_letter_facts"))
    assert missing > 0
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        f"{missing} rows of dead_letter_facts are not in Kafka any more: restore them from a backup of ClickHouse"
    ]
    state = tallies.read_states(engine, ["dead_letter_facts"])["dead_letter_facts"]
    assert sum(tallies.missing_for_good(state, frozenset()).values()) == missing
