"""`ninezero doctor` on real engines: each finding is provoked, and a check that could not be made never counts as good."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
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

from ninezero.agents.doctor import probe
from ninezero.agents.doctor.checks import examine
from ninezero.agents.doctor.places import Where
from ninezero.schemas.events import Heartbeat, Manifest, encode
from ninezero.schemas.formats import LIST_REGISTER, WATCHLIST
from ninezero.schemas.list_register import ListEntry, list_key
from ninezero.streams import clickhouse, settings
from ninezero.streams.clickhouse import server
from ninezero.streams.clickhouse.migrations import Migration, record
from ninezero.streams.edge.documents import key_ring
from ninezero.streams.kafka import administration, diagnosis, sync, topics
from ninezero.streams.kafka.access import ACCESS
from ninezero.streams.local_kafka.broker import Broker
from tests.engines.clickhouse_server import PASSWORD, ClickHouseServer, start_server
from tests.integration.edge.test_device_security import certificates
from tests.support import NINEZERO, System, free_port, wait_for

SECRET = "do-not-show-me"


def report(env: Mapping[str, str], *parts: str, where: Where = "all") -> str:
    """Returns the findings as text, one line each: part status: found -> todo."""
    return "\n".join(f"{f.part} {f.status}: {f.found} -> {f.todo}" for f in examine(env, parts, where))


class Checked(NamedTuple):
    """The deployment that is checked."""

    system: System
    server: ClickHouseServer
    stopped: threading.Event
    """Ends the additional heartbeats, with which the tests need not wait ten seconds for each."""

    def report(self, *parts: str, where: Where = "all", **env: str) -> str:
        return report({**self.system.env, **env}, *parts, where=where)


def beat(deployment: Checked) -> None:
    given = settings.load(deployment.system.env)
    with closing(sync.producer(given)) as producer:
        while not deployment.stopped.wait(0.3):
            producer.send(
                given.topic(topics.WATCHLIST.name), encode(Heartbeat(datetime.now(UTC))), b"||", WATCHLIST.headers
            )


@pytest.fixture(scope="module")
def deployment(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    """A deployment with one list on it; only the lists role runs."""
    folder = tmp_path_factory.mktemp("doctor")
    server = start_server(folder / "clickhouse")
    system = System(kafka.bootstrap, server.url, folder, NINEZERO_KEYS=str(folder / "keys.json"))
    system.prepare()
    system.start("lists")
    key_ring.new_ring(folder / "keys.json")
    (folder / "contacts.csv").write_text("身份证号\n11010519491231002X\n")
    wait_for(lambda: system.ready("lists"), 60, "the lists role")
    done = system.run("push", "contacts.csv", "--authority", "cdc", "--list", "contacts", "--category", "close_contact",
                      "--by", "wang", "--basis", "B-1", "--days", "9")  # fmt: skip
    assert done.returncode == 0, done.stderr
    checked = Checked(system, server, threading.Event())
    beating = threading.Thread(target=beat, args=(checked,))
    beating.start()
    yield checked
    checked.stopped.set()
    beating.join()
    system.stop()
    server.close()


def test_a_deployment_without_problems_is_ok_and_unchecked_parts_are_reported(deployment: Checked) -> None:
    done = deployment.system.run(
        "doctor", "settings", "sunset", "kafka", "topics", "formats", "keys", "lists", "clocks", "--json"
    )
    findings = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [f for f in findings if f["status"] != "ok"] == [f for f in findings if f["part"] == "sunset"]
    assert "in 24 hours" in findings[1]["found"] and findings[1]["todo"]  # the sunset is one day away: a warning
    assert "acls warning: the broker checks no access rights" in deployment.report("acls")
    text = deployment.report("clickhouse")
    assert "clickhouse ok: the three accounts exist" in text and "the workers use" not in text
    text = deployment.report("clickhouse", NINEZERO_CLICKHOUSE=deployment.server.admin_url)
    assert "clickhouse warning: the workers use the account default" in text
    text = deployment.report("clickhouse", NINEZERO_CLICKHOUSE=deployment.server.url_of("ninezero_reader", PASSWORD))
    assert "the schema does not exist, or this account may not see it" in text
    text = deployment.report("roles")
    assert "roles ok: lists is ready" in text and "roles could_not_check: screening does not answer" in text
    done = deployment.system.run("doctor", "roles")
    assert done.returncode == 1 and b"0 failed, 3 could not be checked" in done.stderr


def test_a_check_is_made_where_it_applies_and_all_is_well_without_the_others(deployment: Checked) -> None:
    """Here only the lists role runs, as in its container: everywhere else its checks would be red."""

    def doctor(where: Where, **env: str) -> str:
        """Runs the command without problems and returns its lines."""
        given = {**deployment.system.env, **env}
        done = subprocess.run(
            [NINEZERO, "doctor", "--where", where], env=given, capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        assert "FAILED" not in done.stdout and "could not check" not in done.stdout
        return done.stdout

    text = doctor("lists", NINEZERO_KEYS="", NINEZERO_CLICKHOUSE="")
    for part, why in (
        ("clickhouse", "only the recording role"),
        ("keys", "only devices"),
        ("roles", "the other roles"),
    ):
        assert re.search(rf"not checked here +{part} +{why}", text), text
    assert "roles       lists is ready" in text and "lists       heartbeats arrive" in text
    text = doctor("edge", NINEZERO_CLICKHOUSE="")
    assert "keys        mode 0600, 1 key" in text and re.search("not checked here +keys +whether every list", text)
    for part in ("formats", "clickhouse", "lists", "clocks", "roles"):
        assert re.search(rf"not checked here +{part} ", text), text
    assert "keys could_not_check: NINEZERO_KEYS is not set" in deployment.report("keys", where="edge", NINEZERO_KEYS="")
    assert "clickhouse could_not_check" in deployment.report("clickhouse", where="recording", NINEZERO_CLICKHOUSE="")
    assert "roles could_not_check: ledgers does not answer on this machine" in deployment.report(
        "roles", where="ledgers"
    )
    here = settings.load(deployment.system.env).http[1] + settings.ROLES["lists"]
    elsewhere = f"lists=127.0.0.1:{here},ledgers=127.0.0.1:{free_port()}"
    text = deployment.report("roles", where="worker", NINEZERO_WORKERS=elsewhere)
    assert text.splitlines()[0].startswith("roles ok: lists is ready") and len(text.splitlines()) == 3
    assert "roles could_not_check: screening, recording: not asked, since not in NINEZERO_WORKERS" in text
    assert "ledgers does not answer at its address of NINEZERO_WORKERS" in text
    other_name = deployment.report("roles", where="worker", NINEZERO_WORKERS=f"lists=127.1:{here}")
    assert "roles could_not_check: lists does not answer under the name in NINEZERO_WORKERS" in other_name
    assert "add that name to NINEZERO_HOSTS on the worker" in other_name


def test_roles_are_asked_without_a_proxy(deployment: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy rejects every request, as one that cannot reach the address."""
    refusing = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    serving = threading.Thread(target=refusing.serve_forever)
    serving.start()
    try:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{refusing.server_port}")
        text = deployment.report("roles")
    finally:
        refusing.shutdown()
        serving.join()
        refusing.server_close()
    assert "roles ok: lists is ready" in text and "roles could_not_check: screening does not answer" in text


