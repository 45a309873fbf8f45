"""How long a device waits: from a scan's Kafka timestamp until its outcome, and its alert, reach a consumer.

A process of its own sends scans at a steady rate; this one reads outcomes and alerts as a device does, notes when each
came, and afterwards reads from the topic of scans what Kafka's timestamp of each was (whole milliseconds). The first
seconds, in which the agents warm up, do not count.

python -m tests.bench.latency [SCANS_A_SECOND …]
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from schemas.events import Outcomes, decoder
from streams import kafka, topics
from streams import settings as settings_
from streams.broker import Broker
from streams.kafka import Writer
from tests.bench import results
from tests.bench.screening import ENTRIES, cpu, listed, push, token
from tests.support import System, wait_for

SECONDS = float(os.environ.get("BENCH_SECONDS", "15"))
WARM_UP = 3.0
PARTITIONS = 12
TICK = 0.01
SITES, LISTED = 100, 100
"""Checkpoints, and one scan in how many that is of a listed person."""


class Numbered(msgspec.Struct):
    """What is asked of a scan or an alert here."""

    seq: int


async def send(rate: int) -> None:
    """Sends scans at `rate` a second for SECONDS, each of about 400 bytes, to the partition of its site."""
    writer = Writer(settings_.load(os.environ))
    await writer.start()
    name = writer._settings.topic(topics.SCANS.name)
    await writer.partitions(name)
    now = datetime.now(UTC).isoformat()
    people = '"people":[{"role":"driver","tokens":{"id":"%s","phone":"' + token(1) + '"},"temperature_c":36.5,'
    tail = people + '"health_code":"green","origin":"370115"}]}'
    heads = [
        (
            b"site-%d" % n,
            f'{{"device_id":"d{n}","seq":%d,"site_id":"site-{n}","observed_at":"{now}","kind":"vehicle","direction":"in",'
            f'"plate":"{token(n)}",{tail}',
        )
        for n in range(SITES)
    ]
    began, seq = time.monotonic(), 0
    under_way: set[asyncio.Task[None]] = set()
    while (now_ := time.monotonic() - began) < SECONDS:
        records = []
        for n in range(seq, int(rate * now_)):
            key, head = heads[n % SITES]
            is_listed = n % LISTED == n // LISTED % LISTED  # at every site in turn
            records.append((topics.SCANS, key, (head % (n, token(n % ENTRIES if is_listed else 10**6 + n))).encode()))
        seq += len(records)
        task = asyncio.create_task(writer.send(records))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        await asyncio.sleep(max(0.0, TICK - (time.monotonic() - began - now_)))
    await asyncio.gather(*under_way)
    await writer.stop()
    print(seq)


async def measure(system: System, rate: int) -> dict[str, Any]:
    """One rate, on workers that run: percentiles in ms."""
    made = settings_.load(system.env)
    count = int(rate * SECONDS) + rate
    came = {topics.OUTCOMES: np.zeros(count), topics.ALERTS: np.zeros(count)}
    readers = [await _at_the_end(made, topic) for topic in came]
    worker = system.workers["screening"].pid
    began, cpu_began = time.monotonic(), cpu(worker)
    sender = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.latency", "send", str(rate), env=system.env, stdout=subprocess.PIPE
    )
    reading = [asyncio.create_task(_note(reader, at)) for reader, at in zip(readers, came.values(), strict=True)]
    said, _ = await sender.communicate()
    sent, spent = int(said), cpu(worker) - cpu_began
    took = time.monotonic() - began
    async with asyncio.timeout(120):
        while np.count_nonzero(came[topics.OUTCOMES]) < sent:
            await asyncio.sleep(0.2)
    await asyncio.sleep(1)
    for task, reader in zip(reading, readers, strict=True):
        task.cancel()
        await reader.stop()
    stamped = await _stamps(made, sent)
    found: dict[str, Any] = {"rate": round(sent / SECONDS), "cores": spent / took}
    for topic, at in came.items():
        counted = (at[:sent] > 0) & (stamped >= stamped.min() + WARM_UP)
        waits = (at[:sent][counted] - stamped[counted]) * 1000
        found[topic.name.removeprefix("screening-")] = {
            "count": len(waits), "p50": np.quantile(waits, 0.5), "p99": np.quantile(waits, 0.99), "p99.9": np.quantile(waits, 0.999),
        }  # fmt: skip
    return found


async def _at_the_end(made: settings_.Settings, topic: topics.Topic) -> Any:
    reader = kafka.consumer(made, fetch_max_wait_ms=100)
    await reader.start()
    name = made.topic(topic.name)
    tps = [kafka.TopicPartition(name, p) for p in range(PARTITIONS)]
    reader.assign(tps)
    for tp, end in (await reader.end_offsets(tps)).items():
        reader.seek(tp, end)
    return reader


async def _note(reader: Any, came: np.ndarray) -> None:
    """Notes when the outcome (or the alert) of each seq came first."""
    outcomes, alert = decoder(Outcomes), msgspec.json.Decoder(Numbered)
    is_alerts = next(iter(reader.assignment())).topic.endswith(topics.ALERTS.name)
    while True:
        for records in (await reader.getmany(timeout_ms=1000)).values():
            at = time.time()
            for record in records:
                if is_alerts:
                    came[alert.decode(record.value).seq] = at
                else:
                    for outcome in outcomes.decode(record.value).outcomes:
                        came[outcome[1]] = at


async def _stamps(made: settings_.Settings, count: int) -> np.ndarray:
    """Kafka's timestamps of the newest `count` scans, in seconds, by seq."""
    reader = kafka.consumer(made, auto_offset_reset="earliest")
    await reader.start()
    name = made.topic(topics.SCANS.name)
    tps = [kafka.TopicPartition(name, p) for p in range(PARTITIONS)]
    reader.assign(tps)
    ends, decode = await reader.end_offsets(tps), msgspec.json.Decoder(Numbered).decode
    found = np.zeros(count)
    while [tp for tp in tps if await reader.position(tp) < ends[tp]]:
        for records in (await reader.getmany(timeout_ms=200)).values():
            for record in records:
                if (seq := decode(record.value).seq) < count:
                    found[seq] = record.timestamp / 1000
    await reader.stop()
    return found


