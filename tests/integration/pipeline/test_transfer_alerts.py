"""Transfers on a real Kafka: from arrivals at two sites to the alert and the view, although roles are killed or fall behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import KafkaProducer

from ninezero.agents.cases.partition_cases import SETTLE_US
from ninezero.streams.local_kafka.broker import Broker
from tests.integration.pipeline.test_pipeline import push, read_all
from tests.support import System, wait_for
from tests.transfers import Sent, journeys, not_delivered, transfers_by_day

ZONE = "Asia/Kathmandu"
SETTLED_SECONDS = SETTLE_US / 1_000_000 + 5
"""Time after the last event of a transfer in which it is judged on an idle machine."""


@pytest.fixture
def producer(kafka: Broker) -> Iterator[KafkaProducer]:
    kafka_producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    yield kafka_producer
    kafka_producer.close()


class Stations:
    """Sends arrivals, and keeps what was sent. Each is a transaction, so its partition ends with a marker that no reader gets."""

    def __init__(self, system: System, bootstrap: str) -> None:
        self._system, self.sent = system, list[Sent]()
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=system.prefix + "stations")
        self._producer.init_transactions()
        self._now, self._values = datetime.now(UTC), list[tuple[bytes, bytes]]()

    def arrive(self, transfer: str, stage: str, hours_ago: float, site: str = "station", token: int = 500) -> None:
        """Sends the arrival of one person. One in three is not clear."""
        seq, at = len(self._values), self._now - timedelta(hours=hours_ago)
        arrival = {
            "device_id": f"{site}-1", "seq": seq, "site_id": site, "observed_at": at.isoformat(), "mode": "coach", "service": "C7",
            "stage": stage, "transfer_id": transfer, "destination": None,
            "person": {"role": "traveller", "tokens": {"id": f"k1.{token + seq:032x}"}, "temperature_c": 36.5 if seq % 3 else 39.0},
        }  # fmt: skip
        self._values.append((site.encode(), orjson.dumps(arrival)))
        self._send(*self._values[-1])
        if stage != "registered":
            self.sent.append(
                Sent(
                    seq,
                    {
                        name: arrival[name]
                        for name in ("transfer_id", "device_id", "seq", "site_id", "stage", "observed_at")
                    },
                )
            )

    def send_again(self) -> None:
        """Sends everything again, byte for byte."""
        for key, value in self._values:
            self._send(key, value)

    def _send(self, key: bytes, value: bytes) -> None:
        self._producer.begin_transaction()
        self._producer.send(self._system.prefix + "station-arrivals", key=key, value=value)
        self._producer.commit_transaction()

    def close(self) -> None:
        self._producer.close()


def alerts(system: System) -> dict[str, dict[str, Any]]:
    """Returns the alerts about transfers by their ids."""
    found = (alert for alert in read_all(system, "screening-alerts") if alert.get("rule") == "not_delivered")
    return {alert["alert_id"]: alert for alert in found}


def alerted(system: System) -> set[tuple[str, str, Any]]:
    return {(a["transfer_id"], a["site_id"], datetime.fromisoformat(a["day"]).date()) for a in alerts(system).values()}


def test_who_boarded_and_was_not_delivered_is_alerted_of_once_although_roles_are_killed(
    kafka: Broker, producer: KafkaProducer, tmp_path: Path
) -> None:
    system = System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path, NINEZERO_TIMEZONE=ZONE)
    system.prepare()
    system.start("screening", "lists", "ledgers", "recording")
    stations = Stations(system, kafka.bootstrap)
    try:
        push(system, producer)
        wait_for(lambda: system.ready("screening") and system.ready("ledgers"), 40, "the roles")
        stations.arrive("t.slow", "boarded", 7)
        wait_for(lambda: len(read_all(system, "transfer-events")) == 1, 20, "the first boarding")
        system.kill("screening")  # it has not screened the delivery when the transfer is due
        stations.arrive("t.slow", "delivered", 6.5, "hall")
        time.sleep(SETTLED_SECONDS)
        assert alerts(system) == {}
        system.start("screening")
        for transfer, boarded, delivered in (("t.lost", 3, [6.5, 0.5]), ("t.well", 2, [6.9, 1.5]), ("t.gone", 1, [])):
            for n in range(boarded):
                stations.arrive(transfer, "boarded", 7 - n / 100)
            for hours_ago in delivered:
                stations.arrive(transfer, "delivered", hours_ago, "hall")
        stations.arrive("t.onway", "boarded", 2)
        stations.arrive("t.only", "delivered", 8, "hall")
        stations.arrive("t.plan", "registered", 9)
        stations.send_again()
        expected = not_delivered(journeys(stations.sent, ZONE), 6, datetime.now(UTC))
        assert {transfer for transfer, *_ in expected} == {"t.lost", "t.gone"}
        wait_for(lambda: alerted(system) == expected, 40, "the alerts")
        system.kill("ledgers")
        stations.arrive("t.lost", "delivered", 0.1, "hall")  # takes nothing back
        system.start("ledgers")
        rows = transfers_by_day(journeys(stations.sent, ZONE))
        wait_for(lambda: view(system) == sorted(map(str, rows)), 40, "the view")
        wait_for(lambda: len(read_all(system, "transfer-ledger")) == len(stations.sent) + 2, 30, "the ledger")
        time.sleep(SETTLED_SECONDS)
        assert alerted(system) == expected and len(alerts(system)) == 2
        assert all(
            b"k1." not in orjson.dumps(record)
            for topic in ("transfer-events", "transfer-ledger")
            for record in read_all(system, topic)
        )
        assert {row["reason"] for row in system.query("SELECT reason FROM ninezero.dead_letters_by_hour")} <= set()
    finally:
        stations.close()
        system.stop()
    assert "Traceback" not in system.logs()


def view(system: System) -> list[str]:
    """Returns the rows of `transfers_by_day`."""
    rows = system.query("SELECT * FROM ninezero.transfers_by_day")
    numbers = ("transfers", "boarded", "delivered", "missing")
    return sorted(
        str(
            {"day": datetime.fromisoformat(row["day"]).date(), "site_id": row["site_id"]}
            | {name: int(row[name]) for name in numbers}
        )
        for row in rows
    )