def test_all_wrong_settings_are_reported_together_and_a_misspelt_one_too(deployment: Checked) -> None:
    text = report({"NINEZERO_K": "3", "NINEZERO_KAFKA_SASL_MECHANISM": "PLAIN", "NINEZERO_SUNSETT": "x", "NINEZERO_REPLAY": "1"}, "settings", "kafka", "sunset")  # fmt: skip
    for name in ("NINEZERO_KAFKA", "NINEZERO_ORDER", "NINEZERO_SUNSET", "NINEZERO_K", "NINEZERO_KAFKA_SASL_USER"):
        assert f"settings failed: {name} is" in text
    assert "settings warning: NINEZERO_SUNSETT is not a setting" in text and "replay mode" in text
    assert "kafka failed: NINEZERO_KAFKA" in text and "sunset could_not_check" in text
    past = deployment.report("sunset", NINEZERO_SUNSET="2020-01-01T00:00:00Z")
    assert "sunset failed: the order ended" in past and "ninezero erase" in past
    remote = deployment.report("settings", NINEZERO_KAFKA="kafka.example:9092", NINEZERO_CLICKHOUSE=f"clickhouse://w:{SECRET}@ch.example:9000")  # fmt: skip
    assert remote.count("leaves this machine without TLS") == 2 and SECRET not in remote
    here = deployment.report("settings", NINEZERO_CLICKHOUSE=f"clickhouse://127.0.0.1:{deployment.server.port}")
    assert "without TLS" not in here  # also without an account in the URL


