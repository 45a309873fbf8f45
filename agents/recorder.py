"""Topics → tables: one projection a topic, and the rollup of the minutes that a flush touched."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from agents.logic.rules import OUTCOMES, RULES
from schemas import rows
from schemas.events import DeadLetter, Decisions, PushReceipt, decoder
from streams.chunks import Chunk
from streams.clickhouse import Engine
from streams.sink import Rows, Sink
from streams.topics import DEAD_LETTERS, DECISIONS, RECEIPTS, Topic

log = logging.getLogger("ninezero.recorder")

MINUTES_A_QUERY = 4000

Projection = tuple[Topic, Any, dict[str, Callable[[Any], list[Any]]]]


def projections(timezone: str) -> list[Projection]:
    """(topic, wire type, rows of one record by table) of everything that is recorded."""
    day_of = rows.local_day(timezone)
    return [
        (DECISIONS, Decisions, {"screening_facts": lambda record: rows.screening_facts(record, day_of)}),
        (RECEIPTS, PushReceipt, {"push_receipts": rows.push_receipts, "push_audit": rows.audit}),
        (DEAD_LETTERS, DeadLetter, {"dead_letter_facts": rows.dead_letters}),
    ]


async def record(sink: Sink, projection: Projection, chunk: Chunk) -> None:
    """Hands a chunk's rows to the sink, which finishes it once they are durable."""
    topic, kind, tables = projection
    decode = decoder(kind).decode
    found: Rows = {table: [] for table in tables}
    for item in chunk.records:
        try:
            value = decode(item.value)
        except msgspec.DecodeError:
            # Only our own workers write these topics (ACL); a stranger's record must not stop the counts.
            log.error("a record of %s cannot be read (offset %d); it is left out", topic.name, item.offset)
            continue
        for table, rows_of in tables.items():
            found[table] += rows_of(value)
    await sink.put(chunk, found)


def roll_up(engine: Engine, written: Rows) -> None:
    """Recomputes the absolute counts of every minute that has new facts."""
    facts: list[rows.ScreeningFact] = written.get("screening_facts", [])
    by_day: dict[Any, set[int]] = {}
    for fact in facts:
        by_day.setdefault(fact.day, set()).add(fact.minute)
    touched = sorted((minute, day) for day, minutes in by_day.items() for minute in minutes)
    for first in range(0, len(touched), MINUTES_A_QUERY):
        some = touched[first : first + MINUTES_A_QUERY]
        engine.execute(_rollup_sql(sorted({day.isoformat() for _, day in some}), [minute for minute, _ in some]))


def _rollup_sql(days: list[str], minutes: list[int]) -> str:
    outcomes = reversed(OUTCOMES)
    counted = {f"n_{o}": f"countIf(outcome = '{o}')" for o in outcomes}
    counted |= {f"r_{rule}": f"sum(countEqual(reasons, '{rule}'))" for rule in RULES}
    times = ", ".join(f"'{datetime.fromtimestamp(m, UTC):%Y-%m-%d %H:%M:%S}'" for m in minutes)
    in_days = ", ".join(f"'{day}'" for day in days)
    return (  # numbers and names of our own only
        f"INSERT INTO ninezero_data.screening_rollup (day, minute, site_id, kind, direction, stage, version, n_events, n_people, {', '.join(counted)}) "  # noqa: S608
        f"SELECT any(day), minute, site_id, kind, direction, stage, sum(version), count(), sum(people), {', '.join(counted.values())} "
        f"FROM ninezero_data.screening_facts FINAL WHERE day IN ({in_days}) AND minute IN ({times}) "
        "GROUP BY minute, site_id, kind, direction, stage"
    )
