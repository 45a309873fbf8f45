"""How the workers are: what their metrics and their readiness say, asked over HTTP, and what that makes a second or a minute."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections import defaultdict, deque
from typing import Any

import aiohttp

from ninezero.streams import metrics
from ninezero.streams.kafka.topics import RECEIPTS

ANSWER_SECONDS = 2.0
WINDOW_SECONDS = 60.0
"""Rates and latency are those of the last minute."""

FRESH_SECONDS = 8.0
"""What was answered longer ago than this is not how it is."""

SAMPLE = re.compile(r"^ninezero_(\w+?)(?:_total)?(?:\{(.*)\})? (\S+)$", re.M)
LABEL = re.compile(r'(\w+)="([^"]*)"')

Labels = tuple[tuple[str, str], ...]

Sample = dict[tuple[str, Labels], float]
"""(metric without its prefix, its labels) → value."""


def parse(text: str) -> Sample:
    """Our own metrics out of what `/metrics` says; their labels hold no quotes."""
    return {(name, tuple(LABEL.findall(labels))): float(number) for name, labels, number in SAMPLE.findall(text)}


class Worker:
    """One address of a role: its last answers, and since when it is as it is (Unix seconds), or if it was found so, when."""

    def __init__(self, role: str, address: str) -> None:
        self.role, self.address = role, address
        self.state, self.since, self.found_so = "unknown", time.time(), True
        self.samples: deque[tuple[float, Sample]] = deque()

    def take(self, state: str, sample: Sample | None) -> None:
        """What it said, or that it did not."""
        now = time.time()
        if state != self.state:
            self.found_so = self.state == "unknown"
            self.state, self.since = state, now
        if sample is None:
            self.samples.clear()  # it may be another process when it is back
            return
        self.samples.append((now, sample))
        while self.samples[0][0] < now - WINDOW_SECONDS:
            self.samples.popleft()

    def value(self, name: str) -> dict[Labels, float]:
        """The last values of a metric by its labels."""
        return (
            {labels: value for (found, labels), value in self.samples[-1][1].items() if found == name}
            if self.samples
            else {}
        )

    def grown(self, name: str) -> tuple[dict[Labels, float], float]:
        """How much a counter has grown within the window, by its labels, and the seconds that makes."""
        if len(self.samples) < 2:
            return {}, 0.0
        (began, first), (ended, last) = self.samples[0], self.samples[-1]
        found = {key[1]: max(0.0, value - first.get(key, 0.0)) for key, value in last.items() if key[0] == name}
        return found, ended - began


class WorkerHealth:
    """All workers of a deployment. A host name that stands for several addresses is several workers."""

    def __init__(self, named: list[tuple[str, str, int]]) -> None:
        self._named = named
        self.workers: dict[tuple[str, str], Worker] = {}
        self.asked = 0.0

    async def look(self, session: aiohttp.ClientSession) -> None:
        """Asks every worker, all at once; each may take two seconds."""
        found = await asyncio.gather(*(self._addresses(*named) for named in self._named))
        present = [key for keys in found for key in keys]
        self.workers = {key: self.workers.get(key) or Worker(*key) for key in present}
        await asyncio.gather(*(self._ask(session, worker) for worker in self.workers.values()))
        self.asked = time.time()

    async def _addresses(self, role: str, host: str, port: int) -> list[tuple[str, str]]:
        try:
            answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            return [(role, f"{host}:{port}")]
        # A machine that has both kinds of address is one worker, not two.
        plain = {answer[4][0] for answer in answers if answer[0] == socket.AF_INET}
        found = {f"{a}:{port}" for a in plain} or {f"[{answer[4][0]}]:{port}" for answer in answers}
        return [(role, address) for address in sorted(found)]

    async def _ask(self, session: aiohttp.ClientSession, worker: Worker) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                async with session.get(f"http://{worker.address}/metrics") as answer:
                    sample = parse(await answer.text())
                async with session.get(f"http://{worker.address}/readyz") as answer:
                    state = "ready" if answer.status == 200 else "not_ready"
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            worker.take("down", None)
        else:
            worker.take(state, sample)

    def told(self) -> dict[str, Any]:
        """The pipeline's health for the page. What no worker tells is None, and never 0."""
        return {
            "at": self.asked or None,
            "workers": [[w.role, w.address, w.state, w.since, w.found_so] for w in self.workers.values()],
            "lag": self._lag(),
            "rate": self._per_second("events", "screening"),
            "latency": self._latency(),
            "sink": self._sink(),
            "entries": self._one("watchlist_entries", "screening"),
            "heartbeat": self._one("watchlist_heartbeat_seconds", "screening"),
        }

    def _of(self, *roles: str) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.role in roles and worker.samples]

    def _lag(self) -> list[list[Any]] | None:
        """(role, topic, records) of everything that somebody reads."""
        lag: dict[tuple[str, str], float] = defaultdict(float)
        for worker in self.workers.values():
            for labels, records in worker.value("lag_events").items():
                topic = dict(labels)["topic"]
                # Receipts are written in transactions, and what ends one is never read as a record.
                lag[worker.role, topic] += max(0.0, records - (topic == RECEIPTS.name))
        return (
            [[*key, int(records)] for key, records in sorted(lag.items())]
            if self._of("screening", "recording")
            else None
        )

    def _per_second(self, name: str, *roles: str) -> float | None:
        total, seen = 0.0, False
        for worker in self._of(*roles):
            grown, seconds = worker.grown(name)
            if seconds:
                total, seen = total + sum(grown.values()) / seconds, True
        return round(total, 1) if seen else None

    def _latency(self) -> dict[str, float | None] | None:
        """Seconds from an event to its alert, of the alerts of the last minute; None for both if there was none."""
        bounds: dict[float, float] = defaultdict(float)
        seen = False
        for worker in self._of("screening"):
            grown, seconds = worker.grown("alert_latency_seconds_bucket")
            seen = seen or bool(seconds)
            for labels, count in grown.items():
                bounds[float(dict(labels)["le"])] += count
        steps = sorted(bounds.items())
        if not seen:
            return None
        if not steps or not steps[-1][1]:
            return {"p50": None, "p99": None}
        return {name: round(metrics.quantile(steps, q), 4) for name, q in (("p50", 0.5), ("p99", 0.99))}

    def _sink(self) -> dict[str, Any] | None:
        workers = self._of("recording")
        if not workers:
            return None
        retries = sum(sum(w.grown("sink_retries")[0].values()) for w in workers)
        return {
            "buffered": int(sum(sum(w.value("sink_buffered_rows").values()) for w in workers)),
            "retries": int(retries),
            "rows": self._per_second("sink_rows", "recording"),
        }

    def _one(self, name: str, role: str) -> Any:
        """A gauge that every worker of a role has of the same thing: the worst (-1: never); by label if it has one."""
        worst: dict[str, float] = {}
        for worker in self._of(role):
            for labels, value in worker.value(name).items():
                key = labels[0][1] if labels else ""
                worst[key] = max(value if value >= 0 else float("inf"), worst.get(key, 0.0))
        return (worst.get("") if set(worst) == {""} else worst) if worst else None
