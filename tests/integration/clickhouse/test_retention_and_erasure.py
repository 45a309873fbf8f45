"""`retain` and `erase` delete what they must and keep every count, and `publish` works, on a real Kafka and ClickHouse.

The recording role holds the embedded engine meanwhile, so the commands send their statements to it.
"""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from msgspec.structs import replace

from ninezero.streams import clickhouse
from ninezero.streams import settings as settings_
from ninezero.streams.edge.device.outbox import NewEvent, Outbox
from ninezero.streams.edge.device.outbox_deployment import OutboxDeployment
from ninezero.streams.local_kafka.broker import Broker
from tests.integration.pipeline.test_pipeline import push, read_all, send
from tests.support import System, stored_files, wait_for

NUMBER = "11010519491231002X"
GHOST = "a-device-that-nobody-has"
"""A device that is named in one disposition only: in one fact, and in no count."""


@pytest.fixture
def producer(kafka: Broker) -> Iterator[KafkaProducer]:
    kafka_producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    yield kafka_producer
    kafka_producer.close()


def scan(seq: int, at: datetime) -> tuple[str, bytes, bytes]:
    person = {"role": "driver", "tokens": {"id": f"k1.{seq:032x}"}, "temperature_c": 36.5}
    event = {
        "device_id": "d",
        "seq": seq,
        "site_id": "s",
        "observed_at": at.isoformat(),
        "kind": "vehicle",
        "people": [person],
    }
    return "checkpoint-scans", b"s", orjson.dumps(event)


def disposition(seq: int, of: int, at: datetime, device: str = "d") -> tuple[str, bytes, bytes]:
    event = {"device_id": "d", "seq": seq, "site_id": "s", "observed_at": at.isoformat(), "of": {"device_id": device, "seq": of},
             "action": "released", "override": "remeasured"}  # fmt: skip
    return "dispositions", b"s", orjson.dumps(event)


def ask(system: System, *queries: str) -> list[list[dict[str, Any]]]:
    """Returns the rows of queries, through the process that holds the database if there is one."""
    engine = clickhouse.connect(system.env["NINEZERO_CLICKHOUSE"])
    try:
        return [engine.query(sql) for sql in queries]
    finally:
        engine.close()


def counts(system: System) -> dict[str, Any]:
    """Returns every count of the days of this test."""
    found = ask(
        system,
        "SELECT * FROM ninezero.screening_by_day ORDER BY day, site_id, kind",
        "SELECT * FROM ninezero.dispositions_by_day ORDER BY day, kind",
        "SELECT * FROM ninezero.device_completeness ORDER BY device_id, day",
        "SELECT * FROM ninezero.reasons_by_day ORDER BY day, rule",
    )
    return dict(zip(("screening", "dispositions", "completeness", "reasons"), found, strict=True))


def disposition_count(system: System) -> int:
    return sum(int(row["count"]) for row in ask(system, "SELECT count FROM ninezero.dispositions_by_day")[0])


def passages(system: System) -> int:
    return sum(int(row["passages"]) for row in ask(system, "SELECT passages FROM ninezero.screening_by_day")[0])


def sealed_letters(system: System) -> list[str]:
    return sorted(letter["topic"] for letter in read_all(system, "dead-letters") if letter["reason"] == "day_sealed")


def files_with(folder: Path, needle: str) -> list[str]:
    """Returns the files under a folder that contain a text, except files that the broker has marked for deletion."""
    return [
        str(path)
        for path, content in stored_files(folder)
        if "-delete" not in str(path.parent) and needle.encode() in content
    ]


