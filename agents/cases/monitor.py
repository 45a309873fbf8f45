"""Care of cases: every event into the case's ledger, and an alert for each thing that staff must be told of it, once.

The way of one event: chunk → good ones (bad ones are dead-lettered) → the case → alerts, acknowledged → ledger,
acknowledged → chunk done. What is missing when a slot or a day has passed is looked for by the clock, in the partitions
that have no backlog. In replay mode time is that of each case's own events, and no clock counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiokafka.errors import KafkaError
from faust.types import TP
from msgspec import convert

from ninezero.agents.cases.intake import valid_events
from ninezero.agents.logic.cases.cases import ALERT_ID, Alarm, Outlook, alert_id
from ninezero.agents.logic.days import Days
from ninezero.schemas.events import CareAlert, encode
from ninezero.schemas.rows import FIRST_WINS
from ninezero.schemas.times import FOREVER_US
from ninezero.streams.kafka.compacted import CompactedTable
from ninezero.streams.kafka.decoding import Rejected, decode
from ninezero.streams.kafka.topics import ALERTS, Topic
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings
from ninezero.streams.transport.consumer import Consumer
from ninezero.streams.transport.offset_tracker import Chunk

log = logging.getLogger("ninezero.care")

SETTLE_US = 10 * 1_000_000
"""A device that was cut off sends days at once: a case is not asked about until ten seconds after its last event came."""

KEPT_US = 14 * 86_400 * 1_000_000
"""What is known of a case goes 14 days after it was closed."""

_TICK_SECONDS = 1.0

Record = tuple[bytes, bytes | None]
"""A key of the ledger and its value; None deletes it."""


@dataclass
class Found:
    """What is to be written: alerts, and records for the ledger."""

    alerts: list[tuple[Topic, bytes, bytes]] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)


@dataclass(frozen=True)
class CaseKind:
    """One kind of case: its topics, its types, and the rules that it follows."""

    topic: Topic
    """Where its events arrive."""
    ledger: Topic
    """Where its facts are kept."""
    event: Any
    """Wire type of its events."""
    record: Any
    """Type of its ledger records: `record.of(fact, day)` builds one, `record.fact()` returns its fact."""
    fact_of: Callable[[Any, int], Any]
    """Returns the fact of an event, given the fact's version."""
    outlook: Callable[[list[Any], Days, int], Outlook]
    """Returns what staff must know of a case at an instant (Unix time in µs), given its facts."""
    place: str
    """Field of the alert that names the place of the case: `site_id` or `district`."""


@dataclass
class Case:
    """What is known of a case: its facts, what staff have been told, and when to look again."""

    facts: dict[tuple[str, int], Any] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    look_us: int = 0


Cases = dict[str, Case]


