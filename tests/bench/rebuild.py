"""Measures a recorder that records everything again: its peak memory, its CPU time, and how long it takes.

It also reads the alerts: one for every second event, of which one in fifty is about a case and recorded.

python -m tests.bench.rebuild [events] [events in a record]
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from ninezero.schemas import formats
from ninezero.schemas.events import Alert, CareAlert, Decisions, MatchedEntry, Reason, encode
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
                "vehicle", "in", "", 1, outcome, False, [] if outcome == "clear" else ["fever_unconfirmed"], [],
                [n % SITES for n in some], [f"device-{n % DEVICES}" for n in some], [n // DEVICES for n in some],
                [at_ms - n % 1000 for n in some], [rng.getrandbits(32) for n in some],
            )
            for outcome, some in shares.items() if some
        ]  # fmt: skip
        value = formats.DECISIONS.encode(Decisions("default@1", [], at_ms, 1, sites, groups))
        yield OutgoingRecord(topics.DECISIONS, sites[0].encode(), value, formats.DECISIONS.headers)


def alerts(count: int) -> Iterator[OutgoingRecord]:
    """Yields alerts about passages, and one in fifty about a case."""
    now = datetime.now(UTC)
    for n in range(count):
        name, site = f"{n:032x}", f"site-{n % SITES}"
        if n % 50:
            entries = [MatchedEntry("id", "close_contact", "cdc", "contacts", "batch-1", f"batch-1:{n}", now)]
            reasons = [Reason(0, "close_contact", entries), Reason(1, "fever_unconfirmed", [])]
            alert: Any = Alert(
                name, "default@1", site, f"device-{n % DEVICES}", n, now, now, "quarantine", False, 1, reasons
            )
        else:
            alert = CareAlert(name, "fever", f"c.{name}", site, None, None, now.date(), "am", now)
        yield OutgoingRecord(topics.ALERTS, site.encode(), encode(alert))


async def produce(where: Settings, every: Iterator[OutgoingRecord]) -> None:
    """Writes records to one partition after the other."""
    writer = Writer(where)
    await writer.start()
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
            asyncio.run(produce(settings.load(system.env), chain(alerts(events // 2), records(events, size))))
            began = time.monotonic()
            system.start("recording")
            recording = Processes(recording=system.workers["recording"].pid)
            engine = clickhouse.connect(server.url)

            def recorded() -> bool:
                rows = engine.query(
                    "SELECT (SELECT count() FROM ninezero_data.screening_facts) AS events, (SELECT count() FROM ninezero_data.care_alert_facts) AS alerts"
                )
                return int(rows[0]["events"]) >= events and int(rows[0]["alerts"]) >= (events // 2 + 49) // 50

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