def main(rates: list[int]) -> None:
    """Prints a line a rate; figures go to .run/bench.json."""
    found = []
    for rate in rates:
        with tempfile.TemporaryDirectory() as name:
            broker = Broker(Path(name) / "kafka")
            broker.start()
            system = System(broker.bootstrap, f"chdb://{name}/db", Path(name))
            try:
                system.run("topics", "create", "--partitions", str(PARTITIONS))
                system.start("lists")
                push(system)
                wait_for(lambda: listed(system), 60, "the receipts")  # noqa: B023  # called at once
                system.start("screening")
                wait_for(lambda: system.ready("screening"), 60, "screening")  # noqa: B023  # called at once
                found.append(asyncio.run(measure(system, rate)))
            finally:
                system.stop()
                broker.stop()
        last = found[-1]
        print(f"{last['rate']:>7,} scans a second, screening uses {last['cores']:.2f} of a core")
        for what in ("outcomes", "alerts"):
            waits = last[what]
            print(f"        {what:8} p50 {waits['p50']:,.0f} ms, p99 {waits['p99']:,.0f} ms, p99.9 {waits['p99.9']:,.0f} ms  ({waits['count']:,})")  # fmt: skip
    results.keep("latency", found)


if __name__ == "__main__":
    if sys.argv[1:2] == ["send"]:
        asyncio.run(send(int(sys.argv[2])))
    else:
        main([int(word) for word in sys.argv[1:]] or [1_000, 10_000, 50_000])
