"""`ninezero publish`: a day's counts by division, suppressed and rounded, once; then it is frozen.

What is published of a day lies in one row of `publications`, written in one piece, before any of it is in a published table.
Whoever is killed after that row leaves a day that the next run finishes with the same numbers; before it, a day that is not begun.
One block a day and table, so that a table holds all of a day or nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from ninezero.agents.logic.suppression import UNREGISTERED, by_division, published
from ninezero.streams.clickhouse.engines import Engine

WAIT = timedelta(hours=48)
"""After a day's end, local time: most of what was late is in by then."""

SCREENING = ("passages", "people", "clear", "refer", "quarantine", "turn_back", "hold", "fevers")

_TABLES: dict[str, tuple[str, ...]] = {
    "screening_by_day": ("day", "division", *SCREENING),
    "arrivals_by_day": ("day", "division", "mode", "stage", "people"),
}

Cells = list[list[Any]]


class Published(NamedTuple):
    """A day that is published now: rows of each table, and how many of its sites the register does not hold."""

    day: date
    rows: int
    unregistered: int

    def __str__(self) -> str:
        more = (
            f"; {self.unregistered} sites are not in the register and count for no division"
            if self.unregistered
            else ""
        )
        return f"{self.day}: published, {self.rows} rows{more}"


def last_day(now: datetime, timezone: str) -> date:
    """The last local day whose end is 48 hours past."""
    zone = ZoneInfo(timezone)
    day = (now - WAIT).astimezone(zone).date()
    return day - timedelta(days=1)


def publish(engine: Engine, until: date, k: int) -> list[Published]:
    """Publishes every day up to `until` that has counts and is not published yet."""
    begun = {row["day"] for row in engine.query("SELECT DISTINCT day FROM ninezero_data.publications")}
    register = {row["site_id"]: row["division"] for row in engine.query("SELECT site_id, division FROM ninezero.sites")}
    days = engine.query(
        "SELECT day FROM (SELECT day FROM ninezero.screening_by_day UNION ALL SELECT day FROM ninezero.arrivals_by_day) "  # a day
        f"WHERE day <= '{until}' GROUP BY day ORDER BY day"
    )
    unregistered = {}
    for day in [row["day"] for row in days if row["day"] not in begun]:
        unregistered[day] = _begin(engine, day, register, k)
    return [Published(date.fromisoformat(day), rows, unregistered.get(day, 0)) for day, rows in _finish(engine)]


def _begin(engine: Engine, day: str, register: dict[str, str], k: int) -> int:
    """Writes down what is published of a day; how many of its sites are not in the register."""
    screening = engine.query(
        f"SELECT site_id, {', '.join(f'sum({name}) AS {name}' for name in SCREENING)} "  # names of our own, a day
        f"FROM ninezero.screening_by_day WHERE day = '{day}' GROUP BY site_id"
    )
    arrivals = engine.query(f"SELECT site_id, mode, stage, people FROM ninezero.arrivals_by_day WHERE day = '{day}'")
    one = by_division(((r["site_id"], (), tuple(int(r[name]) for name in SCREENING)) for r in screening), register)
    two = by_division(((r["site_id"], (r["mode"], r["stage"]), (int(r["people"]),)) for r in arrivals), register)
    cells = [
        [[*key, *(published(count, k) for count in counts)] for key, counts in some.items()] for some in (one, two)
    ]
    engine.insert(
        "ninezero_data.publications",
        ("day", "at", "k", "screening", "arrivals"),
        [(date.fromisoformat(day), time.time_ns(), k, json.dumps(cells[0]), json.dumps(cells[1]))],
    )
    return len(
        {r["site_id"] for r in (*screening, *arrivals) if register.get(r["site_id"], UNREGISTERED) == UNREGISTERED}
    )


def _finish(engine: Engine) -> Iterable[tuple[str, int]]:
    """Puts what is written down into the tables that lack it: (day, rows)."""
    written = engine.query("SELECT day, screening, arrivals FROM ninezero_data.publications ORDER BY day, at DESC")
    first = {row["day"]: row for row in written}  # of two runs at once, both follow the first
    there = {
        table: {row["day"] for row in engine.query(f"SELECT DISTINCT day FROM ninezero_published.{table}")}
        for table in _TABLES
    }
    for day, row in first.items():
        found = 0
        for table, cells in zip(_TABLES, (row["screening"], row["arrivals"]), strict=True):
            rows = [(date.fromisoformat(day), *cell) for cell in json.loads(cells)]
            if rows and day not in there[table]:
                engine.insert(f"ninezero_published.{table}", _TABLES[table], rows)
                found += len(rows)
        if found:
            yield day, found
