"""Faults around a device, with a real broker: every accepted scan reaches Kafka, under numbers without gaps."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ninezero import Device, OutboxError, Traveller
from ninezero.schemas.events import Disposition, EventRef, Outcomes, encode
from ninezero.streams import settings as settings_
from ninezero.streams.edge.device.clock import Clock
from ninezero.streams.edge.device.outbox import NewEvent, Outbox
from ninezero.streams.edge.device.outbox_deployment import OutboxDeployment
from ninezero.streams.edge.documents.key_ring import new_ring
from ninezero.streams.kafka import administration, sync
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.settings import Settings
from tests.support import NINEZERO, free_port, wait_for

WELL = Traveller(role="pedestrian", id="440524188001010014", temperature_c=36.5)


def deployment_settings(bootstrap: str, folder: Path, **more: str) -> Settings:
    """Returns the settings of a deployment with topics and a key ring of its own."""
    if not (folder / "keys.json").exists():
        new_ring(folder / "keys.json")
    return settings_.load(
        {
            "NINEZERO_KAFKA": bootstrap, "NINEZERO_ORDER": "TEST-1", "NINEZERO_TOPIC_PREFIX": f"t{time.time_ns()}.",
            "NINEZERO_SUNSET": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
            "NINEZERO_KEYS": str(folder / "keys.json"), "NINEZERO_OUTBOX": str(folder / "outbox"), **more,
        },
        edge=True,
    )  # fmt: skip


@pytest.fixture
def settings(kafka: Broker, tmp_path: Path) -> Settings:
    new_settings = deployment_settings(kafka.bootstrap, tmp_path)
    administration.create_topics(new_settings, partitions=2)
    return new_settings


def gate(settings: Settings, **more: Any) -> Device:
    return Device(settings, site_id="road-01", device_id="gate-a", **more)


def scan(device: Device, times: int = 1) -> list[int]:
    return [device.scan("pedestrian", [WELL]).seq for _ in range(times)]


def arrived(settings: Settings, topic: str = "checkpoint-scans") -> list[int]:
    """Returns the sequence numbers on a topic, in their order on the site's partition."""
    return [event["seq"] for event in records(settings, topic)]


def records(settings: Settings, topic: str) -> list[dict[str, Any]]:
    import json

    with contextlib.closing(sync.consumer(settings)) as reader:
        return [json.loads(record.value) for record in sync.read_to_end(reader, settings.topic(topic))]


def answer(settings: Settings, *seqs: int, device: str = "gate-a") -> None:
    """Writes outcomes as a screening worker does."""
    producer = sync.producer(settings)
    outcomes = Outcomes("road-01", datetime.now(UTC), 1, [(device, seq, "clear", []) for seq in seqs])
    producer.send(settings.topic("screening-outcomes"), key=b"road-01", value=encode(outcomes)).get(10)
    producer.close()


def test_a_broker_that_stops_and_starts_at_random_gets_every_event_in_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seed = int(os.environ.get("FAULT_SEED", "1"))
    print("seed", seed)
    rng = random.Random(seed)
    broker = Broker(tmp_path / "kafka", free_port())
    broker.start()
    try:
        settings = deployment_settings(broker.bootstrap, tmp_path)
        administration.create_topics(settings, partitions=2)
        with gate(settings) as device:
            scan(device, rng.randrange(1, 400))
            time.sleep(rng.random())
            broker.kill() if rng.random() < 0.5 else broker.stop()
            scan(device, rng.randrange(1, 400))
            time.sleep(rng.random() * 4)
            # A device whose broker stopped while it was connecting reports a problem only after that attempt has failed.
            wait_for(lambda: device.status().problem, 45, "the device to notice")
            assert "Kafka" in device.status().problem and not device.status().connected
            broker.start()
            last = scan(device)[-1]
            assert device.flush(60)
            assert device.status()[:2] == (True, 0)
        sent = arrived(settings)
        assert list(dict.fromkeys(sent)) == list(range(last + 1))
        warnings = [record for record in caplog.records if record.name == "ninezero.device"]
        assert 1 <= len(warnings) <= 4, "the log has lines for the outage, not for every retry"
    finally:
        broker.stop()


