"""Devices with a real broker and real workers: each accepted scan is answered or shown as not checked, and is counted once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import KafkaConsumer, KafkaProducer

from ninezero import Answer, Device, DeviceError, OutboxError, Traveller
from ninezero.schemas.events import Disposition, EventRef
from ninezero.streams import settings as settings_
from ninezero.streams.edge.device.answers import QualityFinding
from ninezero.streams.edge.device.clock import Clock
from ninezero.streams.edge.device.device import _GivenEvent
from ninezero.streams.edge.documents.key_ring import KeyRing, new_ring, rotate
from ninezero.streams.edge.documents.normal_forms import normalise
from ninezero.streams.kafka.sync import read_to_end
from ninezero.streams.local_kafka.broker import Broker
from tests.support import System, free_port, wait_for

LISTED, NOBODY = "11010519491231002X", "440524188001010014"


def deployed(kafka: Broker, folder: Path) -> System:
    """Returns a deployment with topics, without a schema and without workers."""
    new_ring(folder / "keys.json")
    deployment = System(
        kafka.bootstrap, f"chdb://{folder}/db", folder,
        NINEZERO_KEYS=str(folder / "keys.json"), NINEZERO_OUTBOX=str(folder / "outbox"),
    )  # fmt: skip
    done = deployment.run("topics", "create", "--partitions", "4")
    assert done.returncode == 0, done.stderr
    return deployment


@pytest.fixture
def system(kafka: Broker, tmp_path: Path) -> Iterator[System]:
    """A deployment of its own."""
    deployment = deployed(kafka, tmp_path)
    yield deployment
    deployment.stop()


@pytest.fixture(scope="module")
def serving(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A deployment whose workers answer, and where one person is listed. Each test uses a device of its own."""
    deployment = deployed(kafka, tmp_path_factory.mktemp("serving"))
    deployment.start("lists", "screening")
    push(deployment, {"id": [KeyRing.load(deployment.env["NINEZERO_KEYS"]).token("id", LISTED)]})
    wait_for(lambda: deployment.ready("screening"), 60, "screening")
    yield deployment
    deployment.stop()


def device(system: System, name: str = "gate-a", **arguments: Any) -> Device:
    return Device(settings_.load(system.env, edge=True), site_id="road-01", device_id=name, **arguments)


def push(
    system: System, *tokens: dict[str, list[str]], sequence: int = 1, mode: str = "delta", to: str = "cases"
) -> None:
    """Pushes a batch of confirmed cases, waits for its receipt, and for two seconds more, after which it matches."""
    before = len(read(system, "push-receipts"))
    send(system, *tokens, sequence=sequence, mode=mode, to=to)
    wait_for(lambda: len(read(system, "push-receipts")) > before, 30, "the receipt")
    assert read(system, "push-receipts")[-1]["accepted"] == len(tokens)
    time.sleep(2)


def send(system: System, *tokens: dict[str, list[str]], sequence: int, mode: str = "delta", to: str = "cases") -> None:
    """Sends a batch of confirmed cases."""
    producer = KafkaProducer(bootstrap_servers=system.env["NINEZERO_KAFKA"])
    now = datetime.now(UTC)
    batch = {
        "batch_id": f"b{sequence}", "authority": "cdc", "pushed_by": "op1", "list": to, "category": "confirmed_case",
        "mode": mode, "sequence": sequence, "issued_at": now, "legal_basis": "LAW-1", "purpose": "epidemic_control",
        "declared_lines": len(tokens),
        "lines": [
            {"line": n, "tokens": some, "valid_from": now - timedelta(hours=1), "valid_to": now + timedelta(days=7)}
            for n, some in enumerate(tokens)
        ],
    }  # fmt: skip
    producer.send(system.prefix + "watchlist-pushes", orjson.dumps(batch), b"cdc").get(10)
    producer.close()


def read(system: System, topic: str) -> list[dict[str, Any]]:
    """Returns all values that are on a topic now, without tombstones."""
    with contextlib.closing(KafkaConsumer(bootstrap_servers=system.env["NINEZERO_KAFKA"])) as reader:
        return [orjson.loads(record.value) for record in read_to_end(reader, system.prefix + topic) if record.value]


def counted(system: System) -> int:
    return int(system.query("SELECT toUInt64(sum(passages)) AS n FROM ninezero.screening_by_minute")[0]["n"])


