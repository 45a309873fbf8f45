"""Publishing (`ninezero publish`): the counts of a day by division, suppressed and rounded, published once.

Everything that is published of a day is first stored in one row of `publications`, by one insert. A run that is
interrupted before that row leaves a day that is not published; one that is interrupted after it leaves a day that the
next run finishes with the same numbers. Each table gets the rows of a day by one insert, so it holds all of them or none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ninezero.agents.logic.suppression import UNREGISTERED, SiteCounts, publishable_row, sum_by_division
from ninezero.streams.clickhouse import Engine

DELAY = timedelta(hours=48)
"""Time after the local end of a day until it is published: most late events have arrived by then."""

SCREENING_COUNTS = ("passages", "people", "clear", "refer", "quarantine", "turn_back", "hold", "fevers")

_PUBLISHED_COLUMNS: dict[str, tuple[str, ...]] = {
    "screening_by_day": ("day", "division", *SCREENING_COUNTS),
    "arrivals_by_day": ("day", "division", "mode", "stage", "people"),
}

PublishedRow = list[str | int | None]
"""The values of a published row in the order of its columns, without the day; None is a suppressed count."""


class PublishedDay(NamedTuple):
    """A day that was published now: the number of rows, and of sites that the register of sites does not contain."""

    day: date
    rows: int
    unregistered_sites: int

    def __str__(self) -> str:
        unregistered = (
            f"; {self.unregistered_sites} sites are not in the register: their counts belong to no division"
            if self.unregistered_sites
            else ""
        )
        return f"{self.day}: published, {self.rows} rows{unregistered}"


def last_publishable_day(now: datetime, timezone: str) -> date:
    """Returns the last local day that ended at least 48 hours before `now`."""
    return (now - DELAY).astimezone(ZoneInfo(timezone)).date() - timedelta(days=1)


def publish(engine: Engine, until: date, k: int) -> list[PublishedDay]:
    """Publishes every day up to `until` that has counts and is not published yet.

    Args:
        engine: the database.
        until: the last day.
        k: the smallest count that is published, at least 11.

    Returns:
        The days that got rows now, including those that an earlier run began.

    Raises:
        ClickHouseError: a statement failed; the next call resumes.
    """
    begun = {row["day"] for row in engine.query("SELECT DISTINCT day FROM ninezero_data.publications")}
    divisions = {
        row["site_id"]: row["division"] for row in engine.query("SELECT site_id, division FROM ninezero.sites")
    }
    days = engine.query(
        "SELECT day FROM (SELECT day FROM ninezero.screening_by_day UNION ALL SELECT day FROM ninezero.arrivals_by_day) "
        f"WHERE day <= '{until}' GROUP BY day ORDER BY day"
    )
    unregistered = {
        row["day"]: _store_publication(engine, row["day"], divisions, k) for row in days if row["day"] not in begun
    }
    return [PublishedDay(date.fromisoformat(day), rows, unregistered.get(day, 0)) for day, rows in _fill_tables(engine)]


def _store_publication(engine: Engine, day: str, divisions: Mapping[str, str], k: int) -> int:
    """Stores what is published of a day. Returns how many of its sites the register does not contain."""
    screening = engine.query(
        f"SELECT site_id, {', '.join(f'sum({name}) AS {name}' for name in SCREENING_COUNTS)} "
        f"FROM ninezero.screening_by_day WHERE day = '{day}' GROUP BY site_id"
    )
    arrivals = engine.query(f"SELECT site_id, mode, stage, people FROM ninezero.arrivals_by_day WHERE day = '{day}'")
    screening_counts = [
        SiteCounts(row["site_id"], (), tuple(int(row[name]) for name in SCREENING_COUNTS)) for row in screening
    ]
    arrival_counts = [
        SiteCounts(row["site_id"], (row["mode"], row["stage"]), (int(row["people"]),)) for row in arrivals
    ]
    publication = (
        date.fromisoformat(day),
        time.time_ns(),
        k,
        json.dumps(_published_rows(screening_counts, divisions, k)),
        json.dumps(_published_rows(arrival_counts, divisions, k)),
    )
    engine.insert("ninezero_data.publications", ("day", "at", "k", "screening", "arrivals"), [publication])
    sites = {row["site_id"] for row in (*screening, *arrivals)}
    return sum(divisions.get(site, UNREGISTERED) == UNREGISTERED for site in sites)


def _published_rows(counts: list[SiteCounts], divisions: Mapping[str, str], k: int) -> list[PublishedRow]:
    return [[*key, *publishable_row(summed, k)] for key, summed in sum_by_division(counts, divisions).items()]


def _fill_tables(engine: Engine) -> Iterator[tuple[str, int]]:
    """Inserts stored publications into the tables that lack the day. Yields (day, number of rows)."""
    stored = engine.query("SELECT day, screening, arrivals FROM ninezero_data.publications ORDER BY day, at DESC")
    first_of_day = {row["day"]: row for row in stored}  # of two runs at the same time, both follow the earlier one
    filled = {
        table: {row["day"] for row in engine.query(f"SELECT DISTINCT day FROM ninezero_published.{table}")}
        for table in _PUBLISHED_COLUMNS
    }
    for day, publication in first_of_day.items():
        inserted = 0
        for (table, columns), text in zip(
            _PUBLISHED_COLUMNS.items(), (publication["screening"], publication["arrivals"]), strict=True
        ):
            rows = [(date.fromisoformat(day), *row) for row in json.loads(text)]
            if rows and day not in filled[table]:
                engine.insert(f"ninezero_published.{table}", columns, rows)
                inserted += len(rows)
        if inserted:
            yield day, inserted