def test_a_topic_that_is_missing_or_too_small_does_not_delay_other_topics(settings: Settings, monkeypatch: Any) -> None:
    monkeypatch.setattr("ninezero.streams.edge.device.sender.TOPIC_PAUSE_SECONDS", 3)
    admin = sync.admin(settings)
    name = settings.topic("dispositions")
    admin.delete_topics([name])
    released = {"of": EventRef("gate-a", 0), "action": "released", "override": None}
    with contextlib.closing(admin), gate(settings) as device:
        scan(device)
        device.report(Disposition, **released)
        scan(device, 20)
        wait_for(lambda: arrived(settings) == [0, *range(2, 22)], 30, "the scans to pass the disposition")
        wait_for(
            lambda: "Kafka rejects events for dispositions: create the topic" in device.status().problem, 10, "the line"
        )
        assert device.status().connected and device.status().waiting == 1
        administration.create_topics(settings, partitions=2)
        assert device.flush(30)
        limit(admin, name, 80)
        device.report(Disposition, **released)
        scan(device, 20)
        wait_for(lambda: len(arrived(settings)) >= 41, 30, "the scans to pass what is too large")
        assert device.status().waiting == 1
        limit(admin, name, 1 << 20)
        assert device.flush(30)
        wait_for(lambda: device.status().problem == "", 10, "the line to go")
    assert set(arrived(settings)) | set(arrived(settings, "dispositions")) == set(range(43))
    assert set(arrived(settings, "dispositions")) == {1, 22}


def limit(admin: Any, topic: str, size: int) -> None:
    from kafka.admin import ConfigResource, ConfigResourceType

    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": str(size)})])


def test_a_restored_outbox_accepts_nothing_after_kafka_shows_that_its_counter_went_back(settings: Settings) -> None:
    folder, copy = settings.outbox, settings.outbox.with_name("backup")
    with gate(settings) as device:
        scan(device, 3)
        assert device.flush(20)
    shutil.copytree(folder, copy)
    with gate(settings) as device:
        scan(device, 3)
        assert device.flush(20)
    answer(settings, *range(6))
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    answered: list[int] = []
    with gate(settings, on_answer=lambda answer: answered.append(answer.seq)) as device:
        wait_for(lambda: 5 in answered, 20, "the outcome of an event that it does not know")
        assert rejects(device)
    with gate(settings) as device:
        assert rejects(device), "also after a restart"
    with Device(settings, site_id="road-01", device_id="gate-b") as device:
        assert scan(device) == [0]
        assert device.flush(20)


def rejects(device: Device) -> bool:
    try:
        scan(device)
    except OutboxError as error:
        assert "NOT accepted: start the device with the outbox that it had" in str(error)
        return True
    return False


def test_two_devices_with_one_name_are_detected_while_they_run(settings: Settings) -> None:
    with gate(settings) as device:
        scan(device)
        assert device.flush(20)
        time.sleep(0.5)
        answer(settings, 0, 1, device="gate-c")
        answer(settings, 0)
        wait_for(lambda: device.status().unanswered == 0, 10, "the answer")
        scan(device)
        answer(settings, 7)
        wait_for(lambda: rejects(device), 10, "the device to notice")
        assert device.flush(20), "events accepted before are sent"


