"""The parts of a batch: its lines in groups that fit into one Kafka record each."""

from collections.abc import Iterable, Iterator

import msgspec

from ninezero.schemas.events import PushBatch, encode
from ninezero.streams.edge.listfiles.errors import ListFileError
from ninezero.streams.edge.listfiles.push_lines import CheckedLine

MAX_PART_BYTES = 900_000
"""Bytes of a part's JSON. A record over 1 MiB is dead-lettered."""


def header_bytes(batch: PushBatch) -> int:
    """Returns the bytes of a part's JSON without its lines."""
    return len(encode(msgspec.structs.replace(batch, lines=[], part=100_000, parts=100_000)))


def split_into_parts(
    lines: Iterable[CheckedLine], header_bytes: int, max_bytes: int = MAX_PART_BYTES
) -> Iterator[list[CheckedLine]]:
    """Groups lines so that the JSON of a part, including its header of `header_bytes`, has at most `max_bytes`.

    Without lines there is no part.

    Raises:
        ListFileError: a line alone is too long.
    """
    part: list[CheckedLine] = []
    size = header_bytes
    for line in lines:
        more = len(encode(line.push)) + 1  # and a comma
        if header_bytes + more > max_bytes:
            raise ListFileError(
                "a line has too many tokens to be sent: the key ring has too many keys, ask for a newer one",
                chinese="一行的代号太多，不能发送：密钥文件里的密钥太多，请索取新的",
            )
        if part and size + more > max_bytes:
            yield part
            part, size = [], header_bytes
        part.append(line)
        size += more
    if part:
        yield part
