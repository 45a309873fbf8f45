"""Which deployment a command is about to change: one line on stderr before its first change, without any password."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING

from ninezero.streams.deployment import clickhouse_place, kafka_place
from ninezero.streams.settings import Settings

if TYPE_CHECKING:  # the packages of ClickHouse are not installed on a device
    from ninezero.streams.clickhouse import Engine


def announce(*places: str) -> None:
    """Prints what the command is about to change."""
    print(f"acting on: {'; '.join(places)}", file=sys.stderr, flush=True)


def announce_reading(*places: str) -> None:
    """Prints what the command reads. It changes nothing."""
    print(f"reading from: {'; '.join(places)}", file=sys.stderr, flush=True)


def announce_kafka(settings: Settings) -> None:
    """Checks that Kafka answers, then prints which one the command is about to change.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    from ninezero.streams.kafka.sync import admin

    with closing(admin(settings)):
        announce(kafka_place(settings))


def open_to_change(url: str) -> Engine:
    """Opens a database, checks that it answers, and prints which one the command is about to change.

    Raises:
        ClickHouseError: it cannot be opened, or does not answer.
    """
    from ninezero.streams import clickhouse

    engine = clickhouse.connect(url)
    engine.query("SELECT 1 AS n")
    announce(clickhouse_place(url))
    return engine