@pytest.mark.parametrize("later", [0, 6_000], ids=["last", "far back"])
def test_a_device_that_lost_its_outbox_is_refused_before_it_uses_a_number_again(
    later: int, settings: Settings, tmp_path: Path
) -> None:
    """Kafka has an outcome of it, also behind many of other devices. With the outbox that it had it goes on."""
    with gate(settings) as device:
        scan(device, 3)
        assert device.flush(20)
    answer(settings, *range(3))
    with contextlib.closing(sync.producer(settings)) as producer:
        other = encode(Outcomes("road-01", datetime.now(UTC), 1, [("gate-b", 0, "clear", [])]))
        for _ in range(later):
            producer.send(settings.topic("screening-outcomes"), key=b"road-01", value=other)
        producer.flush()
    elsewhere = replace(settings, outbox=tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(OutboxError, match="behind Kafka's: start the device with the outbox that it had") as error:
            gate(elsewhere)
        assert "发件箱的计数落后于 Kafka" in error.value.chinese
        assert not list((tmp_path / "elsewhere").glob("*.sqlite")), "an empty outbox would hide the right one"
    with gate(settings) as device:
        assert scan(device) == [3]
        assert device.flush(20)
    with Device(elsewhere, site_id="road-01", device_id="gate-new") as device:
        assert scan(device) == [0]
        assert device.flush(20)
    assert arrived(settings) == [0, 1, 2, 3, 0]


def test_a_new_outbox_that_starts_offline_sends_nothing_before_its_numbers_are_known_to_be_free(
    settings: Settings, tmp_path: Path
) -> None:
    answer(settings, 0, 1)
    away = replace(settings, kafka=f"127.0.0.1:{free_port()}")
    with gate(away) as device:
        assert scan(device, 2) == [0, 1]
    heard: list[Any] = []
    with gate(settings, on_answer=heard.append) as device:
        wait_for(lambda: "behind Kafka's" in device.status().problem, 20, "the comparison")
        assert rejects(device) and not device.flush(1)
        status = device.status()
        assert "发件箱的计数落后于 Kafka" in status.problem_chinese and "有 2 条没有发送" in status.problem_chinese
        assert status.waiting == 2 and "It holds 2 events that are not sent" in status.problem
    assert arrived(settings) == [] and heard == [], "a number was used again, or the outcome of another person shown"
    environment = {"HOME": str(tmp_path), **environment_of(settings)}
    said = ninezero("doctor", "outboxes", **environment)
    assert "it is new, and 2 events in it are not sent" in said and "run ninezero outbox rename gate-a NEW_ID" in said
    assert "2 events are in the outbox of the new device_id" in ninezero(
        "outbox", "rename", "gate-a", "gate-a2", **environment
    )
    with Device(settings, site_id="road-01", device_id="gate-a2") as device:
        assert device.flush(20) and scan(device) == [2] and device.flush(20)
    assert [(event["device_id"], event["seq"]) for event in records(settings, "checkpoint-scans")] == [
        ("gate-a2", 0), ("gate-a2", 1), ("gate-a2", 2)
    ]  # fmt: skip
    with Device(away, site_id="road-01", device_id="gate-b") as device:
        assert scan(device, 2) == [0, 1]
    with Device(settings, site_id="road-01", device_id="gate-b") as device:
        assert device.flush(20), "a device that is really new sends what waited"
    assert arrived(settings) == [0, 1, 2, 0, 1]


def environment_of(settings: Settings) -> dict[str, str]:
    """Returns the variables of the settings for a program."""
    return {
        "NINEZERO_KAFKA": settings.kafka, "NINEZERO_ORDER": settings.order, "NINEZERO_SUNSET": settings.sunset.isoformat(),
        "NINEZERO_TOPIC_PREFIX": settings.topic_prefix, "NINEZERO_OUTBOX": str(settings.outbox),
    }  # fmt: skip


def ninezero(*arguments: str, **environment: str) -> str:
    """Returns what a command prints."""
    done = subprocess.run([NINEZERO, *arguments], env=environment, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return " ".join((done.stdout + done.stderr).split())


def test_a_device_never_continues_the_outbox_of_another_deployment_nor_sends_its_events(
    settings: Settings, tmp_path: Path
) -> None:
    """Both have a device of one name, under one account. The other one is told apart by its prefix, or by its Kafka."""
    with gate(settings) as device:
        scan(device, 3)
        assert device.flush(20)
    settings = replace(settings, kafka=settings.kafka.replace("127.0.0.1", "localhost"), order="TEST-2")
    with gate(settings) as device:
        assert scan(device) == [3] and device.flush(20), "the same Kafka under another address, and a prolonged order"
    other = replace(settings, topic_prefix=f"other{time.time_ns()}.", order="OTHER")
    administration.create_topics(other, partitions=2)
    with pytest.raises(OutboxError, match=r"belongs to another deployment \(order TEST-2, Kafka localhost"):
        gate(other)
    away = replace(settings, kafka=f"127.0.0.1:{free_port()}", order="OTHER")
    with pytest.raises(OutboxError, match="does not answer, so it is not known whether both are this deployment"):
        gate(away)
    elsewhere = Outbox(settings.outbox_folder() / "gate-b.sqlite", "gate-b", deployment=OutboxDeployment.of(away))
    elsewhere.confirm("the cluster of another Kafka")
    elsewhere.append([NewEvent("checkpoint-scans", b"road-01", lambda seq: b"{}")], "boot", 1)
    elsewhere.close()
    with pytest.raises(
        OutboxError, match=r"belongs to another deployment .* if it is the same deployment whose Kafka was"
    ):
        Device(settings, site_id="road-01", device_id="gate-b")
    assert arrived(settings) == [0, 1, 2, 3] and arrived(other) == []
    environment = {"HOME": str(tmp_path), **environment_of(settings)}
    said = ninezero("doctor", "outboxes", **environment)
    assert "1 outbox in " in said and "of other deployments" in said and ", 0 events waiting for Kafka" in said
    certificate = ninezero("erase", "--edge", "--yes", "--into", str(tmp_path), **environment)
    assert "| outbox of another deployment (order OTHER, " in certificate and "COMPLETE" in certificate.upper()
    assert [path.stem for path in settings.outbox_folder().glob("*.sqlite")] == ["gate-b"]
    with gate(other) as device:
        assert scan(device) == [0] and device.flush(20)


class WrongClock(Clock):
    """A clock that is set wrong, on a machine that may have rebooted."""

    def __init__(self, ahead: timedelta, boot: str) -> None:
        super().__init__()
        self.ahead_ms, self.boot_id = int(ahead.total_seconds() * 1000), boot

    def wall_ms(self) -> int:
        return super().wall_ms() + self.ahead_ms


@pytest.mark.parametrize("boots", [("one", "one"), ("one", "two")], ids=["same-boot", "rebooted"])
def test_events_that_waited_while_the_clock_jumped_get_their_true_time(
    boots: tuple[str, str], settings: Settings, tmp_path: Path
) -> None:
    """While the device is offline, its clock shows 1970, then 2100, then the true time; online again after a restart, and in one case a reboot."""
    away = replace(settings, kafka=f"127.0.0.1:{free_port()}")
    before = datetime.now(UTC) - timedelta(seconds=1)
    clock = WrongClock(timedelta(days=-20_400), boots[0])
    with gate(away, clock=clock) as device:
        for ahead in (-20_400, 27_000, 0):
            clock.ahead_ms = ahead * 86_400_000
            scan(device, 10)
    with gate(settings, clock=WrongClock(timedelta(days=30), boots[1])) as device:
        scan(device, 10)
        assert device.flush(30)
        scan(device, 10)
        assert device.flush(30)
    times = {
        event["seq"]: datetime.fromisoformat(event["observed_at"]) for event in records(settings, "checkpoint-scans")
    }
    assert set(times) == set(range(50)), "of events with one number, the workers accept the last"
    assert all(before <= time <= datetime.now(UTC) + timedelta(seconds=1) for time in times.values()), times


SMALL_DISK = """
import sys, time
from ninezero import Device, Traveller, UserError
with Device.from_environment(site_id="road-01", device_id="gate-a") as device:
    for line in sys.stdin:
        rejected = 0
        while rejected < 3 if line.strip() == "fill" else line.strip() == "one" and not rejected:
            try:
                print(device.scan("pedestrian", [Traveller(role="pedestrian", temperature_c=36.5)]).seq)
                if line.strip() == "one":
                    break
            except UserError as error:
                rejected += 1
                print(error)
        if line.strip() == "flush":
            print(device.flush(30))
        print("done", flush=True)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mounts a file system of 14 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=14m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a file system needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


class Child:
    """A device in another process, which does what it reads from standard input."""

    def __init__(self, settings: Settings, disk: Path, bootstrap: str) -> None:
        env = {
            "NINEZERO_KAFKA": bootstrap, "NINEZERO_ORDER": "T", "NINEZERO_TOPIC_PREFIX": settings.topic_prefix,
            "NINEZERO_SUNSET": settings.sunset.isoformat(), "NINEZERO_KEYS": str(settings.keys),
            "NINEZERO_OUTBOX": str(disk / "outbox"),
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SMALL_DISK], env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def do(self, order: str) -> list[str]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        printed: list[str] = []
        for line in self._process.stdout:
            if line == "done\n":
                return printed
            printed.append(line.strip())
        raise AssertionError(f"the device ended after {printed[-1:]}")

    def end(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        assert self._process.wait(30) == 0


def test_a_full_disk_raises_and_scanning_continues_when_there_is_space(settings: Settings, small_disk: Path) -> None:
    """First the outbox fills the disk while the broker is stopped, then another file fills it while events are acknowledged."""
    child = Child(settings, small_disk, f"127.0.0.1:{free_port()}")
    lines = child.do("fill")
    full = "the disk of the outbox is full and the event was NOT accepted: free some space"
    assert lines[-3:] == [full] * 3, lines[-3:]
    child.end()
    accepted = [int(line) for line in lines if line != full]
    assert accepted == list(range(len(accepted))) and len(accepted) > 300

    child = Child(settings, small_disk, settings.kafka)
    assert child.do("flush") == ["True"]
    assert child.do("one") == [str(len(accepted))], "a rejected event uses no number"
    (small_disk / "ballast").write_bytes(b"")
    with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"x" * 4096)
    lines = child.do("fill")
    assert lines[-3:] == [full] * 3
    accepted += [len(accepted), *(int(line) for line in lines if line != full)]
    (small_disk / "ballast").unlink()
    assert child.do("one") == [str(len(accepted))]
    assert child.do("flush") == ["True"]
    child.end()
    assert list(dict.fromkeys(arrived(settings))) == list(range(len(accepted) + 1))


def test_a_read_only_disk_is_reported_and_accepts_nothing(settings: Settings, small_disk: Path) -> None:
    child = Child(settings, small_disk, settings.kafka)
    assert child.do("one") == ["0"]
    assert child.do("flush") == ["True"]
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], capture_output=True)
    child.end()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OutboxError, match="cannot be opened: check its folder, its owner and the disk"):
        Device(
            deployment_settings(settings.kafka, small_disk.parent, NINEZERO_OUTBOX=str(small_disk / "outbox")),
            site_id="s",
            device_id="gate-a",
        )
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    child = Child(settings, small_disk, settings.kafka)
    assert child.do("one") == ["1"]
    child.end()
