"""Notices rows that were lost in ClickHouse, whichever they are, and has their table recorded again from Kafka."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from datetime import date
from typing import NamedTuple

from ninezero.agents.recording.sealed_days import read_sealed_days, sealed_by
from ninezero.streams.clickhouse import ClickHouseError, Engine, progress, tallies
from ninezero.streams.clickhouse.progress import NO_DAY, Mark, MarksByDay, PartitionProgress
from ninezero.streams.clickhouse.tallies import Counts, TableState, shortfall

log = logging.getLogger("ninezero.recorder")

MARGIN_MS = 5000
"""A row is counted when everything is recorded that Kafka received until this long after it: a decision is made before its
record is written to Kafka. A record that is written even later may hide the loss of a row, and never invents one."""

TablesByTopic = Mapping[str, frozenset[str]]
"""The tables into which the records of a topic are written."""


class _Counted(NamedTuple):
    """What was found in a table: the days that were counted with the number of stored rows, their rows up to `now_to` (Unix time in
    ms), and the rows of marks."""

    days: Mapping[date, int]
    now_to: int
    rows: Counts
    marks: MarksByDay


class LossCheck:
    """Compares tables with their tallies and marks."""

    def __init__(self, tables: TablesByTopic) -> None:
        self._tables = tables
        self.counted_to: dict[str, int] = {}
        """The time up to which the tallies count the rows of a table (Unix time in ms), as of the last check."""
        self._settled: dict[tuple[str, int], dict[date, int]] = {}
        """By table and epoch, the days of which a tally includes every row, and the number of rows that are stored of them. While that
        number stays as it is, they are not counted again."""
        self._running: set[tuple[str, int]] = set()
        """The rebuilds (table, epoch) that were not complete at the last check."""

    def run(self, engine: Engine, recorded: PartitionProgress) -> None:
        """Checks every table. If rows of a table were lost, begins a rebuild of it.

        Args:
            engine: the database.
            recorded: the progress of every partition of the topics.

        Raises:
            ClickHouseError: a statement failed. Tables that can be queried were checked.
        """
        names = frozenset().union(*self._tables.values())
        states = tallies.read_states(engine, names)
        failure: ClickHouseError | None = None
        counted = {}
        for table in sorted(names):
            if states[table].cause != "deletion":
                try:
                    now_to = self._recorded_until(table, recorded, states[table].rebuild) - MARGIN_MS
                    settled = self._settled.get((table, states[table].epoch), {})
                    counted[table] = _count(engine, table, states[table], recorded, now_to, settled)
                except ClickHouseError as error:
                    failure = error
        # Sealed days and deletions are read after the rows were counted: rows that were dropped on purpose before they were
        # counted are then known to be no loss.
        sealed_days = {sealed: read_sealed_days(engine, sealed) for sealed in {sealed_by(table) for table in counted}}
        epochs = tallies.read_epochs(engine)
        for table, found in counted.items():
            if epochs.get(table, TableState()).epoch == states[table].epoch:
                self._judge(engine, table, states[table], found, sealed_days[sealed_by(table)])
        if failure is not None:
            raise failure

    def needed_rebuild(self, topic: str, rebuilds: Mapping[str, int]) -> int:
        """Returns the rebuild in which the partitions of a topic must take part: the latest of its tables."""
        return max((rebuilds.get(table, 0) for table in self._tables.get(topic, ())), default=0)

    def _judge(self, engine: Engine, table: str, state: TableState, found: _Counted, sealed_days: Set[date]) -> None:
        """Begins a rebuild if rows are missing, or else stores what was counted."""
        if _rebuild_lost(engine, table, state, found, sealed_days):
            return
        tallies.store(engine, table, state, found.rows.now, found.now_to)
        self.counted_to[table] = max(found.now_to, state.counted_to_ms)
        settled = self._settled.setdefault((table, state.epoch), {})
        for day, stored in found.days.items():
            settled.pop(day, None)
            if found.rows.now[day] == found.rows.total[day] and found.now_to >= state.counted_to_ms:
                settled[day] = stored
        if state.rebuild == state.epoch > 0:
            self._report_rebuild(table, state, found, sealed_days)

    def _report_rebuild(self, table: str, state: TableState, found: _Counted, sealed_days: Set[date]) -> None:
        """Logs what Kafka did not have any more, when a rebuild is complete that this process has seen."""
        if found.now_to < state.rebuild_ms:
            self._running.add((table, state.rebuild))
        elif (table, state.rebuild) in self._running:
            self._running.discard((table, state.rebuild))
            expected = {day: tally.expected for day, tally in state.tallies.items()}
            rows = {day: tally.rows for day, tally in state.tallies.items()} | found.rows.now
            if short := shortfall(expected, rows, sealed_days):
                log.error(
                    "%s of %s are not in Kafka any more: restore them from a backup of ClickHouse",
                    _describe(short),
                    table,
                )
            else:
                log.info("every row of %s is recorded again", table)

    def _recorded_until(self, table: str, recorded: PartitionProgress, rebuild: int) -> int:
        """Returns the Kafka timestamp up to which everything is recorded that belongs into a table (Unix time in ms)."""
        return min(
            (
                reached.recorded_until_ms if reached.rebuild >= rebuild else 0
                for tp, reached in recorded.items()
                if table in self._tables.get(tp.topic, ())
            ),
            default=0,
        )


def begin_deletion(engine: Engine, tables: Iterable[str]) -> None:
    """Checks tables from which rows are about to be deleted on purpose, and stops the checks of these tables.

    `tallies.end_deletion` starts them again, from the rows that are left.

    Raises:
        ClickHouseError: a statement failed. Nothing may be deleted.
    """
    recorded = {tp: reached for (tp, _), reached in progress.read(engine).items()}
    states = tallies.read_states(engine, list(tables))
    for table, state in states.items():
        if state.cause != "deletion":
            _rebuild_lost(engine, table, state, _count(engine, table, state, recorded, 0, {}), frozenset())
    tallies.begin_deletion(engine, states)


def _count(
    engine: Engine, table: str, state: TableState, recorded: PartitionProgress, now_to: int, settled: Mapping[date, int]
) -> _Counted:
    """Counts the days of a table that have changed since they were settled; every day at the end of a rebuild, for its report."""
    marks = progress.existing_marks(engine, table, _marks(table, recorded, state))
    stored = tallies.stored_rows(engine, table)
    ends_rebuild = state.counted_to_ms < state.epoch_ms <= now_to
    days = {
        day: stored.get(day, 0)
        for day in stored.keys() | state.tallies.keys()
        if ends_rebuild or day not in state.tallies or stored.get(day, 0) != settled.get(day)
    }
    rows = tallies.count(engine, table, state.counted_to_ms, now_to, days) if days else Counts(*(Counter(),) * 3)
    return _Counted(days, now_to, rows, marks)


def _marks(table: str, recorded: PartitionProgress, state: TableState) -> Iterator[Mark]:
    """Yields the marks that no tally includes: those of the current rebuild that were inserted after the last deletion."""
    counted_to = state.counted_to_ms if state.tallies else -1
    for reached in recorded.values():
        for mark in reached.marks.get(table, ()) if reached.rebuild >= state.rebuild else ():
            if mark.time_ms > counted_to and mark.inserted_ms >= state.epoch_ms:
                yield mark


def _rebuild_lost(engine: Engine, table: str, state: TableState, found: _Counted, sealed_days: Set[date]) -> bool:
    """Begins a rebuild if rows are missing. Returns whether some are."""
    expected = {day: tally.rows for day, tally in state.tallies.items() if day in found.days}
    lost = shortfall(found.marks.expected, found.marks.found, sealed_days)
    lost |= shortfall(expected, found.rows.again, sealed_days)
    if lost:
        log.warning("at least %s of %s were lost: recording again what Kafka still has", _describe(lost), table)
        tallies.begin_rebuild(engine, table, state)
    return bool(lost)


def _describe(rows_by_day: Mapping[date, int]) -> str:
    """Returns the number of rows, and the three days with the most of them."""
    days = sorted(rows_by_day.items(), key=lambda item: -item[1])
    named = ", ".join(f"{n:,} of {day}" for day, n in days[:3] if day != NO_DAY)
    more = f" and {len(days) - 3} other days" if len(days) > 3 else ""
    return f"{sum(rows_by_day.values()):,} rows" + (f" ({named}{more})" if named else "")
