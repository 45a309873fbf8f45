"""`ninezero demo`: the Jiyang scenario, fed as devices, stations and authorities would, and the report on it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ninezero.agents.demo import scenario
from ninezero.agents.demo.scenario import Day, Scenario, Spec
from ninezero.agents.recording.case_tables import warnings
from ninezero.agents.recording.sites import load_sites
from ninezero.schemas.events import Outcomes, PushReceipt, decoder
from ninezero.streams import direct_http as direct
from ninezero.streams import metrics, settings
from ninezero.streams.clickhouse import engines as clickhouse
from ninezero.streams.edge.documents.key_ring import KeyRing, new_ring
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka import sync, topics
from ninezero.streams.kafka.client import Writer
from ninezero.streams.local_kafka.broker import Broker, _free
from ninezero.streams.settings import Settings

VISIBLE_SECONDS = 2.0
"""From a batch's receipt on, every worker matches it within two seconds (CONTRACT §5): scans wait for that."""

DAYS_AHEAD = 8

SENT_AT_ONCE = 2_000
UNANSWERED = 12_000
"""Devices wait for answers: with more events than this unanswered, none is sent. It bounds the latency that is shown."""


_ROWS = [
    (
        "vehicle_checks",
        "vehicle checks",
        "SELECT toUInt64(sum(passages)) AS n FROM ninezero.screening_by_day WHERE kind = 'vehicle'",
    ),
    (
        "turned_back",
        "vehicles turned back, decided",
        "SELECT toUInt64(sum(turn_back)) AS n FROM ninezero.screening_by_day WHERE kind = 'vehicle'",
    ),
    (
        "turned_back",
        "vehicles turned back, done",
        "SELECT toUInt64(sum(count)) AS n FROM ninezero.dispositions_by_day WHERE action = 'turned_back'",
    ),
    (
        "delivered",
        "station passengers delivered",
        "SELECT toUInt64(sum(people)) AS n FROM ninezero.arrivals_by_day WHERE stage = 'delivered'",
    ),
    (
        "push_batches",
        "push batches",
        "SELECT count() AS n FROM ninezero.push_batches WHERE status = 'applied' AND category != 'health_pass'",
    ),
    (
        "person_times",
        "person-times pushed",
        "SELECT toUInt64(sum(accepted)) AS n FROM ninezero.push_batches WHERE category != 'health_pass'",
    ),
    (
        "health_passes",
        "health passes",
        "SELECT toUInt64(sum(accepted)) AS n FROM ninezero.push_batches WHERE category = 'health_pass'",
    ),
    ("quarantined", "admitted to quarantine", "SELECT toUInt64(sum(admitted)) AS n FROM ninezero.quarantine_by_day"),
    (
        "quarantine_released",
        "released from quarantine",
        "SELECT toUInt64(sum(released)) AS n FROM ninezero.quarantine_by_day",
    ),
    (
        "quarantine_remaining",
        "in quarantine on the last day",
        "SELECT toUInt64(sum(present)) AS n FROM ninezero.quarantine_by_day WHERE day = '{last_day}'",
    ),
    (
        "quarantine_sites",
        "quarantine sites",
        "SELECT uniqExact(site_id) AS n FROM ninezero.quarantine_by_day WHERE admitted > 0",
    ),
    ("followed_up", "followed up at home", "SELECT toUInt64(sum(opened)) AS n FROM ninezero.followups_by_day"),
    ("road_checkpoints", "road checkpoints", "SELECT count() AS n FROM ninezero.sites WHERE site_id LIKE 'road-%'"),
    ("village_checkpoints", "village checkpoints", "SELECT count() AS n FROM ninezero.sites WHERE kind = 'village'"),
]
"""Published figures: the field of the scenario, their name in the report, and how ClickHouse is asked for each."""


_LISTS = """
SELECT authority, list, argMax(batch_id, issued_at) AS batch_id, toString(max(issued_at)) AS applied_at,
    toInt64(now()) - toInt64(max(issued_at)) AS age_seconds
FROM ninezero.push_batches WHERE status = 'applied' GROUP BY authority, list ORDER BY authority, list
"""
"""How fresh each list is: its last batch that was applied."""


_RECORDED = (
    topics.DECISIONS,
    topics.DISPOSITIONS,
    topics.QUARANTINE,
    topics.FOLLOWUPS,
    topics.DEAD_LETTERS,
)
"""Topics that the recorder must have read to their ends before the report is made. (Receipts end in a transaction's marker.)"""


