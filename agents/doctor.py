"""`ninezero doctor`: what keeps a deployment from working, or soon will. It looks, and changes nothing.

A part that cannot be looked at says so; it never counts as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal, NamedTuple

from schemas.events import Manifest
from streams import blocking, clickhouse, diagnosis, topics
from streams import settings as settings_
from streams.errors import UserError
from streams.settings import Settings, SettingsError

Status = Literal["ok", "warning", "failed", "could_not_check"]

SUNSET_NEAR = timedelta(days=7)
KEY_NEAR = timedelta(days=3)
LIST_OLD = timedelta(days=2)
CLOCK_OFF, CLOCK_WRONG = 2.0, 60.0
"""Seconds; past the second, heartbeats and events are misjudged."""
HEARTBEAT_SECONDS = 15.0
"""One comes every ten."""
LISTS_SECONDS = 90.0
PARTS_MANY = 1000
"""Active parts of a partition, from which ClickHouse delays inserts (and refuses them from 3,000)."""


class Finding(NamedTuple):
    """One line: what was looked at, how it is, what was found, and what to do unless it is well."""

    part: str
    status: Status
    found: str
    todo: str = ""


class CannotCheck(UserError):
    """A part that cannot be looked at, and why."""


class Doctor:
    """Examines the deployment that an environment names, from this machine and with this account."""

    def __init__(self, environ: Mapping[str, str], parts: tuple[str, ...] = ()) -> None:
        self.parts = parts or tuple(PARTS)
        self._environ = environ
        self.settings, self._faults = _read_settings(environ, edge="clickhouse" not in self.parts)
        self._lists: tuple[Mapping[tuple[str, str], Manifest], datetime] | None = None

    def examine(self) -> Iterator[Finding]:
        """Every finding, as it is made."""
        for part in self.parts:
            try:
                for status, found, todo in PARTS[part](self):
                    yield Finding(part, status, found, todo)
            except UserError as error:
                yield Finding(part, "could_not_check", str(error), "mend the other parts first, and ask again")
            except Exception as error:  # its message may quote anything
                yield Finding(part, "could_not_check", f"unforeseen {type(error).__name__}", "report it")

    # What several parts look at; a failure is that of each.

    @cached_property
    def kafka_fault(self) -> diagnosis.Fault | None:
        """Why Kafka cannot be reached."""
        for name, fault in self._faults.items():
            if name.startswith("NINEZERO_KAFKA"):
                return diagnosis.Fault(str(fault), "set it first")
        return diagnosis.kafka_fault(self.settings)

    def admin(self) -> Any:
        """A connection to Kafka."""
        if self.kafka_fault is not None:
            raise CannotCheck("Kafka was not reached")
        return blocking.admin(self.settings)

    @cached_property
    def described(self) -> dict[str, dict[str, Any]]:
        """What Kafka tells of our topics, by their names in the contract."""
        with contextlib.closing(self.admin()) as admin:
            names = {self.settings.topic(topic.name): topic.name for topic in topics.ALL}
            return {names[told["name"]]: told for told in admin.describe_topics(list(names))}

    def manifests(self) -> Mapping[tuple[str, str], Manifest]:
        """The lists' manifests."""
        from agents.cli_watchlist import read

        if self.kafka_fault is not None:
            raise CannotCheck("Kafka was not reached")

        async def within() -> Mapping[tuple[str, str], Manifest]:
            async with asyncio.timeout(LISTS_SECONDS):
                return (await read(self.settings, ""))[0]

        try:
            return asyncio.run(within())
        except TimeoutError:
            raise CannotCheck(f"the lists could not be read in {LISTS_SECONDS:.0f} s") from None

    @cached_property
    def heartbeat_offset(self) -> float | None:
        """The broker's clock minus ours in seconds, by the next heartbeat on the watchlist; None if none comes."""
        if self.kafka_fault is not None:
            raise CannotCheck("Kafka was not reached")
        return asyncio.run(_next_heartbeat(self.settings))

    @contextlib.contextmanager
    def database(self) -> Iterator[clickhouse.Engine]:
        """A connection to ClickHouse; never makes an embedded database that is not there."""
        if "NINEZERO_CLICKHOUSE" in self._faults:
            raise CannotCheck("NINEZERO_CLICKHOUSE is missing or wrong")
        folder = clickhouse.folder_of(self.settings.clickhouse)
        if folder is not None and not folder.exists():
            raise CannotCheck("there is no database in the folder of NINEZERO_CLICKHOUSE: ninezero migrate")
        engine = clickhouse.connect(self.settings.clickhouse)
        try:
            yield engine
        finally:
            engine.close()

    def faults(self) -> Mapping[str, SettingsError]:
        """Settings that are missing or wrong."""
        return self._faults

    def unknown(self) -> list[str]:
        """Variables that look like settings and are none."""
        return sorted(n for n in self._environ if n.startswith("NINEZERO_") and n not in settings_.NAMES)


