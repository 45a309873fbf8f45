"""The situation page of the recording role: what it serves, and the snapshot that every open page is given.

Nothing is asked of ClickHouse or of a worker unless somebody watches, and many open pages cost no more than one: the snapshot
is made at most once a second, as bytes. Counts only: no token, no case, no reason with the minute and the place it was at.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from importlib import resources
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from ninezero.agents.board.situation import SILENT_SECONDS, Ask, Situation
from ninezero.agents.board.worker_health import FRESH_SECONDS, WorkerHealth
from ninezero.agents.logic.problems import SITE_SEVERITY, Seen, issues, site_state
from ninezero.streams.clickhouse import engines as clickhouse
from ninezero.streams.settings import Settings, is_loopback

LIMITS = {"max_threads": 1, "max_execution_time": 5, "max_memory_usage": 1_000_000_000}
"""Of a question to ClickHouse: what takes more is not known, rather than that the workers wait for it."""

LOOK_SECONDS, WORKERS_SECONDS = 2.0, 3.0
"""Between two looks at ClickHouse, as often as a page asks, and at the workers."""

TOLD_SECONDS = 1.0
"""What was put together is given to others for so long."""

WATCHED_SECONDS = 10.0
"""So long after the last question nobody watches any more."""

FIRST_SECONDS = 3.0
"""The first who comes waits so long for an answer, and then sees what there is."""

SITES_SHOWN = 40
"""Of the page's own; the rest comes when it is asked for."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

