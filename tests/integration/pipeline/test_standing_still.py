"""Workers decide correctly after they were suspended, could not follow the watchlist topic, or were killed and restarted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from ninezero.streams.kafka.administration import remove_former_members
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.settings import load
from tests.integration.pipeline.test_pipeline import read_all
from tests.support import System, wait_for

MEMBER = """
import asyncio, sys
from aiokafka import AIOKafkaConsumer

async def main():
    consumer = AIOKafkaConsumer(
        sys.argv[2], bootstrap_servers=sys.argv[1], group_id=sys.argv[2], client_id=sys.argv[3],
        session_timeout_ms=300_000, rebalance_timeout_ms=300_000, heartbeat_interval_ms=500,
    )
    await consumer.start()
    while not consumer.assignment():
        await asyncio.sleep(0.05)
    print("assigned", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


MATCHES_SECONDS = 2.1
"""Time after its receipt in which a batch begins to match on every worker (contract §5), with a margin."""

HINDERED = """
import asyncio, sys
from pathlib import Path
from ninezero.agents.cli.main import main
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka.watchlist_replica import WatchlistReplica

folder = Path(sys.argv.pop(1))
connect, current = kafka.consumer, WatchlistReplica.wait_until_current

def hindered(function, hindrance):
    async def call(*args, **kwargs):
        while (folder / hindrance).exists():
            (folder / f"{hindrance}-now").touch()
            await asyncio.sleep(0.02)
        return await function(*args, **kwargs)
    return call

def consumer(*args, **kwargs):
    one = connect(*args, **kwargs)
    one.getmany, one.end_offsets = hindered(one.getmany, "unread"), hindered(one.end_offsets, "unasked")
    return one

async def asked(replica):
    (folder / "asked").touch()
    await current(replica)

kafka.consumer, WatchlistReplica.wait_until_current = consumer, asked
main()
"""
"""A worker whose replica reads nothing while a file `unread` exists, and gets no end offset while a file `unasked` exists."""


class Lane:
    """A deployment with one list and one device, whose screening worker can be kept from reading the watchlist topic."""

    def __init__(self, kafka: str, folder: Path) -> None:
        self.folder, self.system = folder, System(kafka, f"chdb://{folder}/unused", folder)
        self.producer = KafkaProducer(bootstrap_servers=kafka, acks="all")
        self.batches = self.scans = 0

    def start(self) -> None:
        done = self.system.run("topics", "create", "--partitions", "1")
        assert done.returncode == 0, done.stderr
        self.system.start("lists")
        command = [sys.executable, "-c", HINDERED, str(self.folder), "worker", "screening"]
        with (self.folder / "screening.log").open("ab") as log:
            self.worker = subprocess.Popen(command, env=self.system.env, stdout=log, stderr=log)
        self.system.workers["screening"] = self.worker
        self.list("nobody else")
        assert self.decided(self.scan("anybody")) == "clear"

    def hinder(self, *hindrances: str) -> None:
        """Keeps the worker from reading the topic. Returns when the worker is affected."""
        for hindrance in hindrances:
            (self.folder / f"{hindrance}-now").unlink(missing_ok=True)
            (self.folder / hindrance).touch()
            wait_for((self.folder / f"{hindrance}-now").exists, 20, f"the replica to be {hindrance}")

    def free(self) -> None:
        for hindrance in ("unread", "unasked"):
            (self.folder / hindrance).unlink(missing_ok=True)

    def list(self, who: str) -> None:
        """Adds a person to the list. Returns when the batch has its receipt."""
        self.batches += 1
        now = datetime.now(UTC)
        window = {"valid_from": (now - timedelta(1)).isoformat(), "valid_to": (now + timedelta(1)).isoformat()}
        self._send("watchlist-pushes", {
            "batch_id": f"b{self.batches}", "authority": "health", "pushed_by": "desk", "list": "contacts",
            "category": "close_contact", "mode": "delta", "sequence": self.batches, "issued_at": now.isoformat(),
            "legal_basis": "order-1", "purpose": "epidemic_control", "declared_lines": 1,
            "lines": [{"line": 1, "tokens": {"id": [token(who)]}, **window}],
        })  # fmt: skip
        wait_for(lambda: len(read_all(self.system, "push-receipts")) == self.batches, 60, "the receipt")

    def scan(self, who: str) -> int:
        """Sends a scan and returns its sequence number."""
        self.scans += 1
        self._send("checkpoint-scans", {
            "device_id": "d1", "seq": self.scans, "site_id": "s1", "observed_at": datetime.now(UTC).isoformat(),
            "kind": "pedestrian", "people": [{"role": "pedestrian", "tokens": {"id": token(who)}, "temperature_c": 36.5}],
        })  # fmt: skip
        return self.scans

    def decided(self, seq: int) -> str:
        """Waits for the outcome of a scan and returns it."""
        outcomes: dict[int, str] = {}

        def has_outcome() -> bool:
            outcomes.update(
                {
                    n: outcome
                    for some in read_all(self.system, "screening-outcomes")
                    for _, n, outcome, _ in some["outcomes"]
                }
            )
            return seq in outcomes

        wait_for(has_outcome, 60, "the outcome")
        return outcomes[seq]

    def _send(self, topic: str, value: dict[str, Any]) -> None:
        self.producer.send(self.system.prefix + topic, key=b"k", value=json.dumps(value).encode()).get(timeout=30)

    def stop(self) -> None:
        self.free()
        self.worker.send_signal(signal.SIGCONT)
        self.system.stop()
        self.producer.close()


def token(who: str) -> str:
    return f"k1.{who.encode().hex():0>32}"


@pytest.fixture(scope="module")
def lane(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    lane = Lane(kafka.bootstrap, tmp_path_factory.mktemp("lane"))
    try:
        lane.start()
        yield lane
    finally:
        lane.stop()


def test_a_worker_that_was_suspended_decides_by_the_current_lists(lane: Lane) -> None:
    lane.worker.send_signal(signal.SIGSTOP)
    seq = lane.scan("stopped")  # delivered to the fetch that waits, before any record of the list
    lane.list("stopped")
    time.sleep(MATCHES_SECONDS)
    lane.worker.send_signal(signal.SIGCONT)
    assert lane.decided(seq) == "quarantine"


def test_a_worker_that_reads_too_slowly_decides_by_the_current_lists(lane: Lane) -> None:
    lane.hinder("unread")
    lane.list("unread")
    time.sleep(MATCHES_SECONDS)
    (lane.folder / "asked").unlink()
    seq = lane.scan("unread")
    wait_for((lane.folder / "asked").exists, 20, "the worker to have the scan")
    lane.free()
    assert lane.decided(seq) == "quarantine"


def test_a_worker_does_not_wait_forever_for_a_watchlist_topic_that_does_not_answer(lane: Lane) -> None:
    lane.hinder("unasked", "unread")
    lane.list("unheard of")
    time.sleep(MATCHES_SECONDS)
    assert [lane.decided(lane.scan("unheard of")) for _ in range(2)] == ["clear", "clear"]
    assert lane.system.logs().count("the watchlist topic does not answer") == 1
    lane.free()
    wait_for(lambda: lane.decided(lane.scan("unheard of")) == "quarantine", 20, "the current lists")


def test_a_standby_worker_is_alive_and_takes_over(kafka: Broker, tmp_path: Path) -> None:
    """`watchlist-pushes` has one partition, so a second worker of the lists role is idle until the first one ends."""
    first = System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path)
    standby = System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path, NINEZERO_TOPIC_PREFIX=first.prefix)
    first.prepare()
    try:
        first.start("lists")
        wait_for(lambda: first.ready("lists"), 20, "the first worker")
        standby.start("lists")
        wait_for(lambda: alive(standby), 20, "the standby worker")
        for _ in range(20):  # through the rebalance and after it
            time.sleep(0.1)
            assert alive(standby), "its event loop is blocked"
            assert not (first.ready("lists") and standby.ready("lists"))
        active, idle = (first, standby) if first.ready("lists") else (standby, first)
        before = cpu_seconds(idle)
        time.sleep(2)
        assert cpu_seconds(idle) - before < 1, "an idle worker uses no CPU time"
        active.kill("lists")
        wait_for(lambda: idle.ready("lists"), 20, "the standby worker to take over")
    finally:
        first.stop()
        standby.stop()


