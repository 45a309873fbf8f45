"""ClickHouse: connections, migrations, buffers and progress. Import the names below from this package."""

from ninezero.streams.clickhouse.connect import connect
from ninezero.streams.clickhouse.embedded import Embedded, EmbeddedProxy, embedded_folder, write_address
from ninezero.streams.clickhouse.engine import ClickHouseDenied, ClickHouseError, Engine, Row, Rows
from ninezero.streams.clickhouse.limited_reader import LimitedReader
from ninezero.streams.clickhouse.migrations import SchemaError
from ninezero.streams.clickhouse.read_only import check_read_only, with_remedy
from ninezero.streams.clickhouse.server import Server
from ninezero.streams.clickhouse.upgrade import ensure_schema, migrate

__all__ = [
    "ClickHouseDenied",
    "ClickHouseError",
    "Embedded",
    "EmbeddedProxy",
    "Engine",
    "LimitedReader",
    "Row",
    "Rows",
    "SchemaError",
    "Server",
    "check_read_only",
    "connect",
    "embedded_folder",
    "ensure_schema",
    "migrate",
    "with_remedy",
    "write_address",
]