def test_a_sealed_day_keeps_its_counts_and_so_does_erase(
    kafka: Broker, producer: KafkaProducer, tmp_path: Path
) -> None:
    system = System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path, NINEZERO_REPLAY="1",
                    NINEZERO_KEYS=str(tmp_path / "keys.json"), NINEZERO_OUTBOX=str(tmp_path / "outbox"))  # fmt: skip
    system.prepare()
    assert system.run("keys", "new").returncode == 0
    (key,) = (stored["hex"] for stored in json.loads((tmp_path / "keys.json").read_text())["keys"].values())
    system.start("screening", "lists", "ledgers", "recording")
    try:
        push(system, producer)
        now = datetime.now(UTC)
        old = now - timedelta(days=40)
        records = [scan(n, old + timedelta(minutes=n)) for n in range(12)]
        records += [
            disposition(12, 3, old + timedelta(days=1)),
            scan(13, now),
            disposition(15, 13, now),
            disposition(18, 0, now, GHOST),
        ]
        send(system, producer, records)
        wait_for(lambda: (passages(system), disposition_count(system)) == (13, 3), 60, "the counts")
        line = json.dumps(
            {"kind": "pedestrian", "people": [{"role": "pedestrian", "id": NUMBER, "temperature_c": 36.4}]}
        )
        scanned = system.run("scan", "-", "--site", "s", "--device", "edge", stdin=line.encode())
        assert b"edge 0: hold" in scanned.stdout, (
            scanned
        )  # the list has tokens of another key ring, whose first key is also k1
        wait_for(lambda: passages(system) == 14, 30, "the passage of the device")
        before = counts(system)
        assert [int(r["missing"]) for r in before["completeness"] if r["device_id"] == "d"] == [0, 0, 3]

        done = system.run("retain")
        assert done.returncode == 0 and done.stdout.count(b"dropped") == 2, done
        assert counts(system) == before
        assert system.run("retain").stdout.startswith(b"nothing to drop")

        send(system, producer, [scan(14, old), disposition(16, 14, old), scan(17, now)])
        wait_for(lambda: passages(system) == 15, 30, "the passage of today")
        wait_for(lambda: sealed_letters(system) == ["dispositions", "screening-decisions"], 30, "the dead letters")
        wait_for(
            lambda: len(ask(system, "SELECT * FROM ninezero.dead_letters_by_hour WHERE reason = 'day_sealed'")[0]) == 2,
            30,
            "the dead letters to be counted",
        )
        after = counts(system)
        assert after["dispositions"] == before["dispositions"]
        assert after["screening"][0] == before["screening"][0]  # the sealed day
        assert [int(r["missing"]) for r in after["completeness"] if r["device_id"] == "d"] == [0, 0, 2]

        done = system.run("publish")
        assert done.stdout.splitlines()[0].endswith(
            b"1 rows; 1 sites are not in the register: their counts belong to no division"
        )
        frozen = ask(system, "SELECT * FROM ninezero_published.screening_by_day")[0]
        assert [(int(r["passages"]), int(r["refer"])) for r in frozen] == [(10, 0)]
        assert system.run("publish").stdout.startswith(b"nothing to publish")

        rejected = system.run("erase", "--yes")
        assert rejected.returncode == 1 and b"still run" in rejected.stderr
    finally:
        system.stop()
    check_erase(kafka, system, key, counts(system))


def check_erase(kafka: Broker, system: System, key: str, before: dict[str, Any]) -> None:
    """Runs `erase` and searches every store for what should be gone."""
    rejected = system.run("erase")
    assert rejected.returncode == 1 and b"nothing was erased" in rejected.stderr and b"key ring" in rejected.stdout
    token = next(
        iter(
            {
                s
                for r in read_all(system, "checkpoint-scans")
                for s in [r["people"][0]["tokens"]["id"]]
                if r["device_id"] == "edge"
            }
        )
    )
    assert files_with(kafka.folder / "data", token) and files_with(system.folder, key)
    assert files_with(system.folder / "ch", GHOST)

    done = system.run("erase", "--yes")
    assert done.returncode == 0, done.stderr
    certificate = done.stdout.decode()
    body, _, digest = certificate.rpartition("sha256 ")
    assert digest.strip() == hashlib.sha256(body.encode()).hexdigest()
    assert [p.read_text() for p in system.folder.glob("erasure-TEST-2026-1-*.txt")] == [certificate]
    assert "before the sunset" in certificate and "complete" in certificate and "remains " not in certificate
    for line in ("key ring", "outbox", "topic", "consumer group", "screening_facts", "backups and snapshots"):
        assert line in certificate

    assert (
        files_with(kafka.folder / "data", token)
        == files_with(system.folder, token)
        == files_with(system.folder, key)
        == []
    )
    assert files_with(system.folder / "ch", GHOST) == []
    assert not (system.folder / "keys.json").exists() and not list((system.folder / "outbox").glob("*"))
    client = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    assert not [name for name in client.list_topics() if name.startswith(system.prefix)]
    assert not [g for g in client.list_groups() if g["group_id"].startswith(system.prefix)]
    client.close()
    for table in (
        "screening_facts",
        "device_events",
        "disposition_facts",
        "sealed_kinds",
        "sealed_contents",
        "recorder_progress",
    ):
        assert int(ask(system, f"SELECT count() AS n FROM ninezero_data.{table}")[0][0]["n"]) == 0
    assert counts(system) == before
    assert system.run("erase", "--yes").returncode == 0  # again: there is nothing left to erase


