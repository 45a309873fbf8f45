"""The job on Bytewax: batches of messages, alerts by its Kafka sink, rows by a stateful sink, with recovery.

Bytewax does not commit to Kafka. It stores offsets in its recovery store at the end of each epoch, and asks a stateful sink for its
state at that moment. The sink inserts its rows then at the latest, so they are durable before the offsets are stored.
"""

from __future__ import annotations

from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from tests.bench.peers import job


class _Part(StatefulSinkPartition):
    def __init__(self) -> None:
        self._rows = job.Rows()

    def write_batch(self, values: list[Any]) -> None:
        """Adds lists of rows."""
        for group in values:
            for row in group:
                self._rows.add(row)
        if self._rows.due:
            self._rows.flush()

    def snapshot(self) -> None:
        """Inserts the rows. Called before the offsets of the epoch are stored."""
        self._rows.flush()


class ClickHouse(FixedPartitionedSink):
    """A sink with one connection."""

    def list_parts(self) -> list[str]:
        """Returns the only partition."""
        return ["0"]

    def part_fn(self, item_key: str) -> int:
        """Assigns every row to the only partition."""
        return 0

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _Part:
        """Makes the partition. It has no state to resume."""
        return _Part()


def _decide_all(messages: list[Any]) -> list[tuple[list[Any], list[Any], list[Any]]]:
    rows, alerts, letters = [], [], []
    for message in messages:
        at = message.timestamp[1]
        try:
            key, row, alert, _ = job.decide(watchlist, message.value, at)
        except job.Rejected as rejection:
            letter = job.dead_letter(message.value, message.partition, message.offset, at, rejection)
            letters.append(KafkaSinkMessage(b"checkpoint-scans", letter))
        else:
            rows.append(row)
            if alert is not None:
                alerts.append(KafkaSinkMessage(key, alert))
    return [(rows, alerts, letters)] if messages else []


brokers = [job.KAFKA]
out = {key: str(value) for key, value in job.LIBRDKAFKA_OUT.items()}
watchlist = job.load_watchlist()
flow = Dataflow("screening")
scans = op.input("scans", flow, KafkaSource(brokers, [job.SCANS], batch_size=10_000))
decided = op.flat_map_batch("decide", scans, _decide_all)
op.output("rows", op.map("rows-of", decided, lambda found: ("0", found[0])), ClickHouse())
op.output(
    "alerts", op.flat_map("alerts-of", decided, lambda found: found[1]), KafkaSink(brokers, job.ALERTS, add_config=out)
)
op.output(
    "letters",
    op.flat_map("letters-of", decided, lambda found: found[2]),
    KafkaSink(brokers, job.DEAD_LETTERS, add_config=out),
)
