"""Progress: how far each Kafka partition is recorded, stored in ClickHouse beside the rows.

Rows can be lost while the progress remains: a table is truncated, a part is detached, rows are deleted by hand. So every
row that is recorded is covered by one of two proofs, and if a proof fails the table is recorded again from Kafka:

- A *tally* is the number of rows of a table and day up to a time (tallies.py). It covers all but the latest rows.
- A *mark* is the key of the last row that an insert wrote into a table and day. An insert makes one part of these rows, so a
  lost part is noticed by its mark. Marks cover the latest rows, until a tally includes them.

The table is then in a new *rebuild*. Each partition whose topic writes into the table begins again from the oldest record
that Kafka has, in whatever process it is read; its progress of earlier rebuilds no longer counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, NamedTuple

import msgspec
from faust.types import TP

from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import FIRST_WINS, KEY_COLUMNS, TIME_COLUMN, ProgressRow
from ninezero.streams.clickhouse.engine import Engine

MAX_MARKS = 60
"""Number of marks of a table above which older ones are left out: a tally is late, because some partition is not read."""

NO_DAY = date(1970, 1, 1)
"""The day of the rows of a table that is not divided by day."""

Key = list[Any]
"""The values of a row in the key columns of its table; dates as text."""


class Mark(NamedTuple):
    """A row that must exist: its time (as in `time_expression`), its key, and when it was inserted. Times are Unix times in ms."""

    time_ms: int
    key: Key
    inserted_ms: int


Marks = dict[str, list[Mark]]
"""Marks by table, in the order of the inserts."""


class MarksByDay(NamedTuple):
    """The number of marks by day, and of those whose row exists."""

    expected: Counter[date]
    found: Counter[date]


class Progress(NamedTuple):
    """How far a partition is recorded.

    `next_offset` is the first offset that is not recorded. `rebuild` is the latest rebuild of the partition's tables in which
    it takes part (0, or when that began, Unix time in ns). `recorded_until_ms` is the Kafka timestamp up to which the
    partition is recorded, and `lag` the number of offsets that were not recorded when this was written.
    """

    next_offset: int = 0
    rebuild: int = 0
    recorded_until_ms: int = 0
    lag: int = 0
    marks: Mapping[str, list[Mark]] = {}  # read only: `marks_after` returns a new dictionary


PartitionProgress = dict[TP, Progress]


def read(engine: Engine) -> dict[tuple[TP, str], Progress]:
    """Returns the progress of each (partition, topic id). A topic that was deleted and created again has another id."""
    rows = engine.query(
        "SELECT topic, topic_id, partition, rebuild, next_offset, recorded_until_ms, lag, marks "
        "FROM ninezero_data.recorder_progress FINAL"
    )
    found: dict[tuple[TP, str], Progress] = {}
    for row in rows:
        at = TP(row["topic"], int(row["partition"])), row["topic_id"]
        marks = msgspec.json.decode(row["marks"] or "{}", type=Marks)
        next_offset, rebuild, until, lag = (
            int(row[name]) for name in ("next_offset", "rebuild", "recorded_until_ms", "lag")
        )
        progress = Progress(next_offset, rebuild, until, lag, marks)
        if at not in found or found[at].rebuild < progress.rebuild:
            found[at] = progress
    return found


def row(tp: TP, topic_id: str, progress: Progress) -> ProgressRow:
    """Returns the row of `recorder_progress` that stores the progress of a partition."""
    return ProgressRow(
        topic=tp.topic,
        topic_id=topic_id,
        partition=tp.partition,
        rebuild=progress.rebuild,
        next_offset=progress.next_offset,
        recorded_until_ms=progress.recorded_until_ms,
        lag=progress.lag,
        marks=msgspec.json.encode(progress.marks).decode(),
    )


def marks_after(
    before: Mapping[str, list[Mark]], written: Mapping[str, Block], counted_to: Mapping[str, int], now_ms: int
) -> Marks:
    """Returns the marks after an insert.

    A mark whose row a tally includes is left out, except the newest mark of a table: it also proves that the tallies were
    not lost together with the rows.

    Args:
        before: the marks before.
        written: the rows that were inserted, by table.
        counted_to: the time up to which the tallies of a table count its rows.
        now_ms: when they were inserted.
    """
    marks = {table: list(some) for table, some in before.items()}
    for table, block in written.items():
        if len(block) and table in KEY_COLUMNS:
            parts = block.last_groups("day").values() if _by_day(table) else (-1,)
            marks.setdefault(table, []).extend(_mark(table, block, group, now_ms) for group in parts)
    for table, some in marks.items():
        needed = [mark for mark in some[:-1] if mark.time_ms > counted_to.get(table, 0)]
        if len(needed) >= MAX_MARKS:
            needed = needed[: MAX_MARKS // 2 : 2] + needed[MAX_MARKS // 2 :]
        marks[table] = [*needed, some[-1]]
    return marks


def _mark(table: str, block: Block, group: int, inserted_ms: int) -> Mark:
    column = TIME_COLUMN[table]
    value = int(block.last_value(column, group))
    time_ms = {"version": FIRST_WINS - value, "at": value * 1000, "at_ms": value}[column]
    return Mark(time_ms, [_plain(block.last_value(name, group)) for name in KEY_COLUMNS[table]], inserted_ms)


def _by_day(table: str) -> bool:
    """Returns whether a table has one partition per day."""
    return "day" in KEY_COLUMNS[table]


def existing_marks(engine: Engine, table: str, marks: Iterable[Mark]) -> MarksByDay:
    """Counts the marks of a table, and those of them whose row exists, by the day of the row."""
    columns = KEY_COLUMNS[table]
    keys = {tuple(mark.key) for mark in marks}
    days = (dict(zip(columns, key, strict=True)).get("day", NO_DAY.isoformat()) for key in keys)
    expected = Counter(map(date.fromisoformat, days))
    if not keys:
        return MarksByDay(expected, Counter())
    tuples = ", ".join(f"({', '.join(map(_literal, key))})" for key in sorted(keys, key=repr))
    rows = engine.query(
        f"SELECT {day_expression(table)} AS at_day, count() AS n FROM ("
        f"SELECT DISTINCT {', '.join(columns)} FROM ninezero_data.{table} WHERE ({', '.join(columns)}) IN ({tuples})"
        ") GROUP BY at_day"
    )  # values are quoted; table and columns come from KEY_COLUMNS
    return MarksByDay(expected, Counter({date.fromisoformat(row["at_day"]): int(row["n"]) for row in rows}))


def day_expression(table: str) -> str:
    """Returns the SQL expression for the day of a row; `NO_DAY` in tables that are not divided by day."""
    return "day" if _by_day(table) else "toDate(0)"


def time_expression(table: str) -> str:
    """Returns the SQL expression for the time of a row, Unix time in ms.

    It is when the row was decided or received. Of several rows with one sorting key the earliest survives, so the number of
    rows up to a time never decreases, and it stays as it is once everything up to that time is recorded.
    """
    return {"version": f"{FIRST_WINS} - version", "at": "toInt64(toUnixTimestamp(at)) * 1000", "at_ms": "at_ms"}[
        TIME_COLUMN[table]
    ]


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _literal(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
