"""`ninezero dead-letters`: lists the records that were rejected, and sends them again once the cause is repaired."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated, Any, NamedTuple

import typer

from ninezero.agents.cli.console import CommandError, print_table
from ninezero.agents.cli.target import announce_kafka
from ninezero.schemas.events import DEAD_REASONS, DeadLetter, DeadReason
from ninezero.streams import settings as settings_
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.decoding import Rejected, decode
from ninezero.streams.kafka.sync import consumer, explained_errors, producer, read_to_end
from ninezero.streams.settings import Settings

app = typer.Typer(help="Lists the records that were rejected, and sends them again.", no_args_is_help=True)

SOURCES = {topic.name: topic for topic in topics.SOURCES}


def _known_topic(name: str) -> str:
    """Returns the name of a source topic as it is."""
    if name and name not in SOURCES:
        raise CommandError(f"--topic is wrong: use {', '.join(SOURCES)}")
    return name


TopicOption = Annotated[
    str,
    typer.Option(metavar="NAME", callback=_known_topic, help=f"Only records of this topic: {', '.join(SOURCES)}."),
]
ReasonOption = Annotated[
    DeadReason | None,
    typer.Option(metavar="REASON", help=f"Only records that were rejected for this reason: {', '.join(DEAD_REASONS)}."),
]


@app.command("list")
def list_(
    topic: TopicOption = "",
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Number of dead letters to show.")] = 100,
) -> None:
    """Lists the newest dead letters: where each record lies and why it was rejected, never its content."""
    found = list(letters(settings_.load(edge=True), topic, reason))
    print_table(
        [
            {
                "at": f"{letter.at:%Y-%m-%dT%H:%M:%SZ}",
                "topic": letter.topic,
                "partition": letter.partition,
                "offset": letter.offset,
                "reason": letter.reason,
                "path": letter.path,
                "size": letter.size,
            }
            for letter in found[-limit:]
        ]
    )
    if len(found) > limit:
        print(f"{len(found) - limit} older ones are not shown: --limit {len(found)}")


@app.command()
def redrive(topic: TopicOption = "", reason: ReasonOption = None) -> None:
    """Sends rejected records again, unchanged, to the topic and partition they came from, if the topic still has them.

    A record that is accepted now counts once, however often it was sent. One that is rejected again gets a new dead letter.
    On a broker with access control only an administrator can do this: it reads and writes the source topics.
    """
    settings = settings_.load(edge=True)
    announce_kafka(settings)
    result = resend(settings, letters(settings, topic, reason))
    sent = ", ".join(f"{n} of {name}" for name, n in sorted(result.sent.items()))
    print(f"sent again: {sent or 'nothing'}")
    if result.gone:
        print(f"{result.gone} are no longer in Kafka and cannot be sent")


def letters(settings: Settings, topic: str, reason: DeadReason | None) -> Iterator[DeadLetter]:
    """Yields the dead letters of the source topics, oldest first.

    Args:
        topic: only those of this topic; empty for all.
        reason: only those with this reason; None for all.

    Raises:
        KafkaUnreachable: no broker answers.
        TopicsMissing: the topic is missing.
    """
    # If the oldest letters expire while they are read, kafka-python's default would go on at the end of the topic.
    with closing(consumer(settings, auto_offset_reset="earliest")) as reader, explained_errors(settings):
        for record in read_to_end(reader, settings.topic(topics.DEAD_LETTERS.name)):
            try:
                letter = decode(DeadLetter, record.value)
            except Rejected:  # only workers can write to this topic (ACL), so this is not a dead letter
                continue
            if letter.topic in SOURCES and topic in ("", letter.topic) and reason in (None, letter.reason):
                yield letter


class Resent(NamedTuple):
    """Result of `resend`."""

    sent: Counter[str]
    """Number of records sent again, by topic."""
    gone: int
    """Number of records that their topic no longer has."""


def resend(settings: Settings, found: Iterator[DeadLetter]) -> Resent:
    """Sends the records that dead letters name, each content once.

    Raises:
        KafkaUnreachable: no broker answers.
    """
    wanted = {(letter.topic, letter.sha256): letter for letter in found}
    result, pending = Resent(Counter(), 0), []
    with (
        closing(consumer(settings, max_poll_records=1, max_partition_fetch_bytes=topics.MAX_MESSAGE_BYTES)) as reader,
        closing(producer(settings)) as writer,
        explained_errors(settings),
    ):
        for letter in wanted.values():
            record = _source_record(reader, settings.topic(letter.topic), letter)
            if record is None:
                result = result._replace(gone=result.gone + 1)
                continue
            pending.append(
                writer.send(record.topic, record.value, record.key, record.headers, partition=record.partition)
            )
            result.sent[letter.topic] += 1
        for acknowledgement in pending:
            acknowledgement.get(60)
    return result


def _source_record(reader: Any, topic: str, letter: DeadLetter) -> Any:
    """Returns the record that a dead letter names, or None if the topic no longer has it or was created again."""
    from kafka import TopicPartition

    partition = TopicPartition(topic, letter.partition)
    if letter.partition not in (reader.partitions_for_topic(topic) or ()):
        return None
    reader.assign([partition])
    first, end = reader.beginning_offsets([partition])[partition], reader.end_offsets([partition])[partition]
    if not first <= letter.offset < end:
        return None
    reader.seek(partition, letter.offset)
    while reader.position(partition) <= letter.offset:
        for record in reader.poll(timeout_ms=500).get(partition, ()):
            same = hashlib.sha256(record.value or b"").hexdigest() == letter.sha256
            return record if record.offset == letter.offset and same else None
    return None
