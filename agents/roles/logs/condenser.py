"""Condenses log records: one line when an outage begins, one when it ends, and a reminder each minute.

Failures of the Kafka clients are counted as one outage of Kafka, which ends when Kafka answers. Any other warning or error is
written the first time; if it is repeated, its repetitions are counted, and the count is written. Every record that is
left out is counted.
"""

from __future__ import annotations

import copy
import logging
import re
from typing import NamedTuple

from ninezero.agents.roles.logs.error_description import describe
from ninezero.agents.roles.logs.kafka_failures import CLIENTS, kafka_failure
from ninezero.agents.roles.logs.outages import Notice, Outage

KAFKA_QUIET_SECONDS = 8.0
"""Time without a reported failure after which Kafka counts as reachable. Clients retry more often than that."""

COORDINATOR_TOLERATED_SECONDS = 20.0
"""Time that a new broker may take to create its offsets topic."""

REPEAT_QUIET_SECONDS = 30.0
"""Time without a repetition of a record after which its count is written. Our longest pause between two retries is 10 s."""

MAX_KINDS = 1000
"""Number of kinds of records that are remembered. A forgotten one is written again."""

_NUMBERS = re.compile(r"[0-9]+(\.[0-9]+)*")
_DURATIONS = re.compile(r"[0-9]+(\.[0-9]+)? s\b")


class RecordKind(NamedTuple):
    """What two records have in common if one is a repetition of the other."""

    logger: str
    level: int
    text: str
    """The message without its changing numbers."""
    error: str
    """Type and place of the error whose traceback the record has; empty without one."""


class _Repeated(NamedTuple):
    outage: Outage
    record: logging.LogRecord
    """The first record of its kind, without its traceback, which would keep the objects of its frames alive."""


class Condenser:
    """Turns log records into the records that are to be written. Times are in seconds, on a clock that never goes back."""

    def __init__(self) -> None:
        self._kafka = Outage(KAFKA_QUIET_SECONDS)
        self._coordinator = Outage(KAFKA_QUIET_SECONDS, COORDINATOR_TOLERATED_SECONDS)
        self._repeated: dict[RecordKind, _Repeated] = {}

    def condense(self, record: logging.LogRecord, now: float) -> list[logging.LogRecord]:
        """Returns what is to be written for a record."""
        if record.levelno < logging.WARNING:
            return [record]
        failure = kafka_failure(record)
        if failure is None:
            return self._condense_repeated(record, now)
        outage = self._coordinator if failure == "coordinator" and not self._kafka.ongoing else self._kafka
        notice = outage.failed(now)
        return [_kafka_record(notice, record)] if notice is not None else []

    def kafka_answered(self, now: float) -> list[logging.LogRecord]:
        """Returns the end of an outage of Kafka, if one has ended. Call it whenever a request to Kafka has succeeded."""
        notices = [self._kafka.succeeded(now), self._coordinator.succeeded(now)]
        return [_kafka_record(notice) for notice in notices if notice is not None]

    def sweep(self, now: float) -> list[logging.LogRecord]:
        """Returns the counts of records that are no longer repeated. Call it about once a second."""
        lines = []
        for kind, (outage, record) in list(self._repeated.items()):
            notice = outage.succeeded(now)
            if notice is not None:
                del self._repeated[kind]
                if notice.failures > 1:
                    lines.append(_ended_record(notice, record))
        return lines

    def finish(self) -> list[logging.LogRecord]:
        """Returns the counts that have not been written yet. Call it before the process ends."""
        lines = [line for repeated in self._repeated.values() for line in _unwritten_count(repeated)]
        if self._kafka.unnoticed:
            lines.append(_record(logging.WARNING, f"Kafka connections failed {self._kafka.unnoticed} more times"))
        return lines

    def _condense_repeated(self, record: logging.LogRecord, now: float) -> list[logging.LogRecord]:
        kind = _kind(record)
        known, lines = self._repeated.get(kind), []
        if known is None:
            if len(self._repeated) >= MAX_KINDS:
                lines = _unwritten_count(self._repeated.pop(next(iter(self._repeated))))
            known = self._repeated[kind] = _Repeated(
                Outage(REPEAT_QUIET_SECONDS), _changed(record, record.getMessage())
            )
        notice = known.outage.failed(now)
        if notice is None:
            return []
        if notice.kind == "began":
            return [*lines, record]
        return [_changed(record, f"{record.getMessage()} ({notice.failures} times in {notice.seconds:.0f} s)")]


def _kind(record: logging.LogRecord) -> RecordKind:
    """Returns the kind of a record. It ignores all numbers in messages of the Kafka clients, and only durations in
    others.

    The error is a part of the kind, because libraries log different errors under one message ("Unexpected error").
    """
    changing = _NUMBERS if record.name.partition(".")[0] in CLIENTS else _DURATIONS
    error = record.exc_info[1] if record.exc_info else None
    text = changing.sub("#", record.getMessage())
    return RecordKind(record.name, record.levelno, text, "" if error is None else describe(error))


def _unwritten_count(repeated: _Repeated) -> list[logging.LogRecord]:
    """Returns the count of the repetitions that were not written, if there are any."""
    outage, record = repeated
    return [_changed(record, f"{record.getMessage()} ({outage.unnoticed} more times)")] if outage.unnoticed else []


def _kafka_record(notice: Notice, cause: logging.LogRecord | None = None) -> logging.LogRecord:
    latest = f": {cause.getMessage()}" if cause is not None else ""
    if notice.kind == "began":
        return _record(logging.ERROR, f"Kafka connections fail; this role retries until they work{latest}")
    if notice.kind == "continues":
        counted = f"{notice.failures} times in {notice.seconds:.0f} s"
        return _record(logging.ERROR, f"Kafka connections still fail ({counted}){latest}")
    return _record(
        logging.INFO, f"Kafka connections work again after {notice.seconds:.0f} s and {notice.failures} failures"
    )


def _ended_record(notice: Notice, first: logging.LogRecord) -> logging.LogRecord:
    counted = f"{notice.failures} times in {notice.seconds:.0f} s"
    ended = _changed(first, f"no longer repeated after {counted}: {first.getMessage()}")
    ended.levelno, ended.levelname = logging.INFO, logging.getLevelName(logging.INFO)
    return ended


def _record(level: int, message: str) -> logging.LogRecord:
    return logging.LogRecord("ninezero.kafka", level, __file__, 0, message, None, None)


def _changed(record: logging.LogRecord, message: str) -> logging.LogRecord:
    """Returns a copy of a record with another message, the time of now, and no traceback: the first record had it."""
    changed = copy.copy(record)
    changed.created = _record(record.levelno, "").created
    changed.msg, changed.args, changed.exc_info, changed.exc_text = message, None, None, None
    return changed
