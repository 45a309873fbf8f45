"""The health of the workers: their readiness and metrics, read over HTTP, and the rates of the last minute."""

from __future__ import annotations

import asyncio
import math
import re
import socket
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

import aiohttp

from ninezero.agents.logic.situation_records import Lag, MissingList, WorkerState
from ninezero.streams import metrics
from ninezero.streams.kafka.topics import RECEIPTS
from ninezero.streams.settings import WorkerAddress

ANSWER_SECONDS = 2.0
WINDOW_SECONDS = 60.0
"""Rates and latency are computed over the last minute."""

FRESH_SECONDS = 8.0
"""Older answers no longer count as known."""

SAMPLE = re.compile(r"^ninezero_(\w+?)(?:_total)?(?:\{(.*)\})? (\S+)$", re.M)
LABEL = re.compile(r'(\w+)="([^"]*)"')

Labels = tuple[tuple[str, str], ...]

Sample = dict[tuple[str, Labels], float]
"""(metric without its prefix, its labels) → value."""


def parse(text: str) -> Sample:
    """Returns the metrics of ninezero from the text of `/metrics`. Their labels hold no quotes."""
    return {(name, tuple(LABEL.findall(labels))): float(number) for name, labels, number in SAMPLE.findall(text)}


class Worker:
    """One address of a role: its state and the samples of the last minute.

    `since` is when the state began (Unix seconds). If `or_before` is set, the worker was in that state when it was first asked,
    so the state may have begun earlier.
    """

    def __init__(self, role: str, address: str) -> None:
        self.role, self.address = role, address
        self.state, self.since, self.or_before = "unknown", time.time(), True
        self.samples: deque[tuple[float, Sample]] = deque()

    def record(self, state: str, sample: Sample | None) -> None:
        """Records an answer; `sample` is None if there was none."""
        now = time.time()
        if state != self.state:
            self.or_before = self.state == "unknown"
            self.state, self.since = state, now
        if sample is None:
            self.samples.clear()  # after a restart it may be another process
            return
        self.samples.append((now, sample))
        while self.samples[0][0] < now - WINDOW_SECONDS:
            self.samples.popleft()

    def value(self, name: str) -> dict[Labels, float]:
        """Returns the last values of a metric by its labels."""
        return (
            {labels: value for (found, labels), value in self.samples[-1][1].items() if found == name}
            if self.samples
            else {}
        )

    def growth(self, name: str) -> tuple[dict[Labels, float], float]:
        """Returns by how much a counter grew within the window, by its labels, and the seconds between first and last sample."""
        if len(self.samples) < 2:
            return {}, 0.0
        (began, first), (ended, last) = self.samples[0], self.samples[-1]
        found = {key[1]: max(0.0, value - first.get(key, 0.0)) for key, value in last.items() if key[0] == name}
        return found, ended - began


