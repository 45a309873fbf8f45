"""The topic `policies`, read once from its beginning to its end: for the command line and the doctor."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from aiokafka.errors import KafkaError

from ninezero.agents.logic.policy.history import History, WrittenRecord
from ninezero.agents.policies.policies import default_policy
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.internal_records import InternalRecords
from ninezero.streams.kafka.register import Statements, read_register
from ninezero.streams.kafka.sync import unreachable
from ninezero.streams.kafka.topics import POLICIES
from ninezero.streams.settings import Settings

READ_SECONDS = 60.0
"""Longest time that reading both topics may take."""


class PoliciesSnapshot(NamedTuple):
    """What operators have stated so far."""

    statements: Statements
    """The register."""
    history: History
    """The topic `policies`."""


async def read_policies(settings: Settings) -> PoliciesSnapshot:
    """Reads the register and the policies.

    Raises:
        KafkaUnreachable: the broker does not answer.
        TopicsMissing: a topic is missing.
        UnreadableRecord: a record cannot be read.
    """
    await kafka.require_topics(settings, [POLICIES])
    tp = kafka.TopicPartition(settings.topic(POLICIES.name), 0)
    try:
        async with asyncio.timeout(READ_SECONDS):
            with kafka.silent_client():  # the error below says the same in one line
                statements = await read_register(settings)
                async with kafka.connected(kafka.consumer(settings)) as reader:
                    found = [record async for record in kafka.read_to_end(reader, [tp])]
    except (KafkaError, TimeoutError):
        raise unreachable(settings) from None
    records = InternalRecords(POLICIES, statements.set_aside)
    written = [
        WrittenRecord(record.key or b"", records.decode(record), record.timestamp)
        for record in found
        if not records.is_set_aside(record)
    ]
    return PoliciesSnapshot(statements, History(default_policy(settings), settings.replay, written))