def test_each_scan_gets_its_outcome_or_is_not_checked(serving: System) -> None:
    late: list[Answer] = []
    with device(serving, on_answer=late.append) as gate:
        well = Traveller(role="driver", id=NOBODY, temperature_c=36.5, origin="370115")
        ill = Traveller(role="passenger", id=LISTED.lower(), temperature_c=36.5)
        assert gate.scan("vehicle", [well], plate="鲁A12345").wait(60) == Answer(0, "clear")
        assert gate.scan("vehicle", [well, ill]).wait(60) == Answer(1, "refer", (1,))
        mrz = ["P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "L898902C36UTO7408122F1204159ZE184226B<<<<<10"]
        assert gate.scan("pedestrian", [Traveller(role="pedestrian", mrz=mrz)]).wait(60) == Answer(
            2, "hold", (0,), (QualityFinding(0, "mrz", "document_expired"),)
        )
        assert gate.report(Disposition, of=EventRef("gate-a", 1), action="referred", override=None) == 3
        serving.kill("screening")
        ticket = gate.scan("pedestrian", [well])
        assert ticket.wait(1) == Answer(4, "not_checked")
        serving.start("screening")
        wait_for(lambda: late and late[-1] == Answer(4, "clear"), 60, "the late answer")
        assert gate.status()[:4] == (True, 0, 200_000, 0)
    people = [p for scan in read(serving, "checkpoint-scans") for p in scan["people"]]
    assert [p["quality"] for p in people[-2:]] == [["document_expired"], []]
    assert read(serving, "dispositions")[0]["of"] == {"device_id": "gate-a", "seq": 1}


def test_an_outcome_that_the_contract_does_not_know_is_never_an_answer(system: System) -> None:
    answers: list[Answer] = []
    with device(system, on_answer=answers.append) as gate:
        ticket = gate.scan("pedestrian", [Traveller(role="pedestrian", id=NOBODY, temperature_c=36.5)])
        assert gate.flush(20)
        with contextlib.closing(KafkaProducer(bootstrap_servers=system.env["NINEZERO_KAFKA"])) as producer:
            for outcome in ("passed", "hold"):
                found = {
                    "site_id": "road-01",
                    "at": datetime.now(UTC),
                    "watchlist_version": 1,
                    "outcomes": [["gate-a", ticket.seq, outcome, [0]]],
                }
                producer.send(system.prefix + "screening-outcomes", orjson.dumps(found), b"road-01").get(10)
        assert ticket.wait(20) == Answer(ticket.seq, "hold", (0,))
    assert answers == [Answer(ticket.seq, "hold", (0,))]


def test_an_answer_that_arrived_while_the_device_was_off_is_delivered_with_its_findings(system: System) -> None:
    misread = NOBODY[:-1] + ("1" if NOBODY[-1] != "1" else "2")
    with device(system) as gate:
        gate.scan("pedestrian", [Traveller(role="pedestrian", id=NOBODY, temperature_c=36.5)])
        gate.scan("pedestrian", [Traveller(role="pedestrian", id=misread, temperature_c=36.5)], plate="鲁A1234O")
        assert gate.flush(20)
    system.start("lists", "screening")
    push(system, {"id": [KeyRing.load(system.env["NINEZERO_KEYS"]).token("id", LISTED)]})
    wait_for(lambda: read(system, "screening-outcomes"), 60, "the outcome")
    found: list[Answer] = []
    with device(system, on_answer=found.append) as gate:
        findings = QualityFinding(0, "id", "checksum_failed"), QualityFinding(None, "plate", "plate_unrecognised")
        expected = [Answer(0, "clear"), Answer(1, "clear", (), findings)]
        wait_for(lambda: sorted(found) == expected, 30, "the answers of the earlier run")


def test_a_rotated_key_never_misses_a_match_and_a_key_that_the_lists_lack_is_held(system: System) -> None:
    ring = system.env["NINEZERO_KEYS"]
    system.start("lists", "screening")
    listed = normalise("id", LISTED) or ""
    push(system, {"id": KeyRing.load(ring).tokens("id", listed)})
    wait_for(lambda: system.ready("screening"), 60, "screening")
    ill = Traveller(role="pedestrian", id=LISTED, temperature_c=36.5)
    well = Traveller(role="pedestrian", id=NOBODY, temperature_c=36.5)
    with device(system, "old") as old:
        rotate(ring, timedelta(days=14))
        with device(system, "new") as new:
            assert old.scan("pedestrian", [ill]).wait(60).outcome == "refer", "the old key still matches"
            assert new.scan("pedestrian", [well]).wait(60).outcome == "hold", "a key the lists lack is never clear"
            assert new.scan("pedestrian", [ill]).wait(60).outcome == "hold"
            push(system, {"id": KeyRing.load(ring).tokens("id", listed)}, sequence=2)
            for gate in (old, new):
                assert gate.scan("pedestrian", [ill]).wait(60).outcome == "refer", "both keys' tokens are on the list"
                assert gate.scan("pedestrian", [well]).wait(60).outcome == "clear"


class WrongClock(Clock):
    """A device's clock that is set wrong."""

    def __init__(self, ahead: timedelta) -> None:
        super().__init__()
        self.ahead_ms = int(ahead.total_seconds() * 1000)

    def wall_ms(self) -> int:
        return super().wall_ms() + self.ahead_ms


def test_a_clock_that_jumps_loses_no_scan(system: System) -> None:
    """The clock is 74 years ahead, 56 years behind, and jumps while scanning. Each scan is counted once, at its true time."""
    assert system.run("migrate").returncode == 0
    system.start("lists", "screening", "recording")
    push(system, {"id": [KeyRing.load(system.env["NINEZERO_KEYS"]).token("id", LISTED)]})
    well = Traveller(role="pedestrian", id=NOBODY, temperature_c=36.5)
    before = datetime.now(UTC) - timedelta(minutes=1)
    for name, ahead in (("future", timedelta(days=27_000)), ("past", timedelta(days=-20_400)), ("true", timedelta())):
        clock = WrongClock(ahead)
        with device(system, name, clock=clock) as gate:
            for _ in range(5):
                gate.scan("pedestrian", [well])
            assert gate.flush(30)
            clock.ahead_ms += 86_400_000
            for _ in range(5):
                assert gate.scan("pedestrian", [well]).wait(30).outcome == "clear"
            clock.ahead_ms -= 20 * 86_400_000
            for _ in range(5):
                assert gate.scan("pedestrian", [well]).wait(30).outcome == "clear"
            assert gate.flush(30)
    wait_for(lambda: counted(system) >= 45, 60, "the counts")
    row = system.query(
        "SELECT toUInt64(sum(passages)) AS n, toString(min(minute)) AS first, toString(max(minute)) AS last"
        " FROM ninezero.screening_by_minute"
    )[0]
    assert int(row["n"]) == 45
    assert row["first"] >= f"{before:%Y-%m-%d %H:%M}" and row["last"] <= f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    reasons = {letter["reason"] for letter in read(system, "dead-letters")}
    assert reasons == {"clock_out_of_range"}, "a rejected event came again under its number"


DEVICE = """
import sys, time
from ninezero import Device, Traveller
device = Device.from_environment(site_id="road-01", device_id="gate-a")
for _ in range(int(sys.argv[1])):
    ticket = device.scan("pedestrian", [Traveller(role="pedestrian", id="440524188001010014", temperature_c=36.5)])
    print(ticket.seq, flush=True)
    time.sleep(0.002)
device.flush(60)
device.close()
"""


def test_kill_9_and_a_stopped_broker_lose_no_accepted_scan(tmp_path: Path) -> None:
    """The device is killed six times and its broker is stopped in between. Each accepted scan is counted once."""
    broker = Broker(tmp_path / "kafka", free_port())
    broker.start()
    system = deployed(broker, tmp_path)
    try:
        assert system.run("migrate").returncode == 0
        accepted = -1
        for step in range(6):
            child = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", DEVICE, "100000"], env=system.env, stdout=subprocess.PIPE
            )
            assert child.stdout is not None
            for _ in range(150):
                child.stdout.readline()
            if step == 2:
                broker.kill()
            if step == 4:
                broker.start()
                for _ in range(1500):
                    child.stdout.readline()
            os.kill(child.pid, signal.SIGKILL)
            printed = child.stdout.read().split()
            accepted = max([accepted, *map(int, printed)])
            child.wait()
        done = subprocess.run([sys.executable, "-c", DEVICE, "1"], env=system.env, capture_output=True, timeout=120)
        last = int(done.stdout)
        assert last >= accepted + 1
        sent = [scan["seq"] for scan in read(system, "checkpoint-scans")]
        assert set(sent) == set(range(last + 1)), "no gap, and nothing that was not accepted"
        first_seen = list(dict.fromkeys(sent))
        assert first_seen == sorted(first_seen), "in order"
        system.start("lists", "screening", "recording")
        push(system, {"id": [KeyRing.load(system.env["NINEZERO_KEYS"]).token("id", LISTED)]})
        wait_for(lambda: counted(system) >= last + 1, 60, "the counts")
        assert counted(system) == last + 1
    finally:
        system.stop()
        broker.stop()


