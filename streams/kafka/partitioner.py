"""The partition of a key, as Kafka's own clients choose it."""

from __future__ import annotations

from functools import lru_cache

from kafka.partitioner.default import murmur2


@lru_cache(1 << 17)
def partition_of(key: bytes, partitions: int) -> int:
    """Returns the partition of a key: murmur2 without its sign bit, modulo the number of partitions.

    Results are cached, because the hash in Python costs as much CPU time as appending a record to a batch.

    Source: `BuiltInPartitioner.partitionForKey` of Apache Kafka.
    """
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)
