"""Measures latency: from the Kafka timestamp of a scan until a consumer has its outcome, and its alert.

A separate process sends scans at a steady rate, in batches that it made before. This process reads outcomes and alerts as a device
does, notes when each record arrived, and decodes them afterwards. The Kafka timestamps (whole milliseconds) of scans and outcomes, and
the time of the decision that an outcome states, divide the latency into three stages. The first seconds, in which the agents warm up, do
not count. The watchlist has a million entries; the time until a worker is ready with it is reported too.

python -m tests.bench.latency [SCANS_PER_SECOND …]
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ninezero.schemas.events import Outcomes, decoder
from ninezero.streams import settings as settings_
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka import topics
from ninezero.streams.local_kafka.broker import Broker
from tests.bench import plots, results
from tests.bench.feed import ENTRIES, PARTITIONS, Scans, expected, write_watchlist
from tests.bench.processes import cpu_seconds
from tests.support import System, free_port, wait_for

SECONDS = float(os.environ.get("BENCH_SECONDS", "15"))
WARM_UP_SECONDS = 3.0
TICK_SECONDS = 0.01
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


class Numbered(msgspec.Struct):
    """The only field of a scan or alert that is needed here."""

    seq: int


class Arrived(NamedTuple):
    """A record, and the Unix time in seconds at which it was read."""

    at: float
    record: Any


async def send(rate: int) -> None:
    """Sends `rate` scans per second for SECONDS, each to the partition of its site. Prints its largest delay, in ms."""
    given = settings_.load(os.environ)
    name = given.topic(topics.SCANS.name)
    producer = kafka.producer(given, linger_ms=0)
    await producer.start()
    await producer.partitions_for(name)
    ticks = []
    records = Scans(int(rate * SECONDS)).records(datetime.now(UTC))
    for first in range(round(SECONDS / TICK_SECONDS)):
        by_partition: dict[int, Any] = defaultdict(producer.create_batch)
        for _ in range(int(rate * TICK_SECONDS * (first + 1)) - int(rate * TICK_SECONDS * first)):
            partition, key, value = next(records)
            by_partition[partition].append(key=key, value=value, timestamp=None)
        ticks.append(by_partition)
    began, sent, latest = time.monotonic(), [], 0.0
    for n, batches in enumerate(ticks):
        due = began + n * TICK_SECONDS
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        latest = max(latest, time.monotonic() - due)
        for partition, batch in batches.items():
            sent.append(await producer.send_batch(batch, name, partition=partition))
    await asyncio.gather(*sent)
    await producer.stop()
    print(latest * 1000)


async def measure(system: System, broker: int, rate: int) -> dict[str, Any]:
    """Measures one rate on running workers. Returns percentiles in ms."""
    settings = settings_.load(system.env)
    count = int(rate * SECONDS)
    scans, answers = (
        await _at_the_end(settings, topics.SCANS),
        await _at_the_end(settings, topics.OUTCOMES, topics.ALERTS),
    )
    sender = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.latency", "send", str(rate), env=system.env, stdout=subprocess.PIPE
    )
    arrived: list[Arrived] = []
    reading = asyncio.create_task(_collect(answers, arrived))
    while not arrived:  # the sender makes its scans first
        assert sender.returncode is None, "the sender ended"
        await asyncio.sleep(0.01)
    pids = {"screening": system.workers["screening"].pid, "broker": broker, "sender": sender.pid, "reader": os.getpid()}
    began, before, steps = time.monotonic(), {who: cpu_seconds(pid) for who, pid in pids.items()}, _steps(system)
    await asyncio.sleep(SECONDS - 1)
    took = time.monotonic() - began
    found: dict[str, Any] = {
        "rate": rate,
        "cores": {who: (cpu_seconds(pid) - before[who]) / took for who, pid in pids.items()},
    }
    done = {name: value - steps[name] for name, value in _steps(system).items()}
    chunks = max(1.0, done["decide_count"])
    found["chunks"] = {
        "a_second": chunks / took, "records": rate * took / chunks,
        "decide_ms": done["decide_sum"] / chunks * 1000, "write_ms": done["write_sum"] / chunks * 1000,
    }  # fmt: skip
    found["sender_late_ms"] = float((await sender.communicate())[0])
    noted: dict[str, np.ndarray] = {}
    async with asyncio.timeout(120):
        while np.count_nonzero((noted := _times_by_seq(arrived, count))["outcomes"]) < expected(count).rows:
            await asyncio.sleep(1)
    reading.cancel()
    await answers.stop()
    stamped = await _stamps(scans, settings, count)
    counted = stamped >= stamped.min() + WARM_UP_SECONDS
    for name, since, until in (
        ("outcomes", stamped, noted["outcomes"]),
        ("alerts", stamped, noted["alerts"]),
        ("until decided", stamped, noted["decided"]),
        ("until in Kafka", noted["decided"], noted["written"]),
        ("until read", noted["written"], noted["outcomes"]),
    ):
        latencies = (until - since)[counted & (until > 0)] * 1000
        found[name] = {"count": len(latencies)} | {
            q: float(np.quantile(latencies, part)) for q, part in QUANTILES.items()
        }
    return found


def _steps(system: System) -> dict[str, float]:
    """Returns sums and counts of the steps that the worker measures itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{system.http}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found = re.findall(r'ninezero_chunk_seconds_(sum|count)\{step="(\w+)"\} (\S+)', text)
    return {"decide_count": 0.0, "decide_sum": 0.0, "write_sum": 0.0} | {f"{step}_{what}": float(value) for what, step, value in found}  # fmt: skip


