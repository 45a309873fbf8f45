"""The whole pipeline on real engines: random passages, resends and malformed records in; outcomes, alerts and counts out.

The expected result of each passage is computed when the passage is made, from the contract, without any code of the pipeline.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from ninezero.streams.local_kafka.broker import Broker
from tests.engines.clickhouse_server import ClickHouseServer
from tests.support import System, wait_for

SHANGHAI = ZoneInfo("Asia/Shanghai")


def t(n: int, key: str = "k1") -> str:
    return f"{key}.{n:032x}"


# What a person shows, and the rules that apply, in any order. Tokens from 1 on are listed, tokens from 1000 on are not.
PEOPLE: list[tuple[dict[str, Any], list[str]]] = [
    ({"tokens": {"id": t(1000)}, "temperature_c": 36.5}, []),
    ({"tokens": {"id": t(1001), "phone": t(1002)}, "temperature_c": 37.2, "origin": "370115"}, []),
    ({"tokens": {"id": t(1)}, "temperature_c": 36.5}, ["confirmed_case"]),
    ({"tokens": {"passport": t(2)}, "temperature_c": 36.5}, ["close_contact"]),
    ({"tokens": {"id": t(1003), "phone": t(3)}, "temperature_c": 36.5}, ["weak_match"]),
    ({"tokens": {"phone": t(1004)}, "temperature_c": None}, ["no_identity", "no_temperature"]),
    ({"tokens": {"id": t(1005, "k7")}, "temperature_c": 36.5}, ["unknown_key"]),
    ({"tokens": {"id": t(1006)}, "temperature_c": 37.3}, ["fever_unconfirmed"]),
    ({"tokens": {"id": t(1006)}, "temperature_c": 39.0, "temperature_confirmed_c": 38.1}, ["fever"]),
    ({"tokens": {"id": t(1006)}, "temperature_c": 45.1}, ["temperature_implausible"]),
    ({"tokens": {"id": t(1007)}, "temperature_c": 36.5, "health_code": "red"}, ["health_code_red"]),
    ({"tokens": {"id": t(1008)}, "temperature_c": 36.5, "origin": "370102"}, ["outside_district_without_pass"]),
    ({"tokens": {"id": t(1009)}, "temperature_c": 36.5, "origin": "US"}, ["outside_province_without_pass"]),
    ({"tokens": {"id": t(1010), "pass": t(5)}, "temperature_c": 36.5, "origin": "370102"}, []),
]
SEVERITY = ["refer", "quarantine", "turn_back", "hold", "clear"]
OUTCOME = {
    **dict.fromkeys(["confirmed_case", "health_code_red", "fever"], "refer"),
    **dict.fromkeys(["close_contact", "outside_province_without_pass"], "quarantine"),
    "outside_district_without_pass": "turn_back",
}
GARBAGE = [
    (b"{", "not_json"),
    (b"\xff", "not_json"),
    (b"[" * 100_000, "not_json"),
    (b"{}", "schema_invalid"),
    (b'{"device_id":"370115199001011234"}', "schema_invalid"),
    (b" " * 1_100_000, "too_large"),
]


class Model:
    """The events that were sent, and the results that must follow."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.sent: list[tuple[str, bytes, bytes]] = []
        self.outcomes: dict[tuple[str, int], tuple[str, list[int]]] = {}
        self.rules: dict[tuple[str, int], list[tuple[int | None, str]]] = {}
        self.by_minute: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.reasons: Counter[tuple[str, str, str]] = Counter()
        self.arrivals: Counter[tuple[str, str, str, str]] = Counter()
        self.garbage: Counter[tuple[str, str]] = Counter()
        self._seq: Counter[str] = Counter()
        self._start = datetime.now(UTC)

    def make(self, count: int) -> None:
        for _ in range(count):
            self._arrival() if self.rng.random() < 0.1 else self._scan()
            if self.rng.random() < 0.05:
                self.sent.append(
                    self.rng.choice(self.sent)
                )  # a resend; a malformed record that is sent again counts again
            if self.rng.random() < 0.02:
                value, reason = self.rng.choice(GARBAGE)
                self.sent.append(("checkpoint-scans", b"s0", value))
        for topic, _, value in self.sent:
            for bad, reason in GARBAGE:
                if value == bad:
                    self.garbage[topic, reason] += 1

    def _common(self) -> tuple[dict[str, Any], datetime]:
        site = f"s{self.rng.randrange(5)}"
        device = f"{site}-d{self.rng.randrange(3)}"
        observed = self._start - timedelta(seconds=self.rng.randrange(3 * 86_400))
        seq = self._seq[device]
        self._seq[device] += 1
        return {"device_id": device, "seq": seq, "site_id": site, "observed_at": observed.isoformat()}, observed

    def _scan(self) -> None:
        event, observed = self._common()
        chosen = self.rng.choices(PEOPLE, k=self.rng.choice([1, 1, 1, 2, 4]))
        direction = self.rng.choice(["in", "out"])
        kind = self.rng.choice(["vehicle", "pedestrian"])
        plate = self.rng.choice([None, None, t(1011), t(4)]) if kind == "vehicle" else None
        people = [{"role": "driver", **shown} for shown, _ in chosen]
        pairs: list[tuple[int | None, str]] = []
        for n, (_, rules) in enumerate(chosen):
            pairs += [(n, r) for r in sorted(rules) if direction == "in" or not r.startswith("outside")]
        if plate == t(4):
            pairs.append((None, "weak_match"))
        self._expect(event, observed, pairs, len(people))
        minute = f"{observed:%Y-%m-%d %H:%M:00}"
        counts = self.by_minute[minute, event["site_id"]]
        counts["passages"] += 1
        counts["people"] += len(people)
        counts[self.outcomes[event["device_id"], event["seq"]][0]] += 1
        counts["fevers"] += sum(rule == "fever" for _, rule in pairs)
        self._send("checkpoint-scans", event | {"kind": kind, "direction": direction, "plate": plate, "people": people})

    def _arrival(self) -> None:
        event, observed = self._common()
        shown, rules = self.rng.choice(PEOPLE)
        stage = self.rng.choice(["registered", "boarded", "delivered"])
        self._expect(event, observed, [(0, r) for r in sorted(rules) if r != "no_temperature"], 1)
        day = f"{observed.astimezone(SHANGHAI):%Y-%m-%d}"
        self.arrivals[day, event["site_id"], "rail", stage] += 1
        more = {"mode": "rail", "service": "G12", "stage": stage, "transfer_id": None, "destination": "370115"}
        self._send("station-arrivals", event | more | {"person": {"role": "traveller", **shown}})

    def _expect(
        self, event: dict[str, Any], observed: datetime, pairs: list[tuple[int | None, str]], people: int
    ) -> None:
        key = (event["device_id"], event["seq"])
        found = [OUTCOME.get(rule, "hold") for _, rule in pairs] or ["clear"]
        self.outcomes[key] = (min(found, key=SEVERITY.index), sorted({n for n, _ in pairs if n is not None}))
        self.rules[key] = pairs
        day = f"{observed.astimezone(SHANGHAI):%Y-%m-%d}"
        for _, rule in pairs:
            self.reasons[day, event["site_id"], rule] += 1

    def _send(self, topic: str, event: dict[str, Any]) -> None:
        self.sent.append((topic, event["site_id"].encode(), orjson.dumps(event)))


