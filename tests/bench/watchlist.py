"""Measures the watchlist of a worker at several sizes: loading from a real broker, memory, speed of matching. Part of `make bench`.

Each size is measured in a process of its own that imports what a screening worker imports. Entries have an id and a phone token each.
Look-ups and scans are of random people, one in a hundred of them listed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from ninezero.agents.logic.policy import reference
from ninezero.agents.roles.memory import tune_garbage_collector
from ninezero.agents.watchlist.projection import WatchlistProjection
from ninezero.schemas.events import Heartbeat, Manifest, Scan, WatchlistEntry
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.records import OutgoingRecord, internal_record
from ninezero.streams.kafka.watchlist_replica import WatchlistReplica
from ninezero.streams.kafka.watchlist_state import SLICE_RECORDS
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.settings import Settings

SIZES = (10_000, 1_000_000, 10_000_000)
ASKED = 100_000
NAME = ("authority", "list")
FULL = 1_000_000
"""Entries of the `full` batch whose pauses are measured."""


def token(kind: str, n: int) -> str:
    """Returns a token that looks as random as a keyed hash."""
    return "k1." + hashlib.blake2b(f"{kind}{n}".encode(), digest_size=16).hexdigest()


def entry(n: int, sequence: int, now: datetime) -> WatchlistEntry:
    """Returns the entry of person `n`."""
    start = now - timedelta(seconds=n % 100_000)
    tokens = {"id": [token("id", n)], "phone": [token("phone", n)]}
    return WatchlistEntry(sequence, 1, f"b{sequence}", "close_contact", tokens, start, start + timedelta(days=14))


def settings(bootstrap: str, size: int) -> Settings:
    """Returns the settings of a separate deployment for each size."""
    sunset = datetime.now(UTC) + timedelta(days=1)
    return Settings(
        kafka=bootstrap,
        clickhouse="",
        keys=None,
        outbox=Path(),
        order="o",
        sunset=sunset,
        topic_prefix=f"bench-{size}.",
    )


async def fill(given: Settings, size: int) -> None:
    """Writes a list of `size` entries, its manifest and a heartbeat."""
    from kafka.admin import KafkaAdminClient, NewTopic

    topic, now = given.topic(topics.WATCHLIST.name), datetime.now(UTC)
    admin = KafkaAdminClient(bootstrap_servers=given.kafka)
    admin.create_topics([NewTopic(topic, 1, 1, topic_configs=topics.WATCHLIST.config())])
    admin.close()

    def records() -> Iterator[OutgoingRecord]:
        prefix = "|".join(NAME)
        for n in range(size):
            yield internal_record(topics.WATCHLIST, f"{prefix}|b1:{n}".encode(), entry(n, 1, now))
        yield internal_record(topics.WATCHLIST, f"{prefix}|".encode(), Manifest(1, 0, size, ["k1"], "b1", now))
        yield internal_record(topics.WATCHLIST, b"||", Heartbeat(now))

    producer = kafka.producer(given)
    await producer.start()
    batch = producer.create_batch()
    sent: list[Any] = []
    for _, key, value, headers in records():
        if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
            sent.append(await producer.send_batch(batch, topic, partition=0))
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None, headers=headers)
            if len(sent) > 8:
                await sent.pop(0)
    sent.append(await producer.send_batch(batch, topic, partition=0))
    await asyncio.gather(*sent)
    await producer.stop()


async def measure(given: Settings, size: int) -> dict[str, float]:
    """Loads the watchlist as a worker does, then measures look-ups, decisions and the pauses of a `full`."""

    found: dict[str, float] = {"size": size, "bare_rss_mb": _memory("VmRSS")}
    lists = WatchlistProjection()
    replica = WatchlistReplica(given, lists)
    started, cpu = time.perf_counter(), time.process_time()
    await replica.start()
    await replica.ready.wait()
    found["catch_up_s"] = time.perf_counter() - started
    found["catch_up_cpu_us_a_record"] = (time.process_time() - cpu) / size * 1e6
    found |= {"rss_mb": _memory("VmRSS"), "peak_rss_mb": _memory("VmHWM")}
    await replica.stop()
    found |= _speed(lists, size)
    if size == FULL:
        found |= _pauses(lists, size)
    return found


def _speed(lists: WatchlistProjection, size: int) -> dict[str, float]:
    index, now = lists.index, datetime.now(UTC)
    now_us = int(now.timestamp() * 1_000_000)
    chance = random.Random(1)
    listed = [token("id", chance.randrange(size)) for _ in range(ASKED)]
    missing = [token("id", size + chance.randrange(10**9)) for _ in range(ASKED)]
    scans = [_scan(chance, n, size, now) for n in range(ASKED // 2)]

    def look_up(tokens: list[str], there: bool) -> None:
        for one in tokens:
            assert bool(index.find_valid("id", one, now_us)) == there

    def decide() -> None:
        for scan in scans:
            reference.decide_scan(scan, now_us, index, "370115", False)

    return {
        "hits_s": _rate(ASKED, lambda: look_up(listed, True)),
        "misses_s": _rate(ASKED, lambda: look_up(missing, False)),
        "decide_scan_s": _rate(len(scans), decide),
    }


def _scan(chance: random.Random, n: int, size: int, now: datetime) -> Scan:
    who = chance.randrange(size) if n % 100 == 0 else size + chance.randrange(10**9)
    tokens = {"id": token("id", who), "phone": token("phone", size + chance.randrange(10**9))}
    person = {"role": "driver", "tokens": tokens, "temperature_c": 36.5, "health_code": "green", "origin": "370115"}
    event = {"device_id": "d", "seq": n, "site_id": "s", "observed_at": now, "kind": "vehicle", "people": [person],
             "plate": token("plate", size + n)}  # fmt: skip
    return msgspec.convert(event, Scan)


def _pauses(lists: WatchlistProjection, size: int) -> dict[str, float]:
    """Returns how long each step of a `full` batch blocks the event loop, in ms."""
    now = datetime.now(UTC)
    longest: dict[str, float] = {"full_slice_ms": 0, "full_switch_ms": 0, "full_tidy_ms": 0}

    def timed(step: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        done = work()
        longest[step] = max(longest[step], (time.perf_counter() - began) * 1000)
        return done

    for start in range(0, size, SLICE_RECORDS):
        records = {f"b2:{n}": entry(n, 2, now) for n in range(start, min(start + SLICE_RECORDS, size))}
        timed("full_slice_ms", lambda records=records: lists.stage(NAME, records, ()))
    timed("full_switch_ms", lambda: lists.switch(NAME, 2))
    assert lists.size(NAME) == size
    while timed("full_tidy_ms", lambda: lists.tidy(SLICE_RECORDS)):
        pass
    return longest


def _rate(count: int, work: Callable[[], None]) -> float:
    """Returns the calls per second of the fastest of five runs, because other programs use the machine too."""
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return count / best


def _memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def main() -> None:
    """Measures each size, prints a table, and stores the figures in .run/bench-watchlist.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument(
        "--measure",
        nargs=2,
        metavar=("BOOTSTRAP", "SIZE"),
        help="measure one size in this process; used for child processes",
    )
    given = parser.parse_args()
    if given.measure:
        size = int(given.measure[1])
        tune_garbage_collector()  # as a worker does
        print(json.dumps(uvloop.run(measure(settings(given.measure[0], size), size))))
        return
    report = []
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder) / "kafka")
        broker.start()
        try:
            for size in given.sizes:
                asyncio.run(fill(settings(broker.bootstrap, size), size))
                command = [sys.executable, "-m", "tests.bench.watchlist", "--measure", broker.bootstrap, str(size)]
                report.append(
                    json.loads(subprocess.run(command, check=True, capture_output=True, env=os.environ).stdout)
                )
                _print(report[-1], report[0])
        finally:
            broker.stop()
    Path(".run").mkdir(exist_ok=True)
    Path(".run/bench-watchlist.json").write_text(json.dumps(report, indent=2))


def _print(found: dict[str, float], first: dict[str, float]) -> None:
    print(f"{found['size']:>12,} entries: caught up in {found['catch_up_s']:.1f} s ({found['catch_up_cpu_us_a_record']:.1f} µs of CPU per record), "
          f"{found['rss_mb']:,.0f} MB resident (peak {found['peak_rss_mb']:,.0f}, without a list {found['bare_rss_mb']:,.0f})")  # fmt: skip
    for name, what in (("hits_s", "hits"), ("misses_s", "misses"), ("decide_scan_s", "scans decided")):
        print(f"{'':12} {found[name]:>12,.0f} {what} per second, {found[name] / first[name]:.2f} of the first size")
    for name in ("full_slice_ms", "full_switch_ms", "full_tidy_ms"):
        if name in found:
            print(f"{'':12} {found[name]:>12.1f} ms: longest {name.split('_')[1]} of a `full` batch of this size")


if __name__ == "__main__":
    main()
