"""The way of one event: chunk → decode → decide → outcomes, alerts and decisions, acknowledged → chunk done.

`checkpoints.py` and `stations.py` name the topic, the type and the rule; everything they share is here.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from zlib import crc32

from agents.lists import Lists
from agents.logic import rules
from agents.logic.batches import micros
from agents.logic.rules import Verdict
from agents.logic.watchlist import Watchlist
from schemas.events import Alert, Decision, Decisions, MatchedEntry, Outcomes, Reason, encode
from streams import metrics, topics
from streams.chunks import Chunk
from streams.deadletters import Refused, check_clock, dead_letter, take
from streams.kafka import Writer
from streams.replica import Replica
from streams.settings import Settings
from streams.topics import Topic

RECORD_BYTES = 400_000
"""How large a record of outcomes or decisions may become, unless a single event needs more."""

Record = tuple[Topic, bytes, bytes]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Screened:
    """One kind of event: topic, wire type, rule, and (kind, direction, stage, people) for the counts."""

    topic: Topic
    event: Any
    decide: Callable[[Any, int, Watchlist, str, bool], Verdict]
    facts: Callable[[Any], tuple[str, str, str, int]]


@dataclass
class Screening:
    """What the screening agents share: settings, the lists, and the way out."""

    settings: Settings
    replica: Replica
    lists: Lists
    writer: Writer

    async def screen(self, kind: Screened, chunk: Chunk) -> None:
        """Screens a chunk; returns when all that follows from it is acknowledged. Waits for complete lists."""
        if datetime.now(UTC) < self.settings.sunset:
            await self.replica.ready.wait()  # past the sunset nothing is matched, and nobody waits for a list
            await self.replica.current()
        if chunk.ledger.closed:
            return  # another worker has it, and says what the lists say now
        started = time.perf_counter()
        out, alerts = self.decide(kind, chunk)
        decided = time.perf_counter()
        metrics.chunk.labels("decide").observe(decided - started)
        await self.writer.send(out)
        metrics.chunk.labels("write").observe(time.perf_counter() - decided)
        now = time.time()
        for timestamp in alerts:
            metrics.alert_latency.observe(max(0.0, now - timestamp / 1000))
        chunk.done()

    def decide(self, kind: Screened, chunk: Chunk) -> tuple[list[Record], list[int]]:
        """Records to write for a chunk, and the Kafka timestamps (ms) of the events that raise an alert.

        Runs without a pause, so that the whole chunk meets one state of the lists.
        """
        now = datetime.now(UTC)
        version = self.replica.version
        stale = self.replica.age(now.timestamp()) > self.settings.max_list_age
        ended = now >= self.settings.sunset
        home, replay, watchlist = self.settings.home, self.settings.replay, self.lists.watchlist
        outcomes: dict[str, list[tuple[str, int, str, list[int]]]] = defaultdict(list)
        decisions: dict[str, list[Decision]] = defaultdict(list)
        seen: set[tuple[str, int, int]] = set()
        out: list[Record] = []
        alerts: list[int] = []
        counts: dict[str, int] = defaultdict(int)
        late_count = duplicates = 0
        for record in chunk.records:
            try:
                event = take(kind.event, record.value)
                at_us = micros(event.observed_at)
                check_clock(at_us, record.timestamp, replay)
            except (Refused, OverflowError, ValueError) as error:
                refused = error if isinstance(error, Refused) else Refused("schema_invalid", "/observed_at")
                out.append(
                    (topics.DEAD_LETTERS, kind.topic.name.encode(), dead_letter(kind.topic.name, record, refused))
                )
                metrics.dead_letters.labels(kind.topic.name, refused.reason).inc()
                continue
            site = event.site_id
            if ended:
                outcomes[site].append((event.device_id, event.seq, "order_ended", []))
                counts["order_ended"] += 1
                continue
            verdict = kind.decide(event, at_us, watchlist, home, stale)
            late = not replay and record.timestamp * 1000 - at_us > rules.LATE_US
            late_count += late
            counts[verdict.outcome] += 1
            outcomes[site].append(
                (event.device_id, event.seq, verdict.outcome, verdict.people if verdict.reasons else [])
            )
            if verdict.reasons:
                out.append((topics.ALERTS, site.encode(), encode(_alert(event, verdict, late, now, version))))
                alerts.append(record.timestamp)
            content = (event.device_id, event.seq, crc32(record.value))
            if content in seen:
                duplicates += 1
                continue
            seen.add(content)
            what, direction, stage, people = kind.facts(event)
            decisions[site].append(
                Decision(event.device_id, event.seq, at_us // 1000, what, direction, stage, people, verdict.outcome, late,
                         [why.rule for why in verdict.reasons], content[2])
            )  # fmt: skip
        decided_ms = int(now.timestamp() * 1000)
        for site, some in outcomes.items():
            for value in _values(partial(Outcomes, site, now, version), some):
                out.append((topics.OUTCOMES, site.encode(), value))
        for site, made in decisions.items():
            for value in _values(partial(Decisions, site, rules.TABLE, decided_ms, version), made):
                out.append((topics.DECISIONS, site.encode(), value))
        for outcome, count in counts.items():
            metrics.events.labels(kind.topic.name, outcome).inc(count)
        if late_count:
            metrics.late_events.labels(kind.topic.name).inc(late_count)
        if duplicates:
            metrics.duplicates.labels(kind.topic.name).inc(duplicates)
        return out, alerts


def _values(make: Callable[[list[_T]], Any], items: list[_T]) -> list[bytes]:
    """Values of records that hold all items: one, or of halves where it would be too large."""
    value = encode(make(items))
    if len(value) <= RECORD_BYTES or len(items) == 1:
        return [value]
    half = len(items) // 2
    return _values(make, items[:half]) + _values(make, items[half:])


def _alert(event: Any, verdict: Verdict, late: bool, now: datetime, version: int) -> Alert:
    return Alert(
        alert_id=rules.alert_id(event.device_id, event.seq, verdict.reasons),
        table=rules.TABLE,
        site_id=event.site_id,
        device_id=event.device_id,
        seq=event.seq,
        observed_at=event.observed_at,
        decided_at=now,
        outcome=verdict.outcome,
        late=late,
        watchlist_version=version,
        reasons=[
            Reason(
                why.person,
                why.rule,
                [
                    MatchedEntry(matched, e.category, e.authority, e.list, e.batch_id, e.entry_id,  # type: ignore[arg-type]  # one of KINDS
                                 datetime.fromtimestamp(e.to_us / 1_000_000, UTC))
                    for matched, e in why.entries
                ],
            )
            for why in verdict.reasons
        ],
    )  # fmt: skip


async def screen_all(screening: Screening, kind: Screened, arriving: Any) -> None:
    """Screens the chunks of an agent's stream, several at a time: while one waits for Kafka, the next is decided."""
    async with asyncio.TaskGroup() as group:
        room = asyncio.Semaphore(4)

        async def one(chunk: Chunk) -> None:
            try:
                await screening.screen(kind, chunk)
            finally:
                room.release()

        async for chunk in arriving:
            await room.acquire()
            group.create_task(one(chunk))
