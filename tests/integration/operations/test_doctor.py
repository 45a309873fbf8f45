"""`ninezero doctor` on real engines: each finding is made to appear, and what could not be checked never counts as well."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ConfigResource,
    ConfigResourceType,
    ResourcePattern,
    ResourceType,
)

from ninezero.agents.doctor import probe as patient
from ninezero.agents.doctor import stores as doctor_stores
from ninezero.agents.doctor.checks import examine
from ninezero.schemas.events import Heartbeat, Manifest, encode
from ninezero.streams import settings
from ninezero.streams.clickhouse import engines as clickhouse
from ninezero.streams.edge.documents import key_ring
from ninezero.streams.kafka import administration, diagnosis, sync, topics
from ninezero.streams.kafka.access import ACCESS
from ninezero.streams.local_kafka.broker import Broker
from tests.integration.edge.test_device_security import certificates
from tests.support import ClickHouseServer, System, free_port, wait_for

SECRET = "do-not-show-me"


def said(env: Mapping[str, str], *parts: str) -> str:
    """The findings as text, a line each: part status: found -> todo."""
    return "\n".join(f"{f.part} {f.status}: {f.found} -> {f.todo}" for f in examine(env, parts))


class Hospital(NamedTuple):
    system: System
    server: ClickHouseServer
    stopped: threading.Event
    """Ends the heartbeats that come faster than the role's, so that the tests need not wait ten seconds for each."""

    def said(self, *parts: str, **env: str) -> str:
        return said({**self.system.env, **env}, *parts)


def beat(hospital: Hospital) -> None:
    given = settings.load(hospital.system.env)
    with closing(sync.producer(given)) as producer:
        while not hospital.stopped.wait(0.3):
            producer.send(given.topic(topics.WATCHLIST.name), encode(Heartbeat(datetime.now(UTC))), b"||")


