"""Writes statements of operators to the register."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from importlib.metadata import version

from ninezero.schemas.formats import FORMATS
from ninezero.schemas.register import RegisterRecord, StatedFormats, register_key
from ninezero.streams.kafka import sync
from ninezero.streams.kafka.records import internal_record
from ninezero.streams.kafka.topics import REGISTER
from ninezero.streams.settings import Settings

WRITE_SECONDS = 30.0
"""Longest time to wait until a statement is acknowledged."""


def state(settings: Settings, value: RegisterRecord) -> None:
    """Writes a statement to the register. Returns when the broker has acknowledged it.

    Raises:
        KafkaUnreachable: the broker does not answer.
        KafkaForbidden: this user may not write to the topic.
    """
    record = internal_record(REGISTER, register_key(value), value)
    with contextlib.closing(sync.producer(settings)) as writer, sync.explained_errors(settings):
        writer.send(settings.topic(REGISTER.name), record.value, record.key, record.headers).get(WRITE_SECONDS)


def state_current_formats(settings: Settings, by: str) -> None:
    """States that records are written in the current formats of this release. There is no way back.

    Raises:
        KafkaUnreachable: the broker does not answer.
        KafkaForbidden: this user may not write to the topic.
    """
    current = {one.name: one.current.number for one in FORMATS}
    state(settings, StatedFormats(current, version("ninezero"), by, datetime.now(UTC)))
