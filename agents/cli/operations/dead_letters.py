"""`ninezero dead-letters`: records that could not be taken, and how to send them once more after the mend."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated, Any

import typer

from ninezero.agents.cli.console import Failure, print_table
from ninezero.schemas.events import DeadLetter
from ninezero.streams import settings as settings_
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.decoding import Rejected, decode
from ninezero.streams.kafka.sync import MISSING, KafkaUnreachable, consumer, producer, reachable
from ninezero.streams.settings import Settings

app = typer.Typer(help="Records that could not be taken.", no_args_is_help=True)

SOURCES = {topic.name: topic for topic in topics.SOURCES}

OfTopic = Annotated[str, typer.Option(metavar="NAME", help=f"Of this topic only: {', '.join(SOURCES)}.")]
OfReason = Annotated[str, typer.Option(metavar="REASON", help="With this reason only.")]


@app.command("list")
def list_(topic: OfTopic = "", reason: OfReason = "", limit: Annotated[int, typer.Option(min=1)] = 100) -> None:
    """Where the newest of them lie, and why they were refused; their content is shown nowhere."""
    found = list(letters(settings_.load(edge=True), topic, reason))
    print_table(
        [
            {
                "at": f"{one.at:%Y-%m-%dT%H:%M:%SZ}", "topic": one.topic, "partition": one.partition, "offset": one.offset,
                "reason": one.reason, "path": one.path, "size": one.size,
            }
            for one in found[-limit:]
        ]
    )  # fmt: skip
    if len(found) > limit:
        print(f"{len(found) - limit} older ones are not shown: --limit {len(found)}")


@app.command()
def redrive(topic: OfTopic = "", reason: OfReason = "") -> None:
    """Sends them once more, byte for byte, to the topic and partition they came from, as long as it still has them.

    What is taken now counts once, whatever was sent before; what is refused again has a letter again. On a broker with rights this is an
    administrator's work: nobody else both reads and writes those topics.
    """
    settings = settings_.load(edge=True)
    sent, gone = resend(settings, letters(settings, topic, reason))
    print(f"sent once more: {', '.join(f'{n} of {name}' for name, n in sorted(sent.items())) or 'nothing'}")
    if gone:
        print(f"{gone} are no longer kept, and cannot be sent")


def letters(settings: Settings, topic: str, reason: str) -> Iterator[DeadLetter]:
    """Dead letters of our sources, oldest first.

    Raises:
        Failure: there is no such topic.
        KafkaUnreachable: no broker answers, or the topic is missing.
    """
    if topic and topic not in SOURCES:
        raise Failure(f"no such topic: choose {', '.join(SOURCES)}")
    with closing(consumer(settings, auto_offset_reset="earliest")) as reader, reachable(settings):
        for record in _all(reader, settings.topic(topics.DEAD_LETTERS.name)):
            try:
                letter = decode(DeadLetter, record.value)
            except Rejected:  # only workers write there (ACL)
                continue
            if letter.topic in SOURCES and topic in ("", letter.topic) and reason in ("", letter.reason):
                yield letter


def _all(reader: Any, topic: str) -> Iterator[Any]:
    """Every record that the only partition of a topic has now."""
    from kafka import TopicPartition

    where = TopicPartition(topic, 0)
    if not reader.partitions_for_topic(topic):
        raise KafkaUnreachable(MISSING)
    reader.assign([where])
    end = reader.end_offsets([where])[where]
    while reader.position(where) < end:
        for records in reader.poll(timeout_ms=500).values():
            yield from records


def resend(settings: Settings, found: Iterator[DeadLetter]) -> tuple[Counter[str], int]:
    """Sends the records of letters once more, each content once; how many by topic, and how many are gone."""
    wanted = {(letter.topic, letter.sha256): letter for letter in found}
    sent, gone, under_way = Counter[str](), 0, []
    with (
        closing(consumer(settings, max_poll_records=1, max_partition_fetch_bytes=topics.MAX_MESSAGE_BYTES)) as reader,
        closing(producer(settings)) as writer,
        reachable(settings),
    ):
        for letter in wanted.values():
            record = _record(reader, settings.topic(letter.topic), letter)
            if record is None:
                gone += 1
                continue
            under_way.append(writer.send(record.topic, key=record.key, value=record.value, partition=record.partition))
            sent[letter.topic] += 1
        for one in under_way:
            one.get(60)
    return sent, gone


def _record(reader: Any, topic: str, letter: DeadLetter) -> Any:
    """The record that a letter is about; None if its topic has it no more, or was made again."""
    from kafka import TopicPartition

    where = TopicPartition(topic, letter.partition)
    if letter.partition not in (reader.partitions_for_topic(topic) or ()):
        return None
    reader.assign([where])
    first, end = reader.beginning_offsets([where])[where], reader.end_offsets([where])[where]
    if not first <= letter.offset < end:
        return None
    reader.seek(where, letter.offset)
    while reader.position(where) <= letter.offset:
        for record in reader.poll(timeout_ms=500).get(where, ()):
            same = hashlib.sha256(record.value or b"").hexdigest() == letter.sha256
            return record if record.offset == letter.offset and same else None
    return None
