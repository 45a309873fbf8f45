"""The way of one event: chunk → decode → decide → outcomes, alerts and decisions, acknowledged → chunk done.

`checkpoints.py` and `stations.py` name the topic, the type and the rule; everything they share is here.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain, repeat
from typing import Any, NamedTuple, TypeVar

import numpy as np
from isal.isal_zlib import crc32

from ninezero.agents.logic.policy import rules
from ninezero.agents.logic.policy.fast_path import Cleared, FastPath
from ninezero.agents.logic.policy.rules import Verdict
from ninezero.agents.logic.watchlist.columns import Array
from ninezero.agents.logic.watchlist.index import Watchlist
from ninezero.agents.watchlist.projection import WatchlistProjection
from ninezero.schemas.events import Alert, DecisionGroup, Decisions, MatchedEntry, Outcomes, Reason, encode
from ninezero.streams import metrics
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.deadletters import dead_letter
from ninezero.streams.kafka.decoding import LATE_US, Rejected, clock_in_range, decode_event
from ninezero.streams.kafka.topics import Topic
from ninezero.streams.kafka.watchlist_replica import WatchlistReplica
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings
from ninezero.streams.transport.offset_tracker import Chunk

RECORD_BYTES = 400_000
"""How large a record of outcomes or decisions may become, unless a single event needs more."""

ALIKE = 1000
"""How many events a group of decisions may have: so a record can be halved."""

FEW = 16
"""Fewer events are taken one by one: to look at them as a whole costs a tenth of a millisecond at least."""

PART = 800
"""Events looked at as a whole: what is made of them fits a core's own cache (1 MiB), and the next have their memory while it is there."""

NOBODY: list[int] = []

AT_ONCE = 8000
"""Events decided without a pause, at least one chunk: some thirty milliseconds. What each checkpoint is told of them is one record."""

IN_HAND = 32
"""Such lots that wait for Kafka: as many as a fetch brings, so that what they send shares requests."""

Record = tuple[Topic, bytes, bytes]
Facts = tuple[str, str, str, int]
"""Kind, direction, stage and number of people of an event, for the counts."""
_Common = tuple[Facts, str, bool, tuple[str, ...]]
"""Facts, outcome, lateness and rules."""
_T = TypeVar("_T")


class _Share(NamedTuple):
    """What is decided about a partition: its sites, and by what events have in common place of the site, device, number, ms and
    digest of each."""

    sites: list[str]
    alike: dict[_Common, list[tuple[int, str, int, int, int]]]


_Site = tuple[list[tuple[str, int, str, list[int]]], list[int], _Share, int]
"""What devices of a site are told, where each of that was among the records, the share that the site is in, and its place there."""


@dataclass(frozen=True)
class Screened:
    """One kind of event: topic, wire type, rule, facts of events, and the sieve for those about which the rule says nothing."""

    topic: Topic
    event: Any
    decide: Callable[[Any, int, Watchlist, str, bool], Verdict]
    facts: Callable[[Sequence[Any]], list[Facts]]
    sieve: FastPath


@dataclass
class Screening:
    """What the screening agents share: settings, the lists, and the way out."""

    settings: Settings
    replica: WatchlistReplica
    lists: WatchlistProjection
    writer: Writer

    async def screen(self, kind: Screened, chunks: Sequence[Chunk]) -> None:
        """Screens chunks; returns when all that follows from them is acknowledged. Waits for complete lists."""
        came = time.perf_counter()
        if datetime.now(UTC) < self.settings.sunset:  # past it nothing is matched, and nobody waits for a list
            await self.replica.wait_until_current()
        # One that is closed has another worker, who says what the lists say now.
        if not (chunks := [chunk for chunk in chunks if not chunk.tracker.closed]):
            return
        started = time.perf_counter()
        metrics.chunk.labels("lists").observe(started - came)
        out, alerts = self.decide(kind, chunks)
        decided = time.perf_counter()
        metrics.chunk.labels("decide").observe(decided - started)
        await self.writer.write(out)
        metrics.chunk.labels("write").observe(time.perf_counter() - decided)
        now = time.time()
        for timestamp in alerts:
            metrics.alert_latency.observe(max(0.0, now - timestamp / 1000))
        for chunk in chunks:
            chunk.done()

    def decide(self, kind: Screened, chunks: Sequence[Chunk]) -> tuple[list[Record], list[int]]:
        """Records to write for chunks, and the Kafka timestamps (ms) of the events that raise an alert.

        Runs without a pause, so that all of them meet one state of the lists. Ordinary events are found by the column; the rest is
        taken one by one.
        """
        now, replay = datetime.now(UTC), self.settings.replay
        stale = self.replica.heartbeat_age(now.timestamp()) > self.settings.max_list_age
        ended = now >= self.settings.sunset
        made = _Made(kind, chunks, now, self.replica.version)
        watchlist, home = self.lists.watchlist, self.settings.home
        whole = len(made.values) >= FEW and not (stale or ended)
        for first in range(0, len(made.values) if whole else 0, PART):
            values = made.values[first : first + PART]
            made.clear(first, kind.sieve.sift(values, watchlist, home), replay)
        for place in np.flatnonzero(made.left).tolist():
            record = made.records[place]
            try:
                event, at_us, late = decode_event(kind.event, record.value, record.timestamp, replay=replay)
            except Rejected as refused:
                # Its traceback holds this frame, which holds it: with all that was made they would stay until the next search for cycles.
                made.refuse(place, refused.with_traceback(None))
                continue
            if ended:
                made.answer(place, event, "order_ended", NOBODY)
                continue
            verdict = kind.decide(event, at_us, watchlist, home, stale)
            made.judge(place, event, at_us, verdict, late)
        return made.out(), made.alerts