_Found = Iterator[tuple[Status, str, str]]


def _settings(doctor: Doctor) -> _Found:
    for fault in doctor.faults().values():
        what, _, todo = str(fault).partition(": ")
        yield "failed", what, todo
    for name in doctor.unknown():
        if name != "NINEZERO_DEBUG":
            yield "warning", f"{name} is no setting and has no effect", "look for a slip: README, For operators"
    given = doctor.settings
    if given.replay:
        yield (
            "warning",
            "replay mode: nothing is late, nothing expires, nothing is dropped",
            "unset NINEZERO_REPLAY in service",
        )
    if "ca" not in given.kafka_security and not _loopback(given.kafka):
        yield "warning", "Kafka is spoken to without TLS beyond this machine", "set NINEZERO_KAFKA_TLS_CA"
    if given.clickhouse.startswith("clickhouse:") and not _loopback(given.clickhouse.rpartition("@")[2]):
        yield (
            "warning",
            "ClickHouse is spoken to without TLS beyond this machine",
            "write clickhouses:// in NINEZERO_CLICKHOUSE",
        )
    if not doctor.faults():
        yield "ok", f"all set, under the order {given.order}", ""


def _sunset(doctor: Doctor) -> _Found:
    if {"NINEZERO_SUNSET", "NINEZERO_ORDER"} & doctor.faults().keys():
        raise CannotCheck("NINEZERO_ORDER or NINEZERO_SUNSET is missing or wrong")
    left = doctor.settings.sunset - datetime.now(UTC)
    at = f"{doctor.settings.sunset:%Y-%m-%dT%H:%M:%SZ}"
    if left <= timedelta(0):
        yield (
            "failed",
            f"the order ended at {at}: every event is discarded",
            "stop the workers, then ninezero erase; or set the new order and its end",
        )
    elif left < SUNSET_NEAR:
        yield (
            "warning",
            f"the order ends at {at}, in {_span(left)}",
            "prepare ninezero erase, or have the order prolonged",
        )
    else:
        yield "ok", f"the order ends at {at}, in {_span(left)}", ""


def _kafka(doctor: Doctor) -> _Found:
    if (fault := doctor.kafka_fault) is not None:
        yield "failed", fault.found, fault.todo
        return
    with contextlib.closing(doctor.admin()) as admin:
        brokers = admin.describe_cluster()["brokers"]
    yield "ok", f"{len(brokers)} broker(s) answer over {blocking.protocol(doctor.settings)}", ""


