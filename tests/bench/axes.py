"""Measures the CPU time per million events as one dimension of the deployment grows: `make bench-axes`.

One axis is changed at a time: entries of the watchlist, partitions, checkpoints, records in a chunk, screening workers, the share of
drivers with a reason or a pass, and the people in a vehicle of the expressway. At each point screening and recording are started, become idle, and then do the job of the comparison with peers several times. CPU seconds are user
and system time of each role, from before the scans are sent until everything is durable and committed. For each size of the watchlist,
the time until a screening worker is ready and its memory are reported too. Several screening workers are measured without recording.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ninezero.streams.kafka import topics
from tests.bench import plots, results
from tests.bench.comparison_rig import Bench, Shape
from tests.bench.feed import expected, write_watchlist
from tests.bench.mixes import coach, concerning
from tests.bench.processes import Processes
from tests.support import System, wait_for

EVENTS = 120_000
FLAT = 0.2
"""A point may cost this fraction more than the lowest point of its axis and still count as flat."""


class Point(NamedTuple):
    """One point of an axis.

    `records` is the maximum of records in a chunk, 0 for whole fetches. `events` is the number of scans in a round.
    """

    axis: str
    value: int
    shape: Shape
    records: int = 0
    workers: int = 1
    recording: bool = True
    events: int = EVENTS


@dataclass
class PointResult:
    """The measurements at a point: CPU seconds per million events by role and round, and events per second by round."""

    axis: str
    value: int
    cpu: dict[str, list[float]]
    events_per_second: list[float]
    ready_s: float
    memory_mb: dict[str, int] = field(default_factory=dict)

    @property
    def all_cpu(self) -> float:
        """CPU seconds per million events of all roles together, in the median round."""
        return statistics.median(map(sum, zip(*self.cpu.values(), strict=True)))


def points() -> Iterator[Point]:
    """Yields all points. Expensive ones have fewer events."""
    usual = Shape()
    for partitions in (1, 6, 12, 48):
        yield Point("partitions", partitions, usual._replace(partitions=partitions))
    for sites in (10, 100, 1_000, 10_000, 100_000):
        yield Point("sites", sites, usual._replace(sites=sites))
    for records, events in ((1, 10_000), (10, 40_000), (100, EVENTS), (1_000, EVENTS), (4_000, EVENTS)):
        yield Point("records", records, usual, records=records, events=events)
    for workers in (1, 2):
        yield Point("workers", workers, usual, workers=workers, recording=False)
    for percent in (0, 10, 25, 50, 75, 100):
        yield Point("concerning", percent, usual._replace(mix=concerning(percent)))
    for people in (1, 3, 10, 30, 80):
        yield Point("people", people, usual._replace(mix=coach(people)), events=max(EVENTS // people, 12_000))
    for power in range(3, 8):
        yield Point("entries", 10**power, usual._replace(entries=10**power))


class Axes(Bench):
    """Keeps the engines over all deployments, and writes each watchlist once."""

    listed: object = None
    """The size of the list of contacts, and the other lists, that were written last."""

    def measure(self, point: Point, rounds: int) -> PointResult:
        """Starts the workers of a point, lets them do the job, and stops them."""
        self.count = point.events
        needed = point.shape.entries, point.shape.mix.lists
        if self.listed != needed:
            self.shape(point.shape)
            self._create_topics()
            asyncio.run(write_watchlist(self.settings, point.shape.entries, point.shape.mix))
            self.listed = needed
        else:
            self.reshape(point.shape)
        self.clean()
        systems = [self.system, *(self._beside(n) for n in range(1, point.workers))]
        try:
            return self._measured(point, rounds, systems)
        except AssertionError as error:
            raise AssertionError(f"{point.axis} {point.value}: {error}\n{self.system.logs()[-2000:]}") from None
        finally:
            for system in systems:
                system.stop()
                system.workers.clear()

    def _measured(self, point: Point, rounds: int, systems: list[System]) -> PointResult:
        began = time.monotonic()
        for system in systems:
            system.program = [sys.executable, "-m", "tests.bench.limited_chunks", str(point.records)] if point.records else system.program  # fmt: skip
            system.start("screening")
        wait_for(lambda: all(system.ready("screening") for system in systems), 90, "screening")
        ready = time.monotonic() - began
        self.system.program = System.PROGRAM
        if point.recording:
            self.system.start("recording")
        pids = {role: process.pid for role, process in self.system.workers.items()}
        processes = Processes(**pids, **{f"screening {n}": s.workers["screening"].pid for n, s in enumerate(systems[1:], 2)})  # fmt: skip
        processes.wait_until_idle(lambda: not point.recording or self.system.ready("recording"))
        found = PointResult(point.axis, point.value, {}, [], ready, processes.memory_mb())
        for number in range(1, rounds + 1):
            _, cpu, seconds = self.feed_and_wait(processes, point.events, lambda: self._done(point))
            for role, spent in cpu.items():
                found.cpu.setdefault(role, []).append(spent / point.events * 1e6)
            found.events_per_second.append(point.events / seconds)
            wanted = expected(point.events, point.shape.mix)
            assert self.ends(self.settings.topic(topics.ALERTS.name)) == number * wanted.alerts, "alerts are missing"
        if point.recording:
            rows = int(
                self.engine.query("SELECT uniqExact(device_id, seq) AS n FROM ninezero_data.screening_facts")[0]["n"]
            )
            assert rows == wanted.rows, "rows are missing"
        return found

    def _done(self, point: Point) -> bool:
        """The transaction of a round ends each partition that has scans with a marker, whose offset is not committed."""
        scans, decisions = (self.settings.topic(topic.name) for topic in (topics.SCANS, topics.DECISIONS))
        due = self.ends(scans) - self.scans.partitions_used
        return self.committed(self.settings.group("screening"), scans) >= due and (
            not point.recording or self.committed(self.settings.group("recording"), decisions) >= self.ends(decisions)
        )

    def _beside(self, number: int) -> System:
        """Returns a second set of workers for the same deployment."""
        folder = self.folder / str(number)
        folder.mkdir(exist_ok=True)
        system = System(self.broker.bootstrap, self.server.url, folder, NINEZERO_MAX_LIST_AGE="1000000")
        system.env["NINEZERO_TOPIC_PREFIX"] = system.prefix = self.system.prefix
        return system


def main() -> None:
    """Measures the points, prints which axes are not flat, and stores figures, tables and picture."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--only", nargs="*", default=[], help="axes, or AXIS=VALUE")
    asked = arguments.parse_args()
    chosen = [p for p in points() if not asked.only or p.axis in asked.only or f"{p.axis}={p.value}" in asked.only]
    found: list[PointResult] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        bench = Axes(Path(name), EVENTS)
        try:
            bench.start_engines()
            for point in chosen:
                found.append(bench.measure(point, asked.rounds))
                show(found[-1], time.monotonic() - began)
        finally:
            bench.stop()
    for axis in dict.fromkeys(one.axis for one in found):
        costs = {one.value: one.all_cpu for one in found if one.axis == axis}
        expensive = [f"{value:,} (+{cost / min(costs.values()) - 1:.0%})" for value, cost in costs.items() if cost > (1 + FLAT) * min(costs.values())]  # fmt: skip
        print(f"{axis}: {'flat' if not expensive else 'more expensive at ' + ', '.join(expensive)}")
    kept: dict[str, Any] = results.read("axes") if asked.only else {}
    for one in found:
        kept.setdefault(one.axis, {})[str(one.value)] = asdict(one)
    results.store("axes", kept)
    plots.main()


def show(one: PointResult, seconds: float) -> None:
    """Prints one line for a point."""
    roles = ", ".join(f"{role} {statistics.median(cpu):.1f} ({min(cpu):.1f}-{max(cpu):.1f})" for role, cpu in one.cpu.items())  # fmt: skip
    memory = ", ".join(f"{role} {mb:,}" for role, mb in one.memory_mb.items())
    print(f"{seconds:4.0f} s  {one.axis} {one.value:>10,}: {one.all_cpu:.1f} CPU s per million: {roles}; "
          f"{statistics.median(one.events_per_second):,.0f} events/s; ready {one.ready_s:.1f} s; MB {memory}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
