"""Tallies: the number of rows of each table and day when they were last counted.

Rows written from Kafka are never changed, and only retention and the deletion of cases remove them. So the number of
distinct rows up to a time only grows, and it stays as it is once everything up to that time is recorded. If it becomes
smaller, rows were lost. Rows that arrive meanwhile are later than that time, so they cannot hide a loss.

Counts are compared within an *epoch* of the table. A new epoch begins

- with a rebuild, after a loss. The rows that the tallies before expected are kept as `expected`: what is still missing at
  the end of the rebuild is not in Kafka any more.
- with a deletion of rows on purpose (`deletion`), and again when it is complete (`deleted`). Between the two, nothing is
  counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Set
from datetime import date
from typing import Literal, NamedTuple

from ninezero.schemas.rows import CASE_FACTS, EpochRow, TallyRow
from ninezero.streams.clickhouse.engine import Engine
from ninezero.streams.clickhouse.progress import day_expression, time_expression

Cause = Literal["rebuild", "deletion", "deleted"]


class Tally(NamedTuple):
    """The number of rows of a day up to the time `counted_to_ms` (Unix time in ms); `expected` is what was there before a rebuild."""

    counted_to_ms: int
    rows: int
    expected: int = 0


class TableState(NamedTuple):
    """The current epoch of a table with its tallies, and its latest rebuild. Both numbers are Unix times in ns, or 0."""

    epoch: int = 0
    cause: Cause = "deleted"
    rebuild: int = 0
    tallies: Mapping[date, Tally] = {}  # read only

    @property
    def epoch_ms(self) -> int:
        """When the epoch began (Unix time in ms)."""
        return self.epoch // 1_000_000

    @property
    def rebuild_ms(self) -> int:
        """When the latest rebuild began (Unix time in ms)."""
        return self.rebuild // 1_000_000

    @property
    def counted_to_ms(self) -> int:
        """The time up to which the table was counted last."""
        return max((tally.counted_to_ms for tally in self.tallies.values()), default=0)


class Counts(NamedTuple):
    """The number of rows by day: up to the time of the last count, up to the time of this one, and altogether."""

    again: Counter[date]
    now: Counter[date]
    total: Counter[date]


def read_epochs(engine: Engine) -> dict[str, TableState]:
    """Returns the state, without tallies, of each table that is not in its first epoch."""
    rows = engine.query(
        "SELECT table_name, max(epoch) AS latest, argMax(cause, epoch) AS latest_cause, maxIf(epoch, cause = 'rebuild') AS rebuild "
        "FROM ninezero_data.recorder_epochs GROUP BY table_name"
    )
    return {row["table_name"]: TableState(int(row["latest"]), row["latest_cause"], int(row["rebuild"])) for row in rows}


def read_states(engine: Engine, tables: Collection[str]) -> dict[str, TableState]:
    """Returns the state of each of the tables."""
    states = dict.fromkeys(tables, TableState()) | read_epochs(engine)
    current = ", ".join(f"('{table}', {states[table].epoch})" for table in sorted(tables))
    rows = engine.query(
        "SELECT table_name, day, counted_to_ms, rows, expected FROM ninezero_data.recorder_tallies FINAL "
        f"WHERE (table_name, epoch) IN ({current})"
    )
    found: dict[str, dict[date, Tally]] = {table: {} for table in tables}
    for row in rows:
        numbers = (int(row[name]) for name in ("counted_to_ms", "rows", "expected"))
        found[row["table_name"]][date.fromisoformat(row["day"])] = Tally(*numbers)
    return {table: states[table]._replace(tallies=found[table]) for table in tables}


def stored_rows(engine: Engine, table: str) -> dict[date, int]:
    """Returns by day how many rows a table stores, including rows that merges will replace. ClickHouse reads no row for it."""
    rows = engine.query(
        f"SELECT {day_expression(table)} AS at_day, count() AS n FROM ninezero_data.{_stored_in(table)} GROUP BY at_day"
    )
    return {date.fromisoformat(row["at_day"]): int(row["n"]) for row in rows}


def count(engine: Engine, table: str, again_to_ms: int, now_to_ms: int, days: Collection[date] | None = None) -> Counts:
    """Counts the rows of a table by day up to two times (Unix times in ms), of some days or of all."""
    at, day = time_expression(table), day_expression(table)
    final = "" if table in CASE_FACTS else " FINAL"  # those are views
    where = "" if days is None else f" WHERE {day} IN ({', '.join(repr(str(one)) for one in sorted(days))})"
    rows = engine.query(
        f"SELECT {day} AS at_day, countIf({at} <= {again_to_ms}) AS again, countIf({at} <= {now_to_ms}) AS now, count() AS total "
        f"FROM ninezero_data.{table}{final}{where} GROUP BY at_day"
    )
    by_day = {date.fromisoformat(row["at_day"]): row for row in rows}
    return Counts(*(Counter({one: int(row[name]) for one, row in by_day.items()}) for name in Counts._fields))


def _stored_in(table: str) -> str:
    return table.replace("_facts", "_cases") if table in CASE_FACTS else table


def shortfall(expected: Mapping[date, int], found: Mapping[date, int], sealed_days: Set[date]) -> dict[date, int]:
    """Returns by day how many rows fewer were found than expected. Rows of sealed days may be dropped."""
    short = {day: n - found.get(day, 0) for day, n in expected.items() if day not in sealed_days}
    return {day: n for day, n in sorted(short.items()) if n > 0}


def missing_for_good(state: TableState, sealed_days: Set[date]) -> dict[date, int]:
    """Returns by day how many rows are missing that were there before the rebuild, when that is complete."""
    expected = {day: tally.expected for day, tally in state.tallies.items()}
    return shortfall(expected, {day: tally.rows for day, tally in state.tallies.items()}, sealed_days)


def store(engine: Engine, table: str, state: TableState, rows: Mapping[date, int], counted_to_ms: int) -> None:
    """Stores the number of rows by day up to a time. A day without new rows keeps its tally, which is true of later times too."""
    if counted_to_ms <= state.counted_to_ms:
        return
    tallies = {}
    for day, n in rows.items():
        before = state.tallies.get(day, Tally(0, 0))
        complete = (
            before.counted_to_ms < state.epoch_ms <= counted_to_ms
        )  # doctor recognises the end of a rebuild by it
        if n > before.rows or complete:
            tallies[day] = Tally(counted_to_ms, n, before.expected)
    _insert(engine, table, state.epoch, tallies)


def begin_rebuild(engine: Engine, table: str, state: TableState) -> None:
    """Begins a rebuild of a table: an epoch in which every partition that writes into the table is recorded again."""
    epoch = _next_epoch(state)
    expected = {day: Tally(0, 0, max(tally.rows, tally.expected)) for day, tally in state.tallies.items()}
    _insert(engine, table, epoch, expected)
    _begin(engine, [EpochRow(table, epoch, "rebuild")])


def begin_deletion(engine: Engine, tables: Iterable[str]) -> None:
    """Stops the counting of tables, because rows are about to be deleted on purpose. Call `end_deletion` when they are gone.

    If the deletion is interrupted, the tables are not counted until it was repeated.
    """
    states = read_epochs(engine)
    _begin(engine, [EpochRow(table, _next_epoch(states.get(table, TableState())), "deletion") for table in tables])


def end_deletion(engine: Engine, tables: Iterable[str]) -> None:
    """Counts the rows that tables have after a deletion, up to the time of the last count before it, and compares later counts
    with that. Rows of the seconds after that time are not covered until the next check."""
    for table, state in read_states(engine, list(tables)).items():
        latest = f"SELECT max(counted_to_ms) AS latest FROM ninezero_data.recorder_tallies WHERE table_name = '{table}'"
        counted_to_ms = int(engine.query(latest)[0]["latest"])
        rows = count(engine, table, counted_to_ms, counted_to_ms).now
        epoch = _next_epoch(state)
        _insert(engine, table, epoch, {day: Tally(counted_to_ms, n) for day, n in rows.items()})
        _begin(engine, [EpochRow(table, epoch, "deleted")])


def _next_epoch(state: TableState) -> int:
    return max(time.time_ns(), state.epoch + 1)


def _begin(engine: Engine, rows: list[EpochRow]) -> None:
    engine.insert("ninezero_data.recorder_epochs", EpochRow._fields, rows)


def _insert(engine: Engine, table: str, epoch: int, tallies: Mapping[date, Tally]) -> None:
    if tallies:
        rows = [TallyRow(table, epoch, day, *tally) for day, tally in tallies.items()]
        engine.insert("ninezero_data.recorder_tallies", TallyRow._fields, rows)
