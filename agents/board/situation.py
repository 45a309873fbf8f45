"""The situation as ClickHouse counts it, in parts: each is asked for by itself, as often as it is cheap, and has its own age.

Only the views that analysts read are asked, and no finer than they tell: rule and site together by the day, never by the minute.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

from ninezero.agents.logic.policy.rules import OUTCOMES
from ninezero.schemas.events import CareRule
from ninezero.streams.clickhouse.engines import ClickHouseError, Row

log = logging.getLogger("ninezero.board")

Ask = Callable[[str], Awaitable[list[Row]]]

PAUSE, MOST = 100, 10
"""A part is left alone for so many times as long as it took, so that it costs the database one part in a hundred, but never for
longer than so many times as long as it should be."""

AWAY_PAUSE = 2.0
GRACE_SECONDS = 10.0
"""A part that is so much later than it should be is unknown."""

SILENT_SECONDS = 8.0
"""Something is asked for every two seconds: a ClickHouse that has answered nothing for so long does not answer."""

TOO_MUCH = re.compile(r"Code: (159|160|241)\b")
"""A question that was given up because of its limits: too long, too slow, too much memory."""

SETTLED_SECONDS = 600
"""Minutes that are older are added up seldom; the later ones, with every look. An event this late waits for the seldom sum."""

COUNTED = ("passages", "people", *reversed(OUTCOMES), "fevers")
_SUMS = ", ".join(f"sum({name}) AS n_{name}" for name in COUNTED)


@dataclass(frozen=True)
class Moment:
    """What "now" is: the clock, or in a replay the end of the last minute that was counted. Unix seconds."""

    now: int
    timezone: str

    @property
    def day(self) -> date:
        """The local day."""
        return datetime.fromtimestamp(self.now, UTC).astimezone(ZoneInfo(self.timezone)).date()

    @property
    def midnight(self) -> int:
        """When the local day began."""
        return int(datetime.combine(self.day, datetime.min.time(), ZoneInfo(self.timezone)).timestamp())

    @property
    def hour_ago(self) -> int:
        """The beginning of the first of the last sixty minutes."""
        return self.now // 60 * 60 - 59 * 60


class Part:
    """One part of the situation: what was answered last, when (Unix seconds), and what keeps it from being newer.

    A `daily` part tells of a day: when that is over, it is no answer any more.
    """

    def __init__(
        self, name: str, every: float, ask: Callable[[Ask, Moment, Part], Awaitable[Any]], *, daily: bool = False
    ) -> None:
        self.name, self._every, self._ask, self._daily = name, every, ask, daily
        self.data: Any = None
        self.at: float | None = None
        self.day: date | None = None
        """The local day that `data` is of."""
        self._asked_of: date | None = None
        self.failed = False
        self._due = 0.0
        self._pause = every

    def due(self, moment: Moment) -> bool:
        """Whether it should be asked for; a new day makes every part due, once."""
        return time.monotonic() >= self._due or self._asked_of != moment.day

    async def refresh(self, ask: Ask, moment: Moment) -> None:
        """Asks for it. What it was stays when there is no answer, with the time at which it was so."""
        began, away = time.monotonic(), False
        self._asked_of = moment.day
        try:
            self.data = await self._ask(ask, moment, self)
            self.at, self.day = time.time(), moment.day
            if self.failed:
                log.info("the board can tell %s again", self.name)
            self.failed = False
        except (ClickHouseError, KeyError, TypeError, ValueError) as error:
            if not self.failed:
                senseless = f"an answer that makes no sense ({type(error).__name__})"
                log.warning(
                    "the board cannot tell %s: %s",
                    self.name,
                    error if isinstance(error, ClickHouseError) else senseless,
                )
            self.failed = True
            if self._daily and self.day != moment.day:
                self.data = None
            away = not TOO_MUCH.match(str(error))
        took = time.monotonic() - began
        # What is away is asked for again soon: that costs it nothing.
        self._pause = AWAY_PAUSE if away else max(self._every, min(took * PAUSE, self._every * MOST))
        self._due = time.monotonic() + self._pause

    def known(self, now: float) -> bool:
        """Whether it was answered as lately as it should be."""
        return not self.failed and self.at is not None and now - self.at < self._pause + GRACE_SECONDS


class Situation:
    """All parts, in the order in which they are asked for."""

    def __init__(self, ask: Ask, timezone: str, replay: bool) -> None:
        self._put, self._replay = ask, replay
        self.answered = 0.0
        """When ClickHouse answered last (Unix seconds)."""
        self.moment = Moment(int(time.time()), timezone)
        self.parts = {
            part.name: part
            for part in (
                Part("before", 60, _before),
                Part("since", 2, self._since, daily=True),
                Part("minutes", 2, _minutes),
                Part("rules_hour", 4, _rules_hour),
                Part("rules_day", 5, _rules_day, daily=True),
                Part("care_alerts", 10, _care_alerts, daily=True),
                Part("arrivals", 5, _arrivals, daily=True),
                Part("lists", 5, _lists),
                Part("dead_letters", 5, _dead_letters),
                Part("sites", 60, _sites),
                Part("quarantine", 10, _quarantine, daily=True),
                Part("followups", 10, _followups, daily=True),
                Part("silent", 20, _silent),
                Part("gaps", 30, _gaps, daily=True),
            )
        }

    async def look(self) -> None:
        """Asks for every part that is due, one after the other; where none is, whether ClickHouse answers at all."""
        with contextlib.suppress(ClickHouseError):  # the parts will say it
            self.moment = Moment(await self._now(), self.moment.timezone)
        due = [part for part in self.parts.values() if part.due(self.moment)]
        for part in due:
            await part.refresh(self._ask, self.moment)
        if not due:
            with contextlib.suppress(ClickHouseError):
                await self._ask("SELECT 1 AS n")

    async def _ask(self, sql: str) -> list[Row]:
        rows = await self._put(sql)
        self.answered = time.time()
        return rows

    def today(self) -> dict[str, dict[str, int]]:
        """Counts by site since midnight, with `last`: the last minute in which there was a passage."""
        told = self.parts["since"].data
        if told is None:
            return {}
        found = {site: dict(counts) for site, counts in told["before"].items()}
        for site, counts in told["sites"].items():
            have = found.setdefault(site, dict.fromkeys((*COUNTED, "last"), 0))
            for name in COUNTED:
                have[name] += counts[name]
            have["last"] = max(have["last"], counts["last"])
        return found

    async def _now(self) -> int:
        if not self._replay:
            return int(time.time())
        # The view would add up every minute there is for this.
        rows = await self._ask(
            "SELECT toUInt32(max(minute)) AS last FROM ninezero_data.screening_rollup WHERE stage = ''"
        )
        return int(rows[0]["last"]) + 59 if rows and int(rows[0]["last"]) else int(time.time())

    async def _since(self, ask: Ask, when: Moment, _: Part) -> dict[str, Any]:
        """The later minutes, with the sum of the earlier ones that they go with."""
        before = self.parts["before"]
        if before.data is None or before.day != when.day:
            raise ClickHouseError("the sum of the day so far is not known")
        summed = before.data
        return {"before": summed["sites"], "sites": await _by_site(ask, f"minute >= toDateTime({summed['until']})")}


async def _by_site(ask: Ask, where: str) -> dict[str, dict[str, int]]:
    rows = await ask(
        f"SELECT site_id, toUInt32(max(minute)) AS last, {_SUMS} FROM ninezero.screening_by_minute WHERE {where} GROUP BY site_id"
    )
    return {
        row["site_id"]: {"last": int(row["last"])} | {name: int(row[f"n_{name}"]) for name in COUNTED} for row in rows
    }


async def _before(ask: Ask, when: Moment, _: Part) -> dict[str, Any]:
    until = max(when.midnight, (when.now - SETTLED_SECONDS) // 60 * 60)
    where = f"minute >= toDateTime({when.midnight}) AND minute < toDateTime({until})"
    return {"until": until, "sites": await _by_site(ask, where)}


async def _minutes(ask: Ask, when: Moment, _: Part) -> dict[str, list[int]]:
    rows = await ask(
        f"SELECT toUInt32(minute) AS at, {_SUMS} FROM ninezero.screening_by_minute "
        f"WHERE minute >= toDateTime({when.hour_ago}) GROUP BY minute"
    )
    by_minute = {int(row["at"]): row for row in rows}
    times = list(range(when.hour_ago, when.now // 60 * 60 + 60, 60))
    return {"at": times} | {
        name: [int(by_minute[at][f"n_{name}"]) if at in by_minute else 0 for at in times] for name in COUNTED
    }


async def _rules_hour(ask: Ask, when: Moment, _: Part) -> dict[str, list[int]]:
    """By rule: how often in the last hour, and in the last five minutes."""
    late = when.now // 60 * 60 - 4 * 60
    rows = await ask(
        f"SELECT rule, sum(count) AS n, sum(if(minute >= toDateTime({late}), count, 0)) AS n_now "
        f"FROM ninezero.reasons_by_minute WHERE minute >= toDateTime({when.hour_ago}) GROUP BY rule"
    )
    return {row["rule"]: [int(row["n"]), int(row["n_now"])] for row in rows}


async def _rules_day(ask: Ask, when: Moment, _: Part) -> dict[str, dict[str, Any]]:
    """By rule: how often today, at how many sites, and the sites with most of them."""
    table = f"FROM ninezero.reasons_by_day WHERE day = toDate('{when.day}')"
    found: dict[str, dict[str, Any]] = {
        row["rule"]: {"today": int(row["n"]), "sites": int(row["n_sites"]), "most": []}
        for row in await ask(f"SELECT rule, sum(count) AS n, uniqExact(site_id) AS n_sites {table} GROUP BY rule")
    }
    for row in await ask(f"SELECT rule, site_id, count {table} ORDER BY rule, count DESC, site_id LIMIT 3 BY rule"):
        if row["rule"] in found:
            found[row["rule"]]["most"].append([row["site_id"], int(row["count"])])
    return found


async def _care_alerts(ask: Ask, when: Moment, _: Part) -> list[list[Any]]:
    """(rule, today, the day before, sites and districts of both, [[site, how often], …]) of what staff are told of cases."""
    yesterday = when.day - timedelta(days=1)
    rows = await ask(
        f"SELECT rule, site_id, sum(if(day = toDate('{when.day}'), count, 0)) AS n_today, sum(count) AS n "
        f"FROM ninezero.care_alerts_by_day WHERE day >= toDate('{yesterday}') AND day <= toDate('{when.day}') "
        "GROUP BY rule, site_id ORDER BY n DESC, site_id"
    )
    found = []
    for rule in get_args(CareRule):
        of = [row for row in rows if row["rule"] == rule]
        today, both = (sum(int(row[name]) for row in of) for name in ("n_today", "n"))
        found.append([rule, today, both - today, len(of), [[row["site_id"], int(row["n"])] for row in of[:3]]])
    return found


async def _arrivals(ask: Ask, when: Moment, _: Part) -> dict[str, int]:
    rows = await ask(
        f"SELECT stage, sum(people) AS n FROM ninezero.arrivals_by_day WHERE day = toDate('{when.day}') GROUP BY stage"
    )
    return {row["stage"]: int(row["n"]) for row in rows}


async def _lists(ask: Ask, when: Moment, _: Part) -> dict[str, Any]:
    """Lists with their last applied batch, and batches that wait for a second person (later ones overtake them)."""
    applied = await ask(
        "SELECT authority, list, argMax(category, issued_at) AS kind, toUInt32(max(issued_at)) AS at "
        "FROM ninezero.push_batches WHERE status = 'applied' GROUP BY authority, list ORDER BY authority, list"
    )
    held = await ask(
        "SELECT authority, list, batch_id, code, lines_declared, toUInt32(issued_at) AS at "
        "FROM ninezero.push_batches WHERE status = 'held' ORDER BY at"
    )
    ages = {(row["authority"], row["list"]): int(row["at"]) for row in applied}
    return {
        "applied": [[row["authority"], row["list"], row["kind"], when.now - int(row["at"])] for row in applied],
        "held": [
            [
                row["authority"],
                row["list"],
                row["batch_id"],
                row["code"],
                int(row["lines_declared"]),
                when.now - int(row["at"]),
            ]
            for row in held
            if int(row["at"]) > ages.get((row["authority"], row["list"]), 0)
        ],
    }


async def _dead_letters(ask: Ask, when: Moment, _: Part) -> list[list[Any]]:
    """By topic and reason: how many in this and the last hour, and in the last 24. Their hours are Kafka's, in a replay too."""
    hour = int(time.time()) // 3600 * 3600 - 3600
    rows = await ask(
        f"SELECT topic, reason, sum(if(hour >= toDateTime({hour}), records, 0)) AS n_now, sum(records) AS n "
        f"FROM ninezero.dead_letters_by_hour WHERE hour >= toDateTime({hour - 22 * 3600}) GROUP BY topic, reason ORDER BY topic, reason"
    )
    return [[row["topic"], row["reason"], int(row["n_now"]), int(row["n"])] for row in rows]