def test_the_screen_shows_outcomes_and_help_and_no_identity(serving: System) -> None:
    typed = f"鲁A1234O\n{NOBODY}\n36.4\n+\n{LISTED}\n36.6\n\nrubbish {LISTED}\n?\n{NOBODY}\n36.5\n\n"
    typed += f"身份证：{NOBODY}\n体温 36,5度\n来自 湖北\n\n{NOBODY.lower()}\n36.5\n红码\n\nq\n"
    done = serving.run("device", "--site", "road-01", "--device", "gate-b", stdin=typed.encode())
    shown = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert "REFER · person 2" in shown and "CLEAR" in shown and "not recognised" in shown
    assert "scan again: plate: not a known form of plate" in shown.split("REFER")[1]
    assert "隔离 QUARANTINE · person 1" in shown and shown.count("转诊 REFER · person 1") == 1
    assert LISTED not in shown + done.stderr.decode() and NOBODY not in shown


def test_the_scan_command_reports_the_lines_that_it_did_not_accept(serving: System) -> None:
    lines = [
        {"kind": "vehicle", "plate": "鲁A12345", "people": [{"role": "driver", "id": LISTED, "temperature_c": 36.5}]},
        {"kind": "vehicle", "people": [], "plate": None},
        {"kind": "pedestrian", "people": [{"role": "pedestrian", "id": NOBODY, "temperature_c": 36.5}]},
        {"kind": "pedestrian", "person": NOBODY},
        {"kind": "pedestrian", "people": [{"role": NOBODY}]},
        {"kind": "pedestrian", "people": [{"role": "pedestrian", "origin": NOBODY}]},
    ]
    misread = {"role": "driver", "id": "11010519491231020X", "temperature_c": 36.5}
    lines.append({"kind": "vehicle", "plate": "鲁A1234O", "people": [misread]})
    text = "\n".join(json.dumps(line) for line in lines) + "\n{\n"
    done = serving.run("scan", "-", "--site", "road-01", "--device", "gate-c", stdin=text.encode())
    assert sorted(done.stdout.decode().splitlines()) == [
        "line 1, gate-c 0: refer (person 0)",
        "line 2: the event was NOT accepted: it breaks the contract at people: expected a list of 1 to 80 entries",
        "line 3, gate-c 1: clear",
        "line 4: NOT accepted: unknown field; the fields are kind, people, plate, direction",
        "line 5: NOT accepted: people[0].role: expected driver or passenger or pedestrian or traveller",
        "line 6: the event was NOT accepted: it breaks the contract at people[0].origin: expected a division code of six digits or"
        " a country code of two capital letters or null",
        "line 7, gate-c 2: clear; 请重新扫描：第 0 人 身份证：校验码不符 · 车牌：号牌格式不认识"
        " scan again: person 0 identity card: check character is wrong · plate: not a known form of plate"
        " [checksum_failed, plate_unrecognised]",
        "line 8: NOT accepted: it is not JSON: it ends too early",
    ]
    assert done.returncode == 1 and b"5 lines were not accepted: do not read that as clear" in done.stderr
    assert NOBODY.encode() not in done.stdout + done.stderr


