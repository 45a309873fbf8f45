"""The local Kafka when it is killed, blocked or badly installed: it recovers, or its error names cause and remedy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic

from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.local_kafka.errors import BrokerError
from ninezero.streams.local_kafka.jars import install
from ninezero.streams.local_kafka.java import find_java

MAX_BYTES = 2 << 20
"""`max.message.bytes` of the test topics."""
Make = Callable[..., Broker]


@pytest.fixture
def make() -> Iterator[Make]:
    """A function that makes brokers; they are killed after the test."""
    with ExitStack() as stack:

        def broker(folder: Path, port: int | None = None, **extra: Any) -> Broker:
            one = Broker(folder, port, **extra)
            stack.callback(one.kill)
            return one

        yield broker


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A started broker that no test stops."""
    broker = Broker(tmp_path_factory.mktemp("running") / "kafka")
    broker.start()
    yield broker
    broker.stop()


def create(broker: Broker, topic: str) -> None:
    client = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    client.create_topics([NewTopic(topic, 1, 1, topic_configs={"max.message.bytes": str(MAX_BYTES)})])
    client.close()


def produce(broker: Broker, topic: str, value: bytes, **extra: object) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, max_request_size=2 * MAX_BYTES, **extra)
    producer.send(topic, value, timestamp_ms=1).get(timeout=20)
    producer.close()


def consume(broker: Broker, topic: str) -> list[tuple[bytes, int, int]]:
    """Returns (value, timestamp, timestamp type) of the first record that arrives within five seconds."""
    consumer = KafkaConsumer(
        topic, bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=5000
    )
    record = next(consumer)
    consumer.close()
    return [(record.value, record.timestamp, record.timestamp_type)]


def pid(broker: Broker) -> int:
    found = broker.status().pid
    assert found is not None
    return found


def test_a_record_has_the_timestamp_of_the_broker_not_of_the_producer(running: Broker) -> None:
    create(running, "times")
    produce(running, "times", b"hello")
    [(value, timestamp, kind)] = consume(running, "times")
    assert (value, kind) == (b"hello", 1)
    assert abs(timestamp / 1000 - time.time()) < 60


def test_a_record_of_almost_two_mebibytes_is_accepted(running: Broker) -> None:
    create(running, "large")
    produce(running, "large", b"x" * (MAX_BYTES - 200))
    [(value, _, _)] = consume(running, "large")
    assert len(value) == MAX_BYTES - 200


def test_a_transaction_can_be_committed(running: Broker) -> None:
    create(running, "transactions")
    producer = KafkaProducer(bootstrap_servers=running.bootstrap, transactional_id="t")
    producer.init_transactions()
    producer.begin_transaction()
    producer.send("transactions", b"once")
    producer.commit_transaction()
    producer.close()
    assert consume(running, "transactions")[0][0] == b"once"


def test_a_mistyped_topic_name_does_not_create_a_topic(running: Broker) -> None:
    client = KafkaAdminClient(bootstrap_servers=running.bootstrap)
    client.describe_topics(["mistyped"])
    assert "mistyped" not in client.list_topics()
    client.close()


def test_the_status_has_the_address(running: Broker) -> None:
    status = Broker(running.folder).status()
    assert status.running and status.healthy
    assert running.bootstrap in str(status)


def test_it_listens_on_loopback_only(running: Broker) -> None:
    hosts = [
        line.split("//")[1:]
        for line in (running.folder / "server.properties").read_text().splitlines()
        if "listeners=" in line
    ]
    assert hosts
    assert all(address.startswith("127.0.0.1:") for addresses in hosts for address in addresses)


