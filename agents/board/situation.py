"""The situation as read from ClickHouse, in parts. Each part is read by itself, as often as its cost allows, and has its
own age.

Rule and site appear together only by day, never by minute: a minute, a site and a rule could point to a person.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

from ninezero.agents.board.queries import cases, devices, lists, screening
from ninezero.agents.board.queries.moment import Ask, Moment
from ninezero.agents.board.queries.screening import COUNTS
from ninezero.streams import metrics
from ninezero.streams.clickhouse import ClickHouseError, Row
from ninezero.streams.suppressed_errors import SuppressedErrors

log = logging.getLogger("ninezero.board")

PAUSE_FACTOR, MAX_PAUSE_FACTOR = 100, 10
"""A part waits 100 times as long as its query took, so that it takes one percent of the database's time, but at most 10 times its interval."""

RETRY_SECONDS = 2.0
"""Pause after ClickHouse did not answer."""

GRACE_SECONDS = 10.0
"""A part is unknown when it is overdue by more than this."""

SILENT_SECONDS = 8.0
"""A query is made every two seconds. When none was answered for this long, ClickHouse is reported as silent."""

LIMIT_EXCEEDED = re.compile(r"Code: (159|160|241)\b")
"""A query that ClickHouse ended because it took too long or too much memory."""

Query = Callable[[Ask, Moment], Awaitable[Any]]


class SituationPart:
    """One part of the situation: its last data, when it was read, and whether the last query failed.

    Args:
        name: Name of the part in the snapshot and in texts.
        interval: Seconds between two queries, if they are cheap.
        query: Returns the data.
        daily: Whether the data is about one local day. It is dropped when the day is over.
    """

    def __init__(self, name: str, interval: float, query: Query, *, daily: bool = False) -> None:
        self.name, self._interval, self._query, self._daily = name, interval, query, daily
        self.data: Any = None
        self.at: float | None = None
        """When `data` was read (Unix seconds)."""
        self.day: date | None = None
        """The local day of `data`."""
        self.failed = False
        self._queried_day: date | None = None
        self._due = 0.0
        self._pause = interval

    def due(self, moment: Moment) -> bool:
        """Returns whether the part should be read now. A new day makes every part due, once."""
        return time.monotonic() >= self._due or self._queried_day != moment.day

    async def refresh(self, ask: Ask, moment: Moment) -> None:
        """Reads the part. When the query fails, the last data stays, with its time."""
        began, unavailable = time.monotonic(), False
        self._queried_day = moment.day
        try:
            self.data = await self._query(ask, moment)
            self.at, self.day = time.time(), moment.day
            if self.failed:
                log.info("the board can read %s again", self.name)
            self.failed = False
        except (ClickHouseError, KeyError, TypeError, ValueError) as error:
            metrics.suppressed_errors.labels("board").inc()
            if not self.failed:
                reason = error if isinstance(error, ClickHouseError) else f"unexpected rows ({type(error).__name__})"
                log.warning("the board cannot read %s: %s", self.name, reason)
            self.failed = True
            if self._daily and self.day != moment.day:
                self.data = None
            unavailable = not LIMIT_EXCEEDED.match(str(error))
        duration = time.monotonic() - began
        # A retry costs nothing while ClickHouse is unavailable. A query that exceeds its limits is expensive.
        self._pause = (
            RETRY_SECONDS
            if unavailable
            else max(self._interval, min(duration * PAUSE_FACTOR, self._interval * MAX_PAUSE_FACTOR))
        )
        self._due = time.monotonic() + self._pause

    def known(self, now: float) -> bool:
        """Returns whether the data is as recent as it should be."""
        return not self.failed and self.at is not None and now - self.at < self._pause + GRACE_SECONDS


class Situation:
    """All parts, in the order in which they are read.

    Args:
        ask: Runs a SELECT.
        timezone: Time zone of the local day.
        replay: Whether "now" is the last minute that was counted.
    """

    def __init__(self, ask: Ask, timezone: str, replay: bool) -> None:
        self._run, self._replay = ask, replay
        self._attempts = SuppressedErrors("board", "ClickHouse does not answer the board", ClickHouseError)
        self.answered = 0.0
        """When ClickHouse last answered (Unix seconds)."""
        self.moment = Moment(int(time.time()), timezone)
        self.parts = {
            part.name: part
            for part in (
                SituationPart("settled_today", 60, screening.settled_today),
                SituationPart("recent_today", 2, self._recent_today, daily=True),
                SituationPart("minutes", 2, screening.minutes),
                SituationPart("rules_hour", 4, screening.rules_hour),
                SituationPart("rules_day", 5, screening.rules_day, daily=True),
                SituationPart("case_alerts", 10, cases.case_alerts, daily=True),
                SituationPart("arrivals", 5, screening.arrivals, daily=True),
                SituationPart("transfers", 10, screening.transfers, daily=True),
                SituationPart("lists", 5, lists.lists),
                SituationPart("dead_letters", 5, devices.dead_letters),
                SituationPart("sites", 60, screening.sites),
                SituationPart("quarantine", 10, cases.quarantine, daily=True),
                SituationPart("followups", 10, cases.followups, daily=True),
                SituationPart("silent", 20, devices.silent),
                SituationPart("gaps", 30, devices.gaps, daily=True),
                SituationPart("conflicts", 30, devices.conflicts, daily=True),
            )
        }

    async def refresh(self) -> None:
        """Reads every part that is due, one after the other. If none is due, checks that ClickHouse answers."""
        with self._attempts:
            self.moment = Moment(await self._now(), self.moment.timezone)
        due = [part for part in self.parts.values() if part.due(self.moment)]
        for part in due:
            await part.refresh(self._ask, self.moment)
        if not due:
            with self._attempts:  # `answered` stays behind, and the page reports it
                await self._ask("SELECT 1 AS n")

    def today(self) -> dict[str, dict[str, int]]:
        """Returns the counts since midnight by site, and `last`: the last minute with a passage."""
        data = self.parts["recent_today"].data
        if data is None:
            return {}
        found = {site: dict(counts) for site, counts in data["settled"].items()}
        for site, counts in data["recent"].items():
            total = found.setdefault(site, dict.fromkeys((*COUNTS, "last"), 0))
            for name in COUNTS:
                total[name] += counts[name]
            total["last"] = max(total["last"], counts["last"])
        return found

    async def _ask(self, sql: str) -> list[Row]:
        rows = await self._run(sql)
        self.answered = time.time()
        return rows

    async def _now(self) -> int:
        minute = await screening.last_minute(self._ask) if self._replay else None
        return int(time.time()) if minute is None else minute + 59

    async def _recent_today(self, ask: Ask, moment: Moment) -> dict[str, Any]:
        """Returns the counts of the settled minutes of today, and those of the recent minutes after them."""
        part = self.parts["settled_today"]
        if part.data is None or part.day != moment.day:
            raise ClickHouseError("the counts of the earlier part of the day are not known")
        return {
            "settled": part.data["sites"],
            "recent": await screening.recent_today(ask, part.data["until"]),
        }
