"""Rows of one topic that wait for their insert."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ninezero.schemas.row_block import Block
from ninezero.streams.transport.offset_tracker import Chunk

FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.1, 10.0
"""Pause after the first failure, and the longest one; it doubles with each failure."""

RowsByTable = dict[str, Block]


class Batch(NamedTuple):
    """Chunks of one topic and the rows that were made of them. They become durable together."""

    chunks: list[Chunk]
    rows: RowsByTable
    row_count: int


class TopicBuffer:
    """The rows of one topic that wait. Each topic has its own, so a table that rejects inserts stops only the topics that
    write into it."""

    def __init__(self) -> None:
        self._chunks: list[Chunk] = []
        self._rows: RowsByTable = {}
        self._batch: Batch | None = None
        """The batch that is being flushed. It is kept until it succeeds."""
        self.row_count = 0
        """Number of rows that wait, including the batch that is being flushed."""
        self._retry_at = 0.0
        self._pause = FIRST_RETRY_SECONDS

    @property
    def empty(self) -> bool:
        """True if nothing waits."""
        return not self._chunks and self._batch is None

    @property
    def due(self) -> bool:
        """True if something waits and the pause after the last failure is over."""
        return not self.empty and self._retry_at <= time.monotonic()

    @property
    def failed(self) -> bool:
        """True if the batch has failed before."""
        return self._pause > FIRST_RETRY_SECONDS

    @property
    def bytes(self) -> int:
        """Size of the records that wait, without those of the batch that is being flushed."""
        return sum(chunk.bytes for chunk in self._chunks)

    def append(self, chunk: Chunk, rows: Mapping[str, Block | Sequence[tuple[Any, ...]]]) -> None:
        """Adds a chunk and its rows by table."""
        self._chunks.append(chunk)
        for table, some in rows.items():
            self._rows.setdefault(table, Block(table)).extend(some)
            self.row_count += len(some)

    def next_batch(self) -> Batch:
        """Returns the batch to flush: the one that failed before, or everything that waits."""
        if self._batch is None:
            self._batch = Batch(self._chunks, self._rows, self.row_count)
            self._chunks, self._rows = [], {}
        return self._batch

    def retry_later(self) -> float:
        """Postpones the batch after a failure. Returns the pause in s."""
        pause, self._pause = self._pause, min(self._pause * 2, LAST_RETRY_SECONDS)
        self._retry_at = time.monotonic() + pause
        return pause

    def finish_batch(self) -> None:
        """Removes the batch: it is durable, or its records will be read again."""
        assert self._batch is not None
        self.row_count -= self._batch.row_count
        self._batch, self._retry_at, self._pause = None, 0.0, FIRST_RETRY_SECONDS