async def _sites(ask: Ask, when: Moment, _: Part) -> list[str]:
    """Checkpoints and stations; sites with beds are told with the quarantine."""
    return [row["site_id"] for row in await ask("SELECT site_id FROM ninezero.sites WHERE capacity = 0")]


async def _quarantine(ask: Ask, when: Moment, _: Part) -> list[list[Any]]:
    """By site: capacity, people there now, free beds; readings due, done and missed today, and missed the day before.

    A house that is empty and not registered is told as long as it had readings to take.
    """
    beds = await ask("SELECT site_id, capacity, present, free FROM ninezero.quarantine_occupancy")
    yesterday = when.day - timedelta(days=1)
    days = await ask(
        "SELECT toString(day) AS of, site_id, readings_due, readings_done, readings_missed FROM ninezero.quarantine_by_day "
        f"WHERE day = toDate('{when.day}') OR day = toDate('{yesterday}')"
    )
    told = {(row["of"], row["site_id"]): row for row in days}
    none = {"readings_due": 0, "readings_done": 0, "readings_missed": 0}
    empty = {"capacity": 0, "present": 0, "free": 0}
    houses = {row["site_id"]: empty for row in days if int(row["readings_due"])} | {row["site_id"]: row for row in beds}
    found = []
    for site, row in sorted(houses.items()):
        now, then = told.get((str(when.day), site), none), told.get((str(yesterday), site), none)
        readings = (now["readings_due"], now["readings_done"], now["readings_missed"], then["readings_missed"])
        found.append([site, int(row["capacity"]), int(row["present"]), int(row["free"]), *map(int, readings)])
    return found


