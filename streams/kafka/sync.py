"""Synchronous clients of Kafka (kafka-python), which the edge and the command line use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ninezero.streams.errors import UserError
from ninezero.streams.kafka import topics
from ninezero.streams.settings import Settings

BOOTSTRAP_MS = 10_000
"""Time that a client waits for its first answer from a broker."""


class KafkaProblem(UserError):
    """Kafka cannot do what was asked."""


class KafkaUnreachable(KafkaProblem):
    """No broker answers, or the TLS or SASL login fails."""


class KafkaForbidden(KafkaProblem):
    """This user may not do what was asked."""


class TopicsMissing(KafkaProblem):
    """A topic does not exist, or this user may not see it. Kafka does not tell which."""

    def __init__(self) -> None:
        super().__init__(
            "topics are missing on the broker, or this user may not see them: run ninezero topics create, or ninezero topics"
            " acls"
        )


def unreachable(settings: Settings) -> KafkaUnreachable:
    """Returns the error for a broker that does not answer. Clients cannot distinguish a rejected login from a missing answer."""
    if settings.kafka_security:
        return KafkaUnreachable(
            "Kafka does not answer at NINEZERO_KAFKA, or the TLS or SASL login fails: check the address, the broker's"
            " certificate against NINEZERO_KAFKA_TLS_CA, and NINEZERO_KAFKA_SASL_USER and _PASSWORD",
            chinese="Kafka（NINEZERO_KAFKA）没有应答，或 TLS、SASL 登录失败：请检查地址、证书、用户和密码",
        )
    return KafkaUnreachable(
        "Kafka does not answer at NINEZERO_KAFKA: start it (ninezero kafka start), correct the address, or set TLS and SASL"
        " if the broker requires them",
        chinese="Kafka（NINEZERO_KAFKA）没有应答：请启动它，更正地址，或设置 TLS 和 SASL",
    )


def security_protocol(settings: Settings) -> str:
    """Returns Kafka's name of the security protocol that the settings select, such as `SASL_SSL`."""
    given = settings.kafka_security
    return ("SASL_" if "mechanism" in given else "") + ("SSL" if "ca" in given else "PLAINTEXT")


def sasl_arguments(settings: Settings) -> dict[str, str]:
    """Returns the SASL arguments of a client; aiokafka and kafka-python use the same names."""
    given = settings.kafka_security
    if "mechanism" not in given:
        return {}
    return {
        "sasl_mechanism": given["mechanism"],
        "sasl_plain_username": given["user"],
        "sasl_plain_password": given["password"],
    }


def client_arguments(settings: Settings) -> dict[str, Any]:
    """Returns the arguments that every kafka-python client needs."""
    given = settings.kafka_security
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka.split(","),
        "security_protocol": security_protocol(settings),
        "allow_auto_create_topics": False,
        "bootstrap_timeout_ms": BOOTSTRAP_MS,
    }
    if "ca" in given:
        arguments |= {"ssl_cafile": given["ca"], "ssl_certfile": given.get("cert"), "ssl_keyfile": given.get("key")}
    return arguments | sasl_arguments(settings)


def producer(settings: Settings, **arguments: Any) -> Any:
    """Returns an idempotent producer that waits for the acknowledgement of every in-sync replica.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    from kafka import KafkaProducer

    with explained_errors(settings):
        return KafkaProducer(
            **client_arguments(settings)
            | {"enable_idempotence": True, "acks": "all", "max_request_size": topics.MAX_MESSAGE_BYTES}
            | arguments
        )


def consumer(settings: Settings, **arguments: Any) -> Any:
    """Returns a consumer that is in no group and never commits.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    from kafka import KafkaConsumer

    with explained_errors(settings):
        return KafkaConsumer(**client_arguments(settings) | {"group_id": None, "enable_auto_commit": False} | arguments)


def admin(settings: Settings, **arguments: Any) -> Any:
    """Returns an administration client.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    from kafka.admin import KafkaAdminClient

    merged = client_arguments(settings) | arguments
    del merged["allow_auto_create_topics"]
    with explained_errors(settings):
        return KafkaAdminClient(**merged)


def cluster_id(settings: Settings, **arguments: Any) -> str:
    """Returns Kafka's id of the cluster. It needs no permission.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    with contextlib.closing(admin(settings, **arguments)) as client, explained_errors(settings):
        return str(client.describe_cluster()["cluster_id"])


def read_to_end(reader: Any, topic: str) -> Iterator[Any]:
    """Yields the records that a topic holds now, in order within each partition.

    Args:
        reader: a consumer without a group. It is assigned the topic's partitions and may be used again afterwards.
        topic: the topic's name on the broker.

    Raises:
        TopicsMissing: the topic is missing, or this user may not see it.
    """
    from kafka import TopicPartition

    partitions = [TopicPartition(topic, number) for number in reader.partitions_for_topic(topic) or ()]
    if not partitions:
        raise TopicsMissing
    reader.assign(partitions)
    ends = reader.end_offsets(partitions)
    for tp, first in reader.beginning_offsets(partitions).items():
        reader.seek(tp, first)
    while any(reader.position(tp) < end for tp, end in ends.items()):
        for tp, records in reader.poll(timeout_ms=500).items():
            for record in records:
                if record.offset < ends[tp]:
                    yield record


@contextlib.contextmanager
def explained_errors(settings: Settings) -> Iterator[None]:
    """Turns the errors of kafka-python into errors that say in one line what to do.

    Raises:
        KafkaUnreachable: the broker does not answer.
        KafkaForbidden: this user may not do what was asked.
    """
    from kafka.errors import AuthorizationError, KafkaError

    try:
        yield
    except AuthorizationError as error:
        raise KafkaForbidden("Kafka does not permit this user to do that: see ninezero topics acls") from error
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(settings) from error