def test_the_certificate_lists_what_could_not_be_erased_and_the_rest_is_erased(tmp_path: Path) -> None:
    system = System("127.0.0.1:9", f"chdb://{tmp_path}/ch", tmp_path, NINEZERO_KEYS=str(tmp_path / "keys.json"),
                    NINEZERO_OUTBOX=str(tmp_path / "outbox"), NINEZERO_SUNSET="2020-06-01T00:00:00+08:00")  # fmt: skip
    assert system.run("keys", "new").returncode == 0
    done = system.run("erase", "--yes")
    target, line = done.stderr.decode().splitlines()
    assert target == (
        f"acting on: Kafka 127.0.0.1:9, topic prefix {system.prefix}; embedded ClickHouse {tmp_path}/ch; this machine, order TEST-2026-1"
    )
    assert done.returncode == 1 and line.startswith("ninezero: not everything could be erased"), done.stderr
    certificate = done.stdout.decode()
    assert "INCOMPLETE" in certificate and "remains     | Kafka | Kafka does not answer" in certificate
    assert "after the sunset" in certificate
    assert not (tmp_path / "keys.json").exists()


EDGE = """
import sys
for name in ("faust", "aiokafka", "orjson", "clickhouse_driver", "chdb", "prometheus_client", "aiohttp"):
    sys.modules[name] = None  # not installed on a device
sys.argv = ["ninezero", "erase", "--edge", "--yes"]
from ninezero.agents.cli.main import main
main()
"""


