"""No identity leaves the edge. The test puts identities wherever a device, an authority or a user could put one, then searches
every byte that the system wrote for them."""

from __future__ import annotations

import base64
import itertools
import json
import re
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from ninezero import Device, DeviceError, Traveller
from ninezero.streams import clickhouse
from ninezero.streams import settings as settings_
from ninezero.streams.edge.documents.key_ring import KeyRing, new_ring
from ninezero.streams.kafka import topics as topics_
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.settings import SettingsError
from tests.support import System, stored_files, wait_for

Blobs = dict[str, bytes]
Hostile = dict[str, tuple[bytes, ...]]

STEMS = {
    "id": "37018119490217", "old_id": "370181490217", "phone": "1990756", "passport": "QZ7Q", "plate": "鲁Z9Q", "pass": "JZQ7-",
    "name": "扎布耶", "latin": "ZABUYE",
}  # fmt: skip
"""Beginnings of the identities of this test. Searching for the beginnings is fast and finds all of them."""


SOURCES = ("checkpoint-scans", "station-arrivals", "watchlist-pushes")
"""The topics to which hostile records are sent. Kafka keeps them unchanged until their retention ends."""


class Planted:
    """Makes identities that no other test uses, and remembers them."""

    def __init__(self) -> None:
        self.values: list[str] = []
        self._numbers = itertools.count(100)

    def one(self, kind: str) -> str:
        n = next(self._numbers)
        tail = {
            "id": f"{n:03d}X",
            "old_id": f"{n:03d}",
            "phone": f"{n:04d}",
            "passport": f"{n:05d}",
            "plate": f"{n:03d}",
        }
        tail["latin"] = "".join("ABCDEFGHIJ"[int(digit)] for digit in str(n))
        value = STEMS[kind] + tail.get(kind, str(n))
        self.values.append(value)
        return value

    def mrz(self) -> list[str]:
        number = self.one("passport")
        return [f"P<UTO{self.one('latin')}<<MARIA".ljust(44, "<"), f"{number}6UTO7408122F3204159".ljust(43, "<") + "0"]

    def every(self) -> Iterator[str]:
        for kind in STEMS:
            yield self.one(kind)


