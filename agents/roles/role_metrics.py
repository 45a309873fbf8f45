"""Metrics that every role sets: counters that start at 0, the lag of its partitions, and the time until the sunset."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import get_args

from faust.exceptions import ConsumerNotStarted

from ninezero.agents.roles.role import Role
from ninezero.schemas.events import DEAD_REASONS, BatchStatus
from ninezero.streams import metrics
from ninezero.streams.kafka import topics
from ninezero.streams.suppressed_errors import Task


def start_counters_at_zero() -> None:
    """Creates the series of the counters that alerts watch.

    Prometheus sees no increase in a series that first appears with the value 3.
    """
    for topic in topics.SOURCES:
        for reason in DEAD_REASONS:
            metrics.dead_letters.labels(topic.name, reason)
    for status in get_args(BatchStatus):
        metrics.events.labels(topics.PUSHES.name, status)
    for topic in (topics.SCANS, topics.ARRIVALS):
        metrics.events.labels(topic.name, "clear")
    metrics.sink_retries.labels("all")
    for task in get_args(Task):
        metrics.suppressed_errors.labels(task)
    for topic in topics.ALL:
        if topic.format is not None:
            metrics.unreadable_records.labels(topic.name)


async def measure_lag(role: Role) -> None:
    """Sets the lag of each assigned partition and the time until the sunset, once a second."""
    measured: set[tuple[str, int]] = set()
    while True:
        metrics.sunset.set((role.settings.sunset - datetime.now(UTC)).total_seconds())
        before, measured = measured, _measure_partitions(role)
        for labels in before - measured:  # another process has the partition now, and measures it
            metrics.lag.remove(*labels)
        await asyncio.sleep(1)


def _measure_partitions(role: Role) -> set[tuple[str, int]]:
    """Returns the (topic, partition) labels that were set."""
    consumer = role.app.consumer
    measured = set()
    for tp, watermark in list(consumer.watermarks().items()):
        try:
            end = consumer.highwater(tp)
        except (AssertionError, AttributeError, KeyError, ConsumerNotStarted):
            continue  # aiokafka 0.14 raises one of these while the partition is being revoked
        if end is not None and watermark is not None:
            labels = tp.topic.removeprefix(role.settings.topic_prefix), tp.partition
            metrics.lag.labels(*labels).set(end - watermark)
            measured.add(labels)
    return measured
