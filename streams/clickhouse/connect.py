"""Opens the database that `NINEZERO_CLICKHOUSE` names."""

from __future__ import annotations

from ninezero.streams.clickhouse.embedded import Embedded, EmbeddedProxy, embedded_folder
from ninezero.streams.clickhouse.engine import Engine
from ninezero.streams.clickhouse.server import Server


def connect(url: str) -> Engine:
    """Opens a server (`clickhouse://…`) or an embedded database (`chdb:///path`).

    An embedded database that another process holds is reached through that process.

    Raises:
        ClickHouseError: the database cannot be opened.
    """
    folder = embedded_folder(url)
    if folder is None:
        return Server(url)
    try:
        return Embedded(folder)
    except BlockingIOError:
        return EmbeddedProxy(folder)
