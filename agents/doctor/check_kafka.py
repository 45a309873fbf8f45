"""Checks of Kafka: the connection, the topics and the access rights."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from ninezero.agents.doctor.findings import Results, could_not_check, failed, names, not_here, ok, warning
from ninezero.agents.doctor.places import Where, parties, topics_of
from ninezero.agents.doctor.probe import DeploymentProbe, on_this_machine
from ninezero.agents.doctor.quantities import counted
from ninezero.streams.kafka import sync
from ninezero.streams.kafka import topics as topics_
from ninezero.streams.kafka.access import ACCESS
from ninezero.streams.kafka.topics import Topic

UNKNOWN_TOPIC, NOT_AUTHORIZED = 3, 29
"""Error codes of the Kafka protocol."""

LEDGER_SOURCES = {
    topics_.QUARANTINE_LEDGER.name: topics_.QUARANTINE.name,
    topics_.FOLLOWUP_LEDGER.name: topics_.FOLLOWUPS.name,
    topics_.TRANSFER_LEDGER.name: topics_.TRANSFERS.name,
}
"""The ledger topics and the topics whose partitions they follow."""


def kafka(probe: DeploymentProbe) -> Results:
    """Checks that Kafka can be reached, or finds out why not."""
    if (fault := probe.kafka_fault) is not None:
        yield failed(fault.found, fault.todo)
        return
    with contextlib.closing(probe.admin()) as admin:
        brokers = admin.describe_cluster()["brokers"]
    yield ok(
        f"{counted(len(brokers), 'broker answers', 'brokers answer')} over {sync.security_protocol(probe.settings)}"
    )


def topics(probe: DeploymentProbe) -> Results:
    """Checks that the topics exist with the partitions, retention and compaction of `streams/kafka/topics.py`."""
    from kafka.admin import ConfigResource, ConfigResourceType

    wanted, limited = topics_of(probe.where), bool(parties(probe.where))
    described = {topic.name: probe.topics.get(topic.name, {"error_code": UNKNOWN_TOPIC}) for topic in wanted}
    visible = {name: topic for name, topic in described.items() if topic["error_code"] == 0}
    hidden = [name for name, topic in described.items() if topic["error_code"] == NOT_AUTHORIZED]
    missing = sorted(described.keys() - visible.keys() - set(hidden))
    found_any = bool(missing)
    if missing:
        yield failed(f"missing: {', '.join(missing)}", "ninezero topics create")
    if hidden and _sees_enough(probe.where, hidden):  # a device sees no topic of an authority, and the reverse
        yield not_here(f"{', '.join(hidden)}: this user does not use them and may not see them")
    elif hidden:
        found_any = True
        yield could_not_check(f"this user may not see {', '.join(hidden)}", "run it as an administrator")
    with contextlib.closing(probe.admin()) as admin:
        brokers = len(admin.describe_cluster()["brokers"])
        readable = [n for n, topic in visible.items() if "DESCRIBE_CONFIGS" in (topic["authorized_operations"] or ())]
        resources = [ConfigResource(ConfigResourceType.TOPIC, probe.settings.topic(name)) for name in readable]
        configs = admin.describe_configs(resources, config_filter="all").get("topic", {}) if resources else {}
    if limited and len(readable) < len(visible):
        yield not_here(
            f"retention and compaction of {counted(len(visible) - len(readable), 'topic', 'topics')}: only an administrator may see them"
        )
    for topic in wanted:
        if topic.name not in visible:
            continue
        full_name = probe.settings.topic(topic.name)
        for result in (
            *_partitions(topic, visible, full_name),
            *_replicas(visible[topic.name]["partitions"], brokers, local=on_this_machine(probe.settings.kafka)),
            *(
                ()
                if limited and topic.name not in readable
                else _configuration(
                    topic, full_name, configs.get(full_name, {}), _replication(visible[topic.name]["partitions"])
                )
            ),
        ):
            found_any = True
            yield result._replace(found=f"{topic.name}: {result.found}")
    if not found_any:
        what = "partitions, retention and compaction" if len(readable) == len(visible) else "partitions"
        yield ok(f"{counted(len(visible), 'topic', 'topics')}, with {what} as they should be")


def _sees_enough(where: Where, hidden: list[str]) -> bool:
    """Returns whether the account sees every topic of one of the parties of the machine."""
    return any(not {topic.name for topic in ACCESS[party].topics} & set(hidden) for party in parties(where))


def _partitions(topic: Topic, visible: Mapping[str, Any], full_name: str) -> Results:
    count = len(visible[topic.name]["partitions"])
    if topic.partitions is not None and count != topic.partitions:
        yield failed(
            f"{count} partitions instead of {topic.partitions}",
            "delete it and run ninezero topics create: the lists depend on the order of its records",
        )
    source = LEDGER_SOURCES.get(topic.name, "")
    if source in visible and len(visible[source]["partitions"]) != count:
        yield failed(
            f"it does not have as many partitions as {source}",
            f"give both the same number: kafka-topics --alter --topic {full_name} --partitions …",
        )


def _replication(partitions: list[Mapping[str, Any]]) -> int:
    """Returns the number of replicas of the partition that has fewest."""
    return min((len(p["replica_nodes"]) for p in partitions), default=1)


def _replicas(partitions: list[Mapping[str, Any]], brokers: int, *, local: bool) -> Results:
    if any(p["leader_id"] < 0 for p in partitions):
        yield failed("a partition has no leader", "check the brokers: one is down")
    elif any(len(p["isr_nodes"]) < len(p["replica_nodes"]) for p in partitions):
        yield warning("replicas are missing or behind", "check the brokers: one is down or slow")
    elif _replication(partitions) < 2 and brokers >= topics_.DURABLE_REPLICATION:
        yield warning(
            f"only one replica on {brokers} brokers: while one is down, some partitions cannot be used, and a broken disk loses them",
            "give it three replicas (kafka-reassign-partitions); new topics: ninezero topics create --replication 3",
        )
    elif _replication(partitions) < 2 and not local:
        yield warning(
            "only one replica: a broken disk loses it",
            "run ninezero topics create --replication 3 before the first event",
        )


def _configuration(topic: Topic, full_name: str, config: Mapping[str, Any], replication: int) -> Results:
    if not config:
        yield could_not_check("its retention: this user may not see it", "run it as an administrator")
        return
    for name, wanted in topic.config(replication).items():
        value = config.get(name, {}).get("value")
        if value != wanted:
            yield failed(
                f"{name} is {value}, not {wanted}",
                f"kafka-configs --alter --entity-type topics --entity-name {full_name} --add-config {name}={wanted}",
            )


def acls(probe: DeploymentProbe) -> Results:
    """Checks that the broker enforces access rights, and which rights this user has."""
    if _no_authorizer(probe):
        yield warning(
            "the broker checks no access rights: every client may read every topic",
            "turn its authorizer on (deploy/kafka/secured.properties), then run ninezero topics acls --grant",
        )
        return
    rights = {
        name: set(topic["authorized_operations"] or ())
        for name, topic in probe.topics.items()
        if topic["error_code"] == 0
    }
    hidden = [topic.name for topic in topics_.ALL if topic.name not in rights]
    reads = [name for name, operations in rights.items() if "READ" in operations]
    writes = [name for name, operations in rights.items() if "WRITE" in operations]
    has = f"this user may read {names(reads)}; may write {names(writes)}"
    has += f"; may not see {names(hidden)}" if hidden else ""
    sufficient: list[str] = [
        who
        for who, access in ACCESS.items()
        if {topic.name for topic in access.reads} <= set(reads)
        and {topic.name for topic in access.writes} <= set(writes)
        and {topic.name for _, topic in access.follows} <= set(rights)
    ]
    needed = parties(probe.where)
    if not sufficient or (needed and not set(needed) & set(sufficient)):
        whom = " or ".join(needed) or "any role"
        yield failed(f"not sufficient for {whom}: {has}", "ninezero topics acls prints the rights of each role")
    elif all("ALTER" in operations for operations in rights.values()) and not hidden:
        yield warning(
            "this user may do everything, as an administrator",
            "give each role and device a user of its own: ninezero topics acls",
        )
    else:
        yield ok(f"access rights are checked; sufficient for {names(sufficient)}: {has}")


def _no_authorizer(probe: DeploymentProbe) -> bool:
    from kafka.admin import (
        ACLFilter,
        ACLOperation,
        ACLPermissionType,
        ACLResourcePatternType,
        ResourcePatternFilter,
        ResourceType,
    )
    from kafka.errors import ClusterAuthorizationFailedError, SecurityDisabledError

    everything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    with contextlib.closing(probe.admin()) as admin:
        try:
            error = admin.describe_acls(ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, everything))[1]
        except ClusterAuthorizationFailedError:
            return False  # only an authorizer rejects this request
        except SecurityDisabledError:
            return True
    return bool(error is SecurityDisabledError)
