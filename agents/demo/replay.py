"""Replays a scenario: sends its records to Kafka and waits until all of them are answered and recorded."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ninezero.agents.demo.records import Day
from ninezero.agents.demo.scenario import Scenario
from ninezero.agents.demo.scenario_file import Spec
from ninezero.agents.demo.workers import Workers
from ninezero.schemas.events import Outcomes, PushReceipt, decode_care_alert, decoder
from ninezero.streams import clickhouse, metrics
from ninezero.streams import direct_http as direct
from ninezero.streams.edge.documents.key_ring import KeyRing
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings

VISIBLE_SECONDS = 2.0
"""Every worker applies a batch within two seconds of its receipt (CONTRACT §5). The scans of a day wait for that."""

DAYS_AHEAD = 8
"""Batches are sent this many days before the scans, so that only the first day waits for its batches."""

SEND_SIZE = 2_000
MAX_UNANSWERED = 12_000
"""Nothing is sent while more events than this are unanswered, as devices wait for answers. It bounds the measured latency."""

JUDGED_SECONDS = 90.0
"""Longest time to wait for the alerts about cases and transfers. Without them the report shows a difference."""

_RECORDED = (
    topics.DECISIONS,
    topics.TRANSFERS,
    topics.DISPOSITIONS,
    topics.QUARANTINE,
    topics.FOLLOWUPS,
    topics.ALERTS,
    topics.DEAD_LETTERS,
)
"""Topics that the recorder must have read to their ends before the report is made.

