"""Who may do what on Kafka, once: a principal for each role, and those of devices, authorities, health staff, operators.

What is not listed is refused by a broker with an authorizer. `Read` and `Write` bring `Describe` with them.
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

Who = Literal["screening", "lists", "ledgers", "recording", "devices", "authorities", "staff", "operators"]


class Access(NamedTuple):
    """The topics that somebody reads and writes."""

    reads: tuple[Topic, ...] = ()
    writes: tuple[Topic, ...] = ()

    @property
    def topics(self) -> frozenset[Topic]:
        """All of them."""
        return frozenset(self.reads + self.writes)


ACCESS: dict[Who, Access] = {
    "screening": Access(
        (topics.SCANS, topics.ARRIVALS, topics.WATCHLIST),
        (topics.OUTCOMES, topics.ALERTS, topics.DECISIONS, topics.DEAD_LETTERS),
    ),
    "lists": Access(
        (topics.PUSHES, topics.WATCHLIST, topics.RECEIPTS, topics.ALERTS),
        (topics.WATCHLIST, topics.RECEIPTS, topics.ALERTS, topics.DEAD_LETTERS),
    ),
    "ledgers": Access(
        (topics.DISPOSITIONS, topics.QUARANTINE, topics.FOLLOWUPS, topics.QUARANTINE_LEDGER, topics.FOLLOWUP_LEDGER),
        (topics.QUARANTINE_LEDGER, topics.FOLLOWUP_LEDGER, topics.ALERTS, topics.DEAD_LETTERS),
    ),
    "recording": Access(
        (
            topics.DECISIONS, topics.DISPOSITIONS, topics.QUARANTINE, topics.FOLLOWUPS, topics.RECEIPTS,
            topics.DEAD_LETTERS,
        ),
        (topics.DEAD_LETTERS,),
    ),
    "devices": Access(
        (topics.OUTCOMES,),
        (topics.SCANS, topics.ARRIVALS, topics.DISPOSITIONS, topics.QUARANTINE, topics.FOLLOWUPS),
    ),
    "authorities": Access((topics.RECEIPTS,), (topics.PUSHES,)),
    "staff": Access((topics.ALERTS,)),
    "operators": Access((topics.DEAD_LETTERS, topics.WATCHLIST)),
}  # fmt: skip

TRANSACTIONS = "ninezero-lists"
"""Transactional id of the lists role, after the topic prefix."""


class Grant(NamedTuple):
    """One permission: a principal may do operations on a resource (`TOPIC`, `GROUP`, `TRANSACTIONAL_ID`)."""

    principal: str
    operations: tuple[str, ...]
    resource: str
    name: str
    prefixed: bool = False


def grants(settings: Settings, names: Mapping[Who, Sequence[str]] | None = None) -> Iterator[Grant]:
    """Every permission of a deployment. `names` are the users of each, `ninezero-WHO` where none is given."""
    for who, access in ACCESS.items():
        for name in (names or {}).get(who) or (f"ninezero-{who}",):
            principal = f"User:{name}"
            for operation, some in (("READ", access.reads), ("WRITE", access.writes)):
                for topic in some:
                    yield Grant(principal, (operation,), "TOPIC", settings.topic(topic.name))
            if who in ROLES:
                yield Grant(principal, ("READ",), "GROUP", settings.group(who))
            if who == "lists":
                yield Grant(principal, ("WRITE",), "TRANSACTIONAL_ID", settings.topic(TRANSACTIONS))
            if who in ("staff", "operators"):  # programs of theirs, with groups of their own
                yield Grant(principal, ("READ",), "GROUP", settings.group(who), prefixed=True)
            if who == "operators":
                for topic in topics.ALL:
                    yield Grant(principal, ("CREATE", "DELETE"), "TOPIC", settings.topic(topic.name))
                for role in ROLES:
                    yield Grant(principal, ("DESCRIBE", "DELETE"), "GROUP", settings.group(role))


def commands(settings: Settings, names: Mapping[Who, Sequence[str]] | None = None) -> Iterator[str]:
    """The same as calls of Kafka's own `kafka-acls.sh`."""
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


def grant_all(settings: Settings, names: Mapping[Who, Sequence[str]] | None = None) -> int:
    """Grants all of it on the broker, as who may alter the cluster; how many permissions. What is there already stays.

    Raises:
        UserError: the broker has no authorizer, or this user may not.
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
            f"{len(failed)} of {len(acls)} permissions were refused: the broker needs authorizer.class.name,"
            " and this user the right to alter the cluster (super.users)"
        )
    return len(acls)
