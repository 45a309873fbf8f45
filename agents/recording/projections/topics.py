"""Topics → rows: for each recorded topic, how a record is decoded and which tables its rows go into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, NamedTuple

from isal.isal_zlib import crc32

from ninezero.agents.logic.days import Days
from ninezero.agents.policies.policies import Policies
from ninezero.agents.recording.projections import decisions, events
from ninezero.agents.recording.retention import first_counted_alert_day
from ninezero.agents.recording.sealed_days import SEALED_TABLES
from ninezero.schemas.events import (
    DeadLetter,
    Disposition,
    FollowupEvent,
    PushReceipt,
    QuarantineEvent,
    decode_care_alert,
    decoder,
)
from ninezero.schemas.row_block import Block
from ninezero.schemas.times import unix_micros
from ninezero.streams import metrics
from ninezero.streams.clickhouse.topic_buffer import RowsByTable
from ninezero.streams.kafka.decoding import Rejected, decode_event
from ninezero.streams.kafka.internal_records import InternalRecords, Position
from ninezero.streams.kafka.topics import (
    ALERTS,
    DEAD_LETTERS,
    DECISIONS,
    DISPOSITIONS,
    FOLLOWUPS,
    QUARANTINE,
    RECEIPTS,
    TRANSFERS,
    Topic,
)
from ninezero.streams.settings import Settings
from ninezero.streams.transport.offset_tracker import Chunk

Decode = Callable[[Any, int], Any]
"""Decodes a Kafka record, given its partition, to the value that rows are made of, or to None if it is not recorded.

