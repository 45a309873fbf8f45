"""A batch is split into parts that fit into a Kafka record."""

from __future__ import annotations

from typing import Any

import msgspec

from ninezero.schemas.events import PushBatch, PushLine, decoder, encode
from ninezero.streams.edge.documents.checks import check
from ninezero.streams.edge.listfiles.batch_parts import header_bytes, split_into_parts
from ninezero.streams.edge.listfiles.list_file import open_list_file
from ninezero.streams.edge.listfiles.push_lines import read_lines
from tests.unit.edge.listfiles.reading import (
    ID,
    NOW,
    OPTIONS,
    PHONE,
    RING,
    error_line,
)


def test_parts_stay_below_the_size_limit_and_are_the_same_when_read_again(write_file: Any) -> None:
    file = open_list_file(write_file("id,phone\n" + f"{ID},{PHONE}\n" * 500))
    batch = PushBatch("b", "a", "p", "l", "close_contact", "delta", 1, NOW, "epidemic_control", 500, [], "basis")
    header = header_bytes(batch)

    def parts() -> list[list[PushLine]]:
        lines = read_lines([file], RING, OPTIONS, check)
        return [[line.push for line in part] for part in split_into_parts(lines, header, 20_000)]

    found = parts()
    assert found == parts() and [line.line for part in found for line in part] == list(range(1, 501))
    for number, part in enumerate(found, 1):
        record = encode(msgspec.structs.replace(batch, lines=part, part=number, parts=len(found)))
        assert len(record) <= 20_000 and (len(record) > 15_000 or part[-1].line == 500)
        assert decoder(PushBatch).decode(record).lines == part
    assert list(split_into_parts([], 100)) == []


def test_a_line_that_fits_into_no_part_is_an_error(write_file: Any) -> None:
    file = open_list_file(write_file(f"id,phone\n{ID},{PHONE}\n"))
    lines = read_lines([file], RING, OPTIONS, check)
    assert "too many tokens" in error_line(lambda: list(split_into_parts(lines, 100, 150)))
