"""Real engines, started once a session on free loopback ports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from ninezero.streams.local_kafka.broker import Broker
from tests.engines.clickhouse_server import ClickHouseServer, start_server

settings.register_profile("no_deadline", deadline=None)  # a machine under load is no fault
settings.load_profile("no_deadline")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real Kafka."""
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """A ClickHouse server over the native protocol, without a database of ninezero."""
    server = start_server(tmp_path_factory.mktemp("clickhouse"))
    yield server
    server.close()
