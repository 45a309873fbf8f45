"""A deployment whose Kafka asks for TLS, a password and rights, and whose ClickHouse asks for TLS: each does its whole work, and no more."""

from __future__ import annotations

import contextlib
import json
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaError, TopicAuthorizationFailedError

from ninezero.streams.edge.documents.key_ring import new_ring
from ninezero.streams.kafka import sync
from ninezero.streams.settings import Settings, load
from tests import case_events
from tests.secured import ADMIN, BROKER, SecuredBroker, certificates
from tests.support import NINEZERO, ClickHouseServer, System, wait_for

ROLES = ("screening", "lists", "ledgers", "recording")
WHO = (*ROLES, "devices", "authorities", "staff", "operators")

READS = {  # CONTRACT §2, the last column, and what the pipeline itself needs; written here once more on purpose
    "screening": "checkpoint-scans station-arrivals watchlist",
    "lists": "watchlist-pushes watchlist push-receipts screening-alerts",
    "ledgers": "dispositions quarantine-events followup-events quarantine-ledger followup-ledger",
    "recording": "screening-decisions dispositions quarantine-events followup-events push-receipts dead-letters",
    "devices": "screening-outcomes",
    "authorities": "push-receipts",
    "staff": "screening-alerts",
    "operators": "dead-letters watchlist",
}
WRITES = {
    "screening": "screening-outcomes screening-alerts screening-decisions dead-letters",
    "lists": "watchlist push-receipts screening-alerts dead-letters",
    "ledgers": "screening-alerts dead-letters quarantine-ledger followup-ledger",
    "recording": "dead-letters",
    "devices": "checkpoint-scans station-arrivals dispositions quarantine-events followup-events",
    "authorities": "watchlist-pushes",
    "staff": "",
    "operators": "",
}


