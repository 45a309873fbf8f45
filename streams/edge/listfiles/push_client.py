"""Lists to the workers: a batch in parts, and the receipt that says what became of it.

Identities are tokens before anything is sent. Nothing kept, shown or raised here quotes a cell.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import msgspec

from ninezero.schemas.events import PushBatch, PushConfirmation, PushReceipt, encode
from ninezero.streams.edge.listfiles.push_lines import Line, parts
from ninezero.streams.errors import UserError
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.decoding import Rejected, decode
from ninezero.streams.kafka.sync import KafkaUnreachable, consumer, producer, read_to_end
from ninezero.streams.settings import Settings

PATIENCE_SECONDS = 30.0
"""How long a receipt is waited for, beside a second for every `LINES_A_SECOND` lines."""
LINES_A_SECOND = 5_000


class PushError(UserError):
    """The batch is not known to be applied: one line, what is wrong and what to do."""


def header_bytes(head: PushBatch) -> int:
    """Bytes of a part's JSON without its lines."""
    return len(encode(msgspec.structs.replace(head, lines=[], part=100_000, parts=100_000)))


def send(
    settings: Settings,
    head: PushBatch,
    lines: Iterable[Line],
    *,
    parts_count: int,
    progress: Callable[[int], None] = lambda _: None,
) -> PushReceipt:
    """Sends a batch's lines in `parts_count` parts and waits for its receipt; `progress` hears how many are sent.

    The same batch sent again is applied once, so after an error it may simply be sent again.

    Raises:
        KafkaUnreachable: no broker answers.
        PushError: Kafka did not take it, or there is no receipt in time.
    """
    with _receipts(settings) as receipts, contextlib.closing(producer(settings, linger_ms=0)) as kafka:
        sent, futures = 0, []
        for part, some in enumerate(_or_empty(parts(lines, header_bytes(head))), 1):
            batch = msgspec.structs.replace(
                head, part=part, parts=max(parts_count, 1), lines=[line.push for line in some]
            )
            futures.append(_sent(kafka, settings, head.authority, encode(batch)))
            sent += len(some)
            progress(sent)
        _acknowledged(futures)
        patience = PATIENCE_SECONDS + sent / LINES_A_SECOND
        return receipts.await_one(head.authority, head.batch_id, lambda receipt: True, patience)


def confirm(settings: Settings, batch_id: str, who: str, authority: str | None = None) -> PushReceipt:
    """A second person's word for a held batch, and the receipt that answers it.

    Raises:
        KafkaUnreachable: no broker answers.
        PushError: no such batch is held, or there is no receipt in time.
    """
    with _receipts(settings) as receipts, contextlib.closing(producer(settings, linger_ms=0)) as kafka:
        found = {r.authority for r in receipts.all() if r.batch_id == batch_id and authority in (None, r.authority)}
        if not found:
            raise PushError("there is no receipt of such a batch: check its id, receipts are kept for seven days")
        if len(found) > 1:
            raise PushError("several authorities have pushed a batch of that id: name one with --authority")
        said = PushConfirmation(batch_id, found.pop(), who, datetime.now(UTC))
        _acknowledged([_sent(kafka, settings, said.authority, encode(said))])
        return receipts.await_one(
            said.authority,
            batch_id,
            lambda r: r.by == who and (r.confirmed or r.confirmation is not None),
            PATIENCE_SECONDS,
        )


class _Receipts:
    """The topic of the receipts, read from where it ended when this was made."""

    def __init__(self, settings: Settings, reader: Any) -> None:
        from kafka import TopicPartition

        self._reader = reader
        self._tp = TopicPartition(settings.topic(topics.RECEIPTS.name), 0)
        reader.assign([self._tp])
        self._end = reader.end_offsets([self._tp])[self._tp]

    def all(self) -> Iterator[PushReceipt]:
        """Yields the receipts that the topic holds now."""
        yield from _decoded(read_to_end(self._reader, self._tp.topic))

    def await_one(
        self, authority: str, batch_id: str, wanted: Callable[[PushReceipt], bool], seconds: float
    ) -> PushReceipt:
        """The first later one of a batch. Raises PushError when there is none in time."""
        self._reader.seek(self._tp, self._end)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for receipt in _decoded(chain.from_iterable(self._reader.poll(timeout_ms=200).values())):
                if (receipt.authority, receipt.batch_id) == (authority, batch_id) and wanted(receipt):
                    return receipt
        raise PushError(
            "Kafka has it, but there is no receipt yet: see that a `ninezero worker lists` runs, then give the same command"
            f" with --batch-id {batch_id}: a batch is applied once, however often it is sent"
        )


def _decoded(records: Iterable[Any]) -> Iterator[PushReceipt]:
    for record in records:
        with contextlib.suppress(Rejected):  # only workers write there (ACL)
            yield decode(PushReceipt, record.value)


@contextlib.contextmanager
def _receipts(settings: Settings) -> Iterator[_Receipts]:
    with contextlib.closing(consumer(settings, isolation_level="read_committed")) as reader:
        try:
            receipts = _Receipts(settings, reader)
        except Exception:  # the client's own message may name hosts, and no remedy
            raise KafkaUnreachable(
                "the topic of the receipts is missing, or not for this user: ninezero topics create, ninezero topics acls"
            ) from None
        yield receipts


def _sent(kafka: Any, settings: Settings, authority: str, value: bytes) -> Any:
    try:
        return kafka.send(settings.topic(topics.PUSHES.name), key=authority.encode(), value=value)
    except Exception as error:
        raise _not_taken(error) from None


def _acknowledged(futures: Iterable[Any]) -> None:
    try:
        for future in futures:
            future.get(60)
    except Exception as error:
        raise _not_taken(error) from None


def _not_taken(error: Exception) -> PushError:
    """A client's own message is not quoted: it may hold a record."""
    return PushError(f"Kafka did not take the batch ({type(error).__name__}): send it again, a batch is applied once")


def _or_empty(some: Iterator[list[Line]]) -> Iterator[list[Line]]:
    """A batch without lines has one part, too: an empty `full` is held or empties a list, but is not lost."""
    first = next(some, [])
    yield first
    yield from some
