"""The watchlist and the scans of the comparison with peers: the same for each candidate."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain, islice
from typing import NamedTuple

from aiokafka.partitioner import murmur2

from ninezero.schemas.events import Heartbeat, Manifest, WatchlistEntry
from ninezero.schemas.times import unix_micros
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.records import OutgoingRecord, internal_record
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings
from tests.bench.mixes import USUAL, ListOfMix, Mix, Passage, PersonRule, contacts

ENTRIES = 1_000_000
PARTITIONS, SITES = 12, 100
AUTHORITY, BATCH, TERM = "authority", "b1", timedelta(days=5)


class Expected(NamedTuple):
    """The numbers of rows, alerts and dead letters that the scans must give."""

    rows: int
    alerts: int
    dead_letters: int


@cache
def expected(count: int, mix: Mix = USUAL) -> Expected:
    """Returns what the first `count` scans of a mix must give."""
    rules = [passage.rules for passage in islice(mix.passages(ENTRIES), count)]
    dead_letters = rules.count(None)
    return Expected(count - dead_letters, sum(map(bool, rules)), dead_letters)


async def write_watchlist(settings: Settings, entries: int = ENTRIES, mix: Mix = USUAL) -> Iterator[str]:
    """Writes the complete lists of a mix to the watchlist topic.

    Returns them as the lines of a file, for peers that do not read the topic. A list is one line of JSON, then its entries with a line
    each: tokens as `domain:token`, separated by blanks.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    lists = [contacts(entries), *mix.lists]
    writer = Writer(settings)
    await writer.start()
    for one in lists:
        lines, number = one.lines(), 0
        while some := list(islice(lines, 20_000)):
            await writer.write_to_partition(0, [_entry(one, now, n, tokens) for n, tokens in enumerate(some, number)])
            number += len(some)
        manifest = Manifest(1, 0, number, ["k1"], BATCH, now)
        key = f"{AUTHORITY}|{one.name}|".encode()
        await writer.write_to_partition(0, [internal_record(topics.WATCHLIST, key, manifest)])
    await writer.write_to_partition(0, [internal_record(topics.WATCHLIST, b"||", Heartbeat(now))])
    await writer.stop()
    return chain.from_iterable(lines_of(one, now) for one in lists)


def _entry(one: ListOfMix, now: datetime, number: int, tokens: dict[str, str]) -> OutgoingRecord:
    """Returns the record of an entry."""
    listed = {domain: [token] for domain, token in tokens.items()}
    entry = WatchlistEntry(1, 1, BATCH, one.category, listed, now + one.starts, now + TERM)
    return internal_record(topics.WATCHLIST, f"{AUTHORITY}|{one.name}|{BATCH}:{number}".encode(), entry)


def lines_of(one: ListOfMix, now: datetime) -> Iterator[str]:
    """Yields a list as the lines of a file."""
    about = {"authority": AUTHORITY, "list": one.name, "batch": BATCH, "category": one.category, "keys": ["k1"],
             "from_us": unix_micros(now + one.starts), "to_us": unix_micros(now + TERM)}  # fmt: skip
    yield json.dumps(about)
    for tokens in one.lines():
        yield " ".join(f"{domain}:{token}" for domain, token in tokens.items())


class Scans:
    """The first scans of a mix, with device, site and time."""

    def __init__(
        self, count: int, mix: Mix = USUAL, entries: int = ENTRIES, partitions: int = PARTITIONS, sites: int = SITES
    ) -> None:
        self.mix = mix
        self._parts: list[tuple[str, str]] = []
        self.rules: list[list[PersonRule] | None] = []
        """The rules that apply to each scan; None if it is malformed."""
        for n, passage in enumerate(islice(mix.passages(entries), count)):
            self._parts.append(_split(n, passage, sites))
            self.rules.append(passage.rules)
        site = [f"site-{n}".encode() for n in range(sites)]
        self._sites = [(key, (murmur2(key) & 0x7FFFFFFF) % partitions) for key in site]

    @property
    def partitions_used(self) -> int:
        """The number of partitions that have scans."""
        return len({partition for _, partition in self._sites[: len(self._parts)]})

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


def _split(n: int, passage: Passage, sites: int) -> tuple[str, str]:
    """Returns scan number `n` as the text before its time and after it."""
    return (
        f'{{"device_id":"device-{n % 500}","seq":{n},"site_id":"site-{n % sites}","observed_at":"',
        f'","kind":"vehicle","direction":"in","plate":"{passage.plate}","people":{passage.people}}}',
    )
