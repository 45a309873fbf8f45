"""Blocking connections to Kafka (kafka-python): administration, and all that the edge needs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from streams import topics
from streams.errors import UserError
from streams.settings import Settings


class KafkaUnreachable(UserError):
    """The broker does not answer: one line, with the remedy."""


def unreachable() -> KafkaUnreachable:
    """The error of a broker that does not answer."""
    return KafkaUnreachable(
        "Kafka does not answer at NINEZERO_KAFKA: start it (ninezero kafka start) or mend the address"
    )


def protocol(settings: Settings) -> str:
    """The security protocol that the settings ask for."""
    given = settings.kafka_security
    return ("SASL_" if "mechanism" in given else "") + ("SSL" if "ca" in given else "PLAINTEXT")


def sasl(given: Mapping[str, str]) -> dict[str, str]:
    """SASL arguments, which both clients call the same."""
    if "mechanism" not in given:
        return {}
    return {
        "sasl_mechanism": given["mechanism"],
        "sasl_plain_username": given["user"],
        "sasl_plain_password": given["password"],
    }


def client(settings: Settings) -> dict[str, Any]:
    """Arguments of every kafka-python client."""
    given = settings.kafka_security
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka.split(","),
        "security_protocol": protocol(settings),
        "allow_auto_create_topics": False,
        "bootstrap_timeout_ms": 10_000,
    }
    if "ca" in given:
        arguments |= {"ssl_cafile": given["ca"], "ssl_certfile": given.get("cert"), "ssl_keyfile": given.get("key")}
    return arguments | sasl(given)


def producer(settings: Settings, **arguments: Any) -> Any:
    """An idempotent producer that waits for every replica in sync.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    from kafka import KafkaProducer

    with _reachable():
        return KafkaProducer(
            **client(settings)
            | {"enable_idempotence": True, "acks": "all", "max_request_size": topics.MAX_MESSAGE_BYTES}
            | arguments
        )


def consumer(settings: Settings, **arguments: Any) -> Any:
    """A consumer without a group, that never commits.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    from kafka import KafkaConsumer

    with _reachable():
        return KafkaConsumer(**client(settings) | {"group_id": None, "enable_auto_commit": False} | arguments)


def admin(settings: Settings) -> Any:
    """An administration client.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    from kafka.admin import KafkaAdminClient

    arguments = client(settings)
    del arguments["allow_auto_create_topics"]
    with _reachable():
        return KafkaAdminClient(**arguments)


def create_topics(settings: Settings, partitions: int = topics.DEFAULT_PARTITIONS, replication: int = 1) -> list[str]:
    """Creates the topics that are missing; names of those created.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    from kafka.admin import NewTopic
    from kafka.errors import TopicAlreadyExistsError

    created = []
    with contextlib.closing(admin(settings)) as client:
        present = set(client.list_topics())
        for topic in topics.ALL:
            name = settings.topic(topic.name)
            if name in present:
                continue
            with contextlib.suppress(TopicAlreadyExistsError):
                client.create_topics(
                    [NewTopic(name, topic.partitions or partitions, replication, topic_configs=topic.config())],
                    timeout_ms=30_000,
                )
                created.append(name)
    return created


def topic_ids(settings: Settings) -> dict[str, str]:
    """Id of each topic on the broker: a topic that was deleted and made again has another.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    with contextlib.closing(admin(settings)) as client:
        return {str(topic["name"]): str(topic.get("topic_id", "")) for topic in client.describe_topics()}


@contextlib.contextmanager
def _reachable() -> Any:
    from kafka.errors import KafkaError

    try:
        yield
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable() from error
