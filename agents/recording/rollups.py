"""Counts by minute, recomputed from screening facts.

A rollup holds absolute numbers: it is computed from all facts of a minute and replaces the row before it. So resends,
replays and retried inserts change no count.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from ninezero.agents.logic.policy.rules import OUTCOMES, RULES
from ninezero.agents.recording.sealed_days import SEALED_DAYS
from ninezero.schemas.row_block import Block
from ninezero.streams.clickhouse import Engine
from ninezero.streams.clickhouse.topic_buffer import RowsByTable

MINUTES_PER_QUERY = 4000


def roll_up(engine: Engine, written: RowsByTable) -> None:
    """Recomputes the counts of every minute that has new facts.

    Args:
        engine: the database.
        written: the rows that were inserted, by table.
    """
    facts = written.get("screening_facts", Block("screening_facts"))
    touched = sorted(
        {(minute, day) for minutes, day in zip(facts["minute"], facts["day"], strict=True) for minute in set(minutes)}
    )
    for first in range(0, len(touched), MINUTES_PER_QUERY):
        part = touched[first : first + MINUTES_PER_QUERY]
        engine.execute(_rollup_statement(sorted({day.isoformat() for _, day in part}), [minute for minute, _ in part]))


def repair_rollups(engine: Engine) -> list[str]:
    """Recomputes the days that have fewer counted events than facts, because rollup rows were lost.

    Returns:
        The days that were recomputed, as text.
    """
    counted = _events_by_day(
        engine, "SELECT day, sum(n_events) AS n FROM ninezero_data.screening_rollup FINAL GROUP BY day"
    )
    facts = _events_by_day(
        engine,
        f"SELECT day, count() AS n FROM ninezero_data.screening_facts FINAL WHERE day NOT IN ({SEALED_DAYS}) GROUP BY day",
    )
    short = sorted(day for day, n in facts.items() if n > counted.get(day, 0))
    if short:
        engine.execute(_rollup_statement(short))
    return short


def _events_by_day(engine: Engine, sql: str) -> dict[str, int]:
    return {row["day"]: int(row["n"]) for row in engine.query(sql)}


def _rollup_statement(days: list[str], minutes: Iterable[int] = ()) -> str:
    """Returns the statement that recomputes some minutes (Unix time in s) of the days, or, without minutes, whole days."""
    counts = {f"n_{outcome}": f"countIf(outcome = '{outcome}')" for outcome in reversed(OUTCOMES)}
    counts |= {f"r_{rule}": f"sum(countEqual(reasons, '{rule}'))" for rule in RULES}
    times = ", ".join(f"'{datetime.fromtimestamp(m, UTC):%Y-%m-%d %H:%M:%S}'" for m in minutes)
    only_minutes = f"AND minute IN ({times}) " if times else ""
    in_days = ", ".join(f"'{day}'" for day in days)
    return (
        f"INSERT INTO ninezero_data.screening_rollup (day, minute, site_id, kind, direction, stage, version, n_events, n_people, {', '.join(counts)}) "
        f"SELECT any(day), minute, site_id, kind, direction, stage, sum(version), count(), sum(people), {', '.join(counts.values())} "
        f"FROM ninezero_data.screening_facts FINAL WHERE day IN ({in_days}) {only_minutes}"
        f"AND day NOT IN ({SEALED_DAYS}) "
        "GROUP BY minute, site_id, kind, direction, stage"
    )
