"""With TLS, SASL and an authorizer on Kafka and TLS on ClickHouse, every party can do all of its work and nothing else."""

from __future__ import annotations

import contextlib
import json
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaError, TopicAuthorizationFailedError

from ninezero.streams.edge.documents.key_ring import new_ring
from ninezero.streams.kafka import sync
from ninezero.streams.local_kafka.errors import BrokerError
from ninezero.streams.settings import Settings, load
from tests import case_events
from tests.engines.clickhouse_server import ClickHouseServer, start_server
from tests.secured import ADMIN, BROKER, SecuredBroker, certificates
from tests.support import NINEZERO, System, wait_for

ROLES = ("screening", "lists", "ledgers", "recording")
PARTIES = (*ROLES, "devices", "authorities", "staff", "operators")

READS = {  # CONTRACT §2, last column, and what the pipeline itself needs: a second copy on purpose, to test the first
    "screening": "checkpoint-scans station-arrivals watchlist list-register register policies",
    "lists": "watchlist-pushes watchlist list-register push-receipts screening-alerts register policies",
    "ledgers": "dispositions quarantine-events followup-events transfer-events quarantine-ledger followup-ledger transfer-ledger register policies",
    "recording": "screening-decisions transfer-events dispositions quarantine-events followup-events push-receipts screening-alerts dead-letters register policies",
    "devices": "screening-outcomes",
    "authorities": "push-receipts",
    "staff": "screening-alerts",
    "operators": "dead-letters watchlist list-register register policies",
}
WRITES = {
    "screening": "screening-outcomes screening-alerts screening-decisions transfer-events dead-letters",
    "lists": "watchlist list-register push-receipts screening-alerts dead-letters",
    "ledgers": "screening-alerts dead-letters quarantine-ledger followup-ledger transfer-ledger",
    "recording": "dead-letters",
    "devices": "checkpoint-scans station-arrivals dispositions quarantine-events followup-events",
    "authorities": "watchlist-pushes",
    "staff": "",
    "operators": "register policies",
}


class Secured(System):
    """A system in which every party logs in as its own user."""

    def __init__(self, broker: SecuredBroker, server: ClickHouseServer, ca: Path, folder: Path) -> None:
        new_ring(folder / "keys.json")
        super().__init__(
            broker.address, server.url, folder, NINEZERO_CLICKHOUSE_TLS_CA=str(ca),
            NINEZERO_KEYS=str(folder / "keys.json"), NINEZERO_OUTBOX=str(folder / "outbox"),
        )  # fmt: skip
        self.broker, self._plain = broker, self.env
        self.users = {f"{self.prefix}{party}": f"pw-{uuid.uuid4().hex}" for party in PARTIES}
        broker.add_users(self.users)

    def log_in(self, party: str) -> System:
        """Runs the next commands and workers as a party, or as `admin`."""
        user = self.prefix + party
        login = ("admin", ADMIN, "PLAIN") if party == "admin" else (user, self.users[user])
        self.env = self._plain | self.broker.login(*login)
        return self

    def settings(self, party: str) -> Settings:
        self.log_in(party)
        return load(self.env, edge=True)

    def output(self, party: str, *arguments: str, stdin: bytes = b"", fails: bool = False) -> str:
        """Runs a command as a party and returns its output."""
        done = self.log_in(party).run(*arguments, stdin=stdin)
        text = (done.stdout + done.stderr).decode()
        assert bool(done.returncode) == fails and "Traceback" not in text, text
        return text


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    secured = SecuredBroker(tmp_path_factory.mktemp("secured"))
    try:
        secured.start()
    except BrokerError as error:
        if "another program has opened its port" not in str(error):
            raise
        secured = SecuredBroker(tmp_path_factory.mktemp("secured"))
        secured.start()
    yield secured
    secured.stop()