@pytest.fixture(scope="module")
def hospital(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """A deployment with one list on it; only the lists role runs."""
    folder = tmp_path_factory.mktemp("doctor")
    server = ClickHouseServer(folder / "clickhouse")
    server.start()
    system = System(kafka.bootstrap, server.url, folder, NINEZERO_KEYS=str(folder / "keys.json"))
    system.prepare()
    system.start("lists")
    key_ring.new_ring(folder / "keys.json")
    (folder / "contacts.csv").write_text("身份证号\n11010519491231002X\n")
    wait_for(lambda: system.ready("lists"), 60, "the lists role")
    done = system.run("push", "contacts.csv", "--authority", "cdc", "--list", "contacts", "--category", "close_contact",
                      "--by", "wang", "--basis", "B-1", "--days", "9")  # fmt: skip
    assert done.returncode == 0, done.stderr
    hospital = Hospital(system, server, threading.Event())
    beating = threading.Thread(target=beat, args=(hospital,))
    beating.start()
    yield hospital
    hospital.stopped.set()
    beating.join()
    system.stop()
    server.kill()


def test_a_sound_deployment_is_sound_and_says_what_it_could_not_check(hospital: Hospital) -> None:
    done = hospital.system.run("doctor", "settings", "sunset", "kafka", "topics", "keys", "lists", "clocks", "--json")
    findings = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [f for f in findings if f["status"] != "ok"] == [f for f in findings if f["part"] == "sunset"]
    assert "in 24 hours" in findings[1]["found"] and findings[1]["todo"]  # the sunset is a day away: a warning
    assert "acls warning: the broker checks no rights" in hospital.said("acls")
    told = hospital.said("clickhouse")  # Debian's 18.16 knows no system.users
    assert (
        "clickhouse could_not_check: accounts" in told and "clickhouse warning: the workers' account is default" in told
    )
    told = hospital.said("roles")
    assert "roles ok: lists is ready" in told and "roles could_not_check: screening does not answer" in told
    done = hospital.system.run("doctor", "roles")
    assert done.returncode == 1 and b"0 failed, 3 could not be checked" in done.stderr


def test_no_proxy_answers_in_a_roles_stead(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours refuses everything, as one does that cannot reach an address behind it."""
    refusing = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    serving = threading.Thread(target=refusing.serve_forever)
    serving.start()
    try:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{refusing.server_port}")
        told = hospital.said("roles")
    finally:
        refusing.shutdown()
        serving.join()
        refusing.server_close()
    assert "roles ok: lists is ready" in told and "roles could_not_check: screening does not answer" in told


def test_settings_are_all_read_at_once_and_a_slip_is_noticed(hospital: Hospital) -> None:
    told = said({"NINEZERO_K": "3", "NINEZERO_KAFKA_SASL_MECHANISM": "PLAIN", "NINEZERO_SUNSETT": "x", "NINEZERO_REPLAY": "1"}, "settings", "kafka", "sunset")  # fmt: skip
    for name in ("NINEZERO_KAFKA", "NINEZERO_ORDER", "NINEZERO_SUNSET", "NINEZERO_K", "NINEZERO_KAFKA_SASL_USER"):
        assert f"settings failed: {name} is" in told
    assert "settings warning: NINEZERO_SUNSETT is no setting" in told and "replay mode" in told
    assert "kafka failed: NINEZERO_KAFKA" in told and "sunset could_not_check" in told
    past = hospital.said("sunset", NINEZERO_SUNSET="2020-01-01T00:00:00Z")
    assert "sunset failed: the order ended" in past and "ninezero erase" in past
    remote = hospital.said("settings", NINEZERO_KAFKA="kafka.example:9092", NINEZERO_CLICKHOUSE=f"clickhouse://w:{SECRET}@ch.example:9000")  # fmt: skip
    assert remote.count("without TLS beyond this machine") == 2 and SECRET not in remote
    here = hospital.said("settings", NINEZERO_CLICKHOUSE=f"clickhouse://127.0.0.1:{hospital.server.port}")
    assert "without TLS" not in here  # without an account in it, too


def test_topics_that_are_missing_or_set_otherwise_are_named_with_the_remedy(hospital: Hospital) -> None:
    given = settings.load({**hospital.system.env, "NINEZERO_TOPIC_PREFIX": f"d{time.time_ns()}."})
    env = {**hospital.system.env, "NINEZERO_TOPIC_PREFIX": given.topic_prefix}
    assert "topics failed: missing: checkpoint-scans" in said(env, "topics")
    administration.create_topics(given, 2)
    assert said(env, "topics").startswith("topics ok: 14 topics")
    with closing(sync.admin(given)) as admin:
        for topic, change in (("checkpoint-scans", {"retention.ms": "-1"}), ("watchlist", {"cleanup.policy": "delete"}),
                              ("dispositions", {"message.timestamp.type": "CreateTime"})):  # fmt: skip
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, given.topic(topic), change)])
        admin.create_partitions({given.topic("quarantine-events"): 3, given.topic("watchlist-pushes"): 2})
        admin.delete_topics([given.topic("dead-letters")])
    wait_for(lambda: "missing: dead-letters" in said(env, "topics"), 30, "the topic to go")
    told = said(env, "topics")
    assert "checkpoint-scans: retention.ms is -1, not 86400000" in told and "kafka-configs --alter" in told
    assert "watchlist: cleanup.policy is delete, not compact" in told
    assert "dispositions: message.timestamp.type is CreateTime" in told
    assert "watchlist-pushes: 2 partitions instead of 1" in told
    assert "quarantine-ledger: not as many partitions as quarantine-events" in told
    assert "topics ok" not in told


def test_clickhouse_its_schema_and_its_accounts(
    hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = hospital.said("clickhouse")
    assert "clickhouse ok: schema at" in told and "the views' days" not in told
    told = hospital.said("clickhouse", NINEZERO_TIMEZONE="Asia/Urumqi")
    assert "clickhouse failed: the views' days are those of Asia/Shanghai, and NINEZERO_TIMEZONE is Asia/Urumqi" in told
    monkeypatch.setattr(doctor_stores, "PARTS_MANY", 1)
    assert "parts in a partition" in hospital.said("clickhouse")
    engine = clickhouse.connect(hospital.server.url)
    engine.insert("ninezero_data.schema_migrations", ["name"], [("999_later",)])
    assert "clickhouse warning: the schema is ahead of this program: 999_later" in hospital.said("clickhouse")
    engine.execute("TRUNCATE TABLE ninezero_data.schema_migrations")
    assert "clickhouse failed: the schema is behind" in hospital.said("clickhouse")
    clickhouse.migrate(engine)
    engine.close()
    url = f"clickhouse://ninezero_writer:{SECRET}@127.0.0.1:"
    told = hospital.said("clickhouse", NINEZERO_CLICKHOUSE=f"{url}{hospital.server.port}")
    assert "clickhouse failed: ClickHouse refuses the account or its password" in told and SECRET not in told
    told = hospital.said("clickhouse", "clocks", NINEZERO_CLICKHOUSE=f"{url}{free_port()}")
    assert "clickhouse failed: ClickHouse cannot be asked" in told and SECRET not in told
    assert "clocks could_not_check: ClickHouse's" in told and "clocks ok: Kafka's" in told
    told = hospital.said("clickhouse", NINEZERO_CLICKHOUSE=f"chdb://{tmp_path}/none")
    assert "could_not_check: there is no database" in told and not (tmp_path / "none").exists()
    told = hospital.said("clickhouse", NINEZERO_CLICKHOUSE=f"{hospital.server.url}/?readonly=1")
    assert "clickhouse failed: this account may only read" in told


def test_the_ring_and_whether_the_lists_carry_its_keys(hospital: Hospital, tmp_path: Path) -> None:
    ring = Path(hospital.system.env["NINEZERO_KEYS"])
    assert "keys ok: mode 0600, 1 key(s), k1" in hospital.said("keys")
    ring.chmod(0o644)
    assert "keys failed: others may use the key ring's file -> chmod 600" in hospital.said("keys")
    ring.chmod(0o600)
    kept = ring.read_bytes()
    made = key_ring.rotate(ring, timedelta(days=1))
    assert f"keys failed: the active key {made} is not on cdc/contacts: everyone is held" in hospital.said("keys")
    ((first, stored),) = json.loads(kept)["keys"].items()
    key = stored["hex"]
    for days, expected in ((1, f"keys warning: the active key {first} ends in 24 hours"), (-1, f"keys failed: the active key {first} is past its not_after")):  # fmt: skip
        end = (datetime.now(UTC) + timedelta(days=days, seconds=9)).isoformat()
        ring.write_text(json.dumps({"active": first, "keys": {first: {"hex": key, "not_after": end}}}))
        told = hospital.said("keys")
        assert expected in told and key not in told
    ring.write_bytes(kept)
    assert "keys failed: there is no key ring" in hospital.said("keys", NINEZERO_KEYS=str(tmp_path / "none"))
    assert "keys could_not_check: NINEZERO_KEYS is not set here -> leave it so on a server" in hospital.said("keys", NINEZERO_KEYS="")  # fmt: skip
    assert "keys could_not_check: whether the lists carry" in hospital.said("keys", NINEZERO_KAFKA=f"127.0.0.1:{free_port()}")  # fmt: skip


def test_clocks_that_are_off(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = time.time
    for off, status in ((20.0, "warning"), (-3600.0, "failed")):
        with monkeypatch.context() as patch:
            patch.setattr(
                "time.time", lambda off=off: ours() + off
            )  # it is our clock that is wrong; both servers are right
            told = hospital.said("clickhouse", "clocks")
        assert f"clocks {status}: ClickHouse's clock" in told and f"clocks {status}: Kafka's clock is" in told


def test_lists_that_are_lost_ended_or_old_and_a_path_that_is_silent(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings.load(hospital.system.env)
    with closing(sync.producer(given)) as producer:
        for name, entries, days, lost in (("gone", 0, 0, True), ("ended", 0, 0, False), ("old", 3, 5, False)):
            made = Manifest(1, 1, entries, ["k1"], "b", datetime.now(UTC) - timedelta(days=days), lost)
            producer.send(given.topic(topics.WATCHLIST.name), encode(made), f"cdc|{name}|".encode())
    system = hospital.system
    system.start("screening")  # it is never ready: a list is lost, and another has not the entries of its manifest
    told = hospital.said("lists")
    assert "lists ok: contacts of cdc: 1 entries" in told and "lists ok: the heartbeat comes" in told
    assert "lists failed: gone of cdc: its entries were lost" in told
    assert "lists warning: ended of cdc: it has ended" in told
    assert "lists warning: old of cdc: 3 entries, last applied 5 days ago" in told
    wait_for(
        lambda: "roles failed: screening runs and is not ready" in hospital.said("roles"), 60, "screening to answer"
    )
    system.kill("lists")
    hospital.stopped.set()
    monkeypatch.setattr(patient, "HEARTBEAT_SECONDS", 0.5)
    told = hospital.said("lists", "clocks")
    assert "lists failed: no heartbeat" in told and "clocks could_not_check: Kafka's" in told
    empty = hospital.said("lists", "clocks", "keys", NINEZERO_TOPIC_PREFIX=f"e{time.time_ns()}.")
    assert "lists could_not_check: topics are missing on the broker" in empty and "-> ninezero topics create" in empty
    assert "keys could_not_check" in empty and "clocks could_not_check: topics are missing" in empty
    assert "unexpected" not in empty
    begun = settings.load({**hospital.system.env, "NINEZERO_TOPIC_PREFIX": f"b{time.time_ns()}."})
    administration.create_topics(begun, 2)
    told = hospital.said("lists", "keys", NINEZERO_TOPIC_PREFIX=begun.topic_prefix)
    assert "lists failed: there is no list yet" in told
    assert "keys ok: mode 0600, 1 key(s)" in told and "(nobody is on any list)" in told and "on every list" not in told


class Guarded(NamedTuple):
    """A broker with TLS, passwords and an authorizer; nobody but the user of its plain listener may do anything."""

    broker: Broker
    port: int
    ca: Path

    def env(self, **more: str) -> dict[str, str]:
        return {
            "NINEZERO_ORDER": "O-1", "NINEZERO_SUNSET": "2100-01-01T00:00:00Z", "NINEZERO_KAFKA": f"127.0.0.1:{self.port}",
            "NINEZERO_KAFKA_TLS_CA": str(self.ca), "NINEZERO_KAFKA_SASL_MECHANISM": "PLAIN", "NINEZERO_KAFKA_SASL_USER": "gate",
            "NINEZERO_KAFKA_SASL_PASSWORD": "right", **more,
        }  # fmt: skip


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    ca = certificates(folder)
    plain, tls, controller = free_port(), free_port(), free_port()
    login = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_gate="right";'
    broker = Broker(folder / "kafka", plain, more={
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{plain},SECURE://127.0.0.1:{tls},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{plain},SECURE://127.0.0.1:{tls}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT",
        "listener.name.secure.sasl.enabled.mechanisms": "PLAIN", "listener.name.secure.plain.sasl.jaas.config": login,
        "ssl.keystore.type": "PEM", "ssl.keystore.location": str(folder / "broker.pem"),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:ANONYMOUS",
    })  # fmt: skip
    broker.start()
    yield Guarded(broker, tls, ca)
    broker.stop()


def test_why_kafka_cannot_be_reached_is_told_apart(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "kafka ok: 1 broker(s) answer over SASL_SSL" in said(guarded.env(), "kafka")
    other = str(certificates(tmp_path))
    cases = [
        ("refuses user or password", {"NINEZERO_KAFKA_SASL_PASSWORD": SECRET}),
        ("does not offer this SASL mechanism", {"NINEZERO_KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"}),
        ("is not signed by NINEZERO_KAFKA_TLS_CA", {"NINEZERO_KAFKA_TLS_CA": other}),
        ("certificate is of another name", {"NINEZERO_KAFKA": f"localhost:{guarded.port}"}),
        ("speaks it, and no CA is set", {"NINEZERO_KAFKA_TLS_CA": ""}),
        ("the port does not speak it", {"NINEZERO_KAFKA": guarded.broker.bootstrap}),
        ("nobody listens at", {"NINEZERO_KAFKA": f"127.0.0.1:{free_port()}"}),
        ("is not known here", {"NINEZERO_KAFKA": "no-such-host.invalid:9092"}),
        ("do not belong together", {"NINEZERO_KAFKA_TLS_CERT": str(guarded.ca), "NINEZERO_KAFKA_TLS_KEY": str(tmp_path / "ca.key")}),
        ("asks for a password", dict.fromkeys(("NINEZERO_KAFKA_SASL_MECHANISM", "NINEZERO_KAFKA_SASL_USER", "NINEZERO_KAFKA_SASL_PASSWORD"), "")),
    ]  # fmt: skip
    for expected, change in cases:
        if expected == "asks for a password":  # nothing tells, so that the whole time is waited for
            monkeypatch.setattr(diagnosis, "TRIES", (2.0,))
        told = said(guarded.env(**change), "kafka", "topics")
        assert f"{expected}" in told.splitlines()[0], told
        assert told.splitlines()[1].startswith("topics could_not_check: Kafka was not reached") and SECRET not in told


def test_what_a_principal_may_do_and_what_it_cannot_see(guarded: Guarded) -> None:
    administration.create_topics(settings.load({"NINEZERO_ORDER": "O-1", "NINEZERO_SUNSET": "2100-01-01T00:00:00Z", "NINEZERO_KAFKA": guarded.broker.bootstrap}, edge=True), 2)  # fmt: skip
    told = said(guarded.env(), "topics", "acls")
    assert "topics could_not_check: this principal may not see checkpoint-scans" in told and "topics ok" not in told
    assert "acls failed: not enough for any role: this principal may read none; may write none" in told
    told = said(guarded.env(), "lists", "clocks")  # as the recording role's user: the lists are none of its business
    assert told.count("could_not_check: topics are missing on the broker, or this user may not see them") == 2, told
    plain = {k: v for k, v in guarded.env(NINEZERO_KAFKA=guarded.broker.bootstrap).items() if "KAFKA_" not in k}
    with closing(sync.admin(settings.load(plain, edge=True))) as admin:
        device = ACCESS["devices"]
        rights = [(topic.name, ACLOperation.WRITE) for topic in device.writes]
        rights += [(topic.name, ACLOperation.READ) for topic in device.reads]
        admin.create_acls([
            ACL("User:gate", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(ResourceType.TOPIC, topic))
            for topic, operation in rights
        ])  # fmt: skip
    wait_for(lambda: "acls ok" in said(guarded.env(), "acls"), 30, "the rights")
    told = said(guarded.env(), "topics", "acls")
    assert (
        "acls ok: rights are checked; enough for devices: this principal may read screening-outcomes; may write" in told
    )
    assert "topics could_not_check: checkpoint-scans: retention: this principal may not see it" in told
    assert "acls warning: this principal may do everything" in said(plain, "acls")