def test_missing_and_misconfigured_topics_are_named_with_the_remedy(deployment: Checked) -> None:
    given = settings.load({**deployment.system.env, "NINEZERO_TOPIC_PREFIX": f"d{time.time_ns()}."})
    env = {**deployment.system.env, "NINEZERO_TOPIC_PREFIX": given.topic_prefix}
    assert "topics failed: missing: checkpoint-scans" in report(env, "topics")
    administration.create_topics(given, 2)
    assert report(env, "topics").startswith(f"topics ok: {len(topics.ALL)} topics")
    with closing(sync.admin(given)) as admin:
        for topic, change in (("checkpoint-scans", {"retention.ms": "-1"}), ("watchlist", {"cleanup.policy": "delete"}),
                              ("dispositions", {"message.timestamp.type": "CreateTime"})):  # fmt: skip
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, given.topic(topic), change)])
        admin.create_partitions({given.topic("quarantine-events"): 3, given.topic("watchlist-pushes"): 2})
        admin.delete_topics([given.topic("dead-letters")])
    wait_for(lambda: "missing: dead-letters" in report(env, "topics"), 30, "the topic to go")
    text = report(env, "topics")
    assert "checkpoint-scans: retention.ms is -1, not 86400000" in text and "kafka-configs --alter" in text
    assert "watchlist: cleanup.policy is delete, not compact" in text
    assert "dispositions: message.timestamp.type is CreateTime" in text
    assert "watchlist-pushes: 2 partitions instead of 1" in text
    assert "quarantine-ledger: it does not have as many partitions as quarantine-events" in text
    assert "topics ok" not in text


