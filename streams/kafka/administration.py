"""Administration of this deployment on the broker: topics, consumer groups, and the erasure of both."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ninezero.schemas.formats import FORMATS
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.statements import state_current_formats
from ninezero.streams.kafka.sync import KafkaForbidden, KafkaProblem, admin, consumer, explained_errors
from ninezero.streams.kafka.worker_identity import WorkerIdentity
from ninezero.streams.settings import Settings

log = logging.getLogger("ninezero.kafka")

VISIBLE_SECONDS = 30.0
"""Maximum time until brokers show a new topic. They learn of it from the controller, which has created it."""


def create_topics(settings: Settings, partitions: int = topics.DEFAULT_PARTITIONS, replication: int = 1) -> list[str]:
    """Creates the missing topics and waits until the broker shows them, usually about one second.

    A new deployment has no worker of an older release, so its records are written in the current formats from the beginning.

    Args:
        partitions: number of partitions of a topic that does not state its own.
        replication: number of replicas of each partition. With three or more, a write needs two of them
            (`min.insync.replicas`).

    Returns:
        The names of the created topics.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    from kafka.admin import NewTopic
    from kafka.errors import TopicAlreadyExistsError

    created = []
    with contextlib.closing(admin(settings)) as client, explained_errors(settings):
        present = set(client.list_topics())
        for topic in topics.ALL:
            name = settings.topic(topic.name)
            if name in present:
                continue
            with contextlib.suppress(TopicAlreadyExistsError):
                client.create_topics(
                    [
                        NewTopic(
                            name, topic.partitions or partitions, replication, topic_configs=topic.config(replication)
                        )
                    ],
                    timeout_ms=30_000,
                )
                created.append(name)
        deadline = time.monotonic() + VISIBLE_SECONDS
        while not set(created) <= set(client.list_topics()) and time.monotonic() < deadline:
            time.sleep(0.05)
    if len(created) == len(topics.ALL) and any(len(one.versions) > 1 for one in FORMATS):
        state_current_formats(settings, "topics-create")
    return created


