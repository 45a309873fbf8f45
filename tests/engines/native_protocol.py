"""The packets of ClickHouse's native protocol, server side.

The server announces revision 54468, the newest that clickhouse-driver 0.2.11 speaks, and accepts no older client. So no packet has parts
that depend on a revision.
"""

from __future__ import annotations

import contextlib
import io
import re
import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from clickhouse_driver.bufferedreader import BufferedSocketReader, CompressedBufferedReader
from clickhouse_driver.bufferedwriter import BufferedSocketWriter, CompressedBufferedWriter
from clickhouse_driver.protocol import ClientPacketTypes, ServerPacketTypes
from clickhouse_driver.reader import read_binary_str, read_binary_uint8, read_binary_uint64
from clickhouse_driver.varint import read_varint, write_varint
from clickhouse_driver.writer import (
    write_binary_int32,
    write_binary_str,
    write_binary_uint8,
    write_binary_uint64,
)

from .native_blocks import Block, Target, copy_block, write_header

REVISION = 54468
BUFFER_BYTES = 1 << 20

_PROFILE_EVENT_COLUMNS = {
    "host_name": "String",
    "current_time": "DateTime",
    "thread_id": "UInt64",
    "type": "Enum8('increment' = 1, 'gauge' = 2)",
    "name": "String",
    "value": "Int64",
}


class ProtocolError(OSError):
    """The client sent what the protocol does not allow here."""


@dataclass(frozen=True)
class Hello:
    """How a client introduces itself."""

    revision: int
    database: str
    user: str
    password: str


@dataclass(frozen=True)
class Query:
    """A query of a client; its external tables follow."""

    sql: str
    settings: dict[str, str]
    compressed: bool


@dataclass(frozen=True)
class Progress:
    """Totals of a statement so far."""

    rows: int = 0
    bytes: int = 0
    total_rows: int = 0
    written_rows: int = 0
    written_bytes: int = 0


