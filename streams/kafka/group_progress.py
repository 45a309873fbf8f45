"""How far the workers of another role have processed a topic: the offsets that their consumer group has committed.

An offset is committed only after everything that follows from the records before it is acknowledged. So when a group has passed the
ends that a topic had at an instant, everything that was received until then has its consequences in Kafka.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.topics import Topic
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.settings import Settings

Offsets = Mapping[TopicPartition, int]


class GroupProgress:
    """Compares the offsets that a role has committed with the ends of a topic. It needs the right to describe both, and reads nothing.

    Args:
        settings: the deployment.
        writer: knows the number of partitions.
        role: the role that processes the topic.
        topic: the topic.
    """

    def __init__(self, settings: Settings, writer: Writer, role: str, topic: Topic) -> None:
        self._settings, self._writer, self._role = settings, writer, role
        self._name = settings.topic(topic.name)
        self._client: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Connects to the broker. Without a subscription the client does not join the group, and it never commits."""
        self._client = kafka.consumer(self._settings, group_id=self._settings.group(self._role))
        await self._client.start()

    async def stop(self) -> None:
        """Disconnects."""
        if self._client is not None:
            await self._client.stop()

    async def ends(self) -> Offsets:
        """Returns the end of each partition of the topic now.

        Raises:
            KafkaError: the broker does not answer, or this user may not describe the topic.
        """
        assert self._client is not None
        partitions = [TopicPartition(self._name, n) for n in range(await self._writer.partition_count(self._name))]
        if self._client.assignment() != set(partitions):
            self._client.assign(partitions)
            self._client.pause(*partitions)
        found: Offsets = await self._client.end_offsets(partitions)
        return found

    async def has_passed(self, ends: Offsets) -> bool:
        """Returns whether the role has processed everything before some offsets.

        Raises:
            KafkaError: the broker does not answer, or this user may not describe the group.
        """
        assert self._client is not None
        partitions = [tp for tp, end in ends.items() if end > 0]
        committed = await asyncio.gather(*map(self._client.committed, partitions))
        behind = [tp for tp, offset in zip(partitions, committed, strict=True) if (offset or 0) < ends[tp]]
        if not behind:
            return True
        # A partition whose records have all expired has nothing left to process.
        begins = await self._client.beginning_offsets(behind)
        return all(begins[tp] >= ends[tp] for tp in behind)
