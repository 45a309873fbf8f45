"""The job on Bytewax: batches of messages, alerts by its Kafka sink, rows by a sink with a state, recovery on.

Bytewax does not commit to Kafka: it keeps offsets in its recovery store at the end of each epoch. A sink with a state is asked for
it just then, so rows are written at that moment at the latest: durable before the offsets are kept.
"""

from __future__ import annotations

from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from tests.bench.peers import job


class _Part(StatefulSinkPartition):  # type: ignore[misc]
    def __init__(self) -> None:
        self._rows = job.Rows()

    def write_batch(self, values: list[Any]) -> None:
        """Takes lists of rows."""
        for some in values:
            for row in some:
                self._rows.add(row)
        if self._rows.due:
            self._rows.flush()

    def snapshot(self) -> None:
        """Before the epoch's offsets are kept."""
        self._rows.flush()


class ClickHouse(FixedPartitionedSink):  # type: ignore[misc]
    """One connection."""

    def list_parts(self) -> list[str]:
        """One."""
        return ["0"]

    def part_fn(self, item_key: str) -> int:
        """All rows go there."""
        return 0

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _Part:
        """Nothing to resume."""
        return _Part()


def _judge_all(messages: list[Any]) -> list[tuple[list[Any], list[Any], list[Any]]]:
    rows, alerts, letters = [], [], []
    for message in messages:
        at = message.timestamp[1]
        try:
            key, row, alert, _ = job.judge(listed, message.value, at)
        except job.Rejected as refused:
            letter = job.letter(message.value, message.partition, message.offset, at, refused)
            letters.append(KafkaSinkMessage(b"checkpoint-scans", letter))
        else:
            rows.append(row)
            if alert is not None:
                alerts.append(KafkaSinkMessage(key, alert))
    return [(rows, alerts, letters)] if messages else []


brokers = [job.KAFKA]
out = {key: str(value) for key, value in job.LIBRDKAFKA_OUT.items()}
listed = job.load()
flow = Dataflow("screening")
scans = op.input("scans", flow, KafkaSource(brokers, [job.SCANS], batch_size=10_000))
judged = op.flat_map_batch("judge", scans, _judge_all)
op.output("rows", op.map("rows-of", judged, lambda found: ("0", found[0])), ClickHouse())
op.output(
    "alerts", op.flat_map("alerts-of", judged, lambda found: found[1]), KafkaSink(brokers, job.ALERTS, add_config=out)
)
op.output(
    "letters",
    op.flat_map("letters-of", judged, lambda found: found[2]),
    KafkaSink(brokers, job.DEAD_LETTERS, add_config=out),
)