class WorkerHealth:
    """The health of all workers of a deployment. A host name with several addresses stands for several workers.

    Args:
        targets: (role, host, port) of each worker.
    """

    def __init__(self, targets: Sequence[WorkerAddress]) -> None:
        self._targets = targets
        self.workers: dict[tuple[str, str], Worker] = {}
        self.asked = 0.0

    async def refresh(self, session: aiohttp.ClientSession) -> None:
        """Asks all workers concurrently. Each has two seconds to answer."""
        found = await asyncio.gather(*(self._addresses(*target) for target in self._targets))
        present = [key for keys in found for key in keys]
        self.workers = {key: self.workers.get(key) or Worker(*key) for key in present}
        await asyncio.gather(*(self._ask(session, worker) for worker in self.workers.values()))
        self.asked = time.time()

    async def _addresses(self, role: str, host: str, port: int) -> list[tuple[str, str]]:
        try:
            answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            return [(role, f"{host}:{port}")]
        # A machine with an IPv4 and an IPv6 address is one worker.
        ipv4 = {answer[4][0] for answer in answers if answer[0] == socket.AF_INET}
        found = {f"{a}:{port}" for a in ipv4} or {f"[{answer[4][0]}]:{port}" for answer in answers}
        return [(role, address) for address in sorted(found)]

    async def _ask(self, session: aiohttp.ClientSession, worker: Worker) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                async with session.get(f"http://{worker.address}/metrics") as answer:
                    sample = parse(await answer.text())
                async with session.get(f"http://{worker.address}/readyz") as answer:
                    state = "ready" if answer.status == 200 else "not_ready"
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            worker.record("down", None)
        else:
            worker.record(state, sample)

    def summary(self) -> dict[str, Any]:
        """Returns the health of the pipeline for the snapshot. What no worker reports is None, never 0."""
        return {
            "at": self.asked or None,
            "workers": [WorkerState(w.role, w.address, w.state, w.since, w.or_before) for w in self.workers.values()],
            "lag": self._lag(),
            "rate": self._per_second("events", "screening"),
            "latency": self._latency(),
            "sink": self._sink(),
            "overdue": self._worst("overdue_days", "recording"),
            "suppressed": self._suppressed(),
            "missing": self._missing(),
            "entries": self._worst("watchlist_entries", "screening"),
            "heartbeat": self._worst("watchlist_heartbeat_seconds", "screening"),
            "heartbeat_ahead": self._worst("watchlist_heartbeat_ahead_seconds", "screening"),
        }

    def _of(self, *roles: str) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.role in roles and worker.samples]

    def _lag(self) -> list[Lag] | None:
        """The lag of each role and topic."""
        lag: dict[tuple[str, str], float] = defaultdict(float)
        for worker in self.workers.values():
            for labels, records in worker.value("lag_events").items():
                topic = dict(labels)["topic"]
                # Receipts are written in transactions. The marker that ends one has an offset and is never read as a record.
                lag[worker.role, topic] += max(0.0, records - (topic == RECEIPTS.name))
        return (
            [Lag(role, topic, int(records)) for (role, topic), records in sorted(lag.items())]
            if self._of("screening", "recording")
            else None
        )

    def _per_second(self, name: str, *roles: str) -> float | None:
        total, known = 0.0, False
        for worker in self._of(*roles):
            growth, seconds = worker.growth(name)
            if seconds:
                total, known = total + sum(growth.values()) / seconds, True
        return round(total, 1) if known else None

    def _latency(self) -> dict[str, float | None] | None:
        """Seconds from an event to its alert in the last minute: median and p99. Both are None if there was no alert."""
        bounds: dict[float, float] = defaultdict(float)
        known = False
        for worker in self._of("screening"):
            growth, seconds = worker.growth("alert_latency_seconds_bucket")
            known = known or bool(seconds)
            for labels, count in growth.items():
                bounds[float(dict(labels)["le"])] += count
        steps = sorted(bounds.items())
        if not known:
            return None
        if not steps or not steps[-1][1]:
            return {"p50": None, "p99": None}
        return {name: round(metrics.quantile(steps, q), 4) for name, q in (("p50", 0.5), ("p99", 0.99))}

    def _sink(self) -> dict[str, Any] | None:
        workers = self._of("recording")
        if not workers:
            return None
        retries = sum(sum(w.growth("sink_retries")[0].values()) for w in workers)
        until = [at for w in workers for at in w.value("recorded_until_seconds").values() if not math.isnan(at)]
        return {
            "buffered": int(sum(sum(w.value("sink_buffered_rows").values()) for w in workers)),
            "retries": int(retries),
            "rows": self._per_second("sink_rows", "recording"),
            "until": min(until, default=None),
        }

    def _suppressed(self) -> dict[str, int]:
        """Returns how often each background task failed in the last minute; tasks that did not are left out."""
        failed: dict[str, float] = defaultdict(float)
        for worker in self._of("recording"):
            for labels, count in worker.growth("suppressed_errors")[0].items():
                failed[dict(labels)["task"]] += count
        return {task: int(count) for task, count in sorted(failed.items()) if count}

    def _missing(self) -> list[MissingList]:
        """Returns the lists that a worker lacks."""
        labels = {labels for worker in self._of("screening") for labels in worker.value("watchlist_missing")}
        return sorted(MissingList(**dict(one)) for one in labels)

    def _worst(self, name: str, role: str) -> Any:
        """The worst value of a gauge that every worker of a role sets for the same thing, by label if it has one.

        -1 stands for "never" and is returned as infinity.
        """
        worst: dict[str, float] = {}
        for worker in self._of(role):
            for labels, value in worker.value(name).items():
                key = labels[0][1] if labels else ""
                worst[key] = max(value if value >= 0 else float("inf"), worst.get(key, 0.0))
        return (worst.get("") if set(worst) == {""} else worst) if worst else None
