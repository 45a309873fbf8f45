"""The watchlist and the scans of the comparison with peers: the same for each candidate."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import NamedTuple

from aiokafka.partitioner import murmur2

from ninezero.schemas.events import Heartbeat, Manifest, WatchlistEntry
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.records import internal_record
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings
from tests.bench.watchlist import token

ENTRIES = 1_000_000
PARTITIONS, SITES = 12, 100
AUTHORITY, LIST, BATCH, CATEGORY = "authority", "contacts", "b1", "close_contact"


class Expected(NamedTuple):
    """The numbers of rows, alerts and dead letters that the scans must give."""

    rows: int
    alerts: int
    dead_letters: int


def expected(count: int) -> Expected:
    """Returns what the first `count` scans of `Scans` must give."""
    dead_letters = sum(n % 1000 == 999 for n in range(count))
    alerts = sum(n % 100 in (0, 50) or n % 200 == 75 for n in range(count))
    return Expected(count - dead_letters, alerts, dead_letters)


async def write_watchlist(settings: Settings, entries: int = ENTRIES) -> Iterator[str]:
    """Writes a complete list to the watchlist topic.

    Returns the same list as the lines of a file, for peers that do not read the topic.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    start, end = now - timedelta(days=1), now + timedelta(days=5)
    writer = Writer(settings)
    await writer.start()
    for first in range(0, entries, 20_000):
        await writer.write_to_partition(0, [
            internal_record(topics.WATCHLIST, f"{AUTHORITY}|{LIST}|{BATCH}:{n}".encode(), WatchlistEntry(1, 1, BATCH, CATEGORY, {"id": [token("id", n)]}, start, end))
            for n in range(first, min(first + 20_000, entries))
        ])  # fmt: skip
    manifest = Manifest(1, 0, entries, ["k1"], BATCH, now)
    await writer.write_to_partition(
        0,
        [
            internal_record(topics.WATCHLIST, f"{AUTHORITY}|{LIST}|".encode(), manifest),
            internal_record(topics.WATCHLIST, b"||", Heartbeat(now)),
        ],
    )
    await writer.stop()
    about = {"authority": AUTHORITY, "list": LIST, "batch": BATCH, "category": CATEGORY, "keys": ["k1"],
             "from_us": int(start.timestamp()) * 1_000_000, "to_us": int(end.timestamp()) * 1_000_000}  # fmt: skip
    return chain([json.dumps(about)], (token("id", n) for n in range(entries)))


class Scans:
    """Scans of about 400 bytes.

    One in a hundred is of a listed person, one in a hundred of a person with a fever, one in two hundred of a person from the
    neighbouring district, and one in a thousand is malformed.
    """

    def __init__(self, count: int, entries: int = ENTRIES, partitions: int = PARTITIONS, sites: int = SITES) -> None:
        self._parts = list(self._make(count, entries, sites))
        site = [f"site-{n}".encode() for n in range(sites)]
        self._sites = [(key, (murmur2(key) & 0x7FFFFFFF) % partitions) for key in site]

    @property
    def partitions_used(self) -> int:
        """The number of partitions that have scans."""
        return len({partition for _, partition in self._sites[: len(self._parts)]})

    def _make(self, count: int, entries: int, sites: int) -> Iterator[tuple[str, str]]:
        for n in range(count):
            person = n * 7919 % entries if n % 100 == 0 else entries + n % 100_000
            temperature = '"36.5"' if n % 1000 == 999 else "37.8" if n % 100 == 50 else "36.5"
            origin = "370112" if n % 200 == 75 else "370115"
            yield (
                f'{{"device_id":"device-{n % 500}","seq":{n},"site_id":"site-{n % sites}","observed_at":"',
                f'","kind":"vehicle","direction":"in","plate":"{token("plate", n % 50_000)}","people":[{{"role":"driver",'
                f'"tokens":{{"id":"{token("id", person)}","phone":"{token("phone", person)}"}},"temperature_c":{temperature},'
                f'"health_code":"green","origin":"{origin}"}}]}}',
            )

    def records(self, now: datetime) -> Iterator[tuple[int, bytes, bytes]]:
        """Yields partition, key and value of each scan, observed in the five minutes before `now`."""
        times = [(now - timedelta(seconds=s)).isoformat() for s in range(300)]
        for n, (head, tail) in enumerate(self._parts):
            key, partition = self._sites[n % len(self._sites)]
            yield partition, key, f"{head}{times[n % 300]}{tail}".encode()

    async def feed(self, settings: Settings, count: int, topic: topics.Topic = topics.SCANS) -> datetime:
        """Sends the first `count` scans in one transaction, so that consumers of committed records see all of them at the same moment.

        Returns the minute in which the last of them was observed. They are spread over the five minutes before it.
        """
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        by_partition: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
        for partition, key, value in islice(self.records(now), count):
            by_partition[partition].append((key, value))
        name = settings.topic(topic.name)
        producer = kafka.producer(settings, transactional_id=f"{settings.topic_prefix}feed", linger_ms=0)
        await producer.start()
        async with producer.transaction():
            sent = []
            for partition, records in by_partition.items():
                batch = producer.create_batch()
                for key, value in records:
                    if batch.append(key=key, value=value, timestamp=None) is None:
                        sent.append(await producer.send_batch(batch, name, partition=partition))
                        batch = producer.create_batch()
                        batch.append(key=key, value=value, timestamp=None)
                sent.append(await producer.send_batch(batch, name, partition=partition))
            await asyncio.gather(*sent)
        await producer.stop()
        return now