def _topics(doctor: Doctor) -> _Found:
    from kafka.admin import ConfigResource, ConfigResourceType

    seen = {}
    troubled = False
    for topic in topics.ALL:
        told = doctor.described.get(topic.name, {})
        if told.get("error_code") == 29:
            troubled = True
            yield "could_not_check", f"{topic.name}: this principal may not see it", "ask as an administrator"
        elif told.get("error_code") != 0:
            troubled = True
            yield "failed", f"{topic.name} is missing", "ninezero topics create"
        else:
            seen[topic.name] = told
    with contextlib.closing(doctor.admin()) as admin:
        readable = [name for name, told in seen.items() if "DESCRIBE_CONFIGS" in (told["authorized_operations"] or ())]
        asked = [ConfigResource(ConfigResourceType.TOPIC, doctor.settings.topic(name)) for name in readable]
        configs = admin.describe_configs(asked, config_filter="all").get("topic", {}) if asked else {}
    for topic in topics.ALL:
        if topic.name not in seen:
            continue
        for status, found, todo in _topic(doctor, topic, seen, configs.get(doctor.settings.topic(topic.name), {})):
            troubled = True
            yield status, f"{topic.name}: {found}", todo
    if not troubled:
        yield "ok", f"{len(seen)} topics, with partitions, retention and compaction as they should be", ""


def _topic(doctor: Doctor, topic: topics.Topic, seen: Mapping[str, Any], config: Mapping[str, Any]) -> _Found:
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
            f"give both the same number: kafka-topics --alter --topic {doctor.settings.topic(topic.name)} --partitions …",
        )
    if any(p["leader_id"] < 0 for p in partitions):
        yield "failed", "a partition has no leader", "look at the brokers: one is down"
    elif any(len(p["isr_nodes"]) < len(p["replica_nodes"]) for p in partitions):
        yield "warning", "replicas are missing or behind", "look at the brokers: one is down or slow"
    elif any(len(p["replica_nodes"]) < 2 for p in partitions) and not _loopback(doctor.settings.kafka):
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
            full = doctor.settings.topic(topic.name)
            yield (
                "failed",
                f"{name} is {found}, not {wanted}",
                f"kafka-configs --alter --entity-type topics --entity-name {full} --add-config {name}={wanted}",
            )


def _acls(doctor: Doctor) -> _Found:
    told = {name: set(t["authorized_operations"] or ()) for name, t in doctor.described.items() if t["error_code"] == 0}
    if _no_authorizer(doctor):
        yield (
            "warning",
            "the broker checks no rights: whoever reaches it may read every topic",
            "switch its authorizer on, with the ACLs of deploy/kafka",
        )
        return
    hidden = [topic.name for topic in topics.ALL if topic.name not in told]
    reads, writes = ([n for n, may in told.items() if right in may] for right in ("READ", "WRITE"))
    may = f"may read {_named(reads)}; may write {_named(writes)}" + (
        f"; does not see {_named(hidden)}" if hidden else ""
    )
    if not reads and not writes:
        yield (
            "failed",
            "this principal may neither read nor write any topic",
            "give it the ACLs of its role: deploy/kafka",
        )
    elif all("ALTER" in rights for rights in told.values()) and not hidden:
        yield (
            "warning",
            "this principal may do everything, as an administrator",
            "give each role and device a principal of its own: deploy/kafka",
        )
    else:
        yield "ok", f"rights are checked; this principal {may}", ""


def _no_authorizer(doctor: Doctor) -> bool:
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
    with contextlib.closing(doctor.admin()) as admin:
        try:
            error = admin.describe_acls(ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, everything))[1]
        except ClusterAuthorizationFailedError:
            return False  # somebody checks rights, for this was refused
        except SecurityDisabledError:
            return True
    return bool(error is SecurityDisabledError)


def _clickhouse(doctor: Doctor) -> _Found:
    try:
        with doctor.database() as engine:
            version = engine.query("SELECT version() AS v")[0]["v"]
            yield "ok", f"ClickHouse {version} answers", ""
            yield from _schema(engine)
            yield from _account(engine, embedded=doctor.settings.clickhouse.startswith("chdb:"))
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


def _schema(engine: clickhouse.Engine) -> _Found:
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