class CaseMonitor:
    """The cases of the partitions in hand. Each rebalance reads them back from the ledger."""

    def __init__(self, settings: Settings, writer: Writer, kind: CaseKind, consumer: Callable[[], Consumer]) -> None:
        self._settings, self._writer, self._kind, self._consumer = settings, writer, kind, consumer
        self._ledger = CompactedTable(settings, writer, kind.ledger)
        self._days = Days(settings.timezone)
        self._held: dict[int, tuple[int, Cases]] = {}
        self._reached: dict[TP, int | None] = {}
        self._lock = asyncio.Lock()

    async def take(self, chunk: Chunk) -> None:
        """Takes a chunk's events; returns when what follows from them is acknowledged, and the chunk done."""
        good = await valid_events(self._settings, self._writer, self._kind.topic, self._kind.event, chunk)
        async with self._changing(chunk.tp.partition) as cases:
            found = Found()
            touched = set()
            for event, record in good:
                fact = self._kind.fact_of(event, FIRST_WINS - record.timestamp)
                case = cases.setdefault(event.case_id, Case())
                if case.facts.setdefault((event.device_id, event.seq), fact) is fact:
                    found.records.append((_key(event.case_id, event.device_id, str(event.seq)), self._record(fact)))
                    touched.add(event.case_id)
                    if self._settings.replay:  # as if each event had come in its own time
                        self._find(cases, event.case_id, found, by_clock=False)
            for case_id in sorted(touched):
                self._find(cases, case_id, found, by_clock=False)
            # Alerts before the ledger: a worker that dies in between raises them again, under the same ids. The other
            # way round they would be lost.
            await self._writer.write(found.alerts)
            await self._ledger.write(chunk.tp.partition, found.records)
        chunk.done()

    async def watch(self) -> None:
        """Looks, once a second, at the cases whose slot or day has passed; lets go of those closed long ago."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            if self._settings.replay or datetime.now(UTC) >= self._settings.sunset:
                continue
            ours = self._settings.topic(self._kind.topic.name)
            read = [
                tp for tp in sorted(self._consumer().assignment()) if tp.topic == ours and await self._caught_up(tp)
            ]
            ends = await self._ends([tp for tp in read if self._is_due(tp.partition)])
            for tp, end in ends.items():
                if self._reached[tp] == end:  # else others have taken reports, while this process stood still
                    await self._look(tp.partition)

    def _is_due(self, partition: int) -> bool:
        """Whether there may be something to look at."""
        held = self._held.get(partition)
        if held is None or held[0] != self._consumer().app.consumer_generation_id:
            return True
        now_us = _now_us()
        return any(case.look_us <= now_us for case in held[1].values())

    async def _ends(self, tps: list[TP]) -> dict[TP, int]:
        """The ends of partitions as the broker has them now; of none if it is away."""
        with contextlib.suppress(KafkaError):
            return await self._consumer().end_offsets(tps) if tps else {}
        return {}

    async def _look(self, partition: int) -> None:
        async with self._changing(partition) as cases:
            now_us = _now_us()
            due = [case_id for case_id, case in cases.items() if case.look_us <= now_us]
            for first in range(0, len(due), 200):
                found = Found()
                for case_id in due[first : first + 200]:
                    self._find(cases, case_id, found, by_clock=True)
                    found.records += self._let_go(cases, case_id, now_us)
                await self._writer.write(found.alerts)
                await self._ledger.write(partition, found.records)
                await asyncio.sleep(0)

    async def _caught_up(self, tp: TP) -> bool:
        """Whether everything that has come was taken: a report that waits in the topic is not missing.

        For two looks in a row: what was fetched may be on its way to the agent.
        """
        before, self._reached[tp] = self._reached.get(tp), None
        with contextlib.suppress(Exception):  # a partition that is just being taken away has no end
            consumer = self._consumer()
            ledger = consumer.trackers.get(tp)
            reached = await consumer.position(tp)  # the offset after what was fetched, and after a transaction's marker
            end = consumer.highwater(tp)
            if reached is not None and end is not None and reached >= end and not (ledger and ledger.records):
                self._reached[tp] = reached
        return before is not None and before == self._reached[tp]

    @contextlib.asynccontextmanager
    async def _changing(self, partition: int) -> AsyncIterator[Cases]:
        """The cases of a partition, read back if it was taken over since the last time.

        What stops half way may not be in the ledger: then they are read back as well.
        """
        async with self._lock:
            generation = self._consumer().app.consumer_generation_id
            held = self._held.pop(partition, None)
            if held is None or held[0] != generation:
                held = (generation, self._read(await self._ledger.read(partition)))
            yield held[1]
            self._held[partition] = held

    def _read(self, records: dict[bytes, bytes]) -> Cases:
        cases: Cases = {}
        soon = _now_us() + SETTLE_US
        for key, value in records.items():
            try:
                case_id, what, _ = key.decode().split("|", 2)
                fact = None if what == "!" else decode(self._kind.record, value).fact()
                if fact is not None and (fact.case_id != case_id or not 0 <= fact.observed_us <= FOREVER_US):
                    raise ValueError
                said = value.decode()
                if fact is None and not ALERT_ID.fullmatch(said):
                    raise ValueError
            except (ValueError, Rejected):  # only our own workers write it (ACL); a stranger's must not stop the care
                log.error("a record of the topic %s cannot be read; it is left out", self._kind.ledger.name)
                continue
            case = cases.setdefault(case_id, Case(look_us=soon))
            if fact is None:
                case.told.add(said)
            else:
                case.facts[fact.device_id, fact.seq] = fact
        return cases

    def _record(self, fact: Any) -> bytes:
        return encode(self._kind.record.of(fact, self._days.of(fact.observed_us)))

    def _find(self, cases: Cases, case_id: str, found: Found, by_clock: bool) -> None:
        """Finds what staff are to be told about a case and have not been, and when to look again."""
        case = cases[case_id]
        now_us = _now_us()
        if not case.facts:  # they are gone, only marks were left behind
            return
        facts = list(case.facts.values())
        as_of = max(fact.observed_us for fact in facts) if self._settings.replay else now_us
        outlook = self._kind.outlook(facts, self._days, as_of)
        for alarm in outlook.alarms:
            said = alert_id(case_id, alarm)
            if said in case.told or (alarm.rule in _ASKED and not (by_clock or self._settings.replay)):
                continue
            case.told.add(said)
            found.alerts.append((ALERTS, alarm.place.encode(), encode(self._alert(case_id, said, alarm))))
            found.records.append((_key(case_id, "!", said), said.encode()))
        if not by_clock:
            case.look_us = now_us + SETTLE_US
        elif outlook.closed_us is not None:
            case.look_us = outlook.closed_us + KEPT_US
        else:
            case.look_us = outlook.next_us or now_us + SETTLE_US

    def _alert(self, case_id: str, said: str, alarm: Alarm) -> CareAlert:
        told = {
            "alert_id": said,
            "rule": alarm.rule,
            "case_id": case_id,
            "site_id": None,
            "district": None,
            "day": alarm.day,
            "slot": alarm.slot,
            "at": datetime.fromtimestamp(alarm.at_us / 1_000_000, UTC),
        }
        alert: CareAlert = convert(told | {self._kind.place: alarm.place}, CareAlert)
        return alert

    def _let_go(self, cases: Cases, case_id: str, now_us: int) -> list[Record]:
        """The keys of a case that was closed long ago, to be deleted."""
        case = cases[case_id]
        outlook = self._kind.outlook(list(case.facts.values()), self._days, now_us) if case.facts else None
        if outlook is not None and (outlook.closed_us is None or outlook.closed_us + KEPT_US > now_us):
            return []
        del cases[case_id]
        keys = [_key(case_id, device, str(seq)) for device, seq in case.facts]
        return [(key, None) for key in keys + [_key(case_id, "!", said) for said in case.told]]


_ASKED = frozenset({"reading_missed", "visit_overdue"})
"""What is missing is only looked for by the clock, once the case's events have settled."""


def _key(case_id: str, what: str, which: str) -> bytes:
    return f"{case_id}|{what}|{which}".encode()


def _now_us() -> int:
    return time.time_ns() // 1000
