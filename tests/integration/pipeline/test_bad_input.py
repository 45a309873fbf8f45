"""Hostile records on every topic, and hostile names in every field that reaches SQL, logs, CSV or HTML, sent to live workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ninezero.streams.local_kafka.broker import Broker
from tests.engines.clickhouse_server import ClickHouseServer
from tests.fuzz.hostile import FIELDS
from tests.fuzz.live import Attack

SEED = 20200124


@pytest.fixture
def attack(kafka: Broker, clickhouse_server: ClickHouseServer, tmp_path: Path) -> Iterator[Attack]:
    running = Attack(kafka, clickhouse_server, tmp_path, SEED)
    yield running
    running.close()


@pytest.mark.server
def test_every_hostile_record_is_dead_lettered_once_or_decided_and_no_worker_stops(attack: Attack) -> None:
    attack.write_foreign_records(more=20)
    attack.start_workers()
    for topic in FIELDS:
        attack.send(attack.cases(topic, fraction=0.12, mutations=40))
    attack.too_large_for_kafka()
    print(attack.check())
    attack.assert_commands_work()
