"""A key belongs to the partition that Kafka's own clients choose."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner import DefaultPartitioner as EdgePartitioner

from ninezero.streams.kafka.partitioner import partition_of


@given(st.binary(), st.integers(1, 100))
def test_both_clients_choose_the_same_partition(key: bytes, partitions: int) -> None:
    numbers = list(range(partitions))
    cluster: Any = SimpleNamespace(
        topics=lambda: ["t"],
        partitions_for_topic=lambda topic: numbers,
        available_partitions_for_topic=lambda topic: numbers,
    )
    assert partition_of(key, partitions) == DefaultPartitioner()(key, numbers, numbers)
    assert partition_of(key, partitions) == EdgePartitioner().partition("t", key, key, None, None, cluster)