def _account(engine: clickhouse.Engine, *, embedded: bool) -> _Found:
    if embedded:
        yield (
            "warning",
            "embedded: no accounts, whoever may read the folder reads everything",
            "use a server beyond a trial",
        )
        return
    me = engine.query("SELECT currentUser() AS me")[0]["me"]
    if me == "default":
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


def _keys(doctor: Doctor) -> _Found:
    from streams.edge.pseudonyms import KeyRing, KeyRingError

    if doctor.settings.keys is None:
        raise CannotCheck("NINEZERO_KEYS is not set here, as it should be where no device is and nobody pushes")
    try:
        keys = KeyRing.load(doctor.settings.keys).describe()
    except KeyRingError as error:
        what, _, todo = str(error).partition(": ")
        yield "failed", what, todo
        return
    now, active = datetime.now(UTC), next(key for key in keys if key.active)
    if active.not_after is not None and active.not_after <= now:
        yield (
            "failed",
            f"the active key {active.key_id} is past its not_after",
            "copy the deployment's current ring to this machine",
        )
    elif active.not_after is not None and active.not_after - now < KEY_NEAR:
        yield (
            "warning",
            f"the active key {active.key_id} ends in {_span(active.not_after - now)}",
            "copy the deployment's current ring to this machine",
        )
    try:
        manifests = doctor.manifests()
    except UserError as error:
        yield "could_not_check", f"whether the lists carry the ring's keys: {error}", "mend Kafka first, and ask again"
        return
    lacking = sorted("/".join(n) for n, m in manifests.items() if m.entries and active.key_id not in m.key_ids)
    if lacking:
        yield (
            "failed",
            f"the active key {active.key_id} is not on {_named(lacking)}: everyone is held (unknown_key)",
            "push these lists again with this ring, in full",
        )
    else:
        yield "ok", f"mode 0600, {len(keys)} key(s), {active.key_id} is active and on every list", ""


def _clocks(doctor: Doctor) -> _Found:
    if doctor.settings.clickhouse:
        with doctor.database() as engine:
            before = time.time()
            theirs = int(engine.query("SELECT toUnixTimestamp(now()) AS n")[0]["n"]) + 0.5
        yield _clock("ClickHouse", theirs - (before + time.time()) / 2)
    offset = doctor.heartbeat_offset
    if offset is None:
        yield (
            "could_not_check",
            "Kafka's: no heartbeat came on the watchlist to tell its time by",
            "start the lists role (ninezero worker lists)",
        )
    else:
        yield _clock("Kafka", offset)


def _clock(whose: str, offset: float) -> tuple[Status, str, str]:
    found = f"{whose}'s clock is {offset:+.1f} s from this one"
    if abs(offset) > CLOCK_WRONG:
        return "failed", found, "set the clocks by NTP: heartbeats, lateness and the sunset are judged by them"
    return ("warning", found, "look at NTP on both") if abs(offset) > CLOCK_OFF else ("ok", found, "")


def _lists(doctor: Doctor) -> _Found:
    manifests = doctor.manifests()
    if not manifests:
        yield (
            "failed",
            "there is no list yet: nothing is decided before the first",
            "push one (ninezero push), an empty one too",
        )
    now = datetime.now(UTC)
    for (authority, name), manifest in sorted(manifests.items()):
        which, age = f"{name} of {authority}", now - manifest.at
        if manifest.lost:
            yield "failed", f"{which}: its entries were lost with the topic; no worker is ready", "push it in full"
        elif not manifest.entries:
            yield (
                "warning",
                f"{which}: it has ended, nobody is on it any more",
                "ask the authority whether it should be pushed again",
            )
        elif age > LIST_OLD:
            yield (
                "warning",
                f"{which}: {manifest.entries} entries, last applied {_span(age)} ago",
                "ask the authority for its next batch",
            )
        else:
            yield "ok", f"{which}: {manifest.entries} entries, last applied {_span(age)} ago", ""
    if doctor.heartbeat_offset is None:
        yield (
            "failed",
            f"no heartbeat in {HEARTBEAT_SECONDS:.0f} s: the lists do not move, after {doctor.settings.max_list_age:.0f} s everyone is held",
            "start the lists role (ninezero worker lists)",
        )
    else:
        yield "ok", "the heartbeat comes", ""


