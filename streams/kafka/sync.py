"""Blocking connections to Kafka (kafka-python): administration, and all that the edge needs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ninezero.streams.errors import UserError
from ninezero.streams.kafka import topics
from ninezero.streams.settings import Settings


class KafkaUnreachable(UserError):
    """The broker does not answer: one line, with the remedy."""


def unreachable(settings: Settings) -> KafkaUnreachable:
    """The error of a broker that does not answer; clients don't tell a refusal from that."""
    if settings.kafka_security:
        return KafkaUnreachable(
            "Kafka does not answer at NINEZERO_KAFKA, or one does not trust the other: check the address, its certificate"
            " against NINEZERO_KAFKA_TLS_CA, and NINEZERO_KAFKA_SASL_USER and _PASSWORD"
        )
    return KafkaUnreachable(
        "Kafka does not answer at NINEZERO_KAFKA: start it (ninezero kafka start), mend the address, or give TLS and SASL"
        " settings if it asks for them"
    )


MISSING = (
    "topics are missing on the broker, or this user may not see them: ninezero topics create, ninezero topics acls"
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

    with reachable(settings):
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

    with reachable(settings):
        return KafkaConsumer(**client(settings) | {"group_id": None, "enable_auto_commit": False} | arguments)


def admin(settings: Settings, **more: Any) -> Any:
    """An administration client.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    from kafka.admin import KafkaAdminClient

    arguments = client(settings) | more
    del arguments["allow_auto_create_topics"]
    with reachable(settings):
        return KafkaAdminClient(**arguments)


SHOWN_SECONDS = 30.0
"""How long a new topic may take until brokers show it: they hear of it after whoever made it."""


def create_topics(settings: Settings, partitions: int = topics.DEFAULT_PARTITIONS, replication: int = 1) -> list[str]:
    """Creates the topics that are missing, and waits until the broker shows them, for a second or so; names of those created.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    from kafka.admin import NewTopic
    from kafka.errors import TopicAlreadyExistsError

    created = []
    with contextlib.closing(admin(settings)) as client, reachable(settings):
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
        deadline = time.monotonic() + SHOWN_SECONDS
        while not set(created) <= set(client.list_topics()) and time.monotonic() < deadline:
            time.sleep(0.05)
    return created


def topic_ids(settings: Settings) -> dict[str, str]:
    """Id of each of our topics on the broker: a topic that was deleted and made again has another.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    with contextlib.closing(admin(settings)) as client, reachable(settings):
        found = {str(topic["name"]): str(topic.get("topic_id", "")) for topic in client.describe_topics()}
    ours = {settings.topic(topic.name) for topic in topics.ALL}
    return {name: topic_id for name, topic_id in found.items() if name in ours}


def supersede(settings: Settings, group: str, place: str, client_id: str, seconds: float = 30.0) -> None:
    """Ends what is left of a killed worker's membership: its partitions would wait for the end of its session.

    Members whose client id begins with `place` were this worker's former lives. They are sent away once it has joined
    itself: a group that was empty in between would wait for newcomers (`group.initial.rebalance.delay.ms`). If that
    fails, the broker does it when the session ends.
    """
    from kafka.admin import MemberToRemove

    deadline = time.monotonic() + seconds
    with contextlib.suppress(Exception), contextlib.closing(admin(settings)) as client:
        while time.monotonic() < deadline:
            members = client.describe_groups([group])[group]["members"]
            if any(member["client_id"] == client_id for member in members):
                former = [
                    m["member_id"] for m in members if m["client_id"].startswith(place) and m["client_id"] != client_id
                ]
                client.remove_group_members(group, [MemberToRemove(member_id=one) for one in former])
                return
            time.sleep(0.1)


@contextlib.contextmanager
def reachable(settings: Settings) -> Any:
    """Says what Kafka refuses in one line."""
    from kafka.errors import AuthorizationError, KafkaError

    try:
        yield
    except AuthorizationError as error:
        raise KafkaUnreachable("Kafka does not let this user do that: ninezero topics acls tells who may") from error
    except (KafkaError, OSError, ValueError) as error:
        raise unreachable(settings) from error


class Erased(NamedTuple):
    """What was deleted on the broker: (name, records) of topics, names of groups; and the names of both that are still there."""

    topics: list[tuple[str, int]]
    groups: list[str]
    left: list[str]


def own_names(settings: Settings, roles: Iterable[str], client: Any) -> tuple[list[str], dict[str, int]]:
    """Topics and consumer groups of this deployment that are on the broker; groups with their number of members."""
    apps = [settings.group(role) for role in roles]

    def ours(name: str) -> bool:
        return any(name == app or name.startswith(f"{app}-") for app in apps)

    contract = {settings.topic(topic.name) for topic in topics.ALL}
    found = sorted(name for name in client.list_topics() if name in contract or ours(name))
    groups = [group["group_id"] for group in client.list_groups() if ours(group["group_id"])]
    members = {name: len(told["members"]) for name, told in client.describe_groups(groups).items()} if groups else {}
    return found, members


def active_groups(settings: Settings, roles: Iterable[str]) -> list[str]:
    """Consumer groups of this deployment that have members.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    with contextlib.closing(admin(settings)) as client, reachable(settings):
        return [name for name, members in own_names(settings, roles, client)[1].items() if members]


def erase(settings: Settings, roles: Iterable[str], seconds: float = 30.0) -> Erased:
    """Deletes the topics and consumer groups of this deployment, and looks whether they are gone.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds, or it refused.
    """
    with contextlib.closing(admin(settings)) as client, reachable(settings):
        found, members = own_names(settings, roles, client)
        with contextlib.closing(consumer(settings)) as reader:
            held = [(name, _records(reader, name)) for name in found]
        if found:
            client.delete_topics(found, timeout_ms=int(seconds * 1000), raise_errors=False)
        if members:
            client.delete_groups(list(members))
        deadline = time.monotonic() + seconds
        while True:
            left, still = own_names(settings, roles, client)
            if not (left or still) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        return Erased(
            [(name, n) for name, n in held if name not in left],
            [name for name in members if name not in still],
            [*left, *still],
        )


def _records(reader: Any, name: str) -> int:
    from kafka import TopicPartition

    tps = [TopicPartition(name, p) for p in reader.partitions_for_topic(name) or ()]
    first, end = reader.beginning_offsets(tps), reader.end_offsets(tps)
    return sum(end[tp] - first[tp] for tp in tps)