Receipts are not among them: that topic ends with the marker of a transaction, which the recorder does not count.
"""


@dataclass
class ReplaySummary:
    """Figures of a replay: the numbers that it sent and measured. The pipeline does not have them."""

    events: int = 0
    """Different valid scans and arrivals."""
    resent: int = 0
    """Events that were sent a second time."""
    malformed: int = 0
    transfers: int = 0
    """Transfers that somebody boarded."""
    left_behind: int = 0
    """People who boarded a transfer and were never delivered, each from another transfer."""
    release_due: int = 0
    """Cases that are open on the last day of their term."""
    term_exceeded: int = 0
    """Days on which a case is open at 08:00 although its last day is over, over all cases."""
    overnight: int = 0
    """Those days at whose end it is still open."""
    screened: int = 0
    """Outcomes that were received."""
    seconds: float = 0.0
    """Time from the first scan until everything was recorded."""
    restarts: int = 0
    """Restarts of the workers."""
    scenario: str = ""
    """Path of the scenario file; empty for Jiyang."""
    database: str = ""
    """The place of the user's ClickHouse; empty for a database of the demo's own."""
    latency_ms: dict[str, float] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Saves the summary for `ninezero report`."""
        (folder / "demo.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> ReplaySummary:
        """Returns the summary of the last demo.

        Raises:
            OSError: no demo was run in this folder.
        """
        return cls(**json.loads((folder / "demo.json").read_text()))


class Replay:
    """One replay of a scenario. `speed` is a multiple of real time; 0 sends as fast as the pipeline answers."""

    def __init__(
        self, settings: Settings, workers: Workers, spec: Spec, seed: int, speed: float, console: Console
    ) -> None:
        self._settings, self._workers, self._speed, self._console = settings, workers, speed, console
        assert settings.keys is not None
        self._scenario = Scenario(spec, seed, KeyRing.load(settings.keys))
        self._writer = Writer(settings)
        self._summary = ReplaySummary()
        self._tasks: list[asyncio.Task[None]] = []
        self._receipts: dict[str, float] = {}
        self._answers = 0
        self._dead_letters = 0
        self._alerts: dict[str, set[str]] = defaultdict(set)
        """The ids of the alerts about cases and transfers, by rule."""
        self._sent = 0

    async def run(self) -> ReplaySummary:
        """Sends everything and returns the summary once all of it is recorded."""
        await self._writer.start()
        self._tasks = [
            asyncio.create_task(self._follow(topics.RECEIPTS, self._on_receipt)),
            asyncio.create_task(self._follow(topics.OUTCOMES, self._on_outcomes)),
            asyncio.create_task(self._follow(topics.DEAD_LETTERS, self._on_dead_letter)),
            asyncio.create_task(self._follow(topics.ALERTS, self._on_alert)),
            asyncio.create_task(self._restart_workers()),
        ]
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}"), TimeElapsedColumn())
        try:
            with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as progress:
                sent = progress.add_task("sent", total=400_000)
                answered = progress.add_task("answered", total=400_000)

                def show_progress() -> None:
                    progress.update(sent, completed=self._summary.events + self._summary.resent)
                    progress.update(answered, completed=self._answers)

                started = await self._send_all(show_progress)
                await self._until(self._all_answered, show_progress)
                await self._until_recorded()
                self._summary.seconds = time.monotonic() - started
                # Cases and transfers are judged after their last event. That is no part of the throughput.
                deadline = time.monotonic() + JUDGED_SECONDS
                await self._until(lambda: self._all_alerted() or time.monotonic() > deadline, show_progress)
                await self._until_recorded()
        finally:
            for task in self._tasks:
                task.cancel()
            await self._writer.stop()
        self._summary.screened = self._answers
        self._summary.restarts = self._workers.restarts
        self._summary.latency_ms = self._latency()
        return self._summary

    async def _send_all(self, show_progress: Callable[[], None]) -> float:
        """Sends all days. The batches of a day are sent `DAYS_AHEAD` days before its scans. Returns the time of the first
        scan."""
        ahead: deque[Day] = deque()
        days = self._scenario.days()
        started = 0.0
        while True:
            while len(ahead) <= DAYS_AHEAD and (day := next(days, None)) is not None:
                await self._writer.write(day.batches)
                ahead.append(day)
            if not ahead:
                return started
            await self._until(lambda: self._lists_applied(ahead[0]), show_progress)
            started = started or time.monotonic()
            await self._send_day(ahead.popleft(), show_progress)

    async def _send_day(self, day: Day, show_progress: Callable[[], None]) -> None:
        began = time.monotonic()
        for first in range(0, len(day.events), SEND_SIZE):
            await self._until(self._keeping_up, show_progress)
            records = day.events[first : first + SEND_SIZE]
            await self._writer.write(records)
            self._sent += len(records)
            if self._speed:  # spread the day over 86,400 s / speed
                due = began + 86_400 / self._speed * (first + SEND_SIZE) / len(day.events)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        await self._writer.write(day.reports)
        self._summary.events += day.valid
        self._summary.resent += day.resent
        self._summary.malformed += day.malformed
        self._summary.transfers += day.transfers
        self._summary.left_behind += day.left_behind
        self._summary.release_due += day.release_due
        self._summary.term_exceeded += day.term_exceeded
        self._summary.overnight += day.overnight

    def _keeping_up(self) -> bool:
        return self._sent - self._answers - self._dead_letters < MAX_UNANSWERED

    def _lists_applied(self, day: Day) -> bool:
        now = time.monotonic()
        return all(now - self._receipts.get(batch, now) >= VISIBLE_SECONDS for batch in day.batch_ids)

    def _all_answered(self) -> bool:
        valid = self._summary.events + self._summary.resent
        return self._answers >= valid and self._dead_letters >= self._summary.malformed

    def _all_alerted(self) -> bool:
        sent = self._summary
        expected = {
            "not_delivered": sent.left_behind,
            "release_due": sent.release_due,
            "term_exceeded": sent.term_exceeded,
        }
        return all(len(self._alerts[rule]) >= n for rule, n in expected.items())

    async def _until(self, done: Callable[[], bool], show_progress: Callable[[], None]) -> None:
        while not done():
            self._raise_failure()
            show_progress()
            await asyncio.sleep(0.01)

    async def _until_recorded(self) -> None:
        while not await self._all_recorded():
            self._raise_failure()
            await asyncio.sleep(0.3)

    async def _all_recorded(self) -> bool:
        """Returns whether the recorder has read every topic of `_RECORDED` up to its present end."""
        ends = await self._end_offsets()
        sql = "SELECT topic, partition, max(next_offset) AS n FROM ninezero_data.recorder_progress GROUP BY topic, partition"
        try:
            rows = await asyncio.to_thread(_query, self._settings.clickhouse, sql)
        except (
            clickhouse.ClickHouseError
        ):  # ClickHouse does not answer: the recorder waits for it, and so does the demo
            return False
        recorded = {(row["topic"], int(row["partition"])): int(row["n"]) for row in rows}
        return all(recorded.get((tp.topic, tp.partition), 0) >= end for tp, end in ends.items())

    async def _end_offsets(self) -> dict[kafka.TopicPartition, int]:
        reader = kafka.consumer(self._settings, isolation_level="read_committed")
        await reader.start()
        try:
            found: dict[kafka.TopicPartition, int] = {}
            for topic in _RECORDED:
                found.update(await reader.end_offsets(await self._partitions(topic)))
            return found
        finally:
            await reader.stop()

    async def _partitions(self, topic: topics.Topic) -> list[kafka.TopicPartition]:
        name = self._settings.topic(topic.name)
        return [kafka.TopicPartition(name, p) for p in range(await self._writer.partition_count(name))]

    async def _follow(self, topic: topics.Topic, handle: Callable[[bytes], None]) -> None:
        """Calls `handle` with the value of every record of a topic, from its beginning on."""
        reader = kafka.consumer(self._settings, auto_offset_reset="earliest", isolation_level="read_committed")
        await reader.start()
        try:
            reader.assign(await self._partitions(topic))
            while True:
                for records in (await reader.getmany(timeout_ms=200)).values():
                    for record in records:
                        handle(record.value)
        finally:
            await reader.stop()

    async def _restart_workers(self) -> None:
        while True:
            self._workers.restart_if_ended()
            await asyncio.sleep(0.5)

    def _raise_failure(self) -> None:
        """Raises the error of a task that ended; none of them ends without one."""
        for task in self._tasks:
            if task.done():
                task.result()

    def _on_receipt(self, value: bytes) -> None:
        self._receipts.setdefault(decoder(PushReceipt).decode(value).batch_id, time.monotonic())

    def _on_outcomes(self, value: bytes) -> None:
        self._answers += len(decoder(Outcomes).decode(value).outcomes)

    def _on_alert(self, value: bytes) -> None:
        alert = decode_care_alert(value)
        if alert is not None:
            self._alerts[alert.rule].add(alert.alert_id)

    def _on_dead_letter(self, value: bytes) -> None:
        self._dead_letters += 1

    def _latency(self) -> dict[str, float]:
        """Returns p50 and p99 of the alert latency in ms, from the screening role's metrics; empty if it does not answer."""
        host, port = self._settings.http
        try:
            with direct.ask(f"http://{host}:{port}/metrics", timeout=5) as page:
                lines = page.read().decode().splitlines()
        except OSError:
            return {}
        buckets = []
        for line in lines:
            if line.startswith("ninezero_alert_latency_seconds_bucket"):
                bound = line.split('le="')[1].split('"')[0]
                buckets.append((float(bound), float(line.rsplit(" ", 1)[1])))
        return {name: metrics.quantile(buckets, q) * 1000 for name, q in (("p50", 0.5), ("p99", 0.99))}


def _query(url: str, sql: str) -> list[clickhouse.Row]:
    engine = clickhouse.connect(url)
    try:
        return engine.query(sql)
    finally:
        engine.close()
