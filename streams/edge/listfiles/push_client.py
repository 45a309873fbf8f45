"""The client of the lists role: writes a batch to Kafka in parts, and reads the receipt that answers it.

All identities have become tokens before this module gets them. No error here quotes a cell or a record.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import msgspec

from ninezero.schemas.events import PushBatch, PushConfirmation, PushReceipt, encode
from ninezero.streams.edge.bilingual import Bilingual
from ninezero.streams.edge.listfiles import push_texts
from ninezero.streams.edge.listfiles.batch_parts import header_bytes, split_into_parts
from ninezero.streams.edge.listfiles.push_lines import CheckedLine
from ninezero.streams.errors import UserError
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.decoding import Rejected, decode
from ninezero.streams.kafka.sync import KafkaProblem, consumer, producer, read_to_end
from ninezero.streams.settings import Settings

RECEIPT_TIMEOUT_SECONDS = 30.0
"""Longest wait for a receipt, plus one second for every `LINES_PER_SECOND` lines."""
LINES_PER_SECOND = 5_000

_WRITE_TIMEOUT_SECONDS = 60


class PushError(UserError):
    """The batch is not known to be applied. One line: what is wrong and what to do."""

    def __init__(self, text: Bilingual) -> None:
        super().__init__(text.en, chinese=text.zh)


def push_batch(
    settings: Settings,
    batch: PushBatch,
    lines: Iterable[CheckedLine],
    *,
    part_count: int,
    progress: Callable[[int], None] = lambda _: None,
) -> PushReceipt:
    """Writes the lines of a batch in parts and waits for its receipt.

    A batch that is sent again is applied once. After an error the same batch can therefore be sent again.

    Args:
        settings: the deployment.
        batch: the batch without its lines.
        lines: its lines, in order.
        part_count: the number of parts that `split_into_parts` makes of the lines.
        progress: is called with the number of lines written so far, after each part.

    Raises:
        KafkaProblem: no broker answers, or the topic of the receipts cannot be read.
        PushError: Kafka has not acknowledged the batch, or there is no receipt in time.
    """
    with _receipts(settings) as receipts, contextlib.closing(producer(settings, linger_ms=0)) as kafka:
        written, futures = 0, []
        for part, group in enumerate(_at_least_one(split_into_parts(lines, header_bytes(batch))), 1):
            record = msgspec.structs.replace(
                batch, part=part, parts=max(part_count, 1), lines=[line.push for line in group]
            )
            futures.append(_write(kafka, settings, batch.authority, batch.batch_id, encode(record)))
            written += len(group)
            progress(written)
        _await_acknowledgements(futures, batch.batch_id)
        timeout = RECEIPT_TIMEOUT_SECONDS + written / LINES_PER_SECOND
        return receipts.await_one(
            batch.authority, batch.batch_id, lambda receipt: receipt.confirmation is None, timeout
        )


def earlier_receipts(settings: Settings) -> list[PushReceipt]:
    """Returns the receipts of the last seven days, the oldest first.

    Raises:
        KafkaProblem: no broker answers, or the topic of the receipts cannot be read.
    """
    with _receipts(settings) as receipts:
        return [*receipts.earlier()]


def receipts_of(settings: Settings, batch_id: str, authority: str | None = None) -> list[PushReceipt]:
    """Returns what the receipts say about a batch, one for each different answer: it was pushed, and it was confirmed.

    Raises:
        KafkaProblem: no broker answers, or the topic of the receipts cannot be read.
        PushError: several authorities have pushed a batch of this id.
    """
    found: dict[bool, PushReceipt] = {}
    for receipt in earlier_receipts(settings):
        if receipt.batch_id == batch_id and authority in (None, receipt.authority) and receipt.confirmation is None:
            other = next(iter(found.values()), receipt)
            if other.authority != receipt.authority:
                raise PushError(push_texts.SEVERAL_AUTHORITIES)
            found[receipt.confirmed] = receipt
    return [*found.values()]


def confirm_batch(settings: Settings, batch_id: str, confirmed_by: str, authority: str | None = None) -> PushReceipt:
    """Writes a second person's confirmation of a held batch and waits for the receipt that answers it.

    `authority` is needed only if several authorities have pushed a batch of this id.

    Raises:
        KafkaProblem: no broker answers, or the topic of the receipts cannot be read.
        PushError: there is no receipt of such a batch, Kafka has not acknowledged the confirmation, or there is no answer in time.
    """
    with _receipts(settings) as receipts, contextlib.closing(producer(settings, linger_ms=0)) as kafka:
        found = {r.authority for r in receipts.earlier() if r.batch_id == batch_id and authority in (None, r.authority)}
        if not found:
            raise PushError(push_texts.NOT_FOUND)
        if len(found) > 1:
            raise PushError(push_texts.SEVERAL_AUTHORITIES)
        confirmation = PushConfirmation(batch_id, found.pop(), confirmed_by, datetime.now(UTC))
        written = _write(kafka, settings, confirmation.authority, batch_id, encode(confirmation))
        _await_acknowledgements([written], batch_id)
        return receipts.await_one(
            confirmation.authority,
            batch_id,
            lambda r: r.by == confirmed_by and (r.confirmed or r.confirmation is not None),
            RECEIPT_TIMEOUT_SECONDS,
        )


class _Receipts:
    """The topic of the receipts. Its end at construction separates earlier receipts from those that are waited for."""

    def __init__(self, settings: Settings, reader: Any) -> None:
        from kafka import TopicPartition

        self._reader = reader
        self._tp = TopicPartition(settings.topic(topics.RECEIPTS.name), 0)
        reader.assign([self._tp])
        self._end = reader.end_offsets([self._tp])[self._tp]

    def earlier(self) -> Iterator[PushReceipt]:
        """Yields the receipts that the topic holds now."""
        yield from _decoded(read_to_end(self._reader, self._tp.topic))

    def await_one(
        self, authority: str, batch_id: str, wanted: Callable[[PushReceipt], bool], timeout: float
    ) -> PushReceipt:
        """Returns the first later receipt of a batch that is wanted. Raises PushError after `timeout` seconds."""
        self._reader.seek(self._tp, self._end)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for receipt in _decoded(chain.from_iterable(self._reader.poll(timeout_ms=200).values())):
                if (receipt.authority, receipt.batch_id) == (authority, batch_id) and wanted(receipt):
                    return receipt
        raise PushError(push_texts.NO_RECEIPT_YET.format(batch=batch_id))


def _decoded(records: Iterable[Any]) -> Iterator[PushReceipt]:
    """Yields the receipts among these records."""
    for record in records:
        with contextlib.suppress(Rejected):  # by its access rights, only the lists role writes there
            yield decode(PushReceipt, record.value)


@contextlib.contextmanager
def _receipts(settings: Settings) -> Iterator[_Receipts]:
    with contextlib.closing(consumer(settings, isolation_level="read_committed")) as reader:
        try:
            receipts = _Receipts(settings, reader)
        except Exception:  # the client's own message can name hosts, and states no remedy
            raise KafkaProblem(push_texts.NO_RECEIPTS_TOPIC.en, chinese=push_texts.NO_RECEIPTS_TOPIC.zh) from None
        yield receipts


def _write(kafka: Any, settings: Settings, authority: str, batch_id: str, value: bytes) -> Any:
    """Returns the future of the acknowledgement."""
    try:
        return kafka.send(settings.topic(topics.PUSHES.name), key=authority.encode(), value=value)
    except Exception as error:
        raise _not_acknowledged(error, batch_id) from None


def _await_acknowledgements(futures: Iterable[Any], batch_id: str) -> None:
    try:
        for future in futures:
            future.get(_WRITE_TIMEOUT_SECONDS)
    except Exception as error:
        raise _not_acknowledged(error, batch_id) from None


def _not_acknowledged(error: Exception, batch_id: str) -> PushError:
    """The client's own message is not quoted, because it can contain a record."""
    return PushError(push_texts.NO_ACKNOWLEDGEMENT.format(error=type(error).__name__, batch=batch_id))


def _at_least_one(parts: Iterator[list[CheckedLine]]) -> Iterator[list[CheckedLine]]:
    """Yields one empty part for a batch without lines, so that an empty `full` is answered like any other batch."""
    yield next(parts, [])
    yield from parts