async def _followups(ask: Ask, when: Moment, _: Part) -> list[list[Any]]:
    """By district: open, visits and reached today; overdue at the end of the day before; completed and lost today and in all."""
    day, yesterday = f"day = toDate('{when.day}')", f"day = toDate('{when.day - timedelta(days=1)}')"
    cases = await ask(
        f"SELECT district, sum(if({day}, open, 0)) AS n_open, sum(if({day}, visits, 0)) AS n_visits, "
        f"sum(if({day}, reached, 0)) AS n_reached, sum(if({yesterday}, overdue, 0)) AS n_overdue "
        f"FROM ninezero.followups_by_day WHERE {day} OR {yesterday} GROUP BY district"
    )
    closings = await ask(
        f"SELECT district, closed, sum(if({day}, count, 0)) AS n_today, sum(count) AS n "
        "FROM ninezero.followup_closings_by_day WHERE closed IN ('completed', 'lost') GROUP BY district, closed"
    )
    found = {
        row["district"]: [int(row[f"n_{n}"]) for n in ("open", "visits", "reached", "overdue")] + [0] * 4
        for row in cases
    }
    for row in closings:
        first = 4 if row["closed"] == "completed" else 6
        found.setdefault(row["district"], [0] * 8)[first : first + 2] = [int(row["n_today"]), int(row["n"])]
    return [[district, *counts] for district, counts in sorted(found.items())]


async def _silent(ask: Ask, when: Moment, _: Part) -> dict[str, list[list[Any]]]:
    """By site: devices that were heard in the last 24 hours, but not in the last 30 minutes, and for how many minutes."""
    found: dict[str, list[list[Any]]] = {}
    for row in await ask(
        "SELECT device_id, site_id, minutes FROM ninezero.devices_silent ORDER BY minutes DESC, device_id"
    ):
        found.setdefault(row["site_id"], []).append([row["device_id"], int(row["minutes"])])
    return found


async def _gaps(ask: Ask, when: Moment, _: Part) -> dict[str, int]:
    """By site: numbers that are missing before those that came today."""
    rows = await ask(
        "SELECT site_id, sum(missing) AS n FROM ninezero.device_completeness "
        f"WHERE day = toDate('{when.day}') GROUP BY site_id HAVING n > 0"
    )
    return {row["site_id"]: int(row["n"]) for row in rows}
