"""The roles log an outage of Kafka in few lines: one when the outage begins, a reminder a minute, and one when it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer

from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.settings import ROLES
from tests.integration.pipeline.test_pipeline import Model, push, send, with_outcome
from tests.support import System, wait_for

OUTAGE_SECONDS = 70
BEGINS, CONTINUES, ENDS = "Kafka connections fail;", "Kafka connections still fail", "Kafka connections work again"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    local_broker = Broker(tmp_path / "kafka")
    local_broker.start()
    yield local_broker
    local_broker.kill()


def test_an_outage_of_kafka_is_a_handful_of_lines_in_the_log_of_each_role(broker: Broker, tmp_path: Path) -> None:
    system = System(broker.bootstrap, f"chdb://{tmp_path}/ch", tmp_path)
    system.prepare()
    system.start("screening", "lists", "ledgers", log_format="text")
    system.start("recording", log_format="json")

    def lines(role: str) -> list[str]:
        return (tmp_path / f"{role}.log").read_text().splitlines()

    try:
        model = Model(1)
        model.make(200)
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap, max_request_size=2 << 20, acks="all")
        push(system, producer)
        for role in ROLES:
            wait_for(lambda role=role: system.ready(role), 40, f"the {role} role")
        before = {role: len(lines(role)) for role in ROLES}
        broker.kill()
        time.sleep(OUTAGE_SECONDS)
        broker.start()
        for role in ROLES:
            wait_for(lambda role=role: any(ENDS in line for line in lines(role)), 60, f"the end of it, from {role}")
        send(system, producer, model.sent)
        producer.close()
        wait_for(lambda: with_outcome(system) == set(model.outcomes), 60, "every outcome after the outage")
        outage = {role: lines(role)[before[role] :] for role in ROLES}
    finally:
        system.stop()
    print("lines in an outage of", OUTAGE_SECONDS, "s:", {role: len(some) for role, some in outage.items()})
    for role, some in outage.items():
        text = "\n".join(some)
        assert (text.count(BEGINS), text.count(ENDS)) == (1, 1), text
        assert 1 <= text.count(CONTINUES) <= 1 + OUTAGE_SECONDS // 60, text
        assert len(some) <= 12, text
        assert "Traceback" not in text
        assert text.index(BEGINS) < text.index(CONTINUES) < text.index(ENDS), role
    for line in lines("recording"):
        entry = json.loads(line)
        assert entry.keys() >= {"time", "level", "logger", "message"} and entry["role"] == "recording"
