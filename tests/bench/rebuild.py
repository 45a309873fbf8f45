"""Measures a recorder that records everything again: its peak memory, its CPU time, and how long it takes.

python -m tests.bench.rebuild [events] [events in a record]
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from ninezero.schemas import formats
from ninezero.schemas.events import Decisions
from ninezero.schemas.events.decisions import DecisionGroup
from ninezero.streams import clickhouse, settings
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.records import OutgoingRecord
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.settings import Settings
from tests.bench import results
from tests.bench.processes import Processes
from tests.engines.clickhouse_server import ClickHouseServer
from tests.support import System, wait_for

PARTITIONS, DEVICES, SITES = 4, 500, 100
HOURS = 20
"""The events are spread over this many hours before now."""


def records(events: int, size: int) -> Iterator[OutgoingRecord]:
    """Yields decision records: nine of ten events clear, the others with some other decision."""
    rng, now_ms = random.Random(1), int(time.time() * 1000)
    sites = [f"site-{n}" for n in range(SITES)]
    for first in range(0, events, size):
        seqs = range(first, min(first + size, events))
        at_ms = now_ms - (events - first) * HOURS * 3_600_000 // events
        shares = {"clear": [n for n in seqs if n % 10], "hold": [n for n in seqs if n % 10 == 0]}
        groups = [
            DecisionGroup(
                "vehicle", "in", "", 1, outcome, False, [] if outcome == "clear" else ["fever_unconfirmed"],
                [n % SITES for n in some], [f"device-{n % DEVICES}" for n in some], [n // DEVICES for n in some],
                [at_ms - n % 1000 for n in some], [rng.getrandbits(32) for n in some],
            )
            for outcome, some in shares.items() if some
        ]  # fmt: skip
        value = formats.DECISIONS.encode(Decisions(1, at_ms, 1, sites, groups))
        yield OutgoingRecord(topics.DECISIONS, sites[0].encode(), value, formats.DECISIONS.headers)


async def produce(where: Settings, events: int, size: int) -> None:
    """Writes the records to `screening-decisions`, to one partition after the other."""
    writer = Writer(where)
    await writer.start()
    every = records(events, size)
    for n in count():
        some = list(islice(every, 200))
        if not some:
            break
        await writer.write_to_partition(n % PARTITIONS, some)
    await writer.stop()


def main(events: int = 2_000_000, size: int = 80) -> None:
    """Runs the measurement, prints it, and stores it in .run/bench.json."""
    with tempfile.TemporaryDirectory() as folder:
        broker, server = Broker(Path(folder) / "kafka"), ClickHouseServer(Path(folder) / "clickhouse")
        broker.start()
        server.start()
        try:
            system = System(broker.bootstrap, server.url, Path(folder))
            system.prepare()
            asyncio.run(produce(settings.load(system.env), events, size))
            began = time.monotonic()
            system.start("recording")
            recording = Processes(recording=system.workers["recording"].pid)
            engine = clickhouse.connect(server.url)

            def recorded() -> bool:
                rows = engine.query("SELECT count() AS n FROM ninezero_data.screening_facts")
                return int(rows[0]["n"]) >= events

            wait_for(recorded, 400, "all events to be recorded")
            found = {
                "events": events,
                "seconds": round(time.monotonic() - began, 1),
                "cpu_seconds": round(recording.cpu()["recording"], 1),
                "peak_mb": recording.peak_mb(),
            }
            system.stop()
        finally:
            server.close()
            broker.stop()
    print(found)
    results.store("rebuild", found)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