def test_an_event_that_breaks_the_contract_or_does_not_fit_is_not_accepted(system: System) -> None:
    with device(system, capacity=1) as gate:
        with pytest.raises(DeviceError, match=r"NOT accepted.*people"):
            gate.scan("vehicle", [])
        with pytest.raises(DeviceError, match=r"at people\[0\].origin") as rejected:
            gate.scan("vehicle", [Traveller(role="driver", origin=NOBODY)])
        assert NOBODY not in repr(rejected.value)
        with pytest.raises(OutboxError, match="full"):
            gate.scan_all([]) or gate._accept(
                [_GivenEvent(Disposition, {"of": EventRef("a", 1), "action": "released", "override": None})] * 2
            )
    with pytest.raises(DeviceError, match="the device_id is wrong"):
        Device.from_environment(system.env, site_id="road-01", device_id=NOBODY)
    with pytest.raises(DeviceError, match="the site_id is wrong"):
        Device.from_environment(system.env, site_id="a b", device_id="gate-a")


def test_threads_may_share_a_device(system: System) -> None:
    with device(system) as gate:
        well = Traveller(role="pedestrian", id=NOBODY, temperature_c=36.5)
        threads = [
            threading.Thread(target=lambda: [gate.scan("pedestrian", [well]) for _ in range(50)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert gate.flush(30)
    assert [scan["seq"] for scan in read(system, "checkpoint-scans")] == list(range(200))