def alive(system: System) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{system.http + 1}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def cpu_seconds(system: System) -> float:
    """Returns the CPU time of its lists worker in seconds."""
    fields = Path(f"/proc/{system.workers['lists'].pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_restarted_worker_does_not_wait_for_the_session_of_its_predecessor(kafka: Broker) -> None:
    name = f"again-{time.time_ns()}"
    settings = load({
        "NINEZERO_KAFKA": kafka.bootstrap, "NINEZERO_CLICKHOUSE": "chdb:///unused", "NINEZERO_ORDER": "TEST-2026-1",
        "NINEZERO_SUNSET": "2100-01-01T00:00:00Z",
    })  # fmt: skip
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        admin.create_topics([NewTopic(name, 1, 1)])
    processes: list[subprocess.Popen[str]] = []

    def start(client_id: str) -> None:
        command = [sys.executable, "-c", MEMBER, kafka.bootstrap, name, client_id]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))

    def assigned() -> str:
        assert processes[-1].stdout is not None
        return processes[-1].stdout.readline().strip()

    try:
        start("here:1/first")
        assert assigned() == "assigned"
        processes[0].kill()
        processes[0].wait()
        start("here:1/second")
        watchdog = threading.Timer(60, processes[-1].kill)
        watchdog.start()
        remove_former_members(settings, name, "here:1/", "here:1/second", 60)
        assert assigned() == "assigned"
        watchdog.cancel()
    finally:
        for process in processes:
            process.kill()
