"""The parts of `ninezero doctor` that look into Kafka and ClickHouse."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ninezero.agents.doctor.probe import DeploymentProbe, Found, loopback, named
from ninezero.streams.clickhouse import engines as clickhouse
from ninezero.streams.kafka import sync, topics
from ninezero.streams.kafka.access import ACCESS

PARTS_MANY = 1000
"""Active parts of a partition, from which ClickHouse delays inserts (and refuses them from 3,000)."""

LEDGERS = {topics.QUARANTINE_LEDGER.name: topics.QUARANTINE.name, topics.FOLLOWUP_LEDGER.name: topics.FOLLOWUPS.name}


def kafka(patient: DeploymentProbe) -> Found:
    """Reachable, and why not."""
    if (fault := patient.kafka_fault) is not None:
        yield "failed", fault.found, fault.todo
        return
    with contextlib.closing(patient.admin()) as admin:
        brokers = admin.describe_cluster()["brokers"]
    yield "ok", f"{len(brokers)} broker(s) answer over {sync.security_protocol(patient.settings)}", ""


def topics_(patient: DeploymentProbe) -> Found:
    """There, with partitions, retention and compaction as streams/kafka/topics.py has them."""
    from kafka.admin import ConfigResource, ConfigResourceType

    told = {topic.name: patient.described.get(topic.name, {"error_code": 3}) for topic in topics.ALL}
    seen = {name: topic for name, topic in told.items() if topic["error_code"] == 0}
    hidden = [name for name, topic in told.items() if topic["error_code"] == 29]
    missing = sorted(told.keys() - seen.keys() - set(hidden))
    troubled = bool(missing or hidden)
    if missing:
        yield "failed", f"missing: {', '.join(missing)}", "ninezero topics create"
    if hidden:
        yield "could_not_check", f"this principal may not see {', '.join(hidden)}", "ask as an administrator"
    with contextlib.closing(patient.admin()) as admin:
        readable = [name for name, told in seen.items() if "DESCRIBE_CONFIGS" in (told["authorized_operations"] or ())]
        asked = [ConfigResource(ConfigResourceType.TOPIC, patient.settings.topic(name)) for name in readable]
        configs = admin.describe_configs(asked, config_filter="all").get("topic", {}) if asked else {}
    for topic in topics.ALL:
        if topic.name not in seen:
            continue
        for status, found, todo in _topic(patient, topic, seen, configs.get(patient.settings.topic(topic.name), {})):
            troubled = True
            yield status, f"{topic.name}: {found}", todo
    if not troubled:
        yield "ok", f"{len(seen)} topics, with partitions, retention and compaction as they should be", ""


def _topic(patient: DeploymentProbe, topic: topics.Topic, seen: Mapping[str, Any], config: Mapping[str, Any]) -> Found:
    partitions = seen[topic.name]["partitions"]
    if topic.partitions is not None and len(partitions) != topic.partitions:
        yield (
            "failed",
            f"{len(partitions)} partitions instead of {topic.partitions}",
            "delete it and run ninezero topics create: its order is what the lists rest on",
        )
    source = LEDGERS.get(topic.name, "")
    if source in seen and len(seen[source]["partitions"]) != len(partitions):
        yield (
            "failed",
            f"not as many partitions as {source}",
            f"give both the same number: kafka-topics --alter --topic {patient.settings.topic(topic.name)} --partitions …",
        )
    if any(p["leader_id"] < 0 for p in partitions):
        yield "failed", "a partition has no leader", "look at the brokers: one is down"
    elif any(len(p["isr_nodes"]) < len(p["replica_nodes"]) for p in partitions):
        yield "warning", "replicas are missing or behind", "look at the brokers: one is down or slow"
    elif any(len(p["replica_nodes"]) < 2 for p in partitions) and not loopback(patient.settings.kafka):
        yield (
            "warning",
            "one copy only: a broken disk loses it",
            "ninezero topics create --replication 3 before the first event",
        )
    if not config:
        yield "could_not_check", "retention: this principal may not see it", "ask as an administrator"
    for name, wanted in topic.config().items():
        found = config.get(name, {}).get("value")
        if config and found != wanted:
            full = patient.settings.topic(topic.name)
            yield (
                "failed",
                f"{name} is {found}, not {wanted}",
                f"kafka-configs --alter --entity-type topics --entity-name {full} --add-config {name}={wanted}",
            )


def acls(patient: DeploymentProbe) -> Found:
    """Whether rights are checked, and which this principal has."""
    told = {
        name: set(t["authorized_operations"] or ()) for name, t in patient.described.items() if t["error_code"] == 0
    }
    if _no_authorizer(patient):
        yield (
            "warning",
            "the broker checks no rights: whoever reaches it may read every topic",
            "switch its authorizer on (deploy/kafka/secured.properties), then ninezero topics acls --grant",
        )
        return
    hidden = [topic.name for topic in topics.ALL if topic.name not in told]
    reads, writes = ([n for n, may in told.items() if right in may] for right in ("READ", "WRITE"))
    may = f"may read {named(reads)}; may write {named(writes)}" + (f"; does not see {named(hidden)}" if hidden else "")
    enough: list[str] = [
        who
        for who, access in ACCESS.items()
        if {one.name for one in access.reads} <= set(reads) and {one.name for one in access.writes} <= set(writes)
    ]
    if not enough:
        yield "failed", f"not enough for any role: this principal {may}", "ninezero topics acls tells who may do what"
    elif all("ALTER" in rights for rights in told.values()) and not hidden:
        yield (
            "warning",
            "this principal may do everything, as an administrator",
            "give each role and device a principal of its own: ninezero topics acls",
        )
    else:
        yield "ok", f"rights are checked; enough for {named(enough)}: this principal {may}", ""


def _no_authorizer(patient: DeploymentProbe) -> bool:
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
    with contextlib.closing(patient.admin()) as admin:
        try:
            error = admin.describe_acls(ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, everything))[1]
        except ClusterAuthorizationFailedError:
            return False  # somebody checks rights, for this was refused
        except SecurityDisabledError:
            return True
    return bool(error is SecurityDisabledError)


def clickhouse_(patient: DeploymentProbe) -> Found:
    """Reachable, its schema, its accounts."""
    try:
        with patient.database() as engine:
            version = engine.query("SELECT version() AS v")[0]["v"]
            yield "ok", f"ClickHouse {version} answers", ""
            yield from _schema(engine)
            yield from _days(engine, patient.settings.timezone)
            yield from _account(engine, urlsplit(patient.settings.clickhouse))
    except clickhouse.ClickHouseDenied:
        yield (
            "failed",
            "ClickHouse refuses the account or its password",
            "correct NINEZERO_CLICKHOUSE; accounts: deploy/clickhouse",
        )
    except clickhouse.ClickHouseError as error:
        # The driver's line may name the account, never the password; the address is the operator's own.
        yield (
            "failed",
            f"ClickHouse cannot be asked: {str(error)[:120]}",
            "start the server, or mend the address in NINEZERO_CLICKHOUSE",
        )


def _schema(engine: clickhouse.Engine) -> Found:
    wanted = {path.stem for path in clickhouse.SQL.glob("*.sql")}
    try:
        present = {row["name"] for row in engine.query("SELECT name FROM ninezero_data.schema_migrations")}
    except clickhouse.ClickHouseError:
        yield (
            "failed",
            "the schema is not there, or this account may not see it",
            "ninezero migrate, as the workers' account",
        )
        return
    if missing := sorted(wanted - present):
        yield "failed", f"the schema is behind: {', '.join(missing)}", "ninezero migrate"
    elif newer := sorted(present - wanted):
        yield "warning", f"the schema is ahead of this program: {', '.join(newer)}", "upgrade ninezero on this machine"
    else:
        yield "ok", f"schema at {max(wanted)}", ""
    worst = engine.query(
        "SELECT max(n) AS n FROM (SELECT count() AS n FROM system.parts WHERE active AND database = 'ninezero_data' GROUP BY table, partition)"
    )
    if worst and int(worst[0]["n"] or 0) >= PARTS_MANY:
        yield (
            "warning",
            f"{worst[0]['n']} parts in a partition: inserts are slowed down",
            "look why merges do not keep up: disk, system.merges",
        )


def _days(engine: clickhouse.Engine, timezone: str) -> Found:
    """Local days of cases are those of the time zone in which `ninezero migrate` made the views; the workers go by the setting."""
    try:
        told = engine.query("SHOW CREATE TABLE ninezero.quarantine_by_day")[0]["statement"]
    except clickhouse.ClickHouseError:
        return  # the schema is not there, which is told
    made = re.search(r"toDate\(now\(\), '([^']+)'\)", told)
    if made is None:
        yield "could_not_check", "the time zone of the views' days", "report it"
    elif made[1] != timezone:
        yield (
            "failed",
            f"the views' days are those of {made[1]}, and NINEZERO_TIMEZONE is {timezone}: counts of cases are off",
            f"set NINEZERO_TIMEZONE={made[1]} everywhere",
        )


def _account(engine: clickhouse.Engine, url: SplitResult) -> Found:
    if url.scheme == "chdb":
        yield (
            "warning",
            "embedded: no accounts, who may read the folder reads everything",
            "use a server beyond a trial",
        )
        return
    if (url.username or "default") == "default":
        yield (
            "warning",
            "the workers' account is default, which may do everything",
            "use ninezero_writer: deploy/clickhouse",
        )
    locked = engine.query("SELECT value FROM system.settings WHERE name = 'readonly'")
    if locked and locked[0]["value"] != "0":
        yield (
            "failed",
            "this account may only read: the recorder cannot write with it",
            "use ninezero_writer in NINEZERO_CLICKHOUSE",
        )
    try:
        found = {row["name"] for row in engine.query("SELECT name FROM system.users WHERE name LIKE 'ninezero_%'")}
    except clickhouse.ClickHouseError:
        yield (
            "could_not_check",
            "accounts: this server does not tell, or not this account",
            "compare with deploy/clickhouse by hand",
        )
        return
    if missing := sorted({"ninezero_writer", "ninezero_reader", "ninezero_public"} - found):
        yield "warning", f"accounts are missing: {', '.join(missing)}", "apply deploy/clickhouse/accounts.sql"
    else:
        yield "ok", "the three accounts are there", ""