def test_problems_of_clickhouse_its_schema_and_its_accounts_are_found(
    deployment: Checked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = deployment.report("clickhouse")
    assert "clickhouse ok: schema at 001_base" in text
    text = deployment.report("clickhouse", NINEZERO_TIMEZONE="Asia/Urumqi")
    assert "clickhouse failed: the views were made for the time zone Asia/Shanghai, but NINEZERO_TIMEZONE is Asia/Urumqi" in text  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(server, "OLDEST_VERSION", (99, 1))
        assert "is too old -> install 99.1 or later" in deployment.report("clickhouse")
    with closing(clickhouse.connect(deployment.server.admin_url)) as administrator:
        administrator.execute("SYSTEM STOP MERGES ninezero_data.recorder_epochs")
        administrator.execute(
            "INSERT INTO ninezero_data.recorder_epochs SELECT 'none', number, 'rebuild' FROM numbers(1000) SETTINGS "
            "max_block_size = 1, min_insert_block_size_rows = 1, min_insert_block_size_bytes = 1, max_insert_threads = 1"
        )
        found = re.search(r"warning: ([\d,]+) parts in a partition", deployment.report("clickhouse"))
        assert found and int(found[1].replace(",", "")) >= 1000
        administrator.execute("SYSTEM START MERGES ninezero_data.recorder_epochs")
        administrator.execute("TRUNCATE TABLE ninezero_data.recorder_epochs")
    engine = clickhouse.connect(deployment.server.url)
    engine.execute("ALTER TABLE ninezero_data.site_register MODIFY COLUMN capacity UInt64, ADD COLUMN extra String")
    engine.execute("DROP VIEW ninezero.sites")
    text = deployment.report("clickhouse")
    for found in (
        "the column capacity of ninezero_data.site_register is UInt64, not UInt32",
        "ninezero_data.site_register has a column extra that no migration made",
        "ninezero.sites is missing",
    ):
        assert f"clickhouse failed: {found}" in text
    engine.execute("ALTER TABLE ninezero_data.site_register MODIFY COLUMN capacity UInt32, DROP COLUMN extra")
    clickhouse.migrate(engine)
    later = Migration("002_later", 2, "0" * 64, ())
    record(engine, later, "Asia/Shanghai", done=0, installed=False)
    text = deployment.report("clickhouse")
    assert "clickhouse warning: the schema is newer than this program: 002_later" in text and "ok: schema at" in text
    record(engine, later._replace(name="003_later"), "Asia/Shanghai", done=0, installed=False)
    assert "clickhouse failed: the schema is at 003_later, but this release knows" in deployment.report("clickhouse")
    engine.execute("TRUNCATE TABLE ninezero_data.schema_migrations")
    assert "clickhouse failed: the schema does not exist" in deployment.report("clickhouse")
    clickhouse.migrate(engine)
    assert "clickhouse ok: schema at 001_base" in deployment.report("clickhouse")
    engine.close()
    url = f"clickhouse://ninezero_writer:{SECRET}@127.0.0.1:"
    text = deployment.report("clickhouse", NINEZERO_CLICKHOUSE=deployment.server.url_of("ninezero_writer", SECRET))
    assert "clickhouse failed: ClickHouse rejects the account or its password" in text and SECRET not in text
    text = deployment.report("clickhouse", "clocks", NINEZERO_CLICKHOUSE=f"{url}{free_port()}")
    assert "clickhouse failed: ClickHouse cannot be queried" in text and SECRET not in text
    assert "clocks could_not_check: the clock of ClickHouse" in text and "clocks ok: the clock of Kafka" in text
    text = deployment.report("clickhouse", NINEZERO_CLICKHOUSE=f"chdb://{tmp_path}/none")
    assert "could_not_check: there is no database" in text and not (tmp_path / "none").exists()
    text = deployment.report("clickhouse", NINEZERO_CLICKHOUSE=f"{deployment.server.url}/?readonly=1")
    assert "clickhouse failed: this account may only read" in text


def test_problems_of_the_key_ring_and_lists_without_its_key_are_found(deployment: Checked, tmp_path: Path) -> None:
    ring = Path(deployment.system.env["NINEZERO_KEYS"])
    assert "keys ok: mode 0600, 1 key, k1" in deployment.report("keys")
    ring.chmod(0o644)
    assert "keys failed: others may use the key ring's file -> chmod 600" in deployment.report("keys")
    ring.chmod(0o600)
    kept = ring.read_bytes()
    rotated = key_ring.rotate(ring, timedelta(days=1))
    assert f"keys failed: the active key {rotated} is not on cdc/contacts: everyone is held" in deployment.report(
        "keys"
    )
    ((first, stored),) = json.loads(kept)["keys"].items()
    key = stored["hex"]
    for days, expected in ((1, f"keys warning: the active key {first} expires in 24 hours"), (-1, f"keys failed: the active key {first} has expired")):  # fmt: skip
        end = (datetime.now(UTC) + timedelta(days=days, seconds=9)).isoformat()
        ring.write_text(json.dumps({"active": first, "keys": {first: {"hex": key, "not_after": end}}}))
        text = deployment.report("keys")
        assert expected in text and key not in text
    ring.write_bytes(kept)
    assert "keys failed: there is no key ring" in deployment.report("keys", NINEZERO_KEYS=str(tmp_path / "none"))
    assert "keys could_not_check: NINEZERO_KEYS is not set here -> a server needs no key ring" in deployment.report("keys", NINEZERO_KEYS="")  # fmt: skip
    assert "keys could_not_check: whether the lists have tokens" in deployment.report("keys", NINEZERO_KAFKA=f"127.0.0.1:{free_port()}")  # fmt: skip


def test_a_clock_that_differs_is_found(deployment: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = time.time
    behind = "heartbeats are over 60 s in its future, so a screening worker here holds everyone (list_stale)"
    ahead = "heartbeats look older than 300 s, so a screening worker here holds everyone (list_stale)"
    for off, status, effect in (
        (20.0, "warning", ""),
        (90.0, "failed", ""),
        (3600.0, "failed", ahead),
        (-3600.0, "failed", behind),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(
                "time.time", lambda off=off: ours() + off
            )  # the clock of this machine is wrong, those of both servers are right
            text = deployment.report("clickhouse", "clocks")
        assert (
            f"clocks {status}: the clock of ClickHouse" in text
            and f"clocks {status}: the clock of Kafka differs" in text
        )
        assert [one for one in (behind, ahead) if one in text] == [effect] * bool(effect)


def test_lost_empty_and_old_lists_and_missing_heartbeats_are_found(
    deployment: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings.load(deployment.system.env)
    with closing(sync.producer(given)) as producer:
        gone = ListEntry("cdc", "gone", "close_contact", 1, "b", datetime.now(UTC))
        late = ListEntry("cdc", "late", "close_contact", 2, "b2", datetime.now(UTC))
        for entry in (gone, late, ListEntry("cdc", "dropped", None, 1, "b", datetime.now(UTC), dropped=True)):
            registered = (given.topic(topics.LIST_REGISTER.name), encode(entry), list_key(entry))
            producer.send(*registered, LIST_REGISTER.headers)
        for name, entries, days in (("ended", 0, 0), ("old", 3, 5), ("late", 1, 0)):
            manifest = Manifest(1, 1, entries, ["k1"], "b", datetime.now(UTC) - timedelta(days=days))
            key = f"cdc|{name}|".encode()
            producer.send(given.topic(topics.WATCHLIST.name), encode(manifest), key, WATCHLIST.headers)
    system = deployment.system
    system.start("screening")  # it never becomes ready: a list is lost, and another lacks the entries of its manifest
    text = deployment.report("lists")
    assert "lists ok: contacts of cdc: 1 entry" in text and "lists ok: heartbeats arrive" in text
    assert "lists failed: gone of cdc: the topic watchlist lacks it" in text and "dropped" not in text
    assert "lists failed: late of cdc: the topic watchlist lacks it as last applied" in text
    assert "lists warning: ended of cdc: it has no entries any more" in text
    assert "lists warning: old of cdc: 3 entries, last applied 5 days ago" in text
    wait_for(
        lambda: "roles failed: screening runs and is not ready" in deployment.report("roles"), 60, "screening to answer"
    )
    system.kill("lists")
    deployment.stopped.set()
    monkeypatch.setattr(probe, "HEARTBEAT_SECONDS", 0.5)
    text = deployment.report("lists", "clocks")
    assert "lists failed: no heartbeat" in text and "clocks could_not_check: the clock of Kafka" in text
    empty = deployment.report("lists", "clocks", "keys", NINEZERO_TOPIC_PREFIX=f"e{time.time_ns()}.")
    assert (
        "lists could_not_check: topics are missing on the broker" in empty and "-> run ninezero topics create" in empty
    )
    assert "keys could_not_check" in empty and "clocks could_not_check: topics are missing" in empty
    assert "unexpected" not in empty
    begun = settings.load({**deployment.system.env, "NINEZERO_TOPIC_PREFIX": f"b{time.time_ns()}."})
    administration.create_topics(begun, 2)
    text = deployment.report("lists", "keys", NINEZERO_TOPIC_PREFIX=begun.topic_prefix)
    assert "lists failed: there is no list" in text
    assert "keys ok: mode 0600, 1 key" in text and "(all lists are empty)" in text and "on every list" not in text


class Guarded(NamedTuple):
    """A broker with TLS, passwords and an authorizer. Only the user of its plain listener has rights."""

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


def test_each_cause_of_an_unreachable_kafka_is_named(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "kafka ok: 1 broker answers over SASL_SSL" in report(guarded.env(), "kafka")
    other = str(certificates(tmp_path))
    cases = [
        ("rejects the user or the password", {"NINEZERO_KAFKA_SASL_PASSWORD": SECRET}),
        ("does not offer this SASL mechanism", {"NINEZERO_KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"}),
        ("is not signed by NINEZERO_KAFKA_TLS_CA", {"NINEZERO_KAFKA_TLS_CA": other}),
        ("certificate is for another name", {"NINEZERO_KAFKA": f"localhost:{guarded.port}"}),
        ("uses it, and no CA is set", {"NINEZERO_KAFKA_TLS_CA": "", "NINEZERO_KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"}),
        ("PLAIN sends the password as it is", {"NINEZERO_KAFKA_TLS_CA": ""}),
        ("the port does not use it", {"NINEZERO_KAFKA": guarded.broker.bootstrap}),
        ("nothing listens at", {"NINEZERO_KAFKA": f"127.0.0.1:{free_port()}"}),
        ("cannot be resolved", {"NINEZERO_KAFKA": "no-such-host.invalid:9092"}),
        ("do not belong together", {"NINEZERO_KAFKA_TLS_CERT": str(guarded.ca), "NINEZERO_KAFKA_TLS_KEY": str(tmp_path / "ca.key")}),
        ("requires a password", dict.fromkeys(("NINEZERO_KAFKA_SASL_MECHANISM", "NINEZERO_KAFKA_SASL_USER", "NINEZERO_KAFKA_SASL_PASSWORD"), "")),
    ]  # fmt: skip
    for expected, change in cases:
        if expected == "requires a password":  # the broker gives no reason, so the whole time passes
            monkeypatch.setattr(diagnosis, "LOGIN_SECONDS", (2.0,))
        text = report(guarded.env(**change), "kafka", "topics")
        assert f"{expected}" in text.splitlines()[0], text
        assert text.splitlines()[1].startswith("topics could_not_check: Kafka was not reached") and SECRET not in text


def test_the_rights_of_a_user_and_what_it_may_not_see_are_reported(guarded: Guarded) -> None:
    administration.create_topics(settings.load({"NINEZERO_ORDER": "O-1", "NINEZERO_SUNSET": "2100-01-01T00:00:00Z", "NINEZERO_KAFKA": guarded.broker.bootstrap}, edge=True), 2)  # fmt: skip
    text = report(guarded.env(), "topics", "acls")
    assert "topics could_not_check: this user may not see checkpoint-scans" in text and "topics ok" not in text
    assert "acls failed: not sufficient for any role: this user may read none; may write none" in text
    text = report(guarded.env(), "lists", "clocks")  # the user of the recording role may not read the lists
    assert text.count("could_not_check: topics are missing on the broker, or this user may not see them") == 2, text
    plain = {k: v for k, v in guarded.env(NINEZERO_KAFKA=guarded.broker.bootstrap).items() if "KAFKA_" not in k}
    with closing(sync.admin(settings.load(plain, edge=True))) as admin:
        device = ACCESS["devices"]
        rights = [(topic.name, ACLOperation.WRITE) for topic in device.writes]
        rights += [(topic.name, ACLOperation.READ) for topic in device.reads]
        admin.create_acls([
            ACL("User:gate", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(ResourceType.TOPIC, topic))
            for topic, operation in rights
        ])  # fmt: skip
    wait_for(lambda: "acls ok" in report(guarded.env(), "acls"), 30, "the rights")
    text = report(guarded.env(), "topics", "acls")
    assert (
        "acls ok: access rights are checked; sufficient for devices: this user may read screening-outcomes; may write"
        in text
    )
    assert "topics could_not_check: checkpoint-scans: its retention: this user may not see it" in text
    text = report(guarded.env(), "topics", "acls", where="edge")
    assert "could_not_check" not in text and "failed" not in text
    assert "topics not_here: watchlist-pushes, push-receipts: this user does not use them" in text
    assert (
        "topics not_here: retention and compaction of 6 topics" in text
        and "topics ok: 6 topics, with partitions" in text
    )
    text = report(guarded.env(), "topics", "acls", where="lists")
    assert "topics could_not_check: this user may not see" in text and "acls failed: not sufficient for lists" in text
    assert "acls warning: this user may do everything" in report(plain, "acls")
