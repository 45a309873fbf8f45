"""A format: the numbered form of the records of an internal topic.

A release reads the current number of a format and the number before it. It writes the older one until the deployment states
that its upgrade is finished (`ninezero upgrade finish`), so that workers of two releases can run side by side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ninezero.schemas.events.base import decoder, encode

HEADER = "format"
"""The Kafka header that states the format of a record: `NAME/NUMBER`."""

Headers = list[tuple[str, bytes]]
"""The headers of a record. aiokafka takes nothing but a list."""


class UnknownFormat(ValueError):
    """A record states a format that this release does not read, or none."""


class NeedsUpgradeFinish(ValueError):
    """The format that is written cannot say what is to be written: the upgrade must be finished first."""


class FormatsRejected(ValueError):
    """The deployment writes formats that this release does not know."""


class KindByKey(NamedTuple):
    """The types of values that have no tag: the key of a record tells which of them its value has."""

    kinds: tuple[Any, ...]
    choose: Callable[[bytes], Any]
    """Returns the type of the value at a key. Raises ValueError if no record has such a key."""


class Version(NamedTuple):
    """One number of a format."""

    number: int
    kind: Any
    """The msgspec type of its values, or a KindByKey."""
    check: Callable[[bytes, Any], None] | None = None
    """Checks what the type cannot say, given the key and the decoded value. Raises ValueError."""
    upgrade: Callable[[Any], Any] | None = None
    """Returns the value of this number that says the same as a value of the number before."""
    downgrade: Callable[[Any], Any] | None = None
    """Returns the value of the number before that says the same as a value of this number. Raises NeedsUpgradeFinish."""

    def kind_at(self, key: bytes) -> Any:
        """Returns the msgspec type of the value at a key.

        Raises:
            ValueError: no record of the format has such a key.
        """
        return self.kind.choose(key) if isinstance(self.kind, KindByKey) else self.kind


class _Reader(NamedTuple):
    """How the records of one number are decoded to values of the current one."""

    decode: Callable[[bytes], Any] | None
    """None if the type depends on the key."""
    version: Version
    check: Callable[[bytes, Any], None] | None
    upgrade: Callable[[Any], Any] | None


class Format:
    """The form of the records of one internal topic. The program works with values of the current number only.

    Attributes:
        name: the name of the format.
        versions: the numbers that this release reads, in order: the current one, and at most the one before it.
        written: the number in which records are encoded.
        headers: the headers of a record that is encoded now.
    """

    def __init__(self, name: str, *versions: Version) -> None:
        numbers = [version.number for version in versions]
        if not 1 <= len(numbers) <= 2 or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise ValueError(f"{name}: a release reads one number or two consecutive ones")
        if len(numbers) == 2 and not (versions[1].upgrade and versions[1].downgrade):
            raise ValueError(f"{name}/{numbers[1]} needs upgrade and downgrade")
        self.name, self.versions = name, versions
        self._readers: dict[bytes | None, _Reader] = {
            self._header(one.number): _Reader(
                None if isinstance(one.kind, KindByKey) else decoder(one.kind).decode,
                one,
                one.check,
                None if one is self.current else self.current.upgrade,
            )
            for one in versions
        }
        self.write(None)

    @property
    def current(self) -> Version:
        """The version whose values the program works with."""
        return self.versions[-1]

    @property
    def readable(self) -> list[int]:
        """The numbers that this release reads."""
        return [version.number for version in self.versions]

    def write(self, stated: int | None) -> None:
        """Encodes records in the number that the deployment states, or in the oldest one if it states none.

        Raises:
            FormatsRejected: this release does not know that number.
        """
        number = self.versions[0].number if stated is None else stated
        if number not in self.readable:
            raise FormatsRejected(f"{self.name}/{number}")
        self.written = number
        self.headers: Headers = [(HEADER, self._header(number))]

    def decode(self, headers: Iterable[tuple[str, bytes]], key: bytes, value: bytes) -> Any:
        """Decodes a record to a value of the current number.

        Raises:
            UnknownFormat: the headers state no format that this release reads.
            ValueError: the record is not a valid one of its format.
        """
        header = None
        for name, text in headers:  # a loop, because this runs once per record of the watchlist
            if name == HEADER:
                header = text
        reader = self._readers.get(header)
        if reader is None:
            raise UnknownFormat
        decode, version, check, upgrade = reader
        if decode is None:
            decode = decoder(version.kind_at(key)).decode
        decoded = decode(value)
        if check is not None:
            check(key, decoded)
        return decoded if upgrade is None else upgrade(decoded)

    def encode(self, value: Any) -> bytes:
        """Encodes a value of the current number in the number that is written.

        Raises:
            NeedsUpgradeFinish: that number cannot say it.
        """
        if self.written != self.current.number:
            assert self.current.downgrade is not None
            value = self.current.downgrade(value)
        return encode(value)

    def _header(self, number: int) -> bytes:
        return f"{self.name}/{number}".encode()


def stated_format(name: str, headers: Iterable[tuple[str, bytes]]) -> str:
    """Returns the format that headers state, in a form that logs may show; `NAME/0` without the header."""
    header = dict(headers).get(HEADER)
    if header is None:
        return f"{name}/0"
    return header.decode() if re.fullmatch(rb"[a-z-]{1,40}/[0-9]{1,6}", header) else "(not a format)"


def unsupported(formats: Iterable[Format], stated: Mapping[str, int]) -> list[str]:
    """Returns the formats that the deployment states and this release does not read, as `NAME/NUMBER`.

    Args:
        formats: the formats that this release knows.
        stated: the number of each format by name; empty if the deployment states none.
    """
    readable = {(one.name, number) for one in formats for number in one.readable}
    return sorted(f"{name}/{number}" for name, number in stated.items() if (name, number) not in readable)


def adopt(formats: Iterable[Format], stated: Mapping[str, int]) -> None:
    """Writes every format in the number that the deployment states.

    Args:
        formats: the formats that this release knows.
        stated: the number of each format by name; empty if the deployment states none.

    Raises:
        FormatsRejected: this release does not know one of them. The formats are then unchanged.
    """
    formats = tuple(formats)
    if unknown := unsupported(formats, stated):
        raise FormatsRejected(", ".join(unknown))
    for one in formats:
        one.write(stated.get(one.name))
