"""Names the parts of a deployment in a line, without any password."""

from __future__ import annotations

from urllib.parse import urlsplit

from ninezero.streams.settings import Settings


def kafka_place(settings: Settings) -> str:
    """Returns where Kafka is, and the prefix that tells this deployment's topics from others, for example
    `Kafka 127.0.0.1:9092, topic prefix none`."""
    servers = ",".join(server.rpartition("@")[2] for server in settings.kafka.split(","))
    return f"Kafka {servers}, topic prefix {settings.topic_prefix or 'none'}"


def clickhouse_place(url: str) -> str:
    """Returns where a database is, for example `ClickHouse db.example:9000, databases ninezero*`.

    Args:
        url: the database, as `settings.clickhouse` returns it.
    """
    parts = urlsplit(url)
    if parts.scheme == "chdb":
        return f"embedded ClickHouse {parts.path}"
    return f"ClickHouse {parts.netloc.rpartition('@')[2]}, databases ninezero*"