@dataclass
class Facts:
    """What the sender knows of its own sending: nothing here is known to the pipeline."""

    events: int = 0
    resent: int = 0
    malformed: int = 0
    screened: int = 0
    seconds: float = 0.0
    restarts: int = 0
    scenario: str = ""
    """Path of the scenario's file; empty: Jiyang."""
    latency_ms: dict[str, float] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Keeps it for `ninezero report`."""
        (folder / "demo.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> Facts:
        """Of the last demo; OSError without one."""
        return cls(**json.loads((folder / "demo.json").read_text()))


def run(folder: Path, *, path: Path | None, seed: int, speed: float, once: bool) -> bool:
    """Runs the demo of a scenario file (None: Jiyang) and prints its report; whether every row agrees."""
    # As Ctrl-C, which asyncio answers between two steps of a task, and not within one: Kafka and the workers end with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    spec = scenario.load(path)
    console = Console(stderr=True)
    folder.mkdir(exist_ok=True)
    broker = Broker(folder / "kafka")
    console.print("starting Kafka …", highlight=False)
    broker.start()
    base = _prepare(folder, broker, spec)
    made = settings.load(base)
    sync.create_topics(made)
    load_sites(made.clickhouse, spec.sites(), made.timezone)
    worker = _Worker(base, folder / "worker.log")
    host, port = made.http
    board = f"http://{host}:{port + settings.ROLES['recording']}/"
    console.print(f"the board, while this runs: {board}", highlight=False)
    try:
        facts = asyncio.run(_Feed(made, worker, spec, seed, speed, console).run())
        facts.scenario = "" if path is None else str(path.absolute())
        facts.save(folder)
        report = make_report(made.clickhouse, facts, spec)
        (folder / "report.json").write_text(json.dumps(report, indent=2))
        show(report)
        if not once:
            console.print(
                f"The workers run on: the board at {board}, metrics at http://{host}:{port}/metrics. Ctrl-C ends the demo.",
                highlight=False,
            )
            while True:
                time.sleep(1)
    except KeyboardInterrupt:
        return True
    finally:
        worker.stop()
        broker.stop()
    return bool(report["agrees"])


def make_report(url: str, facts: Facts, spec: Spec) -> dict[str, Any]:
    """Asks ClickHouse; the rows for programs."""
    engine = clickhouse.connect(url)
    rows = []
    for field_, name, sql in _ROWS:
        published = getattr(spec.published, field_)
        counted = int(engine.query(sql.format(last_day=spec.last_day))[0]["n"] or 0)
        rows.append(
            {"what": name, "published": published, "clickhouse": counted, "agrees": published == counted, "sql": sql}
        )
    dead = engine.query(
        "SELECT reason, sum(records) AS n FROM ninezero.dead_letters_by_hour GROUP BY reason ORDER BY reason"
    )
    letters = {row["reason"]: int(row["n"]) for row in dead}
    sql = "SELECT (SELECT sum(passages) FROM ninezero.screening_by_day) + (SELECT sum(people) FROM ninezero.arrivals_by_day) AS n"
    counted = int(engine.query(sql)[0]["n"] or 0)
    lists = engine.query(_LISTS)
    warned = warnings(engine.query)
    engine.close()
    rows.append(
        {
            "what": "events counted once",
            "sent": facts.events,
            "clickhouse": counted,
            "agrees": counted == facts.events,
            "sql": sql,
        }
    )
    found = sum(letters.values())
    rows.append(
        {
            "what": "malformed, dead-lettered",
            "sent": facts.malformed,
            "clickhouse": found,
            "agrees": found == facts.malformed,
        }
    )
    return {
        "title": spec.title,
        "rows": rows,
        "agrees": all(row["agrees"] for row in rows),
        "events_per_second": round((facts.events + facts.resent) / facts.seconds) if facts.seconds else 0,
        "seconds": round(facts.seconds, 1),
        "alert_latency_ms": facts.latency_ms,
        "duplicates": facts.screened - counted,
        "resent": facts.resent,
        "dead_letters": letters,
        "worker_restarts": facts.restarts,
        "warnings": warned,
        "lists": [row | {"age_seconds": int(row["age_seconds"])} for row in lists],
    }


def show(report: dict[str, Any]) -> None:
    """The report as a table."""
    table = Table("", "published", "sent", "ClickHouse", "", title=report["title"])
    for row in report["rows"]:
        table.add_row(
            row["what"],
            _n(row.get("published")),
            _n(row.get("sent")),
            _n(row["clickhouse"]),
            "✓" if row["agrees"] else "✗ differs",
        )
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(table)
    latency = report["alert_latency_ms"]
    console.print(
        f"{report['events_per_second']:,} events/s over {report['seconds']} s, recorded; alert latency "
        f"p50 {latency.get('p50', 0):,.0f} ms, p99 {latency.get('p99', 0):,.0f} ms\n"
        f"duplicates {report['duplicates']:,} (resent {report['resent']:,}); dead letters: "
        + (", ".join(f"{reason} {n:,}" for reason, n in report["dead_letters"].items()) or "none")
        + _oldest(report["lists"]),
        highlight=False,
        soft_wrap=True,
    )
    for line in report["warnings"]:
        console.print(f"! {line}", highlight=False, soft_wrap=True)


def _oldest(lists: list[dict[str, Any]]) -> str:
    if not lists:
        return ""
    oldest = max(lists, key=lambda row: int(row["age_seconds"]))
    return f"\n{len(lists)} lists; the oldest, {oldest['list']} of {oldest['authority']}, was last applied {oldest['applied_at']} UTC"


def _n(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _prepare(folder: Path, broker: Broker, spec: Spec) -> dict[str, str]:
    """A fresh database (unless NINEZERO_CLICKHOUSE names one), key ring and topic prefix; the workers' environment."""
    data = (folder / "clickhouse").absolute()
    shutil.rmtree(data, ignore_errors=True)
    keys = folder / "keys.json"
    if not keys.exists():
        new_ring(keys)
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("NINEZERO_")},
        "NINEZERO_KAFKA": broker.bootstrap,
        "NINEZERO_CLICKHOUSE": os.environ.get("NINEZERO_CLICKHOUSE") or f"chdb://{data}",
        "NINEZERO_KEYS": str(keys.absolute()),
        "NINEZERO_ORDER": "DEMO",
        "NINEZERO_HOME": spec.home,
        "NINEZERO_SUNSET": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        "NINEZERO_TOPIC_PREFIX": f"demo-{int(time.time())}.",
        "NINEZERO_REPLAY": "1",
        "NINEZERO_HTTP": f"127.0.0.1:{_four_ports()}",
    }