class _Made:
    """What is made of chunks: outcomes and decisions by site, alerts, dead letters."""

    def __init__(self, kind: Screened, chunks: Sequence[Chunk], now: datetime, version: int) -> None:
        self.records = list(chain.from_iterable(chunk.records for chunk in chunks))
        self.values = list(chain.from_iterable(chunk.values for chunk in chunks))
        self.stamps: Array = np.fromiter((record.timestamp for record in self.records), np.int64, len(self.records))
        """Kafka timestamps (ms)."""
        self.left = np.ones(len(self.records), bool)
        """Which records nothing is made of yet."""
        self.alerts: list[int] = []
        """Those of events that raise an alert."""
        self._kind, self._now, self._version = kind, now, version
        partitions = [chunk.tp.partition for chunk in chunks]
        self._partitions: Array = np.repeat(partitions, [len(chunk.records) for chunk in chunks])
        self._sites: dict[str, _Site] = {}
        self._shares: dict[int, _Share] = defaultdict(lambda: _Share([], defaultdict(list)))
        """By partition."""
        self._out: list[Record] = []
        self._counts: dict[str, int] = defaultdict(int)
        self._late = self._duplicates = 0
        self._digests = list(map(crc32, self.values))
        repeated = len(set(self._digests)) < len(self._digests)
        self._seen: set[tuple[str, int, int]] | None = set() if repeated else None

    def clear(self, first: int, ordinary: Cleared, replay: bool) -> None:
        """Ordinary events, whose places begin at `first`, are clear, unless the clock has something against them."""
        ordinary = ordinary._replace(places=ordinary.places + first)
        ordinary = ordinary.where(clock_in_range(ordinary.at_us, self.stamps[ordinary.places], replay))
        late = (self.stamps[ordinary.places] * 1000 - ordinary.at_us > LATE_US) & (not replay)
        self.left[ordinary.places] = False
        digests, seen, sites = self._digests, self._seen, self._sites
        commons = zip(self._kind.facts(ordinary.events), repeat("clear"), late.tolist(), repeat(()))
        columns = (ordinary.places.tolist(), ordinary.events, (ordinary.at_us // 1000).tolist(), commons)
        for place, event, ms, common in zip(*columns, strict=True):
            device, seq, digest = event.device_id, event.seq, digests[place]
            told, places, share, number = sites.get(event.site_id) or self._site(event.site_id, place)
            told.append((device, seq, "clear", NOBODY))
            places.append(place)
            if seen is None or self._is_new(device, seq, digest):
                share.alike[common].append((number, device, seq, ms, digest))
        self._counts["clear"] += len(ordinary.places)
        self._late += int(late.sum())

    def judge(self, place: int, event: Any, at_us: int, verdict: Verdict, late: bool) -> None:
        """An event that was decided alone."""
        self.answer(place, event, verdict.outcome, verdict.people if verdict.reasons else NOBODY)
        self._late += late
        if verdict.reasons:
            alert = _alert(event, verdict, late, self._now, self._version)
            self._out.append((topics.ALERTS, event.site_id.encode(), encode(alert)))
            self.alerts.append(int(self.stamps[place]))
        device, seq, digest = event.device_id, event.seq, self._digests[place]
        if self._seen is None or self._is_new(device, seq, digest):
            why = tuple(why.rule for why in verdict.reasons)
            _, _, share, number = self._sites[event.site_id]
            common = (self._kind.facts([event])[0], verdict.outcome, late, why)
            share.alike[common].append((number, device, seq, at_us // 1000, digest))

    def answer(self, place: int, event: Any, outcome: str, people: list[int]) -> None:
        """What its device is told, in the order in which the events came."""
        told, places, _, _ = self._sites.get(event.site_id) or self._site(event.site_id, place)
        at = bisect(places, place)
        places.insert(at, place)
        told.insert(at, (event.device_id, event.seq, outcome, people))
        self._counts[outcome] += 1

    def refuse(self, place: int, refused: Rejected) -> None:
        """A dead letter."""
        name = self._kind.topic.name
        letter = dead_letter(name, int(self._partitions[place]), self.records[place], refused)
        self._out.append((topics.DEAD_LETTERS, name.encode(), letter))
        metrics.dead_letters.labels(name, refused.reason).inc()

    def out(self) -> list[Record]:
        """Everything, as it is written; and counted."""
        for name, (told, *_) in self._sites.items():
            for value in _values(partial(Outcomes, name, self._now, self._version), told):
                self._out.append((topics.OUTCOMES, name.encode(), value))
        decided_ms = int(self._now.timestamp() * 1000)
        for share in self._shares.values():
            groups = [
                DecisionGroup(
                    *facts, outcome, late, list(why), *map(list, zip(*rows[first : first + ALIKE], strict=True))
                )
                for (facts, outcome, late, why), rows in share.alike.items()
                for first in range(0, len(rows), ALIKE)
            ]
            if groups:
                # Sites of one partition of the scans are of one partition here.
                key = share.sites[0].encode()
                for value in _values(partial(Decisions, rules.TABLE, decided_ms, self._version, share.sites), groups):
                    self._out.append((topics.DECISIONS, key, value))
        topic = self._kind.topic.name
        for outcome, count in self._counts.items():
            metrics.events.labels(topic, outcome).inc(count)
        metrics.late_events.labels(topic).inc(self._late)
        metrics.duplicates.labels(topic).inc(self._duplicates)
        return self._out

    def _site(self, name: str, place: int) -> _Site:
        """A site that was not met before."""
        share = self._shares[int(self._partitions[place])]
        site: _Site = ([], [], share, len(share.sites))
        self._sites[name] = site
        share.sites.append(name)
        return site

    def _is_new(self, device: str, seq: int, digest: int) -> bool:
        """Whether the same was not met before."""
        assert self._seen is not None
        new = (device, seq, digest) not in self._seen
        self._seen.add((device, seq, digest))
        self._duplicates += not new
        return new


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
                    MatchedEntry(matched, e.category, e.authority, e.list, e.batch_id, e.entry_id,
                                 datetime.fromtimestamp(e.to_us / 1_000_000, UTC))
                    for matched, e in why.entries
                ],
            )
            for why in verdict.reasons
        ],
    )  # fmt: skip


