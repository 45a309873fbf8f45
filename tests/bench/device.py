"""Measures one device against a real broker: scans per second, each on disk before `scan` returns, and acknowledged by Kafka.

python -m tests.bench.device          BENCH_SCANS (default 20000)
"""

from __future__ import annotations

import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ninezero import Device, Traveller
from ninezero.streams import settings as settings_
from ninezero.streams.edge.documents.key_ring import new_ring
from ninezero.streams.kafka import administration
from ninezero.streams.local_kafka.broker import Broker


def main() -> None:
    """Sends one scan at a time, and prints scans per second and CPU time per scan."""
    scans = int(os.environ.get("BENCH_SCANS") or 20_000)
    with tempfile.TemporaryDirectory() as folder:
        new_ring(Path(folder) / "keys.json")
        broker = Broker(Path(folder) / "kafka")
        broker.start()
        try:
            settings = settings_.load(
                {
                    "NINEZERO_KAFKA": broker.bootstrap, "NINEZERO_ORDER": "BENCH",
                    "NINEZERO_SUNSET": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
                    "NINEZERO_KEYS": f"{folder}/keys.json", "NINEZERO_OUTBOX": f"{folder}/outbox",
                },
                edge=True,
            )  # fmt: skip
            administration.create_topics(settings)
            os.sched_setaffinity(
                0, {min(os.sched_getaffinity(0))}
            )  # one core for all threads of the device; the broker has its own processes
            with Device(settings, site_id="road-01", device_id="gate-a") as device:
                two = [
                    Traveller(role="driver", id="440524188001010014", phone="13800138000", temperature_c=36.5),
                    Traveller(role="passenger", id="11010519491231002X", temperature_c=36.6),
                ]
                device.scan("vehicle", two, plate="鲁A12345")
                device.flush(10)
                started, cpu = time.perf_counter(), time.process_time()
                for _ in range(scans):
                    device.scan("vehicle", two, plate="鲁A12345")
                accepted = time.perf_counter() - started
                assert device.flush(60)
                spent, used = time.perf_counter() - started, time.process_time() - cpu
            print(
                f"{scans} scans of two people: accepted {scans / accepted:,.0f}/s, in Kafka {scans / spent:,.0f}/s,"
                f" {used / scans * 1e6:,.0f} µs of one core per scan"
            )
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
