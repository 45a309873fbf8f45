"""A micro-batch: the records of several chunks, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from ninezero.agents.logic.watchlist.columns import Array
from ninezero.streams.transport.offset_tracker import Chunk


class Batch:
    """The records that are decided together. Every column has one element for each record."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.records: list[Any] = list(chain.from_iterable(chunk.records for chunk in chunks))
        self.values: list[bytes] = list(chain.from_iterable(chunk.values for chunk in chunks))
        self.kafka_ms: Array = np.fromiter((record.timestamp for record in self.records), np.int64, len(self.records))
        """Kafka timestamps, Unix time in ms."""
        partitions = [chunk.tp.partition for chunk in chunks]
        self.partitions: Array = np.repeat(partitions, [len(chunk.records) for chunk in chunks])

    def __len__(self) -> int:
        return len(self.records)