def _four_ports() -> int:
    """6066 and the next three if they are free, or else some that are."""
    from ninezero.streams.local_kafka.broker import _is_free

    first = 6066
    while not all(_is_free(first + n) for n in range(4)):
        first = min(_free(), 65_000)
    return first


class _Worker:
    """`ninezero worker` beside the demo; started again when somebody kills a part of it."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment, self._log = environment, log
        self.restarts = 0
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "ninezero.agents.cli.main", "worker"],
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def look(self) -> None:
        """Starts it again if it ended; gives up after the fifth time."""
        if self._process.poll() is None:
            return
        self.restarts += 1
        if self.restarts > 5:
            raise kafka.KafkaUnreachable(f"the workers end again and again: see {self._log}")
        self._process = self._start()

    def stop(self) -> None:
        """Ends it."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(40)
        except subprocess.TimeoutExpired:
            self._process.kill()


class _Feed:
    """Sends the days and waits until all is answered and recorded."""

    def __init__(self, made: Settings, worker: _Worker, spec: Spec, seed: int, speed: float, console: Console) -> None:
        self._settings, self._worker, self._speed, self._console = made, worker, speed, console
        assert made.keys is not None
        self._scenario = Scenario(spec, seed, KeyRing.load(made.keys))
        self._writer = Writer(made)
        self._facts = Facts()
        self._receipts: dict[str, float] = {}
        self._answers = 0
        self._dead = 0
        self._sent = 0

    async def run(self) -> Facts:
        """The whole replay."""
        await self._writer.start()
        readers = [
            asyncio.create_task(self._follow(topics.RECEIPTS, self._on_receipt)),
            asyncio.create_task(self._follow(topics.OUTCOMES, self._on_outcomes)),
            asyncio.create_task(self._follow(topics.DEAD_LETTERS, self._on_dead_letter)),
            asyncio.create_task(self._watch()),
        ]
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}"), TimeElapsedColumn())
        quiet = not self._console.is_terminal
        try:
            with Progress(*columns, console=self._console, disable=quiet) as progress:
                sent = progress.add_task("sent", total=400_000)
                answered = progress.add_task("answered", total=400_000)

                def shown() -> None:
                    progress.update(sent, completed=self._facts.events + self._facts.resent)
                    progress.update(answered, completed=self._answers)

                await self._send(shown, readers)
                await self._until(readers, self._all_answered, shown)
                await self._until(readers, self._all_recorded, lambda: None)
        finally:
            for reader in readers:
                reader.cancel()
            await self._writer.stop()
        self._facts.screened = self._answers
        self._facts.restarts = self._worker.restarts
        self._facts.latency_ms = self._latency()
        return self._facts

    async def _send(self, shown: Any, readers: list[asyncio.Task[None]]) -> None:
        """Batches run some days ahead of the scans, so that nothing waits for their two seconds but the first day."""
        ahead: deque[Day] = deque()
        days = self._scenario.days()
        started = 0.0
        while True:
            while len(ahead) <= DAYS_AHEAD and (day := next(days, None)) is not None:
                await self._write(day.batches)
                ahead.append(day)
            if not ahead:
                break
            await self._until(readers, lambda: self._in_force(ahead[0]), shown)
            started = started or time.monotonic()
            await self._write_events(ahead.popleft(), shown, readers)
        self._facts.seconds = -started

    async def _write_events(self, day: Day, shown: Any, readers: list[asyncio.Task[None]]) -> None:
        began = time.monotonic()
        for first in range(0, len(day.events), SENT_AT_ONCE):
            await self._until(readers, self._keeping_up, shown)
            await self._write(day.events[first : first + SENT_AT_ONCE])
            self._sent += len(day.events[first : first + SENT_AT_ONCE])
            if self._speed:
                due = began + 86_400 / self._speed * (first + SENT_AT_ONCE) / len(day.events)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        await self._write(day.reports)
        self._facts.events += day.good
        self._facts.resent += day.resent
        self._facts.malformed += day.malformed

    async def _write(self, sent: list[scenario.Sent]) -> None:
        by_name = {topic.name: topic for topic in topics.ALL}
        await self._writer.send((by_name[name], key, value) for name, key, value in sent)

    def _keeping_up(self) -> bool:
        return self._sent - self._answers - self._dead < UNANSWERED

    def _in_force(self, day: Day) -> bool:
        now = time.monotonic()
        return all(now - self._receipts.get(batch, now) >= VISIBLE_SECONDS for batch in day.batch_ids)

    def _all_answered(self) -> bool:
        return self._answers >= self._facts.events + self._facts.resent and self._dead >= self._facts.malformed

    async def _all_recorded(self) -> bool:
        if self._facts.seconds < 0:
            ends = await self._ends()
            sql = "SELECT topic, partition, max(next_offset) AS n FROM ninezero_data.recorder_progress GROUP BY topic, partition"
            try:
                rows = await asyncio.to_thread(_ask, self._settings.clickhouse, sql)
            except clickhouse.ClickHouseError:  # it may be away: the recorder waits for it, and so do we
                await asyncio.sleep(1)
                return False
            reached = {(row["topic"], int(row["partition"])): int(row["n"]) for row in rows}
            if any(reached.get(tp, 0) < end for tp, end in ends.items()):
                await asyncio.sleep(0.3)
                return False
            self._facts.seconds += time.monotonic()
        return True

    async def _ends(self) -> dict[tuple[str, int], int]:
        reader = kafka.consumer(self._settings, isolation_level="read_committed")
        await reader.start()
        try:
            found = {}
            for topic in _RECORDED:
                name = self._settings.topic(topic.name)
                tps = [kafka.TopicPartition(name, p) for p in range(await self._writer.partitions(name))]
                found.update({(tp.topic, tp.partition): end for tp, end in (await reader.end_offsets(tps)).items()})
            return found
        finally:
            await reader.stop()

    async def _until(self, readers: list[asyncio.Task[None]], done: Any, shown: Any) -> None:
        while True:
            result = done()
            if (await result) if asyncio.iscoroutine(result) else result:
                return
            for reader in readers:
                if reader.done():
                    reader.result()
            shown()
            await asyncio.sleep(0.01)

    async def _follow(self, topic: topics.Topic, take: Any) -> None:
        name = self._settings.topic(topic.name)
        reader = kafka.consumer(self._settings, auto_offset_reset="earliest", isolation_level="read_committed")
        await reader.start()
        try:
            reader.assign([kafka.TopicPartition(name, p) for p in range(await self._writer.partitions(name))])
            while True:
                for records in (await reader.getmany(timeout_ms=200)).values():
                    for record in records:
                        take(record.value)
        finally:
            await reader.stop()

    async def _watch(self) -> None:
        while True:
            self._worker.look()
            await asyncio.sleep(0.5)

    def _on_receipt(self, value: bytes) -> None:
        self._receipts.setdefault(decoder(PushReceipt).decode(value).batch_id, time.monotonic())

    def _on_outcomes(self, value: bytes) -> None:
        self._answers += len(decoder(Outcomes).decode(value).outcomes)

    def _on_dead_letter(self, value: bytes) -> None:
        self._dead += 1

    def _latency(self) -> dict[str, float]:
        """p50 and p99 in ms from the screening role's histogram."""
        host, port = self._settings.http
        try:
            with direct.ask(f"http://{host}:{port}/metrics", timeout=5) as page:  # our own worker
                lines = page.read().decode().splitlines()
        except OSError:
            return {}
        steps = []
        for line in lines:
            if line.startswith("ninezero_alert_latency_seconds_bucket"):
                bound = line.split('le="')[1].split('"')[0]
                steps.append((float(bound), float(line.rsplit(" ", 1)[1])))
        return {name: metrics.quantile(steps, q) * 1000 for name, q in (("p50", 0.5), ("p99", 0.99))}


def _ask(url: str, sql: str) -> list[clickhouse.Row]:
    engine = clickhouse.connect(url)
    try:
        return engine.query(sql)
    finally:
        engine.close()