def _roles(doctor: Doctor) -> _Found:
    from agents.app import ROLES

    host, first = doctor.settings.http
    for role, step in ROLES.items():
        try:
            with urllib.request.urlopen(f"http://{_asked(host)}:{first + step}/readyz", timeout=5):
                yield "ok", f"{role} is ready", ""
        except urllib.error.HTTPError:
            why = (
                "it waits for its partitions, or for the lists to be whole"
                if role == "screening"
                else "it waits for its partitions"
            )
            yield (
                "failed",
                f"{role} runs and is not ready: {why}",
                "look at the lists, and whether another process of the role has the partitions",
            )
        except OSError:
            yield (
                "could_not_check",
                f"{role} does not answer on this machine",
                f"start it here (ninezero worker {role}), or ask where it runs",
            )


PARTS: Mapping[str, Callable[[Doctor], _Found]] = {
    "settings": _settings, "sunset": _sunset, "kafka": _kafka, "topics": _topics, "acls": _acls,
    "clickhouse": _clickhouse, "keys": _keys, "lists": _lists, "clocks": _clocks, "roles": _roles,
}  # fmt: skip
"""In the order in which they are best mended."""

LEDGERS = {topics.QUARANTINE_LEDGER.name: topics.QUARANTINE.name, topics.FOLLOWUP_LEDGER.name: topics.FOLLOWUPS.name}

# What is looked at in place of a setting that is missing, so that one fault does not hide the next.
_PLACEHOLDERS = {
    "NINEZERO_KAFKA": "127.0.0.1:1", "NINEZERO_CLICKHOUSE": "chdb:///nowhere", "NINEZERO_ORDER": "none",
    "NINEZERO_SUNSET": "2100-01-01T00:00:00Z",
}  # fmt: skip


def _read_settings(environ: Mapping[str, str], *, edge: bool) -> tuple[Settings, dict[str, SettingsError]]:
    given, faults = dict(environ), dict[str, SettingsError]()
    while True:
        try:
            return settings_.load(given, edge=edge), faults
        except SettingsError as error:
            name = str(error).split()[0]
            if name in faults:
                raise
            faults[name] = error
            if name.startswith("NINEZERO_KAFKA_"):
                given = {n: v for n, v in given.items() if not n.startswith("NINEZERO_KAFKA_")}
            elif name in _PLACEHOLDERS:
                given[name] = _PLACEHOLDERS[name]
            else:
                del given[name]


async def _next_heartbeat(settings: Settings) -> float | None:
    from aiokafka import TopicPartition

    from streams import kafka

    reader = kafka.consumer(
        settings, isolation_level="read_committed", auto_offset_reset="latest", fetch_max_wait_ms=100
    )
    tp = TopicPartition(settings.topic(topics.WATCHLIST.name), 0)
    await reader.start()
    try:
        reader.assign([tp])
        await reader.seek_to_end(tp)
        deadline = time.monotonic() + HEARTBEAT_SECONDS
        while time.monotonic() < deadline:
            for record in (await reader.getmany(tp, timeout_ms=500)).get(tp, ()):
                if record.key == b"||":
                    return float(record.timestamp / 1000 - time.time())
    finally:
        await reader.stop()
    return None


def _loopback(where: str) -> bool:
    return all(server.startswith(("127.", "localhost", "[::1]")) for server in where.split(","))


def _asked(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # what all interfaces are asked by
    return f"[{host}]" if ":" in host else host


def _named(names: list[str]) -> str:
    if not names:
        return "none"
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:5])} and {len(names) - 5} more"


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
