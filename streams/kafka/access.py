"""Permissions on Kafka: what each role, devices, authorities, health staff and operators may read and write.

A broker with an authorizer denies everything else. `Read` and `Write` include `Describe`.
"""

from __future__ import annotations

import contextlib
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from ninezero.streams.errors import UserError
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.topics import Topic
from ninezero.streams.settings import ROLES, Settings

Party = Literal["screening", "lists", "ledgers", "recording", "devices", "authorities", "staff", "operators"]
"""A role, or a group of users outside the workers."""


class Access(NamedTuple):
    """The topics that a party reads and writes, and the roles whose progress it sees, with the topics that they process."""

    reads: tuple[Topic, ...] = ()
    writes: tuple[Topic, ...] = ()
    follows: tuple[tuple[str, Topic], ...] = ()

    @property
    def topics(self) -> frozenset[Topic]:
        """Returns the topics that the party reads or writes."""
        return frozenset(self.reads + self.writes)


ACCESS: dict[Party, Access] = {
    "screening": Access(
        (
            topics.SCANS, topics.ARRIVALS, topics.WATCHLIST, topics.LIST_REGISTER, topics.REGISTER, topics.POLICIES,
        ),
        (topics.OUTCOMES, topics.ALERTS, topics.DECISIONS, topics.TRANSFERS, topics.DEAD_LETTERS),
    ),
    "lists": Access(
        (
            topics.PUSHES, topics.WATCHLIST, topics.LIST_REGISTER, topics.RECEIPTS, topics.ALERTS, topics.REGISTER,
            topics.POLICIES,
        ),
        (topics.WATCHLIST, topics.LIST_REGISTER, topics.RECEIPTS, topics.ALERTS, topics.DEAD_LETTERS),
    ),
    "ledgers": Access(
        (
            topics.DISPOSITIONS, topics.QUARANTINE, topics.FOLLOWUPS, topics.TRANSFERS, topics.QUARANTINE_LEDGER,
            topics.FOLLOWUP_LEDGER, topics.TRANSFER_LEDGER, topics.REGISTER, topics.POLICIES,
        ),
        (
            topics.QUARANTINE_LEDGER, topics.FOLLOWUP_LEDGER, topics.TRANSFER_LEDGER, topics.ALERTS, topics.DEAD_LETTERS,
        ),
        (("screening", topics.ARRIVALS),),  # a transfer is judged when the arrivals before that instant are screened
    ),
    "recording": Access(
        (
            topics.DECISIONS, topics.TRANSFERS, topics.DISPOSITIONS, topics.QUARANTINE, topics.FOLLOWUPS, topics.RECEIPTS,
            topics.ALERTS, topics.DEAD_LETTERS, topics.REGISTER, topics.POLICIES,
        ),
        (topics.DEAD_LETTERS,),
    ),
    "devices": Access(
        (topics.OUTCOMES,),
        (topics.SCANS, topics.ARRIVALS, topics.DISPOSITIONS, topics.QUARANTINE, topics.FOLLOWUPS),
    ),
    "authorities": Access((topics.RECEIPTS,), (topics.PUSHES,)),
    "staff": Access((topics.ALERTS,)),
    "operators": Access(
        (topics.DEAD_LETTERS, topics.WATCHLIST, topics.LIST_REGISTER, topics.REGISTER, topics.POLICIES),
        (topics.REGISTER, topics.POLICIES),
    ),
}  # fmt: skip

LISTS_TRANSACTIONAL_ID = "ninezero-lists"
"""Transactional id of the lists role, without the topic prefix."""


class Grant(NamedTuple):
    """One permission."""

    principal: str
    """Kafka's name of a user, `User:NAME`."""
    operations: tuple[str, ...]
    """Names of Kafka's `AclOperation`."""
    resource: str
    """`TOPIC`, `GROUP` or `TRANSACTIONAL_ID`."""
    name: str
    """Name of the resource on the broker."""
    prefixed: bool = False
    """True if every resource is meant whose name begins with `name`."""


def grants(settings: Settings, names: Mapping[Party, Sequence[str]] | None = None) -> Iterator[Grant]:
    """Yields every permission of a deployment.

    Args:
        settings: the deployment.
        names: the users of each party; `ninezero-PARTY` for a party without an entry.
    """
    for party, access in ACCESS.items():
        for name in (names or {}).get(party) or (f"ninezero-{party}",):
            principal = f"User:{name}"
            for operation, permitted in (("READ", access.reads), ("WRITE", access.writes)):
                for topic in permitted:
                    yield Grant(principal, (operation,), "TOPIC", settings.topic(topic.name))
            for role, topic in access.follows:
                yield Grant(principal, ("DESCRIBE",), "TOPIC", settings.topic(topic.name))
                yield Grant(principal, ("DESCRIBE",), "GROUP", settings.group(role))
            if party in ROLES:
                yield Grant(principal, ("READ",), "GROUP", settings.group(party))
            if party == "lists":
                yield Grant(principal, ("WRITE",), "TRANSACTIONAL_ID", settings.topic(LISTS_TRANSACTIONAL_ID))
            if party in ("staff", "operators"):  # their own programs use consumer groups of their own
                yield Grant(principal, ("READ",), "GROUP", settings.group(party), prefixed=True)
            if party == "operators":
                for topic in topics.ALL:
                    yield Grant(principal, ("CREATE", "DELETE"), "TOPIC", settings.topic(topic.name))
                for role in ROLES:
                    yield Grant(principal, ("DESCRIBE", "DELETE"), "GROUP", settings.group(role))


def commands(settings: Settings, names: Mapping[Party, Sequence[str]] | None = None) -> Iterator[str]:
    """Yields the same permissions as shell commands that call Kafka's `kafka-acls.sh`."""
    together: dict[tuple[str, tuple[str, ...], str, bool], list[str]] = defaultdict(list)
    for grant in grants(settings, names):
        together[grant.principal, grant.operations, grant.resource, grant.prefixed].append(grant.name)
    for (principal, operations, resource, prefixed), resources in together.items():
        words = ["--add", "--allow-principal", principal]
        words += [word for one in operations for word in ("--operation", one.title())]
        option = f"--{resource.lower().replace('_', '-')}"
        words += [word for name in resources for word in (option, name)]
        words += ["--resource-pattern-type", "prefixed"] if prefixed else []
        yield f'kafka-acls.sh "$@" {shlex.join(words)}'


def grant_all(settings: Settings, names: Mapping[Party, Sequence[str]] | None = None) -> int:
    """Grants the permissions on the broker. Permissions that exist already stay.

    Returns:
        The number of permissions.

    Raises:
        KafkaUnreachable: no broker answers within ten seconds.
        KafkaForbidden: this user may not alter the cluster.
        UserError: the broker did not grant all of them.
    """
    from kafka.admin import ACL, ACLOperation, ACLPermissionType, ACLResourcePatternType, ResourcePattern, ResourceType

    from ninezero.streams.kafka.sync import admin, explained_errors

    acls = [
        ACL(
            grant.principal, "*", ACLOperation[operation], ACLPermissionType.ALLOW,
            ResourcePattern(
                ResourceType[grant.resource], grant.name,
                ACLResourcePatternType.PREFIXED if grant.prefixed else ACLResourcePatternType.LITERAL,
            ),
        )
        for grant in grants(settings, names)
        for operation in grant.operations
    ]  # fmt: skip
    with contextlib.closing(admin(settings)) as client, explained_errors(settings):
        failed = client.create_acls(acls)["failed"]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(acls)} permissions were not granted: the broker needs authorizer.class.name,"
            " and this user the permission to alter the cluster (super.users)"
        )
    return len(acls)