@cache
def variants(value: str) -> set[bytes]:
    """Returns every form in which a value might be written. The searched text is in lower case, with and without separators."""
    found: set[bytes] = set()
    for text in {value, value[::-1], re.sub("[^0-9a-zA-Z\u4e00-\u9fff]", "", value)}:
        text = text.lower()
        found |= {
            text.encode(),
            text.encode().hex().encode(),
            text.upper().encode().hex().encode(),
            text.encode("gb18030").lower(),
            json.dumps(text)[1:-1].encode(),
        }
        found |= {
            text.encode("utf-16-le").replace(b"\0", b"").lower(),
            text.upper().encode("utf-16-le").replace(b"\0", b"").lower(),
        }
        for case in (text, text.upper()):
            found |= {base64.b64encode(case.encode()).lower()[: len(case.encode()) * 4 // 3]}
    return found


def searched(blob: bytes) -> Iterator[bytes]:
    """Yields a text in lower case, without separators, and with UTF-16 reduced to ASCII."""
    low = blob.lower()
    yield low
    yield low.replace(b"\0", b"")
    yield re.sub(rb"[-\0 ._/'<:,\\]", b"", low)


def leaks(blobs: Blobs, values: list[str]) -> dict[str, set[str]]:
    """Returns where identities occur. Bytes near the beginning or the reversed end of an identity are compared completely."""
    begins = {v for stem in STEMS.values() for v in variants(stem) if len(v) > 3}
    begins |= {
        v for value in values for v in (value[::-1].lower().encode(), value[::-1].lower().encode().hex().encode())
    }
    likely = re.compile(b"|".join(map(re.escape, sorted(begins))))
    found: dict[str, set[str]] = defaultdict(set)
    for place, blob in blobs.items():
        for text in searched(blob):
            near = b"\n".join({text[max(0, m.start() - 9) : m.end() + 80] for m in likely.finditer(text)})
            if near:
                found[place] |= {value for value in values if any(v in near for v in variants(value))}
    return {place: some for place, some in found.items() if some}


@pytest.mark.parametrize("kind", list(STEMS))
def test_the_search_finds_an_identity_in_every_writing(kind: str) -> None:
    planted = Planted()
    value = planted.one(kind)
    writings = [
        value.encode(), value.lower().encode(), value.encode("utf-16-le"), value.encode("gb18030"), value[::-1].encode(),
        value.encode().hex().encode(), base64.b64encode(value.encode()), json.dumps({"a": value}).encode(),
        "-".join(value[n : n + 4] for n in range(0, len(value), 4)).encode(), " ".join(value).encode(),
    ]  # fmt: skip
    for writing in writings:
        assert leaks({"there": b"\0" * 100 + b"noise" + writing + b"noise", "not": b"noise"}, planted.values) == {
            "there": {value}
        }


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A deployment that keeps all its files in one folder, those of Kafka included."""
    broker = Broker(tmp_path / "kafka")
    broker.start()
    new_ring(tmp_path / "keys.json")
    deployment = System(
        broker.bootstrap, f"chdb://{tmp_path}/clickhouse", tmp_path,
        NINEZERO_KEYS=str(tmp_path / "keys.json"), NINEZERO_OUTBOX=str(tmp_path / "outbox"),
    )  # fmt: skip
    deployment.prepare()
    yield deployment
    deployment.stop()
    broker.stop()


def test_no_identity_is_anywhere_past_the_edge(system: System) -> None:
    planted = Planted()
    system.start("lists", "screening", "recording")
    push_a_list(system)
    wait_for(lambda: system.ready("screening") and system.ready("recording"), 60, "the workers")
    messages, running = use_a_device(system, planted)
    messages += use_the_commands(system, planted)
    hostile = send_hostile_records(system, planted)
    wait_for(lambda: settled(system), 60, "everything to be decided and recorded")
    metrics = {f"metrics {port}": page(system, port) for port in (0, 1, 3)}
    consumed = kafka_records(system)
    system.stop()

    blobs = {**everything(system), **metrics, **running, "messages": b"\n".join(messages)}
    raw = {name: blob for name, blob in consumed.items() if name not in hostile}
    own = {name: without(name, blob, hostile) for name, blob in blobs.items()}
    assert len(planted.values) > 150

    for place in (
        "outbox/gate-a.sqlite",
        "running gate-a.sqlite-wal",
        "kafka/data/",
        "clickhouse/",
        "query ",
    ):
        assert any(name.startswith(place) and own[name] for name in own), f"the search read nothing of {place}"
    assert {"screening.log", "lists.log", "recording.log"} <= set(own)
    for topic in ("checkpoint-scans", "screening-outcomes", "screening-alerts", "screening-decisions", "push-receipts"):
        assert any((topic in name and b"gate-a" in blob) or topic == "push-receipts" for name, blob in raw.items()), (
            topic
        )
    assert b"gate-a" in b"".join(blob for name, blob in own.items() if name.startswith("query ")), "facts were searched"
    in_hostile_records = {value for found in leaks(consumed, planted.values).values() for value in found}
    assert len(in_hostile_records) > 60, "what hostile records hold is found where they lie"
    assert leaks({n: b for n, b in blobs.items() if n.startswith("kafka/data/")}, planted.values[-9:]), (
        "and in Kafka's own files"
    )

    assert leaks(raw, planted.values) == {}
    assert leaks(own, planted.values) == {}

    leak(system, planted.values[0], planted.values[1])
    found = leaks({**everything(system), **kafka_records(system)}, planted.values[:2])
    places = set(found)
    assert {"screening.log", "query ninezero_data.site_register"} <= places, "the same search finds what does leak"
    assert any(name.startswith("dead-letters") for name in places)


def use_a_device(system: System, planted: Planted) -> tuple[list[bytes], Blobs]:
    """Sends passages, valid and rejected ones. Returns the messages of the device, and its files while it runs."""
    messages: list[bytes] = []
    settings = settings_.load(system.env, edge=True)

    def traveller(**more: Any) -> Traveller:
        return Traveller(
            role="driver",
            id=planted.one("id"),
            phone=planted.one("phone"),
            pass_=planted.one("pass"),
            temperature_c=36.5,
            **more,
        )

    with Device(
        settings, site_id="road-01", device_id="gate-a", on_answer=lambda answer: messages.append(repr(answer).encode())
    ) as gate:
        for _ in range(5):
            gate.scan(
                "vehicle",
                [traveller(mrz=planted.mrz()), traveller(passport=f"UTO/{planted.one('passport')}")],
                plate=planted.one("plate"),
            )
            gate.scan(
                "pedestrian",
                [Traveller(role="pedestrian", id=planted.one("old_id"), phone=f"+86 {planted.one('phone')}")],
            )
        gate.scan(
            "pedestrian",
            [
                Traveller(
                    role="pedestrian",
                    id=planted.one("name"),
                    passport=planted.one("passport"),
                    mrz=list(planted.every()),
                )
            ],
        )
        gate.scan("pedestrian", [Traveller(role="pedestrian", id=planted.one("id") * 100_000)], plate=planted.one("id"))
        for wrong in planted.every():
            for rejected_call in (
                lambda wrong=wrong: gate.scan("vehicle", [Traveller(role="driver", origin=wrong)]),
                lambda wrong=wrong: gate.scan(wrong, [traveller()]),  # type: ignore[arg-type]
                lambda wrong=wrong: gate.scan("vehicle", [Traveller(role=wrong, id=wrong)]),  # type: ignore[arg-type]
                lambda wrong=wrong: gate.arrive(
                    traveller(), mode=wrong, service="G12", stage="registered", transfer_id=None, destination=None
                ),
            ):
                with pytest.raises(DeviceError) as error:
                    rejected_call()
                messages.append(repr(error.value).encode())
        for name in (planted.one("id"), planted.one("phone"), planted.one("name")):
            with pytest.raises(DeviceError) as error:
                Device(settings, site_id="road-01", device_id=name)
            messages.append(repr(error.value).encode())
        messages.append(repr((traveller(), gate.status())).encode())
        assert gate.flush(30)
        wait_for(lambda: gate.status().unanswered == 0, 30, "the answers")
        running = {f"running {path.name}": content for path, content in stored_files(system.folder / "outbox")}
    return messages, running


def use_the_commands(system: System, planted: Planted) -> list[bytes]:
    """Runs `scan`, `device` and `check-document` with valid and invalid input, arguments and settings. Returns their output."""

    def lines(*some: Any) -> bytes:
        return "\n".join(one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in some).encode()

    person = {"role": "driver", "temperature_c": 36.5}
    passages = lines(
        {"kind": "vehicle", "plate": planted.one("plate"), "people": [person | {"id": planted.one("id"), "phone": planted.one("phone")}]},
        {"kind": "vehicle", "people": [person | {"name": planted.one("name")}]},
        {"kind": "vehicle", "people": [person | {planted.one("id"): 1}]},
        {"kind": planted.one("name"), "people": [person]},
        {"kind": "vehicle", "people": [person | {"temperature_c": planted.one("id")}]},
        *(f'{{"kind": "vehicle", "{value}' for value in planted.every()),
        *planted.every(),
    )  # fmt: skip
    event = {"device_id": "ready", "seq": 0, "site_id": "road-01", "observed_at": datetime.now(UTC).isoformat(), "kind": "vehicle",
             "people": [{"role": "driver", "tokens": {}, "temperature_c": 36.5}]}  # fmt: skip
    typed = "\n".join(
        [planted.one("plate"), planted.one("id"), "36.5", "+", *planted.mrz(), "36.6", "", f"odd {planted.one('name')}", f"from {planted.one('phone')}",
         f"pass {planted.one('pass')}", "", *planted.every(), "", planted.one("id")]
    )  # fmt: skip
    documents = lines(
        "kind,value,line2,line3", f"id,{planted.one('id')}", f"passport,{planted.one('passport')}", f"{planted.one('name')},{planted.one('id')}",
        "mrz," + ",".join(planted.mrz()), f'id,"{planted.one("id")}', f"plate,{planted.one('plate')}", f"phone,{planted.one('phone')}",
    )  # fmt: skip
    csv = system.folder / "in.csv"
    csv.write_bytes(f"site_id,kind,division,capacity\n{planted.one('phone')},{planted.one('name')},370115,1\n".encode())
    people = system.folder / "people.csv"
    rows = [
        f"{planted.one('name')},{planted.one(kind)},{planted.one('phone')},{planted.one('plate')}"
        for kind in ("id", "old_id", "pass")
    ]
    rows += [
        f'{planted.one("name")},"{planted.one("id")},,',
        planted.one("id"),
        f",,{planted.one('id')},,,{planted.one('phone')}",
    ]
    people.write_bytes(
        "\n".join([f"{planted.one('name')} 名单", "姓名,身份证号,手机号,车牌号", *rows]).encode("gb18030")
    )
    bare = system.folder / "bare.csv"
    bare.write_text(f"{planted.one('name')},{planted.one('id')}\n{planted.one('name')},{planted.one('id')}\n")
    who = (
        "--authority",
        "cdc",
        "--list",
        "planted",
        "--category",
        "close_contact",
        "--by",
        "op1",
        "--basis",
        "LAW-1",
        "--days",
        "5",
    )
    rejects = ("--rejects", str(system.folder / "rejects.csv"))
    pool = ThreadPoolExecutor(4)
    running = [
        pool.submit(system.run, "push", str(people), *who, *rejects),
        pool.submit(system.run, "push", str(bare), *who),
        pool.submit(system.run, "push", str(people), *who, "--check", "--map", f"id={planted.one('id')}"),
        pool.submit(system.run, "push", str(people), *who, "--batch-id", planted.one("phone")),
        pool.submit(system.run, "push", str(people.with_name(planted.one("id"))), *who),
        pool.submit(system.run, "push", "--confirm", planted.one("id"), "--by", planted.one("name")),
        pool.submit(system.run, "watchlist", "show", planted.one("id")),
        pool.submit(system.run, "watchlist", "audit", "--authority", planted.one("phone")),
        pool.submit(system.run, "scan", "-", "--site", "road-01", "--device", "gate-b", stdin=passages),
        pool.submit(system.run, "scan", "-", stdin=lines(event)),
        *(pool.submit(system.run, "scan", "-", stdin=lines(bad)) for bad in (
            event | {"device_id": planted.one("phone")}, event | {planted.one("id"): 1}, event | {"seq": planted.one("id")},
            event | {"people": [{"role": "driver", "tokens": {"id": planted.one("id")}, "temperature_c": None}]}, planted.one("id"),
        )),
        pool.submit(system.run, "device", "--site", "road-01", "--device", "gate-d", stdin=typed.encode()),
        pool.submit(system.run, "check-document", "-", stdin=documents),
        pool.submit(system.run, "scan", str(csv.with_name(planted.one("id")))),
        pool.submit(system.run, "scan", "-", "--site", planted.one("phone"), "--device", "gate-e"),
        pool.submit(system.run, "scan", planted.one("id"), planted.one("passport")),
        pool.submit(system.run, "device", "--site", "road-01", "--device", planted.one("id")),
        pool.submit(system.run, "worker", planted.one("id")),
        pool.submit(system.run, "topics", "create", "--partitions", planted.one("phone")),
        pool.submit(system.run, "keys", "rotate", "--overlap-days", planted.one("phone")),
        pool.submit(system.run, "sites", "load", str(csv)),
        pool.submit(system.run, f"--{planted.one('id')}"),
        pool.submit(system.run, planted.one("name")),
    ]  # fmt: skip
    done = [future.result() for future in running]
    pool.shutdown()
    assert b"applied" in done[0].stdout, done[0].stderr
    for path in (csv, people, bare):
        path.unlink()
    wrong = []
    for name in settings_.SETTINGS:
        try:
            settings_.load({**system.env, "NINEZERO_KAFKA_SASL_MECHANISM": "PLAIN", name: planted.one("id")})
        except SettingsError as error:
            wrong.append(repr(error).encode())
    assert len(wrong) > 12
    assert [one.returncode for one in done if b"Traceback" in one.stderr] == []
    return [*wrong, *(one.stdout + one.stderr for one in done)]


def push_a_list(system: System) -> None:
    """Pushes a list, so that screening begins."""
    now = datetime.now(UTC)
    token = KeyRing.load(system.env["NINEZERO_KEYS"]).token("id", "11010519491231002X")
    batch = {
        "batch_id": "b1", "authority": "cdc", "pushed_by": "op1", "list": "cases", "category": "confirmed_case", "mode": "delta",
        "sequence": 1, "issued_at": now, "legal_basis": "LAW-1", "purpose": "epidemic_control", "declared_lines": 1,
        "lines": [{"line": 1, "tokens": {"id": [token]}, "valid_from": now, "valid_to": now + timedelta(days=7)}],
    }  # fmt: skip
    producer = KafkaProducer(bootstrap_servers=system.env["NINEZERO_KAFKA"])
    producer.send(system.prefix + "watchlist-pushes", orjson.dumps(batch), b"cdc").get(10)
    producer.close()


def send_hostile_records(system: System, planted: Planted) -> Hostile:
    """Sends records as a broken or malicious client does, without a device. Returns their positions and contents."""
    one = planted.one
    now = datetime.now(UTC)
    person = {"role": "driver", "tokens": {}, "temperature_c": 36.5}
    scan = {
        "device_id": "bad",
        "seq": 0,
        "site_id": "road-01",
        "observed_at": now.isoformat(),
        "kind": "vehicle",
        "people": [person],
    }
    batch = {"batch_id": "b2", "authority": "cdc", "pushed_by": "op1", "list": "cases", "category": "confirmed_case", "mode": "delta",
             "sequence": 2, "issued_at": now.isoformat(), "legal_basis": "LAW-1", "purpose": "epidemic_control", "declared_lines": 1}  # fmt: skip

    def line(**tokens: Any) -> dict[str, Any]:
        return {
            "line": 1,
            "tokens": tokens,
            "valid_from": now.isoformat(),
            "valid_to": (now + timedelta(days=1)).isoformat(),
        }

    scans: list[Any] = [
        *planted.every(), *(f'{{"device_id": "{v}", ' for v in planted.every()), *(f'{{"{v}": 1}}' for v in planted.every()),
        *(scan | {v: v} for v in planted.every()), *(scan | {"people": [person | {v: 1}]} for v in planted.every()),
        *(scan | {f"x` - at `$.{v}": 1} for v in planted.every()), *(scan | {f"x` - at `$[{v}]": 1} for v in planted.every()),
        *(scan | {f"Object missing required field `{v}`": 1} for v in planted.every()),
        *(scan | {"people": [person | {"tokens": {"id": v}}]} for v in planted.every()),
        *(scan | {"people": [person | {"quality": [v]}]} for v in planted.every()),
        *(scan | {"observed_at": v} for v in planted.every()), *(scan | {"kind": v} for v in planted.every()),
        scan | {"device_id": one("id")}, scan | {"site_id": one("phone")}, scan | {"device_id": one("name")}, scan | {"seq": one("id")},
        scan | {"plate": one("plate")}, scan | {"people": one("name")}, scan | {"people": [one("name")]},
        one("id") * 70_000, one("id").encode("utf-16") + b"\xff", "[" * 100_000 + one("id"),
    ]  # fmt: skip
    pushes: list[Any] = [
        *planted.every(), *(batch | {"lines": [], v: 1} for v in planted.every()),
        *(batch | {"batch_id": f"c{n}", "sequence": 10 + n, "lines": [line(id=[v])]} for n, v in enumerate(planted.every())),
        *(batch | {"batch_id": f"d{n}", "sequence": 30 + n, "category": v, "lines": [line(id=[v])]} for n, v in enumerate(planted.every())),
        *(batch | {"lines": [line(**{v: ["x"]})]} for v in planted.every()),
        *(batch | {"legal_basis": v, "lines": []} for v in (one("id"), one("name"), one("phone"))),
        *(batch | {"batch_id": v, "lines": []} for v in (one("id"), one("name"), one("phone"))),
        *(batch | {"pushed_by": v, "list": v, "lines": []} for v in (one("id"), one("name"), one("phone"))),
        {"confirms": one("id"), "authority": one("name"), "confirmed_by": one("phone"), "at": now.isoformat()},
    ]  # fmt: skip
    rows = [("checkpoint-scans", value) for value in scans] + [("watchlist-pushes", value) for value in pushes]
    rows += [("station-arrivals", scan | {"service": v}) for v in planted.every()]
    producer = KafkaProducer(bootstrap_servers=system.env["NINEZERO_KAFKA"], max_request_size=2 << 20)
    sent = []
    for topic, value in rows:
        raw = (
            value
            if isinstance(value, bytes)
            else (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode()
        )
        key, name, header = one("id").encode(), one("pass"), one("passport").encode()
        future = producer.send(system.prefix + topic, raw, key, [(name, header)])
        sent.append((future, (key, name.encode(), header, raw)))
    producer.flush()
    found = {}
    for future, blob in sent:
        record = future.get(20)
        found[f"{record.topic.removeprefix(system.prefix)} {record.partition} {record.offset}"] = blob
    producer.close()
    return found


def settled(system: System) -> bool:
    """Returns whether every source record has an outcome, a receipt or a dead letter, and the dead letters are counted."""
    lag = [
        text
        for port in (0, 1, 3)
        for text in page(system, port).decode().splitlines()
        if text.startswith("ninezero_lag_events{")
    ]
    letters = len([name for name in kafka_records(system) if name.startswith("dead-letters")])
    rows = system.query("SELECT toUInt64(sum(records)) AS n FROM ninezero.dead_letters_by_hour")
    read = all(float(text.rsplit(" ", 1)[1]) <= 1 for text in lag)  # the marker of a transaction counts as one offset
    return letters > 120 and bool(lag) and read and int(rows[0]["n"]) == letters


def page(system: System, port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{system.http + port}/metrics", timeout=5) as answer:
        return bytes(answer.read())


def kafka_records(system: System) -> Blobs:
    """Returns key, headers and value of every record on every topic, by topic, partition and offset."""
    reader = KafkaConsumer(bootstrap_servers=system.env["NINEZERO_KAFKA"], max_partition_fetch_bytes=4 << 20)
    names = [system.prefix + topic.name for topic in topics_.ALL]
    tps = [TopicPartition(name, p) for name in names for p in reader.partitions_for_topic(name) or ()]
    reader.assign(tps)
    reader.seek_to_beginning()
    ends, found = reader.end_offsets(tps), {}
    while any(reader.position(tp) < ends[tp] for tp in tps):
        for tp, records in reader.poll(timeout_ms=500).items():
            for r in records:
                parts = [
                    r.key or b"",
                    *(f"{name} ".encode() + (value or b"") for name, value in r.headers),
                    r.value or b"",
                ]
                found[f"{tp.topic.removeprefix(system.prefix)} {tp.partition} {r.offset}"] = b"\n".join(parts)
    reader.close()
    return found


def everything(system: System) -> Blobs:
    """Returns every file of the folder, and every row of every table, because the files of tables are compressed."""
    files = {str(p.relative_to(system.folder)): content.rstrip(b"\0") for p, content in stored_files(system.folder)}
    engine = clickhouse.connect(system.env["NINEZERO_CLICKHOUSE"])
    tables = engine.query("SELECT database, name FROM system.tables WHERE database LIKE 'ninezero%'")
    for table in tables:
        name = f"{table['database']}.{table['name']}"
        files[f"query {name}"] = repr(engine.query(f"SELECT * FROM {name}")).encode()
    engine.close()
    return files


def without(name: str, blob: bytes, hostile: Hostile) -> bytes:
    """Removes the hostile records themselves, and nothing else, from the files of their topics."""
    if name.startswith("kafka/data/") and any(f".{topic}-" in name for topic in SOURCES):
        for parts in hostile.values():
            for part in sorted(parts, key=len, reverse=True):
                blob = blob.replace(part, b"", 1)
    return blob


def leak(system: System, first: str, second: str) -> None:
    """Leaks an identity on purpose, so that the test shows that the search works."""
    with (system.folder / "screening.log").open("a") as log:
        log.write(f"ERROR cannot match {first}\n")
    producer = KafkaProducer(bootstrap_servers=system.env["NINEZERO_KAFKA"])
    producer.send(system.prefix + "dead-letters", second.lower().encode(), b"k").get(10)
    producer.close()
    engine = clickhouse.connect(system.env["NINEZERO_CLICKHOUSE"])
    engine.insert(
        "ninezero_data.site_register",
        ("site_id", "kind", "division", "capacity", "version"),
        [(first, "x", "370115", 1, 1)],
    )
    engine.close()
