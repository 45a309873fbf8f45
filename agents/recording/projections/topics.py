"""Topics → rows: for each recorded topic, how a record is decoded and which tables its rows go into."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence, Set
from datetime import date
from functools import partial
from typing import Any, NamedTuple

from isal.isal_zlib import crc32

from ninezero.agents.logic.days import Days
from ninezero.agents.logic.policy.thresholds import FEVER_C
from ninezero.agents.recording.projections import decisions, events
from ninezero.agents.recording.sealed_days import SEALED_TABLES
from ninezero.schemas.events import (
    DeadLetter,
    Decisions,
    Disposition,
    FollowupEvent,
    PushReceipt,
    QuarantineEvent,
    Scan,
)
from ninezero.schemas.fast_decode import PatternCache, string_patterns
from ninezero.schemas.row_block import Block
from ninezero.streams.clickhouse.topic_buffer import RowsByTable
from ninezero.streams.kafka.decoding import Rejected, decode, decode_event
from ninezero.streams.kafka.topics import DEAD_LETTERS, DECISIONS, DISPOSITIONS, FOLLOWUPS, QUARANTINE, RECEIPTS, Topic
from ninezero.streams.settings import Settings
from ninezero.streams.transport.offset_tracker import Chunk

log = logging.getLogger("ninezero.recorder")

INTERNAL_TOPICS = {DECISIONS, RECEIPTS, DEAD_LETTERS}
"""Topics that only our own workers write (ACL)."""

Decode = Callable[[Any], Any]
"""Decodes a Kafka record to the value that rows are made of. Raises `Rejected` for a record that is not recorded."""

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


def projections(settings: Settings) -> list[Projection]:
    """Returns the projection of every topic that is recorded."""
    days = Days(settings.timezone)
    devices, sites = (PatternCache(string_patterns(Scan)[field]) for field in ("device_id", "site_id"))

    def decode_decisions_record(record: Any) -> decisions.DecisionsByDay:
        return decisions.split_by_day(decode_decisions(record, devices, sites), days.of_second)

    def decode_device_event(kind: Any) -> Decode:
        return lambda record: receive_event(record, kind, days, settings)

    return [
        Projection(
            DECISIONS,
            decode_decisions_record,
            {"screening_facts": decisions.screening_facts, "device_events": decisions.device_events},
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
                quarantine_facts=partial(events.quarantine_event, fever_c=FEVER_C), device_events=events.device_event
            ),
        ),
        Projection(
            FOLLOWUPS,
            decode_device_event(FollowupEvent),
            _rows_of_each(followup_facts=events.followup_event, device_events=events.device_event),
        ),
        Projection(
            RECEIPTS,
            lambda record: decode(PushReceipt, record.value),
            _rows_of_each(push_receipts=events.push_receipt, push_audit=events.push_audit),
        ),
        Projection(
            DEAD_LETTERS,
            lambda record: decode(DeadLetter, record.value),
            _rows_of_each(dead_letter_facts=events.dead_letter),
        ),
    ]


def project(projection: Projection, chunk: Chunk, sealed_days: Set[date]) -> Projected:
    """Returns the rows of a chunk, without rows of sealed days.

    A record that its projection rejects is skipped. The ledgers role writes the dead letter of a device's event. In a
    topic that only our own workers write, the record is logged; it must not stop the counts.
    Of a record that belongs to several days, the rows of the days that are not sealed remain.
    """
    values, sealed_values, sealed_records = [], [], []
    for record in chunk.records:
        try:
            value = projection.decode(record)
        except Rejected as rejected:
            if projection.topic in INTERNAL_TOPICS:
                log.error(
                    "a record of %s is skipped: %s (partition %d, offset %d)",
                    projection.topic.name, rejected.reason, chunk.tp.partition, record.offset,
                )  # fmt: skip
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


def decode_decisions(record: Any, devices: PatternCache, sites: PatternCache) -> Decisions:
    """Decodes a decisions record and validates its device and site names.

    Raises:
        Rejected: the value is not a decisions record, or a name is not an identifier.
    """
    decoded: Decisions = decode(Decisions, record.value)
    if sites.mismatches(decoded.sites) or any(devices.mismatches(group.device_ids) for group in decoded.decisions):
        raise Rejected("schema_invalid", "/decisions")
    return decoded


def receive_event(record: Any, kind: Any, days: Days, settings: Settings) -> events.ReceivedEvent:
    """Decodes an event that a device sent.

    Raises:
        Rejected: the event is not valid (the ledgers role dead-letters it), or it arrived after the sunset.
    """
    event, observed_us, late = decode_event(kind, record.value, record.timestamp, replay=settings.replay)
    if record.timestamp >= settings.sunset.timestamp() * 1000:
        raise Rejected("internal")
    return events.ReceivedEvent(event, days.of(observed_us), record.timestamp, crc32(record.value), late)


def _rows_of_each(**tables: Callable[[Any], Sequence[Any]]) -> dict[str, MakeRows]:
    """Returns by table how the rows of several values are made, from functions that make the rows of one value."""

    def block(table: str, values: Sequence[Any]) -> Block:
        return Block(table, [row for value in values for row in tables[table](value)])

    return {table: partial(block, table) for table in tables}
