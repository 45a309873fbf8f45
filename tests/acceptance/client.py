"""A random client of the pipeline: health authorities that push lists, devices that send scans, arrivals and malformed records.

It knows Kafka and the contract, nothing else. Everything random comes from one seed; the clock and the offsets do
not, so a seed repeats the cases, not the bytes. Cases that the contract leaves open are not sent (see oracle/).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from . import oracle
from .authorities import Authorities, Crowd
from .devices import Devices
from .oracle import MIB, PUSHES, SECOND, Record


class Tail:
    """Follows topics from their beginning, without a group."""

    def __init__(self, bootstrap: str, prefix: str, topics: Iterable[str], wait: float = 60) -> None:
        self._prefix = prefix
        self._consumer: Any = KafkaConsumer(
            bootstrap_servers=bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            group_id=None,
            isolation_level="read_committed",
        )
        self.records: dict[str, list[Record]] = {topic: [] for topic in topics}
        assigned = []
        until = time.monotonic() + wait
        for topic in self.records:
            while not (partitions := self._consumer.partitions_for_topic(prefix + topic)):
                assert time.monotonic() < until, f"no topic {topic}"
                time.sleep(0.5)
            assigned += [TopicPartition(prefix + topic, number) for number in sorted(partitions)]
        self._consumer.assign(assigned)
        self._consumer.seek_to_beginning(*assigned)

    def poll(self) -> int:
        """Fetches new records. Returns their number."""
        fetched = self._consumer.poll(timeout_ms=500, max_records=5000)
        for where, records in fetched.items():
            topic = where.topic.removeprefix(self._prefix)
            self.records[topic].extend(
                Record(topic, where.partition, r.offset, r.timestamp, r.key, r.value or b"") for r in records
            )
        return sum(len(records) for records in fetched.values())

    def until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Polls until `done()` or the time is over. Returns whether it was done."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                return False
            self.poll()
        return True

    def close(self) -> None:
        self._consumer.close()


@dataclass
class Client:
    """One run: pushes, then scans. `records` holds what was sent, as the broker stores it, in the order of sending."""

    bootstrap: str
    prefix: str
    seed: int
    run: str
    count: int = 3000
    records: list[Record] = field(default_factory=list)
    base: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.crowd = Crowd.born(self.rng)
        self.authorities = Authorities(self.rng, self.run, self.crowd, 0)
        self.devices = Devices(self.rng, self.run, self.crowd, 0, self.authorities.good)
        self.producer: Any = KafkaProducer(
            bootstrap_servers=self.bootstrap, acks="all", max_request_size=3 * MIB, linger_ms=5
        )

    def sites(self) -> list[str]:
        return self.devices.checkpoints() + self.devices.stations()

    def _send(self, messages: Iterable[tuple[str, str, bytes]], chunks: tuple[int, ...] = (500,)) -> None:
        """Sends values in chunks of these sizes, then reads them back: only the broker knows the timestamp that the rules use."""
        futures, room = [], 0
        for topic, key, value in messages:
            futures.append((self.producer.send(self.prefix + topic, key=key.encode(), value=value), value))
            room -= 1
            if room < 0:
                self.producer.flush()
                room = self.rng.choice(chunks)
        self.producer.flush()
        places = [(future.get(timeout=60), value) for future, value in futures]
        wanted = {(meta.topic.removeprefix(self.prefix), meta.partition, meta.offset): value for meta, value in places}
        tail = Tail(self.bootstrap, self.prefix, sorted({topic for topic, _, _ in wanted}))

        def found() -> dict[tuple[str, int, int], Record]:
            return {(r.topic, r.partition, r.offset): r for some in tail.records.values() for r in some}

        assert tail.until(lambda: wanted.keys() <= found().keys(), 120), "what was acknowledged can't be read back"
        tail.close()
        read = found()
        assert all(read[place].value == value for place, value in wanted.items()), "the broker changed a value"
        self.records.extend(read[place] for place in wanted)

    def push(self, seconds: float = 180) -> list[Record]:
        """Pushes every batch and waits for the receipts, then two seconds more (§5). Returns the receipts."""
        self.base = int(time.time()) * SECOND
        self.authorities.base = self.devices.base = self.base
        self._send((PUSHES, authority, value) for authority, value in self.authorities.pushes())
        wanted = len(oracle.expect(self.records).receipts)
        tail = Tail(self.bootstrap, self.prefix, ["push-receipts"])
        receipts = tail.records["push-receipts"]
        assert tail.until(lambda: len(receipts) >= wanted, seconds), f"{len(receipts)} of {wanted} receipts"
        time.sleep(2)
        tail.close()
        return receipts

    def send(self) -> None:
        """Sends every event in chunks of many sizes, so that the workers get small and large fetches."""
        self._send(list(self.devices.records(self.count)), (0, 1, 20, 500, 2000))

    def close(self) -> None:
        self.producer.close()
