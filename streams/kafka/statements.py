"""Writes statements of operators to the topics `register` and `policies`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version

from ninezero.schemas.formats import FORMATS
from ninezero.schemas.policies import PoliciesRecord
from ninezero.schemas.register import RegisterRecord, StatedFormats, register_key
from ninezero.streams.kafka import sync
from ninezero.streams.kafka.records import OutgoingRecord, internal_record
from ninezero.streams.kafka.topics import POLICIES, REGISTER
from ninezero.streams.settings import Settings

WRITE_SECONDS = 30.0
"""Longest time to wait until a statement is acknowledged."""


def state(settings: Settings, *values: RegisterRecord) -> None:
    """Writes statements to the register, in order. Returns when the broker has acknowledged all.

    Raises:
        KafkaUnreachable: the broker does not answer. The first statements may have been written.
        KafkaForbidden: this user may not write to the topic.
    """
    _write(settings, [internal_record(REGISTER, register_key(value), value) for value in values])


def state_policies(settings: Settings, records: Iterable[tuple[bytes, PoliciesRecord]]) -> None:
    """Writes policies and their uses, each with its key, in order. Returns when the broker has acknowledged all.

    Raises:
        KafkaUnreachable: the broker does not answer. The first records may have been written.
        KafkaForbidden: this user may not write to the topic.
    """
    _write(settings, [internal_record(POLICIES, key, value) for key, value in records])


def _write(settings: Settings, records: Iterable[OutgoingRecord]) -> None:
    with contextlib.closing(sync.producer(settings)) as writer, sync.explained_errors(settings):
        sent = [writer.send(settings.topic(one.topic.name), one.value, one.key, one.headers) for one in records]
        for one in sent:
            one.get(WRITE_SECONDS)


def state_current_formats(settings: Settings, by: str) -> None:
    """States that records are written in the current formats of this release. There is no way back.

    Raises:
        KafkaUnreachable: the broker does not answer.
        KafkaForbidden: this user may not write to the topic.
    """
    current = {one.name: one.current.number for one in FORMATS}
    state(settings, StatedFormats(current, version("ninezero"), by, datetime.now(UTC)))