class Secured(System):
    """A system in which everybody logs in as who they are."""

    def __init__(self, broker: SecuredBroker, server: ClickHouseServer, ca: Path, folder: Path) -> None:
        new_ring(folder / "keys.json")
        super().__init__(
            broker.address, server.url.replace("default@", "default:@"), folder, NINEZERO_CLICKHOUSE_TLS_CA=str(ca),
            NINEZERO_KEYS=str(folder / "keys.json"), NINEZERO_OUTBOX=str(folder / "outbox"),
        )  # fmt: skip
        self.broker, self._plain = broker, self.env
        self.users = {f"{self.prefix}{who}": f"pw-{uuid.uuid4().hex}" for who in WHO}
        broker.add_users(self.users)

    def be(self, who: str) -> System:
        """Whoever runs the next commands and workers."""
        user = self.prefix + who
        login = ("admin", ADMIN, "PLAIN") if who == "admin" else (user, self.users[user])
        self.env = self._plain | self.broker.login(*login)
        return self

    def settings(self, who: str) -> Settings:
        self.be(who)
        return load(self.env, edge=True)

    def said(self, who: str, *arguments: str, stdin: bytes = b"", fails: bool = False) -> str:
        done = self.be(who).run(*arguments, stdin=stdin)
        text = (done.stdout + done.stderr).decode()
        assert bool(done.returncode) == fails and "Traceback" not in text, text
        return text


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    made = SecuredBroker(tmp_path_factory.mktemp("secured"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def system(broker: SecuredBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("system")
    ca = certificates(folder / "certificates")
    server = ClickHouseServer(folder / "clickhouse", folder / "certificates" / "broker.pem")
    server.start()
    made = Secured(broker, server, ca, folder)
    users = [word for who in WHO for word in ("--user", f"{who}={made.prefix}{who}")]
    assert "permissions are granted" in made.said("admin", "topics", "acls", "--grant", *users)
    assert "created: " in made.said("operators", "topics", "create", "--partitions", "2")
    for role in ROLES:
        made.be(role).start(role)
    wait_for(lambda: all(made.ready(role) for role in ("lists", "ledgers", "recording")), 60, "the roles")
    yield made
    made.stop()
    server.kill()


def values(settings: Settings, topic: str) -> list[Any]:
    """What a user reads of a topic."""
    with contextlib.closing(sync.consumer(settings, auto_offset_reset="earliest")) as reader:
        name = settings.topic(topic)
        tps = [TopicPartition(name, p) for p in reader.partitions_for_topic(name) or ()]
        reader.assign(tps)
        ends, found = reader.end_offsets(tps), []
        while any(reader.position(tp) < ends[tp] for tp in tps):
            for records in reader.poll(timeout_ms=200).values():
                found += [json.loads(record.value) for record in records if record.value]
        return found


def send(settings: Settings, topic: str, *sent: bytes) -> None:
    """What a user writes to a topic.

    Raises:
        KafkaError: it was refused.
    """
    with contextlib.closing(sync.producer(settings, enable_idempotence=False, max_block_ms=10_000)) as writer:
        for value in sent:
            writer.send(settings.topic(topic), value, key=b"road-01").get(20)


def test_everyone_does_their_whole_work_over_tls_and_no_secret_shows(system: Secured) -> None:
    (system.folder / "contacts.csv").write_text("id\n11010519491231002X\n")
    pushed = system.said(
        "authorities", "push", "contacts.csv", "--authority", "cdc", "--list", "contacts", "--category", "close_contact",
        "--by", "wang", "--basis", "LAW-1", "--days", "5",
    )  # fmt: skip
    assert "applied: 1 accepted" in pushed
    assert "contacts" in system.said("operators", "watchlist", "show")
    wait_for(lambda: system.ready("screening"), 60, "screening")
    line = {"kind": "pedestrian", "people": [{"role": "pedestrian", "id": "11010519491231002X", "temperature_c": 36.4}]}
    scan = ("scan", "-", "--site", "road-01", "--device", "road-01-a")
    assert "quarantine (person 0)" in system.said("devices", *scan, stdin=json.dumps(line).encode())
    now = datetime.now(UTC)
    events = {
        "dispositions": {"device_id": "d", "seq": 0, "site_id": "road-01", "observed_at": now.isoformat(), "of": {"device_id": "road-01-a", "seq": 0}, "action": "referred", "override": None},
        "quarantine-events": case_events.q("admitted", now, seq=1, temperature_c=38.0),
        "followup-events": case_events.f("opened", now, seq=2),
    }  # fmt: skip
    for topic, event in events.items():
        send(system.settings("devices"), topic, json.dumps(event).encode())
    send(system.settings("devices"), "station-arrivals", b"not JSON")
    staff = system.settings("staff")
    wait_for(
        lambda: (
            {a.get("outcome") or a.get("rule") for a in values(staff, "screening-alerts")} >= {"quarantine", "fever"}
        ),
        60,
        "both alerts",
    )
    assert [letter["reason"] for letter in values(system.settings("operators"), "dead-letters")] == ["not_json"]
    counted = {
        "SELECT sum(quarantine) AS n FROM ninezero.screening_by_day": 1, "SELECT sum(count) AS n FROM ninezero.dispositions_by_day": 1,
        "SELECT sum(admitted) AS n FROM ninezero.quarantine_by_day": 1, "SELECT sum(opened) AS n FROM ninezero.followups_by_day": 1,
        "SELECT sum(records) AS n FROM ninezero.dead_letters_by_hour": 1, "SELECT count() AS n FROM ninezero.watchlist_audit": 1,
    }  # fmt: skip
    for sql, number in counted.items():
        wait_for(lambda sql=sql, number=number: int(system.query(sql)[0]["n"]) == number, 60, sql)
    assert "1 accepted" not in system.said(  # a withdrawal as a mistake: the lists role reads alerts, and writes a correction
        "authorities", "push", "contacts.csv", "--authority", "cdc", "--list", "contacts", "--category", "close_contact",
        "--by", "wang", "--basis", "LAW-1", "--withdraw", "--reason", "mistake",
    )  # fmt: skip
    wait_for(lambda: any("correction_of" in alert for alert in values(staff, "screening-alerts")), 60, "the correction")
    logs = system.logs()
    assert "Authorization" not in logs and "Traceback" not in logs, logs
    shown = logs + _command_lines()
    assert not [word for word in (*system.users.values(), ADMIN, BROKER) if word in shown]


def _command_lines() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("who", WHO)
def test_nobody_may_do_more_on_a_topic_than_the_contract_says(who: str, system: Secured) -> None:
    settings = system.settings(who)
    with contextlib.closing(sync.admin(settings)) as client:
        seen = {
            t["name"].removeprefix(settings.topic_prefix): set(t["authorized_operations"])
            for t in client.describe_topics()
        }
    may = {what: {topic for topic, operations in seen.items() if what in operations} for what in ("READ", "WRITE")}
    assert may == {"READ": set(READS[who].split()), "WRITE": set(WRITES[who].split())}
    others = {"DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE"} | ({"CREATE", "DELETE"} if who == "operators" else set())
    assert set().union(*seen.values()) <= others


@pytest.mark.parametrize(
    ("who", "topic"),
    [("devices", "checkpoint-scans"), ("authorities", "watchlist-pushes"), ("ledgers", "dead-letters"), ("operators", "station-arrivals")],
)  # fmt: skip
def test_a_topic_that_someone_may_only_see_cannot_be_read(who: str, topic: str, system: Secured) -> None:
    settings = system.settings(who)
    with contextlib.closing(sync.consumer(settings, auto_offset_reset="earliest")) as reader:
        reader.assign([TopicPartition(settings.topic(topic), 0)])
        with pytest.raises(KafkaError, match=r"(?i)authoriz"):
            for _ in range(20):
                reader.poll(timeout_ms=500)


@pytest.mark.parametrize(
    ("who", "topic"),
    [("devices", "watchlist"), ("devices", "screening-alerts"), ("authorities", "checkpoint-scans"), ("staff", "watchlist"),
     ("recording", "checkpoint-scans")],
)  # fmt: skip
def test_a_topic_that_is_not_for_someone_is_not_even_there(who: str, topic: str, system: Secured) -> None:
    settings = system.settings(who)
    with contextlib.closing(sync.admin(settings)) as client:
        said = client.describe_topics([settings.topic(topic)])[0]
    assert said["error_code"] == TopicAuthorizationFailedError.errno and not said["partitions"]


@pytest.mark.parametrize(
    ("who", "topic"),
    [("devices", "watchlist"), ("devices", "watchlist-pushes"), ("devices", "screening-outcomes"), ("authorities", "watchlist"),
     ("authorities", "push-receipts"), ("staff", "watchlist-pushes"), ("recording", "screening-decisions"), ("operators", "watchlist-pushes")],
)  # fmt: skip
def test_a_topic_that_is_not_for_someone_cannot_be_written(who: str, topic: str, system: Secured) -> None:
    with pytest.raises(KafkaError, match=r"(?i)authoriz"):
        send(system.settings(who), topic, b"{}")


def test_a_role_with_anothers_rights_ends_with_a_line(system: Secured) -> None:
    env = system.be("devices").env | {"NINEZERO_HTTP": "127.0.0.1:0"}
    done = subprocess.run(
        [NINEZERO, "worker", "lists"],
        env=env | {"NINEZERO_HTTP": f"127.0.0.1:{system.http + 100}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "ninezero topics acls" in done.stderr and done.stderr.count("\n") == 1


def test_what_is_not_granted_is_refused_in_a_line(system: Secured) -> None:
    for who, arguments in (("devices", ("topics", "create")), ("operators", ("topics", "acls", "--grant"))):
        system.be(who)
        system.env["NINEZERO_TOPIC_PREFIX"] = "another."
        done = system.run(*arguments)
        assert done.returncode == 1 and done.stderr.count(b"\n") == 1, done.stderr
        assert b"acls" in done.stderr or b"super.users" in done.stderr


@pytest.mark.parametrize("wrong", ["password", "signer", "plain"])
def test_a_worker_that_does_not_trust_or_is_not_trusted_says_so_in_a_line(
    wrong: str, system: Secured, tmp_path: Path
) -> None:
    env = dict(system.be("screening").env)
    if wrong == "password":
        env["NINEZERO_KAFKA_SASL_PASSWORD"] = "wrong-pass"
    elif wrong == "signer":
        env["NINEZERO_KAFKA_TLS_CA"] = str(certificates(tmp_path))
    else:
        env = {name: value for name, value in env.items() if "_KAFKA_" not in name}
    done = subprocess.run([NINEZERO, "worker", "screening"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.startswith("ninezero: Kafka does not answer at NINEZERO_KAFKA")
    assert done.stderr.count("\n") == 1 and "wrong-pass" not in done.stderr


@pytest.mark.parametrize("wrong", ["signer", "none", "name"])
def test_a_clickhouse_that_is_not_to_be_trusted_is_refused_in_a_line(
    wrong: str, system: Secured, tmp_path: Path
) -> None:
    env = dict(system.be("recording").env)
    if wrong == "signer":
        env["NINEZERO_CLICKHOUSE_TLS_CA"] = str(certificates(tmp_path))
    elif wrong == "none":
        del env["NINEZERO_CLICKHOUSE_TLS_CA"]
    else:
        env["NINEZERO_CLICKHOUSE"] = env["NINEZERO_CLICKHOUSE"].replace("127.0.0.1", "localhost")
    env["NINEZERO_CLICKHOUSE"] = env["NINEZERO_CLICKHOUSE"].replace("default:@", "default:pw-never-shown@")
    for arguments in (("query", "SELECT 1"), ("worker", "recording"))[: 2 if wrong == "signer" else 1]:
        done = subprocess.run(
            [NINEZERO, *arguments],
            env=env | {"NINEZERO_HTTP": f"127.0.0.1:{system.http + 100}"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (
            done.returncode == 1 and "NINEZERO_CLICKHOUSE_TLS_CA" in done.stderr and "pw-never-shown" not in done.stderr
        )
        assert done.stderr.strip().count("\n") <= (arguments[0] == "worker"), done.stderr


def test_the_workers_listen_on_loopback_only(system: Secured) -> None:
    for role in ROLES:
        assert listening(system.workers[role].pid) == {("127.0.0.1", system.http + ROLES.index(role))}, role


def listening(pid: int) -> set[tuple[str, int]]:
    """Addresses at which a process takes connections."""
    mine = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    found = set()
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{family}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in mine:
                address, port = words[1].split(":")
                host = ".".join(str(byte) for byte in bytes.fromhex(address)[::-1]) if family == "tcp" else address
                found.add((host, int(port, 16)))
    return found