Raises `UnreadableRecord` for a record of our own workers that cannot be read.
"""

MakeRows = Callable[[Sequence[Any]], Block]
"""Returns the rows of one table for decoded values."""


class Projection(NamedTuple):
    """The functions by which the records of a topic become rows."""

    topic: Topic
    decode: Decode
    tables: dict[str, MakeRows]


class Projected(NamedTuple):
    """The rows of a chunk by table, and the records that belong at least partly to sealed days."""

    rows: RowsByTable
    sealed_records: list[Any]


def projections(settings: Settings, policies: Policies, set_aside: Set[Position] = frozenset()) -> list[Projection]:
    """Returns the projection of every topic that is recorded.

    Args:
        settings: the settings of the process.
        policies: say what is fever in a reading; see `policy_times`.
        set_aside: the records that are passed over.
    """
    days = Days(settings.timezone)
    by_day = partial(decisions.split_by_day, day_of=days.of_second)

    def decode_device_event(kind: Any) -> Decode:
        return lambda record, partition: receive_event(record, kind, days, settings)

    return [
        Projection(
            DECISIONS,
            _decode_internal(InternalRecords(DECISIONS, set_aside), by_day),
            {"screening_facts": decisions.screening_facts, "device_events": decisions.device_events},
        ),
        Projection(
            TRANSFERS,
            _decode_transfers(InternalRecords(TRANSFERS, set_aside), days),
            _rows_of_each(transfer_facts=events.transfer),
        ),
        Projection(
            DISPOSITIONS,
            decode_device_event(Disposition),
            _rows_of_each(disposition_facts=events.disposition, device_events=events.device_event),
        ),
        Projection(
            QUARANTINE,
            decode_device_event(QuarantineEvent),
            _rows_of_each(
                quarantine_facts=partial(events.quarantine_event, policies=policies, term_days=settings.term_days),
                device_events=events.device_event,
            ),
        ),
        Projection(
            FOLLOWUPS,
            decode_device_event(FollowupEvent),
            _rows_of_each(
                followup_facts=partial(events.followup_event, term_days=settings.term_days),
                device_events=events.device_event,
            ),
        ),
        Projection(
            ALERTS,
            _decode_care_alerts(InternalRecords(ALERTS, set_aside, decode_care_alert), settings),
            _rows_of_each(care_alert_facts=events.care_alert),
        ),
        Projection(
            RECEIPTS,
            _decode_internal(InternalRecords(RECEIPTS, set_aside, decoder(PushReceipt).decode)),
            _rows_of_each(push_receipts=events.push_receipt, push_audit=events.push_audit),
        ),
        Projection(
            DEAD_LETTERS,
            _decode_internal(InternalRecords(DEAD_LETTERS, set_aside, decoder(DeadLetter).decode)),
            _rows_of_each(dead_letter_facts=events.dead_letter),
        ),
    ]


def project(projection: Projection, chunk: Chunk, sealed_days: Set[date]) -> Projected:
    """Returns the rows of a chunk, without rows of sealed days.

    Of a record that belongs to several days, the rows of the days that are not sealed remain.

    Raises:
        UnreadableRecord: a record of our own workers cannot be read.
    """
    values, sealed_values, sealed_records = [], [], []
    for record in chunk.records:
        value = projection.decode(record, chunk.tp.partition)
        if value is None:
            continue
        if sealed_days.isdisjoint(getattr(value, "days", ())):
            values.append(value)
        else:
            sealed_values.append(value)
            sealed_records.append(record)
    found = {table: make_rows(values) for table, make_rows in projection.tables.items()}
    if sealed_values:
        for table in SEALED_TABLES & projection.tables.keys():
            found[table].extend(projection.tables[table](sealed_values).without_days(sealed_days))
    return Projected(found, sealed_records)


def policy_times(projection: Projection, chunk: Chunk, policies: Policies) -> Iterator[int]:
    """Yields the times of the events of a chunk, at which the policies must be known (Unix time in ms)."""
    for record in chunk.records:
        if (event := projection.decode(record, chunk.tp.partition)) is not None:
            yield policies.time_of(event.kafka_ms, event.observed_us)


def _decode_internal(records: InternalRecords, convert: Callable[[Any], Any] = lambda value: value) -> Decode:
    """Returns how the records of a topic are decoded that only our own workers write. Those set aside are not recorded."""

    def decode(record: Any, partition: int) -> Any:
        return None if records.is_set_aside(record, partition) else convert(records.decode(record, partition))

    return decode


def _decode_transfers(records: InternalRecords, days: Days) -> Decode:
    """Returns how transfer events are decoded."""

    def decode(record: Any, partition: int) -> events.ReceivedTransfer | None:
        if records.is_set_aside(record, partition):
            return None
        event = records.decode(record, partition)
        return events.ReceivedTransfer(event, days.of(unix_micros(event.observed_at)), record.timestamp)

    return decode


def _decode_care_alerts(records: InternalRecords, settings: Settings) -> Decode:
    """Returns how the topic of the alerts is decoded. An alert that was sent after its day was frozen is not recorded.

    The time at which it was sent decides, so that a rebuild records the same alerts.
    """

    def decode(record: Any, partition: int) -> events.SentAlert | None:
        alert = None if records.is_set_aside(record, partition) else records.decode(record, partition)
        if alert is None:
            return None
        sent = datetime.fromtimestamp(record.timestamp / 1000, UTC)
        if not settings.replay and alert.day < first_counted_alert_day(sent, settings.timezone):
            metrics.late_alerts.inc()
            return None
        return events.SentAlert(alert, record.timestamp)

    return decode


def receive_event(record: Any, kind: Any, days: Days, settings: Settings) -> events.ReceivedEvent | None:
    """Decodes an event that a device sent.

    Returns None if the event is not valid (the ledgers role dead-letters it), or if it arrived after the sunset.
    """
    try:
        event, observed_us, late = decode_event(kind, record.value, record.timestamp, replay=settings.replay)
    except Rejected:
        return None
    if record.timestamp >= settings.sunset.timestamp() * 1000:
        return None
    return events.ReceivedEvent(event, days.of(observed_us), record.timestamp, crc32(record.value), late)


def _rows_of_each(**tables: Callable[[Any], Sequence[Any]]) -> dict[str, MakeRows]:
    """Returns by table how the rows of several values are made, from functions that make the rows of one value."""

    def block(table: str, values: Sequence[Any]) -> Block:
        return Block(table, [row for value in values for row in tables[table](value)])

    return {table: partial(block, table) for table in tables}
