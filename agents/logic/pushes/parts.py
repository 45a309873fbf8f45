"""Collects the parts of push batches, and checks that the parts of one batch agree (contract §5)."""

from __future__ import annotations

from msgspec import Struct, field, structs

from ninezero.schemas.events import PushBatch

BatchName = tuple[str, str]
"""(authority, batch_id). The authority is part of the name because two authorities may choose the same id."""

MAX_INCOMPLETE_MS = 86_400_000
"""A batch whose parts have not all arrived this long after the first is rejected as `incomplete`."""

_PART_FIELDS = {"part", "lines", "issued_at"}
_BATCH_FIELDS = [name for name in PushBatch.__struct_fields__ if name not in _PART_FIELDS]
"""Fields that must be equal in all parts of a batch."""


class PartError(Exception):
    """A part does not agree with the other parts of its batch. `path` is the JSON Pointer to the fault."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class GatheredBatch(Struct):
    """The parts of one batch that have arrived. Their lines stay on the topic."""

    head: PushBatch
    """The first part that arrived, without its lines."""
    kafka_ms: int = 0
    """Kafka timestamp of the last part that arrived, Unix time in ms. It is the time at which the batch is decided."""
    first_kafka_ms: int = 0
    """Kafka timestamp of the part that arrived first, Unix time in ms."""
    offsets: dict[int, int] = field(default_factory=dict)
    """Offset of each part, by part number."""
    lines: dict[int, int] = field(default_factory=dict)
    """Part number of each line, by line number."""

    @property
    def complete(self) -> bool:
        """True if all parts have arrived."""
        return len(self.offsets) == self.head.parts

    def has_expired(self, now_ms: int) -> bool:
        """Returns whether the batch was not complete in time.

        Args:
            now_ms: Kafka timestamp of its last part, or the time until which no part has arrived. Unix time in ms.
        """
        return now_ms - self.first_kafka_ms > MAX_INCOMPLETE_MS

    @property
    def offsets_in_order(self) -> list[int]:
        """The offsets of the parts, in the order of the parts."""
        return [offset for _, offset in sorted(self.offsets.items())]


class Parts:
    """The batches that are not complete yet."""

    def __init__(self) -> None:
        self.batches: dict[BatchName, GatheredBatch] = {}

    def add(self, batch: PushBatch, offset: int, kafka_ms: int) -> GatheredBatch:
        """Adds a part and returns its batch.

        The same part again replaces the earlier one. A later `issued_at` is a new attempt: it discards the parts of the earlier one.

        Args:
            batch: the part.
            offset: its offset on the topic.
            kafka_ms: its Kafka timestamp, Unix time in ms.

        Raises:
            PartError: a field of the batch differs from that of its other parts, or a line number occurs twice.
        """
        name = (batch.authority, batch.batch_id)
        gathered = self.batches.get(name)
        if gathered is None or batch.issued_at > gathered.head.issued_at:
            gathered = GatheredBatch(structs.replace(batch, lines=[]), first_kafka_ms=kafka_ms)
        elif batch.issued_at < gathered.head.issued_at:
            raise PartError("/issued_at")
        for key in _BATCH_FIELDS:
            if getattr(batch, key) != getattr(gathered.head, key):
                raise PartError(f"/{key}")
        numbers: set[int] = set()
        for position, line in enumerate(batch.lines):
            if line.line in numbers or gathered.lines.get(line.line, batch.part) != batch.part:
                raise PartError(f"/lines/{position}/line")
            numbers.add(line.line)
        if batch.part in gathered.offsets:
            gathered.lines = {number: part for number, part in gathered.lines.items() if part != batch.part}
        gathered.offsets[batch.part], gathered.kafka_ms = offset, kafka_ms
        gathered.lines.update(dict.fromkeys(numbers, batch.part))
        self.batches[name] = gathered
        return gathered

    def expired(self, now_ms: int) -> list[GatheredBatch]:
        """Returns the batches that were not complete in time, if no part arrived until `now_ms` (Unix time in ms)."""
        return [batch for batch in self.batches.values() if not batch.complete and batch.has_expired(now_ms)]

    def remove(self, name: BatchName) -> None:
        """Removes a batch that has been decided."""
        self.batches.pop(name, None)
