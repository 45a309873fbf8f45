"""Blocks of columns: copied between the native protocol and the format Native, without decoding a value.

A block in the protocol has two parts more than one in a file: the block info, and a flag before the data of each column. The data of
the columns are the same bytes in both, so a column is copied by the length that its type and its number of rows imply.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from clickhouse_driver.block import BlockInfo
from clickhouse_driver.reader import read_binary_str, read_binary_uint8
from clickhouse_driver.varint import read_varint, write_varint
from clickhouse_driver.writer import write_binary_str, write_binary_uint8


class Source(Protocol):
    """A buffered reader of clickhouse-driver."""

    def read(self, size: int) -> bytes: ...

    def read_strings(self, count: int) -> Sequence[bytes]: ...


class Target(Protocol):
    """A buffered writer of clickhouse-driver."""

    def write(self, data: bytes) -> None: ...

    def write_strings(self, items: Sequence[bytes]) -> None: ...


class UnsupportedType(Exception):
    """A column has a type whose length is unknown here."""


@dataclass
class Block:
    """The header of a block: names and types of its columns, and its number of rows."""

    names: list[str]
    types: list[str]
    rows: int


_WIDTHS = {
    "UInt8": 1, "UInt16": 2, "UInt32": 4, "UInt64": 8, "UInt128": 16, "UInt256": 32,
    "Int8": 1, "Int16": 2, "Int32": 4, "Int64": 8, "Int128": 16, "Int256": 32,
    "BFloat16": 2, "Float32": 4, "Float64": 8, "Bool": 1, "Enum8": 1, "Enum16": 2,
    "Date": 2, "Date32": 4, "DateTime": 4, "DateTime64": 8, "UUID": 16, "IPv4": 4, "IPv6": 16, "Nothing": 1,
    "Decimal32": 4, "Decimal64": 8, "Decimal128": 16, "Decimal256": 32,
}  # fmt: skip
"""Bytes of a value, by the name of its type."""

_DECIMAL_WIDTHS = ((9, 4), (18, 8), (38, 16), (76, 32))
"""Bytes of a Decimal up to a number of digits."""

_INDEX_WIDTHS = (1, 2, 4, 8)
"""Bytes of an index into the dictionary of a LowCardinality column, by the code of its type."""


def copy_block(
    source: Source, target: Target, *, from_protocol: bool, to_protocol: bool, types: Sequence[str] = ()
) -> Block:
    """Copies one block and returns its header.

    Args:
        source: is at the beginning of the block.
        target: gets the block.
        from_protocol: whether the source has the form of the protocol, rather than of the format Native.
        to_protocol: the same of the target.
        types: the types to state in the target instead of the source's; they must have the same bytes.

    Raises:
        EOFError: the source ends.
        UnsupportedType: a column cannot be copied.
    """
    if from_protocol:
        BlockInfo().read(source)
    width, rows = read_varint(source), read_varint(source)
    if to_protocol:
        BlockInfo().write(target)
    write_varint(width, target)
    write_varint(rows, target)
    block = Block([], [], rows)
    for column in range(width):
        block.names.append(read_binary_str(source))
        block.types.append(read_binary_str(source))
        if from_protocol and read_binary_uint8(source):
            raise UnsupportedType("a column with a serialization of its own")
        _write_column_header(target, block.names[-1], types[column] if types else block.types[-1], to_protocol)
        if rows:
            _copy_prefix(block.types[-1], source, target)
            _copy_data(block.types[-1], rows, source, target)
    return block


def write_header(target: Target, names: Sequence[str], types: Sequence[str]) -> None:
    """Writes a block without rows in the form of the protocol."""
    BlockInfo().write(target)
    write_varint(len(names), target)
    write_varint(0, target)
    for name, spec in zip(names, types, strict=True):
        _write_column_header(target, name, spec, True)


def _write_column_header(target: Target, name: str, spec: str, to_protocol: bool) -> None:
    write_binary_str(name, target)
    write_binary_str(spec, target)
    if to_protocol:
        write_binary_uint8(0, target)  # the usual serialization


def _copy_prefix(spec: str, source: Source, target: Target) -> None:
    """Copies what a column begins with: the version of each LowCardinality in it."""
    name, arguments = _parsed(spec)
    if name == "LowCardinality":
        target.write(source.read(8))
    elif name in ("Array", "Nullable", "Tuple", "Map", "Nested"):
        for argument in arguments:
            _copy_prefix(argument, source, target)


def _copy_data(spec: str, rows: int, source: Source, target: Target) -> None:
    name, arguments = _parsed(spec)
    if name == "String":
        target.write_strings(source.read_strings(rows))
    elif name == "Nullable":
        target.write(source.read(rows))
        _copy_data(arguments[0], rows, source, target)
    elif name in ("Array", "Map", "Nested"):
        offsets = source.read(8 * rows)
        target.write(offsets)
        for argument in arguments:
            _copy_data(argument, int.from_bytes(offsets[-8:], "little"), source, target)
    elif name == "Tuple":
        for argument in arguments:
            _copy_data(argument, rows, source, target)
    elif name == "LowCardinality":
        _copy_low_cardinality(arguments[0], rows, source, target)
    elif rows:
        target.write(source.read(rows * _width(name, arguments)))


def _copy_low_cardinality(spec: str, rows: int, source: Source, target: Target) -> None:
    if not rows:
        return
    flags, keys = source.read(8), source.read(8)
    target.write(flags + keys)
    name, arguments = _parsed(spec)
    _copy_data(arguments[0] if name == "Nullable" else spec, int.from_bytes(keys, "little"), source, target)
    target.write(source.read(8))
    target.write(source.read(rows * _INDEX_WIDTHS[flags[0]]))


def _width(name: str, arguments: Sequence[str]) -> int:
    if name == "FixedString":
        return int(arguments[0])
    if name == "Decimal":
        return next(width for digits, width in _DECIMAL_WIDTHS if int(arguments[0]) <= digits)
    if name.startswith("Interval"):
        return 8
    if name not in _WIDTHS:
        raise UnsupportedType(f"a column of type {name}")
    return _WIDTHS[name]


def _parsed(spec: str) -> tuple[str, list[str]]:
    """Returns the name of a type and its arguments; of a named tuple only the types."""
    name, _, inner = spec.partition("(")
    if not inner or name.startswith("Enum"):
        return name, []
    arguments, depth, quoted, begin = [], 0, False, 0
    inner = inner[:-1]
    for at, letter in enumerate(inner):
        quoted ^= letter == "'"
        depth += 0 if quoted else (letter == "(") - (letter == ")")
        if letter == "," and not depth and not quoted:
            arguments.append(inner[begin:at].strip())
            begin = at + 1
    arguments.append(inner[begin:].strip())
    if name == "SimpleAggregateFunction":
        return _parsed(arguments[1])
    if name in ("Tuple", "Nested"):
        arguments = [re.sub(r"\A(?:`[^`]*`|\w+) (?=\w)", "", argument) for argument in arguments]
    return name, arguments