def push(system: System, producer: KafkaProducer) -> None:
    """Pushes a batch for each list and checks the receipts."""
    now = datetime.now(UTC)
    window = {"valid_from": (now - timedelta(days=20)).isoformat(), "valid_to": (now + timedelta(days=5)).isoformat()}
    batches = [
        ("cases", "confirmed_case", {"id": [t(1)]}),
        ("contacts", "close_contact", {"passport": [t(2)]}),
        ("weak", "close_contact", {"phone": [t(3)], "plate": [t(4)]}),
        ("passes", "health_pass", {"pass": [t(5)]}),
    ]
    for n, (name, category, tokens) in enumerate(batches):
        batch = {"batch_id": f"batch-{n}", "authority": "health", "pushed_by": "desk", "list": name, "category": category, "mode": "delta",
                 "sequence": 1, "issued_at": now.isoformat(), "legal_basis": "order-1", "purpose": "epidemic_control", "declared_lines": 1,
                 "lines": [{"line": 1, "tokens": tokens, **window}]}  # fmt: skip
        producer.send(system.prefix + "watchlist-pushes", key=b"health", value=orjson.dumps(batch))
        producer.send(
            system.prefix + "watchlist-pushes", key=b"health", value=orjson.dumps(batch)
        )  # a batch that is sent again gets the same receipt
    producer.flush()
    seen: list[dict[str, Any]] = []
    reader = KafkaConsumer(system.prefix + "push-receipts", bootstrap_servers=system.env["NINEZERO_KAFKA"], auto_offset_reset="earliest",
                           isolation_level="read_committed", consumer_timeout_ms=30_000)  # fmt: skip
    for record in reader:
        seen.append(orjson.loads(record.value))
        if len(seen) == 2 * len(batches):
            break
    reader.close()
    assert [r["status"] for r in seen] == ["applied"] * 8
    assert all(a == b for a, b in zip(seen[::2], seen[1::2], strict=True))
    time.sleep(2)


