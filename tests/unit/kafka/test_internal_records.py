"""Records of internal topics: what cannot be read is an error that names the record and quotes nothing of it."""

from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from ninezero.agents.roles.logs.error_description import describe
from ninezero.schemas.events import DeadLetter, PushReceipt, decoder
from ninezero.schemas.formats import NeedsUpgradeFinish, golden
from ninezero.schemas.register import SetAside, StatedFormats, register_key
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.internal_records import InternalRecords, Position, UnreadableRecord
from ninezero.streams.kafka.records import OutgoingRecord, internal_record
from ninezero.streams.kafka.register import Statements

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "110105194912310021"


class Record(NamedTuple):
    """A record as a consumer hands it out."""

    offset: int
    value: bytes | None
    key: bytes | None = b"k"
    headers: Any = ()


def record_of(offset: int, value: SetAside | StatedFormats) -> Record:
    written: OutgoingRecord = internal_record(topics.REGISTER, register_key(value), value)
    return Record(offset, written.value, written.key, written.headers)


@pytest.mark.parametrize(
    ("topic", "record"),
    [
        (topics.DECISIONS, Record(7, None)),
        (topics.DECISIONS, Record(7, SECRET.encode(), headers=[("format", b"decisions/1")])),
        (topics.DECISIONS, Record(7, b"[" * 100_000, headers=[("format", b"decisions/1")])),
        (topics.DECISIONS, Record(7, b"{}", headers=[("format", SECRET.encode())])),
        (topics.DECISIONS, Record(7, b"{}", headers=[("format", None)])),
        (topics.QUARANTINE_LEDGER, Record(7, b'"x"', headers=[("format", b"quarantine-ledger/1")])),
        (topics.RECEIPTS, Record(7, None)),
        (topics.RECEIPTS, Record(7, b"{}")),
        (topics.DEAD_LETTERS, Record(7, json.dumps({"topic": SECRET}).encode())),
    ],
)
def test_a_record_that_cannot_be_read_is_named_and_not_quoted(topic: topics.Topic, record: Record) -> None:
    decode = {topics.RECEIPTS: PushReceipt, topics.DEAD_LETTERS: DeadLetter}.get(topic)
    records = InternalRecords(topic, decode=None if decode is None else decoder(decode).decode)
    with pytest.raises(UnreadableRecord) as caught:
        records.decode(record, 3)
    text = str(caught.value)
    assert text.startswith(f"unreadable_record: topic {topic.name}, partition 3, offset 7, format ")
    assert text.endswith(f"ninezero records set-aside {topic.name}/3@7") and "\n" not in text
    assert SECRET not in "".join(traceback.format_exception(caught.value)) and describe(caught.value) == text


def test_every_golden_record_is_read_and_a_tombstone_of_a_compacted_topic_too() -> None:
    read = 0
    for topic in (one for one in topics.ALL if one.format is not None):
        assert topic.format is not None
        records = InternalRecords(topic)
        for version in topic.format.versions:
            for path in golden.golden_files(golden.FOLDER / topic.format.name / str(version.number)):
                content = json.loads(path.read_text())
                headers = [(name, text.encode()) for name, text in content["headers"].items()]
                record = Record(1, content["value"].encode(), content["key"].encode(), headers)
                assert records.decode(record) is not None
                read += 1
        if topic.compacted:
            assert records.decode(Record(2, None)) is None
    assert read >= 15


def test_a_record_of_the_register_that_is_set_aside_later_does_not_stop_the_reading() -> None:
    damaged = Record(1, b"{", b"format|current", topics.REGISTER.format.headers)  # type: ignore[union-attr]
    pardon = record_of(2, SetAside("register", 0, 1, "ops-1", NOW))
    with pytest.raises(UnreadableRecord, match="topic register, partition 0, offset 1"):
        Statements().apply([damaged])
    statements = Statements()
    formats = StatedFormats({"decisions": 1}, "0.1.0", "ops-1", NOW)
    statements.apply([record_of(0, formats), damaged, pardon])
    assert statements.formats == formats and statements.set_aside == {Position("register", 0, 1)}


def test_a_format_that_cannot_say_something_is_described_with_the_remedy() -> None:
    assert describe(NeedsUpgradeFinish(SECRET)).startswith("needs_upgrade_finish: ") and SECRET not in describe(
        NeedsUpgradeFinish(SECRET)
    )