@pytest.fixture(scope="module")
def system(broker: SecuredBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("system")
    ca = certificates(folder / "certificates")
    server = start_server(folder / "clickhouse", folder / "certificates" / "broker.pem")
    deployment = Secured(broker, server, ca, folder)
    users = [word for party in PARTIES for word in ("--user", f"{party}={deployment.prefix}{party}")]
    assert "permissions are granted" in deployment.output("admin", "topics", "acls", "--grant", *users)
    assert "created: " in deployment.output("operators", "topics", "create", "--partitions", "2")
    for role in ROLES:
        deployment.log_in(role).start(role)
    wait_for(lambda: all(deployment.ready(role) for role in ("lists", "ledgers", "recording")), 60, "the roles")
    yield deployment
    deployment.stop()
    server.close()


def values(settings: Settings, topic: str) -> list[Any]:
    """Returns the JSON values that a topic holds now."""
    with contextlib.closing(sync.consumer(settings)) as reader:
        return [json.loads(record.value) for record in sync.read_to_end(reader, settings.topic(topic)) if record.value]


def send(settings: Settings, topic: str, *sent: bytes) -> None:
    """Writes values to a topic.

    Raises:
        KafkaError: the user may not write the topic.
    """
    with contextlib.closing(sync.producer(settings, enable_idempotence=False, max_block_ms=10_000)) as writer:
        for value in sent:
            writer.send(settings.topic(topic), value, key=b"road-01").get(20)


def test_every_party_can_do_all_of_its_work_over_tls_and_no_secret_is_shown(system: Secured) -> None:
    (system.folder / "contacts.csv").write_text("id\n11010519491231002X\n")
    pushed = system.output(
        "authorities", "push", "contacts.csv", "--authority", "cdc", "--list", "contacts", "--category", "close_contact",
        "--by", "wang", "--basis", "LAW-1", "--days", "5",
    )  # fmt: skip
    assert "applied: 1 accepted" in pushed
    assert "contacts" in system.output("operators", "watchlist", "show")
    wait_for(lambda: system.ready("screening"), 60, "screening")
    line = {"kind": "pedestrian", "people": [{"role": "pedestrian", "id": "11010519491231002X", "temperature_c": 36.4}]}
    scan = ("scan", "-", "--site", "road-01", "--device", "road-01-a")
    assert "quarantine (person 0)" in system.output("devices", *scan, stdin=json.dumps(line).encode())
    now = datetime.now(UTC)
    events = {
        "dispositions": {"device_id": "d", "seq": 0, "site_id": "road-01", "observed_at": now.isoformat(), "of": {"device_id": "road-01-a", "seq": 0}, "action": "referred", "override": None},
        "quarantine-events": case_events.quarantine_event("admitted", now, seq=1, temperature_c=38.0),
        "followup-events": case_events.followup_event("opened", now, seq=2),
        "station-arrivals": {
            "device_id": "d", "seq": 3, "site_id": "road-01", "observed_at": (now - timedelta(hours=7)).isoformat(), "mode": "coach",
            "service": "C7", "stage": "boarded", "transfer_id": "t-1", "destination": None,
            "person": {"role": "traveller", "tokens": {"id": "k1." + "0" * 32}, "temperature_c": 36.5},
        },
    }  # fmt: skip
    for topic, event in events.items():
        send(system.settings("devices"), topic, json.dumps(event).encode())
    send(system.settings("devices"), "station-arrivals", b"not JSON")
    staff = system.settings("staff")
    wait_for(
        lambda: (
            {a.get("outcome") or a.get("rule") for a in values(staff, "screening-alerts")}
            >= {"quarantine", "fever", "not_delivered"}
        ),
        60,
        "the alerts",
    )
    assert [letter["reason"] for letter in values(system.settings("operators"), "dead-letters")] == ["not_json"]
    counted = {
        "SELECT sum(quarantine) AS n FROM ninezero.screening_by_day": 1, "SELECT sum(count) AS n FROM ninezero.dispositions_by_day": 1,
        "SELECT sum(admitted) AS n FROM ninezero.quarantine_by_day": 1, "SELECT sum(opened) AS n FROM ninezero.followups_by_day": 1,
        "SELECT sum(missing) AS n FROM ninezero.transfers_by_day": 1,
        "SELECT sum(records) AS n FROM ninezero.dead_letters_by_hour": 1, "SELECT count() AS n FROM ninezero.watchlist_audit": 1,
    }  # fmt: skip
    for sql, number in counted.items():
        wait_for(lambda sql=sql, number=number: int(system.query(sql)[0]["n"]) == number, 60, sql)
    assert "1 accepted" not in system.output(  # a withdrawal for `mistake`: the lists role reads alerts and writes a correction
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


@pytest.mark.parametrize("party", PARTIES)
def test_no_party_has_more_permissions_than_the_contract_states(party: str, system: Secured) -> None:
    settings = system.settings(party)
    with contextlib.closing(sync.admin(settings)) as client:
        seen = {
            t["name"].removeprefix(settings.topic_prefix): set(t["authorized_operations"])
            for t in client.describe_topics()
        }
    may = {what: {topic for topic, operations in seen.items() if what in operations} for what in ("READ", "WRITE")}
    assert may == {"READ": set(READS[party].split()), "WRITE": set(WRITES[party].split())}
    others = {"DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE"} | (
        {"CREATE", "DELETE"} if party == "operators" else set()
    )
    assert set().union(*seen.values()) <= others


@pytest.mark.parametrize(
    ("party", "topic"),
    [("devices", "checkpoint-scans"), ("authorities", "watchlist-pushes"), ("ledgers", "dead-letters"), ("operators", "station-arrivals")],
)  # fmt: skip
def test_a_topic_that_a_party_may_only_write_cannot_be_read(party: str, topic: str, system: Secured) -> None:
    settings = system.settings(party)
    with contextlib.closing(sync.consumer(settings, auto_offset_reset="earliest")) as reader:
        reader.assign([TopicPartition(settings.topic(topic), 0)])
        with pytest.raises(KafkaError, match=r"(?i)authoriz"):
            for _ in range(20):
                reader.poll(timeout_ms=500)


@pytest.mark.parametrize(
    ("party", "topic"),
    [("devices", "watchlist"), ("devices", "screening-alerts"), ("authorities", "checkpoint-scans"), ("staff", "watchlist"),
     ("recording", "checkpoint-scans")],
)  # fmt: skip
def test_a_topic_without_any_permission_is_not_visible(party: str, topic: str, system: Secured) -> None:
    settings = system.settings(party)
    with contextlib.closing(sync.admin(settings)) as client:
        described = client.describe_topics([settings.topic(topic)])[0]
    assert described["error_code"] == TopicAuthorizationFailedError.errno and not described["partitions"]


@pytest.mark.parametrize(
    ("party", "topic"),
    [("devices", "watchlist"), ("devices", "watchlist-pushes"), ("devices", "screening-outcomes"), ("authorities", "watchlist"),
     ("authorities", "push-receipts"), ("staff", "watchlist-pushes"), ("recording", "screening-decisions"), ("operators", "watchlist-pushes")],
)  # fmt: skip
def test_a_topic_without_write_permission_cannot_be_written(party: str, topic: str, system: Secured) -> None:
    with pytest.raises(KafkaError, match=r"(?i)authoriz"):
        send(system.settings(party), topic, b"{}")


def test_a_role_with_the_permissions_of_another_ends_with_one_line(system: Secured) -> None:
    env = system.log_in("devices").env | {"NINEZERO_HTTP": "127.0.0.1:0"}
    done = subprocess.run(
        [NINEZERO, "worker", "lists"],
        env=env | {"NINEZERO_HTTP": f"127.0.0.1:{system.http + 100}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "ninezero topics acls" in done.stderr and done.stderr.count("\n") == 1


def test_a_command_without_permission_fails_with_one_line(system: Secured) -> None:
    for party, arguments in (("devices", ("topics", "create")), ("operators", ("topics", "acls", "--grant"))):
        system.log_in(party)
        system.env["NINEZERO_TOPIC_PREFIX"] = "another."
        done = system.run(*arguments)
        target, line = done.stderr.splitlines()
        kafka = system.env["NINEZERO_KAFKA"]
        assert done.returncode == 1 and target == f"acting on: Kafka {kafka}, topic prefix another.".encode()
        assert line.startswith(b"ninezero: "), done.stderr
        assert b"acls" in done.stderr or b"super.users" in done.stderr


@pytest.mark.parametrize("wrong", ["password", "ca", "plain"])
def test_a_worker_that_cannot_log_in_fails_with_one_line(wrong: str, system: Secured, tmp_path: Path) -> None:
    env = dict(system.log_in("screening").env)
    if wrong == "password":
        env["NINEZERO_KAFKA_SASL_PASSWORD"] = "wrong-pass"
    elif wrong == "ca":
        env["NINEZERO_KAFKA_TLS_CA"] = str(certificates(tmp_path))
    else:
        env = {name: value for name, value in env.items() if "_KAFKA_" not in name}
    done = subprocess.run([NINEZERO, "worker", "screening"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.startswith("ninezero: Kafka does not answer at NINEZERO_KAFKA")
    assert done.stderr.count("\n") == 1 and "wrong-pass" not in done.stderr


@pytest.mark.parametrize("wrong", ["ca", "none", "name"])
def test_a_clickhouse_with_an_untrusted_certificate_is_rejected_with_one_line(
    wrong: str, system: Secured, tmp_path: Path
) -> None:
    env = dict(system.log_in("recording").env)
    if wrong == "ca":
        env["NINEZERO_CLICKHOUSE_TLS_CA"] = str(certificates(tmp_path))
    elif wrong == "none":
        del env["NINEZERO_CLICKHOUSE_TLS_CA"]
    else:
        env["NINEZERO_CLICKHOUSE"] = env["NINEZERO_CLICKHOUSE"].replace("127.0.0.1", "localhost")
    env["NINEZERO_CLICKHOUSE"] = env["NINEZERO_CLICKHOUSE"].replace("default:@", "default:pw-never-shown@")
    for arguments in (("query", "SELECT 1"), ("worker", "recording"))[: 2 if wrong == "ca" else 1]:
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
    """Returns the TCP addresses at which a process listens."""
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