FILES = {
    "": ("index.html", "text/html"),
    "board.js": ("board.js", "text/javascript"),
    "board.css": ("board.css", "text/css"),
    "texts.json": ("texts.json", "application/json"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
    "uPlot.iife.min.js": ("uPlot.iife.min.js", "text/javascript"),
    "uPlot.min.css": ("uPlot.min.css", "text/css"),
}


class Board:
    """The page and its data. `workers` are (role, host, port).

    A ClickHouse server is asked over a connection of its own; an embedded database through its holder, between two flushes.
    """

    def __init__(self, settings: Settings, held: Ask, workers: list[tuple[str, str, int]]) -> None:
        self._settings, self._held = settings, held
        embedded = clickhouse.folder_of(settings.clickhouse) is not None
        self._reader = None if embedded else clickhouse.Reader(settings.clickhouse, LIMITS)
        self._situation = Situation(self._ask, settings.timezone, settings.replay)
        self._vitals = WorkerHealth(workers)
        self._watched = 0.0
        self._began = 0.0
        """When somebody began to watch: what was asked for since then and did not come is unknown."""
        self._first = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._made: dict[str, tuple[float, bytes, bytes]] = {}

    async def start(self) -> None:
        """Nothing runs before somebody watches."""

    async def stop(self) -> None:
        """Ends the looking."""
        for task in self._tasks:
            task.cancel()
        if self._reader is not None:
            await self._reader.close()

    def routes(self) -> Iterable[web.RouteDef]:
        """What it serves, all by GET."""
        for path, (name, kind) in FILES.items():
            yield web.get(f"/{path}", _file(name, kind))
        yield web.get("/situation.json", self._answer("situation", self._tell))
        yield web.get("/sites.json", self._answer("sites", self._tell_sites))

    async def _ask(self, sql: str) -> list[clickhouse.Row]:
        if self._reader is not None:
            return await self._reader.query(sql)
        return await self._held(f"{sql} SETTINGS {', '.join(f'{name} = {value}' for name, value in LIMITS.items())}")

    # -- looking ---------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Somebody watches: looks go on until nobody has asked for a while. Who comes first waits for the first look."""
        self._watched = time.monotonic()
        if not self._tasks or any(task.done() for task in self._tasks):
            for task in self._tasks:
                task.cancel()
            self._began = time.time()
            self._first.clear()
            self._tasks = [asyncio.create_task(self._look()), asyncio.create_task(self._look_at_workers())]
        if not self._first.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._first.wait(), FIRST_SECONDS)

    def _unwatched(self) -> bool:
        return time.monotonic() - self._watched > WATCHED_SECONDS

    async def _look(self) -> None:
        while not self._unwatched():
            await self._situation.look()
            self._first.set()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look_at_workers(self) -> None:
        async with aiohttp.ClientSession() as session:
            while not self._unwatched():
                await self._vitals.look(session)
                await asyncio.sleep(WORKERS_SECONDS)

    # -- telling ---------------------------------------------------------------------------------------------------

    def _answer(self, name: str, tell: Callable[[], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            await self._watch()
            made = self._made.get(name)
            if made is None or time.monotonic() - made[0] >= TOLD_SECONDS:
                raw = msgspec.json.encode(tell())
                made = self._made[name] = (time.monotonic(), raw, gzip.compress(raw, 4))
            headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
            if "gzip" in request.headers.get("Accept-Encoding", ""):
                return web.Response(
                    body=made[2], content_type="application/json", headers=headers | {"Content-Encoding": "gzip"}
                )
            return web.Response(body=made[1], content_type="application/json", headers=headers)

        return answer

    def _tell(self) -> dict[str, Any]:
        now, seen, parts = time.time(), self._situation, self._situation.parts
        vitals = self._vitals.told()
        sites = self._sites(now)
        totals: dict[str, int] = {}
        for counts in seen.today().values():
            for name, count in counts.items():
                totals[name] = max(totals.get(name, 0), count) if name == "last" else totals.get(name, 0) + count
        return {
            "at": now,
            "as_of": seen.moment.now if self._settings.replay else now,
            "timezone": self._settings.timezone,
            "replay": self._settings.replay,
            "order": self._settings.order,
            "sunset": self._settings.sunset.timestamp(),
            "issues": issues(self._seen(now, vitals, totals)),
            "parts": {name: {"at": part.at, "known": self._known(name, now)} for name, part in parts.items()}
            | {"workers": self._workers_told(now)},
            "today": totals if parts["since"].data is not None else None,
            "minutes": parts["minutes"].data,
            "rules": _rules(parts["rules_day"].data, parts["rules_hour"].data),
            "care_alerts": parts["care_alerts"].data,
            "arrivals": parts["arrivals"].data,
            "sites": sites[:SITES_SHOWN],
            "site_states": Counter(row[1] for row in sites),
            "lists": parts["lists"].data,
            "quarantine": parts["quarantine"].data,
            "followups": parts["followups"].data,
            "dead_letters": parts["dead_letters"].data,
            "pipeline": vitals,
        }

    def _tell_sites(self) -> dict[str, Any]:
        return {"at": time.time(), "sites": self._sites(time.time())}

    def _seen(self, now: float, vitals: dict[str, Any], totals: dict[str, int]) -> Seen:
        parts = self._situation.parts
        settled = now - self._began > 10  # what has just been asked for is not late yet
        return Seen(
            now=now,
            as_of=self._situation.moment.now,
            replay=self._settings.replay,
            sunset=self._settings.sunset.timestamp(),
            max_list_age=self._settings.max_list_age,
            began=self._began,
            answered=self._situation.answered if self._silent(now) else None,
            parts={
                name: (self._known(name, now) or not (settled or part.failed), part.at) for name, part in parts.items()
            },
            data={name: part.data for name, part in parts.items()},
            vitals=vitals if self._workers_told(now)["known"] else None,
            vitals_at=vitals["at"],
            settled=settled,
            last_passage=max(totals.get("last", 0), self._situation.moment.midnight),
        )

    def _silent(self, now: float) -> bool:
        return now - max(self._situation.answered, self._began) > SILENT_SECONDS

    def _known(self, name: str, now: float) -> bool:
        return self._situation.parts[name].known(now) and not self._silent(now)

    def _workers_told(self, now: float) -> dict[str, Any]:
        return {"at": self._vitals.asked or None, "known": now - self._vitals.asked < FRESH_SECONDS}

    def _sites(self, now: float) -> list[list[Any]]:
        """(site, state, passages, refer, quarantine, turn_back, hold, last passage, missing numbers, silent devices), what needs a
        look first, then the busiest. A house with beds, or a district, is among them if a device of it is silent or has gaps."""
        parts = self._situation.parts
        today = self._situation.today()
        register = set(parts["sites"].data or ())
        silent, gaps = parts["silent"].data or {}, parts["gaps"].data or {}
        known = {name: self._known(name, now) for name in ("since", "silent", "gaps")}
        none = None if parts["since"].data is None else 0
        rows: list[list[Any]] = []
        for site in register | today.keys() | silent.keys() | gaps.keys():
            counts = today.get(site, {})
            quiet, missing = silent.get(site, []), gaps.get(site, 0)
            state = site_state(counts.get("last"), self._situation.moment.now, bool(quiet), missing, known)
            rows.append(
                [site, state, *(counts.get(n, none) for n in ("passages", "refer", "quarantine", "turn_back", "hold")),
                 counts.get("last"), missing if known["gaps"] else None, quiet if known["silent"] else None]
            )  # fmt: skip
        return sorted(rows, key=lambda row: (SITE_SEVERITY.index(row[1]), -(row[2] or 0), row[0]))


def _rules(day: dict[str, Any] | None, hour: dict[str, list[int]] | None) -> list[list[Any]] | None:
    """(rule, in five minutes, in the hour, today, sites today, [[site, today], …]), what is most frequent now first."""
    if day is None or hour is None:
        return None
    none = {"today": 0, "sites": 0, "most": []}
    rows = []
    for rule in day.keys() | hour.keys():
        told, (in_hour, lately) = day.get(rule, none), hour.get(rule, [0, 0])
        rows.append([rule, lately, in_hour, told["today"], told["sites"], told["most"]])
    return sorted(rows, key=lambda row: (-row[2], -row[3], row[0]))


def _file(name: str, kind: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    body = resources.files("ninezero.agents.board").joinpath("page", name).read_bytes()
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    squeezed = gzip.compress(body, 9)

    async def answer(request: web.Request) -> web.Response:
        headers = {"Cache-Control": "no-cache", "ETag": tag, "Vary": "Accept-Encoding"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        small = "gzip" in request.headers.get("Accept-Encoding", "")
        if small:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=squeezed if small else body, content_type=kind, charset="utf-8", headers=headers)

    return answer


def guard(host: str) -> Any:
    """Middleware: the security headers on every answer, and on loopback nothing for a page that came by another name (DNS
    rebinding: a stranger's page whose name is made to mean this machine)."""
    loopback = is_loopback(host)

    @web.middleware
    async def guarded(request: web.Request, handler: Any) -> web.StreamResponse:
        if loopback and not is_loopback(request.headers.get("Host", "")):
            return web.Response(
                status=421, text="ask for localhost: this address serves this machine only\n", headers=HEADERS
            )
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as refused:
            refused.headers.update(HEADERS)
            raise
        response.headers.update(HEADERS)
        return response

    return guarded
