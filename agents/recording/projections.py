"""Topics → tables: one projection a topic, and the rollup of the minutes that a flush touched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from isal.isal_zlib import crc32

from ninezero.agents.logic.policy.rules import FEVER_C, OUTCOMES, RULES
from ninezero.schemas import rows
from ninezero.schemas.events import (
    DeadLetter,
    Decisions,
    Disposition,
    FollowupEvent,
    PushReceipt,
    QuarantineEvent,
    Scan,
)
from ninezero.schemas.fast_decode import Seen, patterns
from ninezero.schemas.rows import Block
from ninezero.streams import metrics
from ninezero.streams.clickhouse.engines import Engine
from ninezero.streams.clickhouse.sink import Rows, Sealed, Sink
from ninezero.streams.kafka.deadletters import dead_letter
from ninezero.streams.kafka.decoding import Rejected, decode, decode_event
from ninezero.streams.kafka.topics import DEAD_LETTERS, DECISIONS, DISPOSITIONS, FOLLOWUPS, QUARANTINE, RECEIPTS, Topic
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings
from ninezero.streams.transport.offset_tracker import Chunk

log = logging.getLogger("ninezero.recorder")

MINUTES_A_QUERY = 4000

OWN = {DECISIONS, RECEIPTS, DEAD_LETTERS}

SEALED = Sealed(
    "SELECT DISTINCT day FROM ninezero_data.sealed_days",
    frozenset({"screening_facts", "device_events", "disposition_facts"}),
)
"""Retention drops these facts by the day; a day is sealed first (agents/recording/retention.py)."""

Rows_of = Callable[[Sequence[Any]], Block]
"""From what was read of a chunk's records to rows."""

Read = Callable[[Any], Any]
"""From a record to what rows are made of; raises Refused for what is not recorded."""

Projection = tuple[Topic, Read, dict[str, Rows_of]]


def projections(settings: Settings) -> list[Projection]:
    """(topic, how a record is read, rows by table) of everything that is recorded."""
    day_of = rows.local_day(settings.timezone)
    devices, sites = (Seen(patterns(Scan)[field]) for field in ("device_id", "site_id"))

    def arrived(kind: Any) -> Read:
        return lambda record: read_event(record, kind, day_of, settings)

    return [
        (
            DECISIONS,
            lambda record: rows.decided(_decisions(record, devices, sites), day_of),
            {"screening_facts": rows.screening_facts, "device_events": rows.decided_events},
        ),
        (
            DISPOSITIONS,
            arrived(Disposition),
            _each(disposition_facts=rows.disposition, device_events=rows.device_event),
        ),
        (
            QUARANTINE,
            arrived(QuarantineEvent),
            _each(
                quarantine_facts=lambda event: rows.quarantine_fact_rows(event, FEVER_C),
                device_events=rows.device_event,
            ),
        ),
        (
            FOLLOWUPS,
            arrived(FollowupEvent),
            _each(followup_facts=rows.followup_fact_rows, device_events=rows.device_event),
        ),
        (RECEIPTS, _own(PushReceipt), _each(push_receipts=rows.push_receipts, push_audit=rows.audit)),
        (DEAD_LETTERS, _own(DeadLetter), _each(dead_letter_facts=rows.dead_letters)),
    ]


def _each(**tables: Callable[[Any], Sequence[Any]]) -> dict[str, Rows_of]:
    """Rows by table, of each record for itself."""

    def block(table: str, values: Sequence[Any]) -> Block:
        return Block(table, [row for value in values for row in tables[table](value)])

    return {table: partial(block, table) for table in tables}


def _own(kind: Any) -> Read:
    """A record that our own workers wrote."""
    return lambda record: decode(kind, record.value)


def _decisions(record: Any, devices: Seen, sites: Seen) -> Decisions:
    """A decisions record.

    Raises:
        Refused: it is none, or a device or site in it has a name that is no identifier.
    """
    made: Decisions = decode(Decisions, record.value)
    if sites.wrong(made.sites) or any(devices.wrong(alike.device_ids) for alike in made.decisions):
        raise Rejected("schema_invalid", "/decisions")
    return made