async def screen_all(screening: Screening, kind: Screened, arriving: Any) -> None:
    """Screens the chunks of an agent's stream: those that wait together, and the next while these wait for Kafka."""
    waiting: deque[Chunk] = deque()
    events = 0  # that wait
    arrived = asyncio.Event()
    room = asyncio.Semaphore(IN_HAND)

    async def screen(chunks: Sequence[Chunk]) -> None:
        try:
            await screening.screen(kind, chunks)
        finally:
            room.release()

    async def screen_waiting() -> None:
        nonlocal events
        while True:
            await arrived.wait()
            await room.acquire()
            seen = 0
            while seen < len(waiting) and events < AT_ONCE:  # more are being handed over, one at a time
                seen = len(waiting)
                await asyncio.sleep(0)
            lot, size = list[Chunk](), 0
            while waiting and (not lot or size + len(waiting[0].records) <= AT_ONCE):
                lot.append(waiting.popleft())
                size += len(lot[-1].records)
            events -= size
            if not waiting:
                arrived.clear()
            group.create_task(screen(lot))
            await asyncio.sleep(0)  # so that what is decided is on its way before the next is

    async with asyncio.TaskGroup() as group:
        deciding = group.create_task(screen_waiting())
        async for chunk in arriving:
            waiting.append(chunk)
            events += len(chunk.records)
            arrived.set()
        deciding.cancel()