def test_concurrent_starts_make_one_broker(make: Make, tmp_path: Path) -> None:
    brokers = [make(tmp_path / "kafka") for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda broker: broker.start(), brokers))
    assert len({pid(broker) for broker in brokers}) == 1
    own = str(tmp_path / "kafka" / "server.properties").encode()
    arguments = (
        [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")] if Path("/proc/self").exists() else [own]
    )
    assert sum(own in line for line in arguments) == 1


def test_data_and_port_survive_a_restart_and_a_kill(make: Make, tmp_path: Path) -> None:
    broker = make(tmp_path / "kafka")
    broker.start()
    where = broker.bootstrap
    create(broker, "kept")
    produce(broker, "kept", b"still here")
    assert broker.stop() == "Kafka is stopped"
    assert not broker.status().running

    again = make(tmp_path / "kafka")
    again.start()
    assert again.bootstrap == where
    assert consume(again, "kept")[0][0] == b"still here"

    again.kill()
    assert not again.status().running
    began = time.monotonic()
    again.start()
    assert time.monotonic() - began < 15, "a killed broker waited for the end of its former session"
    assert again.bootstrap == where
    assert consume(again, "kept")[0][0] == b"still here"


def test_the_broker_outlives_the_command_that_started_it(make: Make, tmp_path: Path) -> None:
    code = "import sys, pathlib; from ninezero.streams.local_kafka.broker import Broker; Broker(pathlib.Path(sys.argv[1])).start()"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "kafka")], check=True, cwd=Path(__file__).parents[3], timeout=60
    )
    broker = make(tmp_path / "kafka")
    assert broker.status().healthy
    assert broker.stop() == "Kafka is stopped"


def test_a_broker_that_hangs_is_reported_and_is_killed_at_last(make: Make, tmp_path: Path) -> None:
    broker = make(tmp_path / "kafka")
    broker.start()
    os.kill(pid(broker), signal.SIGSTOP)
    status = broker.status()
    assert status.running and not status.healthy
    with pytest.raises(BrokerError, match=r"did not answer within 1 s.*server\.log"):
        broker.start(seconds=1)
    assert "was killed" in broker.stop(seconds=1)
    assert not broker.status().running


def test_another_process_with_the_number_of_the_old_broker_is_not_the_broker(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "kafka"
    folder.mkdir()
    (folder / "broker.json").write_text(f'{{"pid": {os.getpid()}, "port": 20001}}')
    broker = make(folder)
    assert not broker.running()
    assert broker.stop() == "Kafka does not run here"


def test_an_incomplete_state_file_is_ignored(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "kafka"
    folder.mkdir()
    (folder / "broker.json").write_text('{"pid": 1')
    assert not make(folder).status().running


def test_the_error_names_a_port_that_is_in_use(make: Make, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} is in use"):
            make(tmp_path / "kafka", port).start()


@pytest.mark.parametrize("port", [70_000, -1])
def test_a_port_out_of_range_is_an_error(make: Make, tmp_path: Path, port: int) -> None:
    with pytest.raises(BrokerError, match="1024 to 65535"):
        make(tmp_path / "kafka", port).start()


def test_without_java_the_error_says_what_to_install(make: Make, tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"no Java 17 or later: .*install"):
        make(tmp_path / "kafka", environment={"PATH": ""}, bundled=False).start()


def test_the_error_names_a_java_that_is_too_old(make: Make, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n")
    program.chmod(0o755)
    with pytest.raises(BrokerError, match="Java 8 is too old"):
        make(tmp_path / "kafka", environment={"JAVA_HOME": str(tmp_path), "PATH": ""}, bundled=False).start()


def test_without_maven_the_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(find_java())
    with pytest.raises(BrokerError, match="Maven is missing: install maven"):
        install(environment={"PATH": "", "JAVA_HOME": str(tmp_path)}, folder=tmp_path / "cache")


def test_the_error_names_a_folder_that_cannot_be_written(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerError, match=r"cannot write in .*file"):
        make(tmp_path / "file").start()


def test_a_disk_that_is_nearly_full_is_reported(make: Make, tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        with pytest.raises(BrokerError, match=r"only \d MB are free"):
            make(tmp_path / "kafka").start()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_damaged_store_is_explained_by_the_error_of_this_start_only(make: Make, tmp_path: Path) -> None:
    broker = make(tmp_path / "kafka")
    broker.start()
    broker.stop()
    with broker.log.open("a") as log:
        log.write("2020-01-01 00:00:00,000 ERROR Old: No space left on device\n")
    meta = broker.folder / "data" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=7"))
    with pytest.raises(BrokerError) as raised:
        broker.start()
    line = str(raised.value)
    assert "ended while starting" in line and "Stored node id" in line and "server.log" in line
    assert "disk" not in line and "\n" not in line and "\tat " not in line
    assert not broker.running()
