"""How far each partition is recorded, and what proves that it still is.

Progress lies in a table of its own, so facts can be lost without it: a table is dropped and made again, truncated, or put
back from an older copy. So with each offset stands, for every table, the key of the last row that was written on the way
there. A row is replaced, never taken away, as long as its day is not sealed and its case did not close two weeks ago: where that
one is gone, so are others, and the partition is recorded again from the oldest record that Kafka has. That begins a new `refill`: offsets of an older one count no more.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Set
from datetime import date, timedelta
from typing import Any, NamedTuple

import msgspec
from faust.types import TP

from ninezero.schemas.rows import KEYS, Block, ProgressRow
from ninezero.streams.clickhouse.engines import Engine

CASE_DAYS = 13
"""A case goes when it has been closed for 14 days, and then nothing of the last 13 is of it."""

OF_CASES = ("quarantine_facts", "followup_facts")

Held = dict[str, list[Any]]
"""Table → key of a row in it."""


class Reached(NamedTuple):
    """Offset up to which a partition is recorded, the refill this was done in (0, or when it began), and the rows that prove it."""

    offset: int = 0
    refill: int = 0
    held: Held = {}  # noqa: RUF012  # never changed


Progress = dict[TP, Reached]


def read(engine: Engine) -> dict[tuple[TP, str], Reached]:
    """By partition and topic id."""
    rows = engine.query(
        "SELECT topic, partition, topic_id, max((refill, next_offset)) AS reached, argMax(held, (refill, next_offset)) AS said "
        "FROM ninezero_data.recorder_progress GROUP BY topic, topic_id, partition"
    )
    found = {}
    for row in rows:
        refill, offset = row["reached"]
        held = msgspec.json.decode(row["said"] or "{}", type=Held)
        found[TP(row["topic"], int(row["partition"])), row["topic_id"]] = Reached(int(offset), int(refill), held)
    return found


def lost(engine: Engine, known: Progress, sealed: Set[date], today: date) -> set[str]:
    """Tables that rows are missing of. A row of a sealed day may be gone, and one of a case that closed long ago."""
    old = today - timedelta(days=CASE_DAYS)

    def may_go(table: str, key: list[Any]) -> bool:
        if KEYS[table][0] != "day":
            return False
        day = date.fromisoformat(key[0])
        return day < old if table in OF_CASES else day in sealed

    asked = {
        _where(table, key): table
        for reached in known.values()
        for table, key in reached.held.items()
        if not may_go(table, key)
    }
    if not asked:
        return set()
    selects = (f"SELECT {n} AS n FROM {where} LIMIT 1" for n, where in enumerate(asked))
    there = {int(row["n"]) for row in engine.query(" UNION ALL ".join(selects))}
    return {table for n, table in enumerate(asked.values()) if n not in there}


def proof(before: Held, written: Mapping[str, Block]) -> Held:
    """The keys of the last rows that were written, and those before of tables that got none."""
    last = {table: some for table, some in written.items() if len(some) and table in KEYS}
    return before | {table: [_plain(some.last(name)) for name in KEYS[table]] for table, some in last.items()}


def row(tp: TP, topic_id: str, reached: Reached) -> ProgressRow:
    """As it is written."""
    held = msgspec.json.encode(reached.held).decode()
    return ProgressRow(tp.topic, topic_id, tp.partition, reached.offset, reached.refill, held)


def anew(known: Progress, tables: Set[str]) -> Progress:
    """The beginning of a refill, of the partitions that had rows in those tables."""
    return {tp: Reached(0, time.time_ns()) for tp, reached in known.items() if tables & reached.held.keys()}


def _where(table: str, key: list[Any]) -> str:
    where = " AND ".join(f"{name} = {_literal(value)}" for name, value in zip(KEYS[table], key, strict=True))
    return f"ninezero_data.{table} WHERE {where}"  # values are quoted, names are our own


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _literal(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