def topic_ids(settings: Settings) -> dict[str, str]:
    """Returns the id of each topic of the deployment, by name. A topic that is deleted and recreated gets a new id.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    with contextlib.closing(admin(settings)) as client, explained_errors(settings):
        found = {str(topic["name"]): str(topic.get("topic_id", "")) for topic in client.describe_topics()}
    ours = {settings.topic(topic.name) for topic in topics.ALL}
    return {name: topic_id for name, topic_id in found.items() if name in ours}


def remove_former_members(
    settings: Settings, group: str, client_prefix: str, client_id: str, seconds: float = 30.0
) -> None:
    """Removes the group memberships that a killed worker left behind, so that its partitions are free before its session ends.

    It waits until this worker has joined: in a group that is empty in between, a new member would wait for more members
    (`group.initial.rebalance.delay.ms`). If it fails, the broker removes the members when their sessions end.

    Args:
        group: the consumer group.
        client_prefix: the beginning of the client ids that this worker and its predecessors use.
        client_id: this worker's own client id.
        seconds: how long to wait until this worker has joined.
    """
    from kafka.admin import MemberToRemove

    deadline = time.monotonic() + seconds
    try:
        with contextlib.closing(admin(settings)) as client:
            while time.monotonic() < deadline:
                members = client.describe_groups([group])[group]["members"]
                if any(member["client_id"] == client_id for member in members):
                    former = [
                        member["member_id"]
                        for member in members
                        if member["client_id"].startswith(client_prefix) and member["client_id"] != client_id
                    ]
                    client.remove_group_members(group, [MemberToRemove(member_id=one) for one in former])
                    return
                time.sleep(0.1)
    except Exception as error:
        log.info(
            "former memberships of group %s were not removed (%s); the broker removes them when their sessions end",
            group,
            type(error).__name__,
        )


def running_workers(settings: Settings, roles: Iterable[str]) -> list[tuple[str, WorkerIdentity]]:
    """Returns the role and identity of each worker that is a member of its consumer group now.

    A worker that is stopped, or that starts at this moment, is not seen.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
        KafkaForbidden: this user may not see the consumer groups.
        KafkaProblem: a broker cannot tell the members of a group now.
    """
    groups = {settings.group(role): role for role in roles}
    with contextlib.closing(admin(settings)) as client, explained_errors(settings):
        described = _described(client, list(groups))
    return sorted(
        (role, WorkerIdentity.parse(member["client_id"]))
        for group, role in groups.items()
        for member in described[group]["members"]
    )


class Erasure(NamedTuple):
    """The result of `erase` on the broker: what was deleted, and what is still there."""

    topics: list[tuple[str, int]]
    """Deleted topics: name and number of records."""
    groups: list[str]
    """Deleted consumer groups."""
    left: list[str]
    """Names of topics and groups that could not be deleted."""


class _Owned(NamedTuple):
    """The topics and groups of this deployment on the broker."""

    topics: list[str]
    members: dict[str, int]
    """Consumer groups and their numbers of members."""


def active_groups(settings: Settings, roles: Iterable[str]) -> list[str]:
    """Returns the consumer groups of this deployment that have members.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
    """
    with contextlib.closing(admin(settings)) as client, explained_errors(settings):
        return [name for name, members in _owned(settings, roles, client).members.items() if members]


def erase(settings: Settings, roles: Iterable[str], seconds: float = 30.0) -> Erasure:
    """Deletes the topics and consumer groups of this deployment, and checks that they are gone.

    Args:
        roles: the roles whose groups, and topics made by Faust, are deleted.
        seconds: how long to wait until the broker no longer lists them.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
        KafkaForbidden: this user may not delete them.
    """
    with contextlib.closing(admin(settings)) as client, explained_errors(settings):
        found = _owned(settings, roles, client)
        with contextlib.closing(consumer(settings)) as reader:
            counts = [(name, _record_count(reader, name)) for name in found.topics]
        if found.topics:
            client.delete_topics(found.topics, timeout_ms=int(seconds * 1000), raise_errors=False)
        if found.members:
            client.delete_groups(list(found.members))
        deadline = time.monotonic() + seconds
        while True:
            left = _owned(settings, roles, client)
            if not (left.topics or left.members) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        return Erasure(
            [(name, count) for name, count in counts if name not in left.topics],
            [name for name in found.members if name not in left.members],
            [*left.topics, *left.members],
        )


def _owned(settings: Settings, roles: Iterable[str], client: Any) -> _Owned:
    apps = [settings.group(role) for role in roles]

    def ours(name: str) -> bool:
        return any(name == app or name.startswith(f"{app}-") for app in apps)

    declared = {settings.topic(topic.name) for topic in topics.ALL}
    found = sorted(name for name in client.list_topics() if name in declared or ours(name))
    groups = [group["group_id"] for group in client.list_groups() if ours(group["group_id"])]
    described = _described(client, groups)
    return _Owned(found, {name: len(group["members"]) for name, group in described.items()})


def _described(client: Any, groups: Sequence[str]) -> dict[str, Any]:
    """Returns the description of each consumer group.

    Raises:
        KafkaForbidden: this user may not see the consumer groups.
        KafkaProblem: a broker cannot tell the members of a group now.
    """
    described: dict[str, Any] = client.describe_groups(list(groups)) if groups else {}
    # Without this, a group that could not be described would look as if it had no members. kafka-python gives the error as text.
    errors = [one["error"] for one in described.values() if one.get("error") and "GroupIdNotFound" not in one["error"]]
    if any("Authorization" in error for error in errors):
        raise KafkaForbidden("Kafka does not permit this user to see the workers: see ninezero topics acls")
    if errors or set(groups) - described.keys():
        raise KafkaProblem("Kafka cannot tell now which workers are running: try again")
    return described


def _record_count(reader: Any, topic: str) -> int:
    from kafka import TopicPartition

    partitions = [TopicPartition(topic, number) for number in reader.partitions_for_topic(topic) or ()]
    first, end = reader.beginning_offsets(partitions), reader.end_offsets(partitions)
    return sum(end[tp] - first[tp] for tp in partitions)
