"""Measures the screening role and an unmodified Faust agent with the same job, in one run. Part of `make bench`.

Both read the same scans from the same topic of the same broker, match them against the same list, apply the same decision table, and
write outcomes, alerts and decisions. CPU seconds are those of the process between its first and its last commit, so that start-up does
not count. The order alternates between rounds; median, lowest and highest are reported.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import orjson
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from ninezero.streams.local_kafka.broker import Broker
from tests.bench import results
from tests.bench.processes import cpu_seconds
from tests.support import NINEZERO, System, wait_for

EVENTS = int(os.environ.get("BENCH_EVENTS", "300000"))
STOCK_EVENTS = 30_000
ENTRIES = 10_000
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))


class Rate(NamedTuple):
    """Events for each second of CPU, and for each second of elapsed time."""

    per_cpu_second: float
    per_second: float


def token(n: int) -> str:
    """Returns a token of the key k1."""
    return f"k1.{n:032x}"


def push(system: System) -> None:
    """Pushes a list of ENTRIES lines."""
    now = datetime.now(UTC)
    window = {"valid_from": (now - timedelta(days=1)).isoformat(), "valid_to": (now + timedelta(days=5)).isoformat()}
    batch = {
        "batch_id": "bench", "authority": "a", "pushed_by": "p", "list": "l", "category": "close_contact", "mode": "delta", "sequence": 1,
        "issued_at": now.isoformat(), "legal_basis": "o", "purpose": "epidemic_control", "declared_lines": ENTRIES,
        "lines": [{"line": n, "tokens": {"id": [token(n)]}, **window} for n in range(ENTRIES)],
    }  # fmt: skip
    producer = KafkaProducer(bootstrap_servers=system.env["NINEZERO_KAFKA"], max_request_size=4 << 20)
    lines = batch["lines"]
    for n in range(0, ENTRIES, 2500):  # a record may have 1 MiB
        part = batch | {
            "batch_id": f"bench-{n}",
            "sequence": n + 1,
            "lines": lines[n : n + 2500],
            "declared_lines": 2500,
        }
        producer.send(system.prefix + "watchlist-pushes", key=b"a", value=orjson.dumps(part)).get(10)
    producer.close()


def feed(system: System, count: int) -> None:
    """Sends scans of about 400 bytes, one in a hundred of them of a listed person."""
    producer = KafkaProducer(bootstrap_servers=system.env["NINEZERO_KAFKA"], linger_ms=20, batch_size=1 << 18)
    now = datetime.now(UTC).isoformat()
    for n in range(count):
        who = n % ENTRIES if n % 100 == 0 else 10**6 + n % 10**5
        value = (
            f'{{"device_id":"d{n % 500}","seq":{n},"site_id":"site-{n % 100}","observed_at":"{now}","kind":"vehicle","direction":"in",'
            f'"plate":"{token(n)}","people":[{{"role":"driver","tokens":{{"id":"{token(who)}","phone":"{token(n)}"}},'
            f'"temperature_c":36.5,"health_code":"green","origin":"370115"}}]}}'
        )
        producer.send(system.prefix + "checkpoint-scans", key=f"site-{n % 100}".encode(), value=value.encode())
    producer.flush()
    producer.close()


def committed(admin: KafkaAdminClient, group: str, topic: str) -> int:
    """Returns the sum of a group's committed offsets on a topic."""
    found = admin.list_group_offsets([group])[group]
    return sum(offset.offset for tp, offset in found.items() if isinstance(tp, TopicPartition) and tp.topic == topic)


def measure(system: System, command: list[str], group: str, count: int) -> Rate:
    """Runs a process that reads `count` events, and returns its rates between its first and its last commit."""
    admin = KafkaAdminClient(bootstrap_servers=system.env["NINEZERO_KAFKA"])
    topic = system.prefix + "checkpoint-scans"
    process = subprocess.Popen(command, env=system.env)

    def reached() -> int:
        try:
            return committed(admin, group, topic)
        except Exception:  # the group is not there yet
            return 0

    try:
        wait_for(lambda: reached() > 0, 60, "the first commit")
        first, began, cpu_began = reached(), time.monotonic(), cpu_seconds(process.pid)
        wait_for(lambda: reached() >= count, 300, "the last commit")
        spent, took = cpu_seconds(process.pid) - cpu_began, time.monotonic() - began
        return Rate((count - first) / spent, (count - first) / took)
    finally:
        process.kill()
        process.wait()
        admin.close()


def main() -> None:
    """Runs the rounds, prints the rates and stores them in .run/bench.json."""
    found: dict[str, list[Rate]] = {"ninezero screening": [], "stock Faust": []}
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder) / "kafka")
        broker.start()
        try:
            for round_ in range(ROUNDS):
                runs: list[tuple[str, int, Callable[[System], tuple[list[str], str]]]] = [
                    (
                        "ninezero screening",
                        EVENTS,
                        lambda s: ([NINEZERO, "worker", "screening"], f"{s.prefix}ninezero-screening"),
                    ),
                    (
                        "stock Faust",
                        STOCK_EVENTS,
                        lambda s: ([sys.executable, "-m", "tests.bench.stock_faust"], f"{s.prefix}stock"),
                    ),
                ]
                for name, count, how in runs if round_ % 2 == 0 else reversed(runs):
                    system = System(broker.bootstrap, f"chdb://{folder}/ch", Path(folder), BENCH_FOLDER=folder)
                    system.run("topics", "create", "--partitions", "12")
                    system.start("lists")
                    push(system)
                    wait_for(partial(has_receipts, system), 60, "the receipts")
                    system.stop()
                    feed(system, count)
                    system.env["NINEZERO_MAX_LIST_AGE"] = "100000"
                    found[name].append(measure(system, *how(system), count))
        finally:
            broker.stop()
    report = {}
    for name, figures in found.items():
        per_cpu, per_second = [rate.per_cpu_second for rate in figures], [rate.per_second for rate in figures]
        report[name] = {"events_per_cpu_second": per_cpu, "events_per_second": per_second}
        print(f"{name:20} {statistics.median(per_cpu):>10,.0f} events per CPU-second ({min(per_cpu):,.0f}-{max(per_cpu):,.0f}), "
              f"{statistics.median(per_second):,.0f} events per second")  # fmt: skip
    ratio = statistics.median(report["ninezero screening"]["events_per_cpu_second"]) / statistics.median(
        report["stock Faust"]["events_per_cpu_second"]
    )
    print(f"ratio {ratio:.1f}")
    results.store("screening", report | {"ratio": ratio})


def has_receipts(system: System) -> bool:
    """Returns whether every batch of the list has its receipt."""
    from tests.integration.pipeline.test_pipeline import read_all

    return len(read_all(system, "push-receipts")) == ENTRIES // 2500


if __name__ == "__main__":
    main()
