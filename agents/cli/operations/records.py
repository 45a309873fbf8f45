"""`ninezero records`: passes over a record that a role cannot read."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from ninezero.agents.cli.console import ByOption, CommandError, identifier
from ninezero.agents.cli.target import announce_kafka
from ninezero.schemas.events import DeadLetter, PushReceipt, decode_care_alert, decoder
from ninezero.schemas.register import SetAside
from ninezero.streams import settings as settings_
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.topics import Topic
from ninezero.streams.settings import Settings

app = typer.Typer(help="Passes over a record that a role cannot read.", no_args_is_help=True)

LOSSES: dict[Topic, str] = {
    topics.DECISIONS: "the decisions of one batch are not counted: its events are missing in every count, and"
    " device_completeness shows their numbers as missing",
    topics.WATCHLIST: "the state of one entry or list is not known: if it was an entry, no worker is ready until its list is"
    " pushed again with --full --again",
    topics.LIST_REGISTER: "it is not noticed if the list is lost from the topic watchlist, until a batch is applied to it or the lists"
    " role starts again",
    topics.QUARANTINE_LEDGER: "one fact or alert of a case is not known to the ledgers role: an alert about the case may be"
    " missing, wrong or repeated",
    topics.FOLLOWUP_LEDGER: "one fact or alert of a case is not known to the ledgers role: an alert about the case may be"
    " missing, wrong or repeated",
    topics.TRANSFERS: "one person is not counted in a transfer: transfers_by_day and the alert about the transfer may be wrong",
    topics.TRANSFER_LEDGER: "one person or alert of a transfer is not known to the ledgers role: the alert about the transfer may be"
    " missing, wrong or repeated",
    topics.RECEIPTS: "one receipt is not counted, and its batch would be applied a second time if it were sent again",
    topics.ALERTS: "one alert is not counted; the staff have it",
    topics.DEAD_LETTERS: "one dead letter is not counted, and redrive does not find its record",
    topics.REGISTER: "one statement of an operator has no effect: state it again",
    topics.POLICIES: "one policy or one use of a policy is not known: if it was the policy in force, no worker is ready until the policy"
    " is activated again under the next version",
}
"""What is missing after a record of each topic was passed over."""


@app.command("set-aside")
def set_aside(
    which: Annotated[str, typer.Argument(metavar="TOPIC/PARTITION@OFFSET", help="The record, as the role named it.")],
    by: ByOption,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the loss that the command states.")] = False,
) -> None:
    """Makes every role pass over exactly one record that cannot be read. The record stays in Kafka."""
    from ninezero.streams.kafka.statements import state

    who, by_name = identifier("--by", by), {topic.name: topic for topic in LOSSES}
    place = re.fullmatch(r"([a-z-]+)/([0-9]{1,9})@([0-9]{1,18})", which)
    if place is None or place[1] not in by_name:
        raise CommandError(
            f"name the record as TOPIC/PARTITION@OFFSET, where TOPIC is one of {', '.join(by_name)}: a record of another topic"
            " is dead-lettered"
        )
    settings, topic, partition, offset = settings_.load(edge=True), by_name[place[1]], int(place[2]), int(place[3])
    seen = _unreadable(settings, topic, partition, offset)
    announce_kafka(settings)
    print(f"{seen}. If it is passed over: {LOSSES[topic]}.")
    if not yes:
        raise CommandError("nothing was stated: repeat the command with --yes to accept that")
    state(settings, SetAside(topic.name, partition, offset, who, datetime.now(UTC)))
    print("set aside: every role passes over this record. Start the role again that ended at it")


def _unreadable(settings: Settings, topic: Topic, partition: int, offset: int) -> str:
    """Describes a record that cannot be read.

    Raises:
        CommandError: there is no such record, or it can be read.
    """
    from ninezero.streams.kafka.internal_records import InternalRecords, UnreadableRecord
    from ninezero.streams.kafka.sync import KafkaForbidden, TopicsMissing

    decode = {
        topics.RECEIPTS: decoder(PushReceipt).decode,
        topics.ALERTS: decode_care_alert,
        topics.DEAD_LETTERS: decoder(DeadLetter).decode,
    }.get(topic)
    try:
        record = _record(settings, topic, partition, offset)
    except (KafkaForbidden, TopicsMissing):
        return f"the record was not looked up, because this user may not read the topic {topic.name}"
    if record is None:
        raise CommandError("there is no record at this offset: compare it with the line of the role that ended")
    try:
        InternalRecords(topic, decode=decode).decode(record, partition)
    except UnreadableRecord as error:
        at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
        return f"the record of {at:%Y-%m-%dT%H:%M:%SZ} has {len(record.value or b''):,} bytes and the format {error.format}"
    raise CommandError("this release reads the record: nothing has to be set aside")


def _record(settings: Settings, topic: Topic, partition: int, offset: int) -> Any:
    """Returns the record at an offset, or None if there is none."""
    from kafka import TopicPartition

    from ninezero.streams.kafka.sync import TopicsMissing, consumer, explained_errors

    tp = TopicPartition(settings.topic(topic.name), partition)
    with closing(consumer(settings)) as reader, explained_errors(settings):
        if (partitions := reader.partitions_for_topic(tp.topic)) is None:
            raise TopicsMissing
        if partition not in partitions:
            return None
        reader.assign([tp])
        if not reader.beginning_offsets([tp])[tp] <= offset < reader.end_offsets([tp])[tp]:
            return None
        reader.seek(tp, offset)
        while True:  # compaction may have removed the record: then the first one after it is returned
            for record in reader.poll(timeout_ms=500, max_records=1).get(tp, ()):
                return record if record.offset == offset else None
            if reader.position(tp) > offset:
                return None