def test_a_device_erases_its_key_ring_and_outbox_without_the_packages_of_the_workers(tmp_path: Path) -> None:
    system = System("127.0.0.1:9", "", tmp_path, NINEZERO_KEYS=str(tmp_path / "keys.json"),
                    NINEZERO_OUTBOX=str(tmp_path / "outbox"))  # fmt: skip
    assert system.run("keys", "new").returncode == 0
    in_use, waiting = Outbox(tmp_path / "outbox" / "a.sqlite", "a"), Outbox(tmp_path / "outbox" / "b.sqlite", "b")
    waiting.append([NewEvent("checkpoint-scans", b"s", lambda seq: b"{}")] * 3, "boot", 0)
    waiting.close()
    plan = system.run("erase", "--edge")
    assert (
        f"the outbox {tmp_path / 'outbox' / 'b.sqlite'}: 3 events wait for Kafka; never connected"
        in plan.stdout.decode()
    )
    done = subprocess.run([sys.executable, "-c", EDGE], env=system.env, cwd=tmp_path, capture_output=True, timeout=60)
    in_use.close()
    certificate = done.stdout.decode()
    assert "3 events waiting" in certificate and "remains     | outbox | the outbox is in use" in certificate, (
        done.stderr
    )
    assert "Kafka at" not in certificate and done.returncode == 1
    done = subprocess.run([sys.executable, "-c", EDGE], env=system.env, cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == 0 and not (tmp_path / "keys.json").exists() and not list((tmp_path / "outbox").glob("*"))


def test_an_erasure_from_another_folder_finds_the_outboxes_and_says_where_nobody_looked(tmp_path: Path) -> None:
    """Without NINEZERO_OUTBOX they are in one folder of the account, whatever the current folder is."""
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    (elsewhere / ".run" / "outbox").mkdir(parents=True)
    system = System("127.0.0.1:9", "", elsewhere, XDG_STATE_HOME=str(state))
    for path in (state / "ninezero" / "outbox" / "a.sqlite", elsewhere / ".run" / "outbox" / "former.sqlite"):
        waiting = Outbox(path, path.stem)
        waiting.append([NewEvent("checkpoint-scans", b"s", lambda seq: b"{}")] * 3, "boot", 0)
        waiting.close()
    done = system.run("erase", "--edge", "--yes")
    certificate = done.stdout.decode()
    assert done.returncode == 0 and certificate.count("3 events waiting") == 2, done
    assert (
        f"outboxes of this machine: 2 found in {state}/ninezero/outbox; other machines, other accounts" in certificate
    )
    assert "not reached | key ring | NINEZERO_KEYS is not set" in certificate
    assert done.stderr.decode() == "acting on: this machine, order TEST-2026-1\n"
    assert not list(tmp_path.rglob("*.sqlite"))


def test_nothing_is_erased_while_a_worker_answers_that_kafka_does_not_know(tmp_path: Path) -> None:
    """A worker whose session has expired, or whose Kafka is away, is a member of no group."""
    system = System("127.0.0.1:9", f"chdb://{tmp_path}/ch", tmp_path, NINEZERO_KEYS=str(tmp_path / "keys.json"),
                    NINEZERO_OUTBOX=str(tmp_path / "outbox"))  # fmt: skip
    assert system.run("keys", "new").returncode == 0
    with ThreadingHTTPServer(("127.0.0.1", system.http + 1), BaseHTTPRequestHandler) as worker:
        threading.Thread(target=worker.serve_forever, daemon=True).start()
        refused = system.run("erase", "--yes")
        worker.shutdown()
    assert refused.returncode == 1 and f"(lists at http://127.0.0.1:{system.http + 1})" in refused.stderr.decode()
    assert (tmp_path / "keys.json").exists() and not list(tmp_path.glob("erasure-*"))
    silent = socket.create_server(("127.0.0.1", system.http + 2))  # as a process that is suspended
    with silent:
        assert b"(ledgers at http://" in system.run("erase", "--yes").stderr
    assert (tmp_path / "keys.json").exists()
    system.run("erase", "--yes")
    assert not (tmp_path / "keys.json").exists()


@pytest.mark.parametrize("kafka_answers", [False, True])
def test_the_outbox_of_another_deployment_under_the_same_order_stays(
    kafka_answers: bool, kafka: Broker, tmp_path: Path
) -> None:
    system = System(kafka.bootstrap if kafka_answers else "127.0.0.1:9", "", tmp_path,
                    NINEZERO_OUTBOX=str(tmp_path / "outbox"))  # fmt: skip
    path, settings = tmp_path / "outbox" / "a.sqlite", settings_.load(system.env, edge=True)
    theirs = Outbox(path, "a", deployment=replace(OutboxDeployment.of(settings), kafka=("elsewhere:9092",)))
    theirs.confirm("another-cluster")
    theirs.append([NewEvent("checkpoint-scans", b"s", lambda seq: b"{}")] * 3, "boot", 0)
    theirs.close()
    done = system.run("erase", "--edge", "--yes")
    line = next(line for line in done.stdout.decode().splitlines() if line.endswith("Z") and str(path) in line)
    if kafka_answers:
        assert (done.returncode, line.split()[0]) == (0, "stays") and "elsewhere:9092" in line
    else:
        assert (done.returncode, line.split()[0]) == (1, "remains") and "add an address" in line
    assert path.exists()


@pytest.mark.parametrize("case", ["unreadable", "homeless"])
def test_outboxes_that_could_not_be_looked_for_are_never_certified(case: str, tmp_path: Path) -> None:
    system = System("127.0.0.1:9", "", tmp_path, XDG_STATE_HOME="", HOME="/nonexistent")
    if case == "unreadable":
        (tmp_path / "file").write_text("")
        system.env["NINEZERO_OUTBOX"] = str(tmp_path / "file")
    done = system.run("erase", "--edge", "--yes")
    certificate = done.stdout.decode()
    assert done.returncode == 1 and "INCOMPLETE" in certificate, done
    assert "outboxes of this machine: could not be checked" in certificate and "remains     | outboxes" in certificate