async def _at_the_end(settings: settings_.Settings, *asked: topics.Topic) -> Any:
    reader = kafka.consumer(settings, fetch_max_wait_ms=100)
    await reader.start()
    tps = [kafka.TopicPartition(settings.topic(topic.name), p) for topic in asked for p in range(PARTITIONS)]
    reader.assign(tps)
    for tp, end in (await reader.end_offsets(tps)).items():
        reader.seek(tp, end)
    return reader


async def _collect(reader: Any, arrived: list[Arrived]) -> None:
    while True:
        fetched = await reader.getmany(timeout_ms=1000)
        at = time.time()
        arrived += [Arrived(at, record) for records in fetched.values() for record in records]


def _times_by_seq(arrived: list[Arrived], count: int) -> dict[str, np.ndarray]:
    """Returns, by seq and in seconds, when the outcome was decided, written and first read, and when the alert was read."""
    found = {name: np.zeros(count) for name in ("outcomes", "decided", "written", "alerts")}
    outcomes, alert = decoder(Outcomes), msgspec.json.Decoder(Numbered)
    for at, record in reversed(arrived):  # the first arrival overwrites later ones
        if record.topic.endswith(topics.ALERTS.name):
            found["alerts"][alert.decode(record.value).seq] = at
        else:
            decoded = outcomes.decode(record.value)
            seqs = [outcome[1] for outcome in decoded.outcomes]
            found["outcomes"][seqs], found["written"][seqs], found["decided"][seqs] = at, record.timestamp / 1000, decoded.at.timestamp()  # fmt: skip
    return found


async def _stamps(reader: Any, settings: settings_.Settings, count: int) -> np.ndarray:
    """Returns the Kafka timestamps of the scans from the position of the reader, in seconds, by seq."""
    tps = [kafka.TopicPartition(settings.topic(topics.SCANS.name), p) for p in range(PARTITIONS)]
    ends, decode = await reader.end_offsets(tps), msgspec.json.Decoder(Numbered).decode
    found = np.zeros(count)
    while [tp for tp in tps if await reader.position(tp) < ends[tp]]:
        for records in (await reader.getmany(timeout_ms=200)).values():
            for record in records:
                found[decode(record.value).seq] = record.timestamp / 1000
    await reader.stop()
    return found


def main(rates: list[int]) -> None:
    """Measures each rate, prints the results, and stores them in .run/bench.json."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        broker = Broker(Path(name) / "kafka", free_port())
        broker.start()
        # Nothing is pushed here, so there is no lists role that writes heartbeats.
        system = System(broker.bootstrap, f"chdb://{name}/db", Path(name), NINEZERO_MAX_LIST_AGE="1000000")
        try:
            done = system.run("topics", "create", "--partitions", str(PARTITIONS))
            assert done.returncode == 0, done.stderr
            asyncio.run(write_watchlist(settings_.load(system.env)))
            began = time.monotonic()
            system.start("screening")
            wait_for(lambda: system.ready("screening"), 60, "screening")
            ready = time.monotonic() - began
            print(f"a watchlist of {ENTRIES:,} entries: ready {ready:.1f} s after the start")
            pid = broker.status().pid
            assert pid is not None
            for rate in rates:
                found.append(asyncio.run(measure(system, pid, rate)))
                show(found[-1])
        finally:
            system.stop()
            broker.stop()
    results.store("latency", {"entries": ENTRIES, "ready_s": ready, "rates": found})
    plots.main()


def show(found: dict[str, Any]) -> None:
    """Prints the result of one rate."""
    chunks = found["chunks"]
    print(f"{found['rate']:>7,} scans per second; cores: {', '.join(f'{who} {cores:.2f}' for who, cores in found['cores'].items())}")  # fmt: skip
    print(f"        {chunks['a_second']:,.0f} chunks per second of {chunks['records']:.1f} records, {chunks['decide_ms']:.1f} ms to decide, "
          f"{chunks['write_ms']:.1f} ms to write; the sender was up to {found['sender_late_ms']:.0f} ms late")  # fmt: skip
    for what in ("outcomes", "alerts", "until decided", "until in Kafka", "until read"):
        latencies = found[what]
        print(
            f"        {what:14} {', '.join(f'{q} {latencies[q]:,.0f} ms' for q in QUANTILES)}  ({latencies['count']:,})"
        )


if __name__ == "__main__":
    gc.disable()  # a collection over the collected records takes longer than an outcome
    if sys.argv[1:2] == ["send"]:
        asyncio.run(send(int(sys.argv[2])))
    else:
        main([int(word) for word in sys.argv[1:]] or [1_000, 10_000, 50_000])
