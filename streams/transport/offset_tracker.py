"""Chunks of records, and the offset up to which a partition may be committed.

The committed offset of a partition never runs ahead of what is durable. It is the start offset of the oldest unfinished
chunk, in whatever order the chunks finish. A rebalance or a seek closes the partition's tracker. A chunk that finishes after
that changes nothing, and its records are delivered again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faust.types import TP

MAX_RECORDS_IN_FLIGHT = 20_000
"""Maximum number of records of one partition that are delivered and unfinished. Above it the partition is not fetched."""

MAX_BYTES_IN_FLIGHT = 8 << 20
"""Maximum number of bytes of these records: a single record may have 2 MiB."""


class OffsetTracker:
    """Tracks the deliveries of one partition under one assignment.

    Attributes:
        position: the offset after the last delivered record; None before the first delivery.
        passed: the offset up to which the partition was fetched. It is above `position` if no record follows, for example at
            transaction markers.
        records: number of delivered records that are unfinished.
        bytes: size of their values.
        closed: whether the assignment has ended.
    """

    __slots__ = ("_unfinished", "bytes", "closed", "passed", "position", "records")

    def __init__(self) -> None:
        self._unfinished: dict[int, Chunk] = {}
        self.position: int | None = None
        self.passed = 0
        self.records = 0
        self.bytes = 0
        self.closed = False

    def deliver(self, chunk: Chunk) -> None:
        """Registers a chunk as unfinished and sets its `start`.

        Raises:
            ValueError: the chunk begins before the end of the last one. Chunks must come in the order of their offsets.
        """
        if self.position is not None and chunk.first < self.position:
            raise ValueError("a chunk was delivered twice under one assignment")
        chunk.start = chunk.first if self.position is None else self.position
        self._unfinished[chunk.first] = chunk
        self.position = chunk.next
        self.records += chunk.count
        self.bytes += chunk.bytes

    def finish(self, chunk: Chunk) -> bool:
        """Marks a chunk as finished. Returns False if it was finished before or the tracker is closed."""
        if self.closed or self._unfinished.pop(chunk.first, None) is None:
            return False
        self.records -= chunk.count
        self.bytes -= chunk.bytes
        return True

    def close(self) -> None:
        """Ends the assignment. Chunks that finish later are ignored."""
        self.closed = True
        self._unfinished.clear()
        self.records = self.bytes = 0

    @property
    def has_capacity(self) -> bool:
        """True if more records may be fetched."""
        return self.records < MAX_RECORDS_IN_FLIGHT and self.bytes < MAX_BYTES_IN_FLIGHT

    @property
    def watermark(self) -> int | None:
        """The offset before which every record is finished; None before the first delivery and after the close."""
        if self.closed:
            return None
        return next((chunk.start for chunk in self._unfinished.values()), self.position)

    @property
    def committable(self) -> int | None:
        """The offset to commit: the watermark, and what was passed after it. None as for the watermark."""
        watermark = self.watermark
        return watermark if watermark is None or self._unfinished else max(watermark, self.passed)

    @property
    def has_started_chunk(self) -> bool:
        """True if an agent has received a chunk and not finished it."""
        return any(chunk.started for chunk in self._unfinished.values())


class Chunk:
    """Records of one partition with rising offsets that were fetched together.

    Attributes:
        tp: topic and partition.
        records: the records as aiokafka parsed them (offset, timestamp, key, value); none after `forget_records`.
        values: their values; a tombstone's value is empty.
        count: number of records.
        bytes: total size of the values.
        timestamp_ms: Kafka timestamp of the last record, Unix time in ms; 0 if it has none.
        start: the offset at which the partition was read for this chunk. It is below `first` where offsets are missing,
            for example at transaction markers.
        first: the offset of the first record.
        next: the offset after the last record.
        started: whether an agent has received the chunk.
    """

    __slots__ = (
        "_on_done", "bytes", "count", "first", "next", "records", "start", "started", "timestamp_ms", "tp", "tracker", "values",
    )  # fmt: skip

    def __init__(
        self, tp: TP, records: list[Any], tracker: OffsetTracker, on_done: Callable[[], None] | None = None
    ) -> None:
        self.tp = tp
        self.records = records
        self.first: int = records[0].offset
        self.next: int = records[-1].offset + 1
        self.values: list[bytes] = [record.value or b"" for record in records]
        self.count = len(records)
        self.bytes = sum(map(len, self.values))
        self.timestamp_ms: int = getattr(records[-1], "timestamp", None) or 0
        self.start = self.first
        self.tracker = tracker
        self.started = False
        self._on_done = on_done

    def forget_records(self) -> None:
        """Frees the memory of the records, when everything that is needed of them was taken."""
        self.records, self.values = [], []

    def done(self) -> None:
        """Declares everything that follows from this chunk durable, so that its offsets may be committed."""
        if self.tracker.finish(self) and self._on_done is not None:
            self._on_done()
