"""Real engines, started once a session on free loopback ports."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from ninezero.streams.local_kafka.broker import Broker
from tests.engines.clickhouse_server import GIVEN, ClickHouseServer, start_server
from tests.leftovers import Leftovers

settings.register_profile("no_deadline", deadline=None)  # a machine under load is no fault
settings.load_profile("no_deadline")


STATE = tempfile.TemporaryDirectory(prefix="ninezero-state-")


def pytest_unconfigure() -> None:
    """Removes what programs without NINEZERO_OUTBOX kept."""
    STATE.cleanup()


def pytest_configure(config: pytest.Config) -> None:
    """Keeps the tests out of the user's home, and ends a run that would use one server for several tests at a time. Checks what a
    run leaves behind."""
    os.environ["XDG_STATE_HOME"] = STATE.name
    if os.environ.get(GIVEN) and getattr(config.option, "numprocesses", None):
        raise pytest.UsageError(f"{GIVEN} serves one test at a time: run pytest without -n")
    if not hasattr(config, "workerinput"):  # the workers of xdist share the folder of the process that started them
        config.pluginmanager.register(Leftovers())


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real Kafka."""
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """The ClickHouse server that tests use one after the other, unless NINEZERO_TEST_CLICKHOUSE names one."""
    server = ClickHouseServer(tmp_path_factory.mktemp("clickhouse"))
    yield server
    server.close()


@pytest.fixture
def clickhouse_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ClickHouseServer]:
    """A ClickHouse server over the native protocol, without a database of ninezero."""
    if os.environ.get(GIVEN):
        server = start_server(tmp_path)
        yield server
        server.close()
    else:
        server = request.getfixturevalue("own_server")
        server.reset()
        yield server