def send(system: System, producer: KafkaProducer, records: list[tuple[str, bytes, bytes]]) -> None:
    for topic, key, value in records:
        producer.send(system.prefix + topic, key=key, value=value)
    producer.flush()


def read_all(system: System, topic: str) -> list[dict[str, Any]]:
    reader = KafkaConsumer(bootstrap_servers=system.env["NINEZERO_KAFKA"], consumer_timeout_ms=3000)
    parts = [TopicPartition(system.prefix + topic, p) for p in reader.partitions_for_topic(system.prefix + topic) or ()]
    reader.assign(parts)
    reader.seek_to_beginning()
    ends = reader.end_offsets(parts)
    found = []
    while any(reader.position(p) < ends[p] for p in parts):
        for records in reader.poll(1000).values():
            found += [orjson.loads(record.value) for record in records]
    reader.close()
    return found


def with_outcome(system: System) -> set[tuple[str, int]]:
    return {(d, s) for record in read_all(system, "screening-outcomes") for d, s, _, _ in record["outcomes"]}


def counted(system: System) -> int:
    one = system.query("SELECT sum(passages) AS n FROM ninezero.screening_by_day")[0]["n"]
    two = system.query("SELECT sum(people) AS n FROM ninezero.arrivals_by_day")[0]["n"]
    return int(one or 0) + int(two or 0)


def check_outcomes_and_alerts(system: System, model: Model) -> None:
    for record in read_all(system, "screening-outcomes"):
        for device, seq, outcome, people in record["outcomes"]:
            assert (outcome, people) == model.outcomes[device, seq], (device, seq)
    alerts: dict[tuple[str, int], set[str]] = defaultdict(set)
    for alert in read_all(system, "screening-alerts"):
        key = (alert["device_id"], alert["seq"])
        assert [(r["person"], r["rule"]) for r in alert["reasons"]] == model.rules[key]
        alerts[key].add(alert["alert_id"])
    assert set(alerts) == {key for key, pairs in model.rules.items() if pairs}
    assert all(len(ids) == 1 for ids in alerts.values())
    letters = Counter(
        (letter["topic"], letter["reason"])
        for letter in {(x["topic"], x["partition"], x["offset"]): x for x in read_all(system, "dead-letters")}.values()
    )
    assert letters == model.garbage


def check_counts(system: System, model: Model) -> None:
    names = ("passages", "people", "clear", "refer", "quarantine", "turn_back", "hold", "fevers")
    rows = system.query("SELECT * FROM ninezero.screening_by_minute")
    got = {(r["minute"], r["site_id"]): {n: int(r[n]) for n in names} for r in rows}
    assert got == {key: {n: counts[n] for n in names} for key, counts in model.by_minute.items()}
    reasons = {
        (r["day"], r["site_id"], r["rule"]): int(r["count"])
        for r in system.query("SELECT * FROM ninezero.reasons_by_day")
    }
    assert reasons == dict(model.reasons)
    arrivals = {
        (r["day"], r["site_id"], r["mode"], r["stage"]): int(r["people"])
        for r in system.query("SELECT * FROM ninezero.arrivals_by_day")
    }
    assert arrivals == dict(model.arrivals)
    dead = Counter[tuple[str, str]]()
    for r in system.query("SELECT * FROM ninezero.dead_letters_by_hour"):
        dead[r["topic"], r["reason"]] += int(r["records"])
    assert dead == model.garbage
    batches = system.query("SELECT batch_id, status, accepted FROM ninezero.push_batches ORDER BY batch_id")
    assert [(r["status"], int(r["accepted"])) for r in batches] == [("applied", 1)] * 4


