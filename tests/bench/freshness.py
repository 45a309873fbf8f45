"""Measures how soon a pushed batch matches while scans are processed.

Counts from the Kafka timestamp of the receipt to the first scan that is referred, and to the last that is still clear. The contract
(§5) allows two seconds.

python -m tests.bench.freshness [SCANS_PER_SECOND …]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from kafka import KafkaProducer

from ninezero.schemas.events import Outcomes, PushReceipt, decoder
from ninezero.streams import settings as settings_
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.records import OutgoingRecord
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.local_kafka.broker import Broker
from tests.bench.screening import token
from tests.support import System, free_port, wait_for

SECONDS = 15
PUSH_AT = (4, 8, 12)
"""Seconds after the start at which one more person is pushed."""
TICK_SECONDS = 0.05


def main(rates: list[int]) -> None:
    """Runs the measurement for each rate and prints the results."""
    for rate in rates:
        with tempfile.TemporaryDirectory() as name:
            broker = Broker(Path(name) / "kafka", free_port())
            broker.start()
            system = System(broker.bootstrap, f"chdb://{name}/db", Path(name))
            try:
                system.prepare()
                system.start("lists", "screening")
                push_person(system, 0, 1)
                wait_for(partial(system.ready, "screening"), 60, "screening")
                asyncio.run(measure(system, rate))
            finally:
                system.stop()
                broker.stop()


def push_person(system: System, person: int, sequence: int) -> None:
    """Pushes a delta with one person."""
    now = datetime.now(UTC)
    batch = {
        "batch_id": f"b{sequence}", "authority": "a", "pushed_by": "p", "list": "l", "category": "confirmed_case", "mode": "delta",
        "sequence": sequence, "issued_at": now, "legal_basis": "o", "purpose": "epidemic_control", "declared_lines": 1,
        "lines": [{"line": 1, "tokens": {"id": [token(person)]}, "valid_from": now - timedelta(1), "valid_to": now + timedelta(5)}],
    }  # fmt: skip
    producer = KafkaProducer(bootstrap_servers=system.env["NINEZERO_KAFKA"])
    producer.send(system.prefix + "watchlist-pushes", orjson.dumps(batch), b"a").get(10)
    producer.close()


async def measure(system: System, rate: int) -> None:
    """Sends scans for SECONDS, pushes in between, and compares receipts with outcomes."""
    settings = settings_.load(system.env)
    writer = Writer(settings)
    await writer.start()
    sent: dict[int, int] = {}
    probes: dict[int, int] = {}
    started, seq = time.monotonic(), 0
    pushes = [(at, 10 + n) for n, at in enumerate(PUSH_AT)]
    due = [person for _, person in pushes]
    while (now := time.monotonic() - started) < SECONDS:
        if pushes and now >= pushes[0][0]:
            _, person = pushes.pop(0)
            await asyncio.to_thread(push_person, system, person, person)
        records: list[OutgoingRecord] = []
        for n in range(max(int(rate * (time.monotonic() - started)) - seq, 0)):
            person = due[n % 3] if n < 3 else 10**6 + seq
            probes |= {seq: person} if n < 3 else {}
            records.append(OutgoingRecord(topics.SCANS, b"s%d" % (seq % 100), scan(seq, person)))
            seq += 1
        await writer.write(records)
        await asyncio.sleep(TICK_SECONDS)
    sent_all = time.monotonic() - started
    await writer.stop()
    outcomes = await read_outcomes(system, seq)
    receipts = {r.batch_id: at for r, at in await read(system, topics.RECEIPTS, PushReceipt)}
    for record, at in await read(system, topics.SCANS, dict):
        sent[record["seq"]] = at
    print(f"{rate:>7,} scans per second requested, {seq / sent_all:,.0f} sent")
    for person in due:
        receipt = receipts[f"b{person}"]
        mine = [(sent[n] - receipt, outcomes[n]) for n, who in probes.items() if who == person]
        first = min(after for after, outcome in mine if outcome == "refer")
        last = max(after for after, outcome in mine if outcome != "refer")
        print(f"        referred from {first / 1000:+.2f} s after the receipt, clear until {last / 1000:+.2f} s")


def scan(seq: int, person: int) -> bytes:
    """Returns the scan of a person."""
    return (
        f'{{"device_id":"d","seq":{seq},"site_id":"s{seq % 100}","observed_at":"{datetime.now(UTC).isoformat()}","kind":"vehicle",'
        f'"people":[{{"role":"driver","tokens":{{"id":"{token(person)}","phone":"{token(seq + 10**7)}"}},"temperature_c":36.5}}]}}'
    ).encode()


async def read_outcomes(system: System, count: int) -> dict[int, str]:
    """Returns the outcome of each scan by its sequence number."""
    found: dict[int, str] = {}
    deadline = time.monotonic() + 120
    while len(found) < count and time.monotonic() < deadline:
        for record, _ in await read(system, topics.OUTCOMES, Outcomes):
            found |= {seq: outcome for _, seq, outcome, _ in record.outcomes}
        await asyncio.sleep(0.5)
    return found


async def read(system: System, topic: topics.Topic, kind: Any) -> list[tuple[Any, int]]:
    """Returns (value, Kafka timestamp in ms) of all records of a topic."""
    settings = settings_.load(system.env)
    name = settings.topic(topic.name)
    async with kafka.connected(kafka.consumer(settings, isolation_level="read_committed")) as reader:
        partitions = sorted(reader.partitions_for_topic(name) or range(topic.partitions or 4))
        tps = [kafka.TopicPartition(name, p) for p in partitions]
        return [
            (decoder(kind).decode(record.value), record.timestamp) async for record in kafka.read_to_end(reader, tps)
        ]


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1_000, 20_000])
