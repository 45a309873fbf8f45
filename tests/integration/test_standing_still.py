"""Workers that stand still, and workers that are killed and started again."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from streams.blocking import supersede
from streams.broker import Broker
from streams.settings import load
from tests.integration.test_pipeline import read_all
from tests.support import System, wait_for

LISTED, OTHER = f"k1.{1:032x}", f"k1.{2:032x}"

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


def batch(sequence: int, token: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    window = {"valid_from": (now - timedelta(days=1)).isoformat(), "valid_to": (now + timedelta(days=1)).isoformat()}
    return {
        "batch_id": f"b{sequence}", "authority": "health", "pushed_by": "desk", "list": "contacts",
        "category": "close_contact", "mode": "delta", "sequence": sequence, "issued_at": now.isoformat(),
        "legal_basis": "order-1", "purpose": "epidemic_control", "declared_lines": 1,
        "lines": [{"line": 1, "tokens": {"id": [token]}, **window}],
    }  # fmt: skip


def scan(seq: int) -> dict[str, Any]:
    person = {"role": "pedestrian", "tokens": {"id": LISTED}, "temperature_c": 36.5}
    return {
        "device_id": "d1", "seq": seq, "site_id": "s1", "observed_at": datetime.now(UTC).isoformat(),
        "kind": "pedestrian", "people": [person],
    }  # fmt: skip


def test_a_worker_that_stood_still_decides_by_the_lists_of_now(kafka: Broker, tmp_path: Path) -> None:
    system = System(kafka.bootstrap, f"chdb://{tmp_path}/unused", tmp_path)
    done = system.run("topics", "create", "--partitions", "1")
    assert done.returncode == 0, done.stderr

    def said() -> dict[int, str]:
        return {
            seq: outcome for some in read_all(system, "screening-outcomes") for _, seq, outcome, _ in some["outcomes"]
        }

    def received() -> set[str]:
        return {receipt["batch_id"] for receipt in read_all(system, "push-receipts")}

    with contextlib.closing(KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")) as producer:

        def send(topic: str, value: dict[str, Any]) -> None:
            producer.send(system.prefix + topic, key=b"k", value=json.dumps(value).encode()).get(timeout=30)

        system.start("lists", "screening")
        try:
            send("watchlist-pushes", batch(1, OTHER))
            send("checkpoint-scans", scan(0))
            wait_for(lambda: said() == {0: "clear"}, 60, "the first outcome")
            system.workers["screening"].send_signal(signal.SIGSTOP)
            send("watchlist-pushes", batch(2, LISTED))
            send("checkpoint-scans", scan(1))  # in the answer to the fetch that waits, before anything of the list
            wait_for(lambda: "b2" in received(), 60, "the receipt")
            time.sleep(2.1)  # from two seconds after its receipt a batch matches on every worker
            system.workers["screening"].send_signal(signal.SIGCONT)
            wait_for(lambda: 1 in said(), 60, "the second outcome")
            assert said()[1] == "quarantine"
        finally:
            system.workers["screening"].send_signal(signal.SIGCONT)
            system.stop()


def test_a_worker_started_again_need_not_wait_for_the_session_of_its_former_life(kafka: Broker) -> None:
    name = f"again-{time.time_ns()}"
    settings = load({
        "NINEZERO_KAFKA": kafka.bootstrap, "NINEZERO_CLICKHOUSE": "chdb:///unused", "NINEZERO_ORDER": "TEST-2026-1",
        "NINEZERO_SUNSET": "2100-01-01T00:00:00Z",
    })  # fmt: skip
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        admin.create_topics([NewTopic(name, 1, 1)])
    lives = []

    def start(client_id: str) -> None:
        command = [sys.executable, "-c", MEMBER, kafka.bootstrap, name, client_id]
        lives.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))

    def assigned() -> str:
        assert lives[-1].stdout is not None
        return lives[-1].stdout.readline().strip()

    try:
        start("here:1/first")
        assert assigned() == "assigned"
        lives[0].kill()
        lives[0].wait()
        start("here:1/second")
        watchdog = threading.Timer(60, lives[-1].kill)
        watchdog.start()
        supersede(settings, name, "here:1/", "here:1/second", 60)
        assert assigned() == "assigned"
        watchdog.cancel()
    finally:
        for process in lives:
            process.kill()
