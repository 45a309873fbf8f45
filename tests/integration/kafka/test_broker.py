"""The local Kafka starts, is found again and keeps its data; commands that need a broker report its absence in one line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.local_kafka.errors import BrokerError
from tests.support import NINEZERO, free_port


def test_a_broker_keeps_its_data_and_port_after_a_kill(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "kafka")
    broker.start()
    try:
        address = broker.bootstrap
        admin = KafkaAdminClient(bootstrap_servers=address)
        admin.create_topics([NewTopic("kept", 1, 1)])
        admin.close()
        producer = KafkaProducer(bootstrap_servers=address)
        assert producer.send("kept", b"value", timestamp_ms=1).get(10).timestamp > 1_700_000_000_000  # LogAppendTime
        producer.close()
        broker.start()  # a second start finds the same broker
        broker.kill()
        assert not broker.running()
        Broker(tmp_path / "kafka").start()
        assert broker.bootstrap == address and broker.running()
        consumer = KafkaConsumer(
            "kept", bootstrap_servers=address, auto_offset_reset="earliest", consumer_timeout_ms=10_000
        )
        assert next(consumer).value == b"value"
        consumer.close()
    finally:
        broker.stop()
    assert not broker.running()


def test_the_error_names_a_port_that_is_in_use(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(BrokerError, match=f"port {other.getsockname()[1]} is in use"):
            Broker(tmp_path / "kafka", other.getsockname()[1]).start()


def test_the_error_names_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerError, match="cannot write"):
        Broker(tmp_path / "file" / "kafka").start()


def test_the_status_command_without_a_broker_prints_one_line_and_exits_with_1(tmp_path: Path) -> None:
    done = subprocess.run([NINEZERO, "kafka", "status"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_the_status_of_a_broker_that_runs_and_does_not_answer_is_no_success(tmp_path: Path) -> None:
    folder = tmp_path / ".run" / "kafka"
    folder.mkdir(parents=True)
    arguments = ("kafka.Kafka", str(folder / "server.properties"))
    hanging = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", *arguments])
    try:
        (folder / "broker.json").write_text(json.dumps({"pid": hanging.pid, "port": free_port()}))
        done = subprocess.run([NINEZERO, "kafka", "status"], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "runs" in done.stderr and "does not answer" in done.stderr
    finally:
        hanging.kill()
        hanging.wait()


@pytest.mark.parametrize("reads", ["server.properties", "kafka.Kafka {}"])
def test_stopping_ends_no_other_process_that_has_the_number_of_the_former_broker(reads: str, tmp_path: Path) -> None:
    """Another program has got the number, and even reads the configuration of the broker."""
    folder = tmp_path / ".run" / "kafka"
    folder.mkdir(parents=True)
    configuration = folder / "server.properties"
    configuration.write_text("")
    argument = reads.format(configuration) if "{}" in reads else str(configuration)
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", argument])
    try:
        (folder / "broker.json").write_text(json.dumps({"pid": other.pid, "port": 20001}))
        done = subprocess.run([NINEZERO, "kafka", "stop"], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, f"nothing was stopped: no Kafka runs in {folder}\n")
        Broker(folder).kill()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


WRONG = {
    "no order": {"NINEZERO_ORDER": ""},
    "no sunset": {"NINEZERO_SUNSET": ""},
    "dead broker": {},
    "wrong role": {},
}


@pytest.mark.parametrize("case", WRONG)
def test_a_worker_that_cannot_start_prints_one_line_and_exits_with_1(case: str, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "NINEZERO_KAFKA": f"127.0.0.1:{free_port()}",
        "NINEZERO_CLICKHOUSE": f"chdb://{tmp_path}/ch",
        "NINEZERO_ORDER": "T-1",
        "NINEZERO_SUNSET": "2099-01-01T00:00:00Z",
    } | WRONG[case]
    role = "nothing" if case == "wrong role" else "screening"
    done = subprocess.run([NINEZERO, "worker", role], env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (1, 1, ""), done.stderr


def test_an_unreachable_clickhouse_and_a_missing_key_ring_print_one_line_each(tmp_path: Path) -> None:
    env = {**os.environ, "NINEZERO_CLICKHOUSE": f"clickhouse://127.0.0.1:{free_port()}", "NINEZERO_KEYS": ""}
    for arguments in (["migrate"], ["query", "SELECT 1"], ["keys", "new"]):
        done = subprocess.run([NINEZERO, *arguments], env=env, capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
