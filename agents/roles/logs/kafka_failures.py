"""Recognises the log records that the Kafka clients write while a broker cannot be reached.

Messages are those of aiokafka 0.14.0 and kafka-python 3.0.12. A record that is not recognised is written like any other.
"""

from __future__ import annotations

import errno
import logging
import ssl
from collections.abc import Iterator
from typing import Literal

import aiokafka.errors
import kafka.errors

from ninezero.streams.errors import DEPENDENCY

CLIENTS = ("aiokafka", "faust", "kafka", "mode")
"""Top-level loggers of the Kafka clients and of what runs them."""

_MESSAGES = (
    "Unable to update metadata from",
    "Marking the coordinator dead",
    "Heartbeat session expired",
    "Bootstrap %s not ready",
    "Bootstrap attempt to ",
    "Bootstrap metadata response has no brokers",
    "%s: socket disconnected",
    "%s: Request timed out",
)
"""Beginnings of the messages that have no error among their arguments."""

_COORDINATOR_MESSAGE = "Group Coordinator Request failed"
"""Written by aiokafka while a new broker creates its offsets topic, and during an outage. It retries by itself."""

_NETWORK_ERRORS = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EPIPE,
        errno.ETIMEDOUT,
    }
)

Failure = Literal["connection", "coordinator"]


def kafka_failure(record: logging.LogRecord) -> Failure | None:
    """Returns which failure of Kafka a record reports, or None if it reports none that is known."""
    if getattr(record, DEPENDENCY, None) == "Kafka":
        return "connection"
    if record.name.partition(".")[0] not in CLIENTS or not isinstance(record.msg, str):
        return None
    if record.msg.startswith(_COORDINATOR_MESSAGE) and any(map(_is_transient, _errors(record))):
        return "coordinator"
    if record.msg.startswith(_MESSAGES) or any(map(_is_transient, _errors(record))):
        return "connection"
    return None


def _errors(record: logging.LogRecord) -> Iterator[BaseException]:
    """Yields the exceptions that a record holds."""
    if record.exc_info and record.exc_info[1] is not None:
        yield record.exc_info[1]
    arguments = record.args.values() if isinstance(record.args, dict) else record.args or ()
    yield from (argument for argument in arguments if isinstance(argument, BaseException))


def _is_transient(error: BaseException) -> bool:
    """Returns whether an error ends by itself when the brokers answer again. A rejected certificate or login does not."""
    if isinstance(error, ssl.SSLError):
        return False
    if isinstance(error, aiokafka.errors.KafkaError | kafka.errors.KafkaError):
        return bool(error.retriable)
    if isinstance(error, OSError):
        return isinstance(error, ConnectionError | TimeoutError) or error.errno in _NETWORK_ERRORS
    return False
