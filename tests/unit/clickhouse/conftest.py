"""The fixture of tests that need an empty embedded database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import Engine


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An empty embedded database."""
    connection = clickhouse.connect(f"chdb://{tmp_path_factory.mktemp('chdb')}")
    clickhouse.migrate(connection)
    yield connection
    connection.close()