@pytest.fixture
def producer(kafka: Broker) -> Iterator[KafkaProducer]:
    kafka_producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=2 << 20, acks="all")
    yield kafka_producer
    kafka_producer.close()


def test_results_are_right_with_the_embedded_engine_that_is_queried_meanwhile(
    kafka: Broker, producer: KafkaProducer, tmp_path: Path
) -> None:
    seed = 20200124
    print("seed", seed)
    model = Model(seed)
    model.make(1500)
    system = System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path)
    system.prepare()
    system.start("screening", "lists", "recording")
    try:
        push(system, producer)
        send(system, producer, model.sent)
        wait_for(lambda: with_outcome(system) == set(model.outcomes), 60, "every outcome")
        wait_for(lambda: counted(system) == len(model.outcomes), 60, "every count")
        wait_for(
            lambda: (
                sum(int(r["records"]) for r in system.query("SELECT * FROM ninezero.dead_letters_by_hour"))
                == sum(model.garbage.values())
            ),
            30,
            "dead letters",
        )
        check_outcomes_and_alerts(system, model)
        check_counts(system, model)
    finally:
        system.stop()
    check_counts(system, model)  # also after the worker has ended
    assert "Traceback" not in system.logs()
    assert "370115199001011234" not in system.logs()


@pytest.mark.server
def test_results_are_right_after_kills_an_outage_and_an_emptied_database(
    kafka: Broker, producer: KafkaProducer, clickhouse_server: ClickHouseServer, tmp_path: Path
) -> None:
    seed = 20200124
    print("seed", seed)
    model = Model(seed)
    model.make(3000)
    system = System(kafka.bootstrap, clickhouse_server.url, tmp_path)
    system.prepare()
    system.start("screening", "lists", "recording")
    cuts = [len(model.sent) * n // 4 for n in range(5)]
    parts = [model.sent[a:b] for a, b in pairwise(cuts)]
    try:
        push(system, producer)
        send(system, producer, parts[0])
        system.kill("screening")
        system.kill("recording")
        send(system, producer, parts[1])
        system.start("screening", "recording")
        wait_for(lambda: system.ready("recording"), 60, "the recorder to be ready again")
        clickhouse_server.kill()  # screening must not be affected
        send(system, producer, parts[2])
        wait_for(
            lambda: (
                len(with_outcome(system)) >= len({v for _, _, v in model.sent[: cuts[3]] if v not in dict(GARBAGE)})
            ),
            90,
            "outcomes while ClickHouse is down",
        )
        clickhouse_server.start()
        system.kill("lists")
        system.start("lists")
        send(system, producer, parts[3])
        wait_for(lambda: with_outcome(system) == set(model.outcomes), 60, "every outcome")
        wait_for(lambda: counted(system) == len(model.outcomes), 90, "every count")
        time.sleep(2)
        check_outcomes_and_alerts(system, model)
        check_counts(system, model)
        from ninezero.streams import clickhouse

        engine = clickhouse.connect(clickhouse_server.url)
        engine.execute("DROP DATABASE ninezero_data")
        engine.execute("DROP DATABASE ninezero")
        engine.close()
        wait_for(lambda: rebuilt(system, model), 90, "the rebuild")
        check_counts(system, model)
    finally:
        system.stop()
    assert "Traceback" not in system.logs()


def rebuilt(system: System, model: Model) -> bool:
    done = system.run("query", "SELECT sum(passages) AS n FROM ninezero.screening_by_day", "--format", "json")
    if done.returncode or counted(system) != len(model.outcomes):
        return False
    dead = sum(int(r["records"]) for r in system.query("SELECT * FROM ninezero.dead_letters_by_hour"))
    return dead == sum(model.garbage.values()) and len(system.query("SELECT * FROM ninezero.push_batches")) == 4
