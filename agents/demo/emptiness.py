"""Checks that a Kafka and a ClickHouse of the user are empty before a demo writes invented people into them."""

from __future__ import annotations

import contextlib

from ninezero.streams import clickhouse
from ninezero.streams.errors import UserError
from ninezero.streams.kafka.sync import consumer, explained_errors
from ninezero.streams.settings import Settings


class NotEmpty(UserError):
    """The demo does not write there. The message says what is there, and what to do."""


def require_empty_clickhouse(url: str) -> None:
    """Checks that no table of ninezero has a row. The list of the applied migrations does not count.

    Raises:
        NotEmpty: a table has rows.
        ClickHouseError: the server does not answer.
    """
    engine = clickhouse.connect(url)
    try:
        rows = engine.query(
            "SELECT database, name, total_rows AS n FROM system.tables"
            " WHERE database LIKE 'ninezero%' AND name != 'schema_migrations' AND n > 0 ORDER BY n DESC LIMIT 1"
        )
    finally:
        engine.close()
    for row in rows:
        raise NotEmpty(
            f"the ClickHouse of NINEZERO_CLICKHOUSE is not empty ({row['database']}.{row['name']} has {row['n']} rows) and was not"
            " changed: run the demo without --use-clickhouse, or name an empty server"
        )


def require_empty_kafka(settings: Settings) -> None:
    """Checks that no topic has a record, except Kafka's own topics.

    Raises:
        NotEmpty: a topic has records.
        KafkaUnreachable: no broker answers.
    """
    from kafka import TopicPartition

    with contextlib.closing(consumer(settings)) as reader, explained_errors(settings):
        for topic in sorted(name for name in reader.topics() if not name.startswith("__")):
            partitions = [TopicPartition(topic, number) for number in reader.partitions_for_topic(topic) or ()]
            first, end = reader.beginning_offsets(partitions), reader.end_offsets(partitions)
            if first != end:
                raise NotEmpty(
                    f"the Kafka of NINEZERO_KAFKA is not empty (the topic {topic} has records) and was not changed: run the demo"
                    " without --use-kafka, or name a Kafka without records"
                )