def read_event(record: Any, kind: Any, day_of: Callable[[int], date], settings: Settings) -> rows.Arrived:
    """An event as a device sent it.

    Raises:
        Refused: it is dead-lettered (by the ledgers role), or came past the sunset.
    """
    event, at_us, late = decode_event(kind, record.value, record.timestamp, replay=settings.replay)
    if record.timestamp >= settings.sunset.timestamp() * 1000:
        raise Rejected("internal")
    return rows.Arrived(event, day_of(at_us // 60_000_000 * 60), record.timestamp, crc32(record.value), late)


async def record(sink: Sink, writer: Writer, projection: Projection, chunk: Chunk) -> None:
    """Hands a chunk's rows to the sink, which finishes it once they are durable.

    What is of a sealed day has its dead letter, acknowledged, before that: one a record, of decisions too, whose other events
    are recorded.
    """
    topic, read, tables = projection
    values, sealed, letters = [], [], []
    for item in chunk.records:
        try:
            value = read(item)
        except Rejected as refused:
            # Only our own workers write these topics (ACL); a stranger's record must not stop the counts.
            if topic in OWN:
                log.error("a record of %s is left out: %s (offset %d)", topic.name, refused.reason, item.offset)
            continue
        if sink.sealed.isdisjoint(getattr(value, "days", ())):
            values.append(value)
            continue
        sealed.append(value)
        letter = dead_letter(topic.name, chunk.tp.partition, item, Rejected("day_sealed", "/observed_at"))
        letters.append((DEAD_LETTERS, topic.name.encode(), letter))
        metrics.dead_letters.labels(topic.name, "day_sealed").inc()
    found = {table: rows_of(values) for table, rows_of in tables.items()}
    for table in (
        SEALED.tables & tables.keys() if sealed else ()
    ):  # the facts of other days; what else came with them is left out
        found[table].extend(tables[table](sealed).without(sink.sealed))
    await writer.write(letters)
    await sink.put(chunk, found)


def roll_up(engine: Engine, written: Rows) -> None:
    """Recomputes the absolute counts of every minute that has new facts."""
    facts = written.get("screening_facts", Block("screening_facts"))
    touched = sorted({(at, day) for some, day in zip(facts["minute"], facts["day"], strict=True) for at in set(some)})
    for first in range(0, len(touched), MINUTES_A_QUERY):
        some = touched[first : first + MINUTES_A_QUERY]
        engine.execute(_rollup_sql(sorted({day.isoformat() for _, day in some}), [minute for minute, _ in some]))


def mend_rollup(engine: Engine) -> list[str]:
    """Recomputes the days whose counts fall short of their facts: the table of counts was lost. Those days."""
    counted = _by_day(engine, "SELECT day, sum(n_events) AS n FROM ninezero_data.screening_rollup FINAL GROUP BY day")
    facts = _by_day(
        engine,
        "SELECT day, count() AS n FROM ninezero_data.screening_facts FINAL "
        f"WHERE day NOT IN ({SEALED.sql}) GROUP BY day",
    )
    short = sorted(day for day, n in facts.items() if n > counted.get(day, 0))
    if short:
        engine.execute(_rollup_sql(short))
    return short


def _by_day(engine: Engine, sql: str) -> dict[str, int]:
    return {row["day"]: int(row["n"]) for row in engine.query(sql)}


def _rollup_sql(days: list[str], minutes: Iterable[int] = ()) -> str:
    """Of some minutes, or of whole days."""
    outcomes = reversed(OUTCOMES)
    counted = {f"n_{o}": f"countIf(outcome = '{o}')" for o in outcomes}
    counted |= {f"r_{rule}": f"sum(countEqual(reasons, '{rule}'))" for rule in RULES}
    times = ", ".join(f"'{datetime.fromtimestamp(m, UTC):%Y-%m-%d %H:%M:%S}'" for m in minutes)
    at = f"AND minute IN ({times}) " if times else ""
    in_days = ", ".join(f"'{day}'" for day in days)
    return (  # numbers and names of our own only
        f"INSERT INTO ninezero_data.screening_rollup (day, minute, site_id, kind, direction, stage, version, n_events, n_people, {', '.join(counted)}) "
        f"SELECT any(day), minute, site_id, kind, direction, stage, sum(version), count(), sum(people), {', '.join(counted.values())} "
        f"FROM ninezero_data.screening_facts FINAL WHERE day IN ({in_days}) {at}"
        f"AND day NOT IN ({SEALED.sql}) "
        "GROUP BY minute, site_id, kind, direction, stage"
    )
