"""The parts of pushed batches as they come in: where each lies, and whether they make one batch (CONTRACT §5)."""

from __future__ import annotations

from msgspec import Struct, field, structs

from ninezero.schemas.events import PushBatch

BatchName = tuple[str, str]
"""(authority, batch_id): two authorities may have chosen the same id."""

_OF_A_PART = {"part", "lines", "issued_at"}
_OF_THE_BATCH = [name for name in PushBatch.__struct_fields__ if name not in _OF_A_PART]


class PartError(Exception):
    """A part that does not belong to its batch; `path` is the JSON Pointer to the fault."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Gathered(Struct):
    """What is there of a batch: its first part without lines, each part's offset, the lines of all."""

    head: PushBatch
    at_ms: int = 0
    """Kafka timestamp of the part that came last: the batch's "now"."""
    places: dict[int, int] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)
    """Line number → the part that has it."""

    @property
    def complete(self) -> bool:
        """Whether every part is there."""
        return len(self.places) == self.head.parts


class Parts:
    """Batches that are not complete. Contents stay on the topic."""

    def __init__(self) -> None:
        self.batches: dict[BatchName, Gathered] = {}

    def take(self, batch: PushBatch, offset: int, at_ms: int) -> Gathered:
        """Notes a part. The same part again takes the place of the first; a later `issued_at` begins the batch anew.

        Raises:
            PartError: a field of the batch differs from that of its other parts, or a line number comes twice.
        """
        name = (batch.authority, batch.batch_id)
        found = self.batches.get(name)
        if found is None or batch.issued_at > found.head.issued_at:
            found = Gathered(structs.replace(batch, lines=[]))
        elif batch.issued_at < found.head.issued_at:
            raise PartError("/issued_at")
        for key in _OF_THE_BATCH:
            if getattr(batch, key) != getattr(found.head, key):
                raise PartError(f"/{key}")
        numbers: set[int] = set()
        for index, line in enumerate(batch.lines):
            if line.line in numbers or found.lines.get(line.line, batch.part) != batch.part:
                raise PartError(f"/lines/{index}/line")
            numbers.add(line.line)
        if batch.part in found.places:
            found.lines = {number: part for number, part in found.lines.items() if part != batch.part}
        found.places[batch.part], found.at_ms = offset, at_ms
        found.lines.update(dict.fromkeys(numbers, batch.part))
        self.batches[name] = found
        return found

    def forget(self, name: BatchName) -> None:
        """The batch is judged."""
        self.batches.pop(name, None)