class Packets:
    """Reads and writes the packets of one client."""

    def __init__(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self._in, self._out = BufferedSocketReader(client, BUFFER_BYTES), BufferedSocketWriter(client, BUFFER_BYTES)
        self._told = Progress()

    # -- from the client ----------------------------------------------------------------------------------------------------

    def next(self) -> int:
        """Returns the kind of the next packet. Raises EOFError if the client has disconnected."""
        return int(read_varint(self._in))

    def expect(self, packet: int) -> None:
        """Reads the kind of a packet. Raises ProtocolError if it is another one."""
        if (kind := self.next()) != packet:
            raise ProtocolError(
                f"packet {ClientPacketTypes.to_str(kind)} instead of {ClientPacketTypes.to_str(packet)}"
            )

    def cancelled(self) -> bool:
        """Returns whether the client cancelled its query or disconnected since it sent it."""
        if not select.select([self._client], [], [], 0)[0]:
            return False
        with contextlib.suppress(EOFError):
            self.expect(ClientPacketTypes.CANCEL)
        return True

    def read_hello(self) -> Hello:
        """Reads the first packet of a client."""
        self.expect(ClientPacketTypes.HELLO)
        read_binary_str(self._in)  # name of the client
        for _ in range(2):
            read_varint(self._in)  # its version
        revision = read_varint(self._in)
        return Hello(revision, *(read_binary_str(self._in) for _ in range(3)))

    def read_quota_key(self) -> None:
        """Reads what a client sends after the answer to its hello."""
        read_binary_str(self._in)

    def read_query(self) -> Query:
        """Reads a query, after its kind."""
        self._told = Progress()
        read_binary_str(self._in)  # id
        if read_binary_uint8(self._in):  # kind of query; 0: no client info
            self._skip_client_info()
        settings = self._read_settings()
        read_binary_str(self._in)  # secret of a cluster
        read_varint(self._in)  # stage
        compressed, sql = bool(read_varint(self._in)), read_binary_str(self._in)
        self._read_settings()  # parameters
        return Query(sql, settings, compressed)

    def _skip_client_info(self) -> None:
        for _ in range(3):
            read_binary_str(self._in)  # initial user, id and address
        read_binary_uint64(self._in)  # start
        read_binary_uint8(self._in)  # interface
        for _ in range(3):
            read_binary_str(self._in)  # user of the system, host, name of the client
        for _ in range(3):
            read_varint(self._in)  # version and revision
        read_binary_str(self._in)  # quota key
        for _ in range(2):
            read_varint(self._in)  # depth of distribution, patch version
        if read_binary_uint8(self._in):  # OpenTelemetry
            self._in.read(24)
            read_binary_str(self._in)
            read_binary_uint8(self._in)
        for _ in range(3):
            read_varint(self._in)  # parallel replicas

    def _read_settings(self) -> dict[str, str]:
        found = {}
        while name := read_binary_str(self._in):
            read_binary_uint8(self._in)  # flags
            found[name] = read_binary_str(self._in)
        return found

    def read_block(self, target: Target) -> tuple[str, Block]:
        """Reads a data packet. Returns the name of its table and the header of its block; the block goes to `target`.

        Raises:
            ProtocolError: the client sends another packet.
        """
        self.expect(ClientPacketTypes.DATA)
        table = read_binary_str(self._in)
        return table, copy_block(self._in, target, from_protocol=True, to_protocol=False)

    # -- to the client ------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Sends what was written."""
        self._out.flush()

    def write_hello(self, version: tuple[int, int, int]) -> None:
        """Answers the hello of a client."""
        major, minor, patch = version
        write_varint(ServerPacketTypes.HELLO, self._out)
        write_binary_str("ClickHouse", self._out)
        for number in (major, minor, REVISION):
            write_varint(number, self._out)
        write_binary_str("UTC", self._out)
        write_binary_str("native_server", self._out)
        write_varint(patch, self._out)
        write_varint(0, self._out)  # rules for passwords
        write_binary_uint64(0, self._out)  # nonce, for other servers of a cluster
        self.flush()

    def write_pong(self) -> None:
        """Answers a ping."""
        write_varint(ServerPacketTypes.PONG, self._out)
        self.flush()

    def write_end(self) -> None:
        """Ends the answer to a query."""
        write_varint(ServerPacketTypes.END_OF_STREAM, self._out)
        self.flush()

    def write_exception(self, error: Exception) -> None:
        """Writes an error. Its text begins with `Code: N.` if the engine raised it."""
        found = re.match(r"Code: (\d+)\. (?:DB::Exception: )?(.*)", str(error), re.S)
        code, text = (
            (int(found[1]), found[2]) if found else (1001, str(error))
        )  # 1001: an exception of the standard library
        write_varint(ServerPacketTypes.EXCEPTION, self._out)
        write_binary_int32(code, self._out)
        write_binary_str("DB::Exception", self._out)
        write_binary_str(f"DB::Exception: {text}", self._out)
        write_binary_str("", self._out)  # stack trace
        write_binary_uint8(0, self._out)  # no nested exception
        self.flush()

    def write_progress(self, progress: Progress, seconds: float) -> None:
        """Writes what was added to the totals since the last call, and how many seconds passed since then."""
        told, self._told = self._told, progress
        write_varint(ServerPacketTypes.PROGRESS, self._out)
        write_varint(max(0, progress.rows - told.rows), self._out)
        write_varint(max(0, progress.bytes - told.bytes), self._out)
        write_varint(max(0, progress.total_rows - told.total_rows), self._out)
        write_varint(0, self._out)  # bytes in total: unknown
        write_varint(max(0, progress.written_rows - told.written_rows), self._out)
        write_varint(max(0, progress.written_bytes - told.written_bytes), self._out)
        write_varint(int(seconds * 1e9), self._out)
        self.flush()

    def write_structure(self, names: Sequence[str], types: Sequence[str]) -> None:
        """Writes a block without rows: the columns of a result, or those that an insert must have."""
        self._begin_block(ServerPacketTypes.DATA)
        write_header(self._out, names, types)
        self.flush()

    def write_result(self, data: bytes, types: Sequence[str]) -> None:
        """Writes a result in the format Native: its columns, then its blocks. `types` are the types to state, if not those of the data."""
        pieces = iter([data])
        source = CompressedBufferedReader(lambda: next(pieces, b""), BUFFER_BYTES)
        first = io.BytesIO()
        target = CompressedBufferedWriter(first, BUFFER_BYTES)
        block = copy_block(source, target, from_protocol=False, to_protocol=True, types=types)
        target.flush()
        self.write_structure(block.names, types or block.types)
        self._begin_block(ServerPacketTypes.DATA)
        self._out.write(first.getvalue())
        while source.position < len(data):
            self._begin_block(ServerPacketTypes.DATA)
            copy_block(source, self._out, from_protocol=False, to_protocol=True, types=types)

    def write_profile_events(self) -> None:
        """Writes one event. clickhouse-driver waits for events after each block of an insert."""
        self._begin_block(ServerPacketTypes.PROFILE_EVENTS)
        write_header(self._out, list(_PROFILE_EVENT_COLUMNS), list(_PROFILE_EVENT_COLUMNS.values()))
        self.flush()

    def _begin_block(self, packet: int) -> None:
        write_varint(packet, self._out)
        write_binary_str("", self._out)
