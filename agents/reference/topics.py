"""The page of topics."""

from __future__ import annotations

from ninezero.agents.reference import markdown
from ninezero.agents.reference.channels import CHANNELS
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.access import ACCESS
from ninezero.streams.kafka.topics import Topic


def page() -> str:
    """Returns `docs/reference/topics.md`."""
    described = [
        (
            markdown.code(topic.name),
            markdown.sentence(topic.content),
            markdown.code(topic.key),
            ", ".join(
                f"[{message.__name__}](events.md#{message.__name__.lower()})" for message in CHANNELS.get(topic, ())
            ),
            str(topic.partitions or "chosen at creation"),
            _kept(topic),
        )
        for topic in topics.ALL
    ]
    access = [
        (
            who,
            ", ".join(markdown.code(topic.name) for topic in rights.reads),
            ", ".join(markdown.code(topic.name) for topic in rights.writes),
        )
        for who, rights in ACCESS.items()
    ]
    return markdown.page(
        "Topics",
        f"`ninezero topics create` creates the topics that are missing, with {topics.DEFAULT_PARTITIONS} partitions unless"
        " `--partitions` says otherwise. `NINEZERO_TOPIC_PREFIX` goes before each name. Values are JSON in UTF-8;"
        f" a record over {topics.MAX_MESSAGE_BYTES >> 20} MiB is rejected by the broker. Kafka sets the time of every record"
        " (`LogAppendTime`). A record is deleted at most two hours after its retention ends.",
        markdown.table(("topic", "content", "key", "values", "partitions", "retention"), described),
        "## Access",
        "`ninezero topics acls` prints these rights as commands of `kafka-acls.sh`, and `--grant` grants them. A right that is"
        " not listed here does not exist. Each role also reads its own consumer group; the lists role uses one"
        " transactional id; operators may create and delete topics."
        + "".join(
            f" The {who} role sees how far {role} has read {markdown.code(topic.name)}, and none of its records."
            for who, rights in ACCESS.items()
            for role, topic in rights.follows
        ),
        markdown.table(("principal", "reads", "writes"), access),
    )


def _kept(topic: Topic) -> str:
    if topic.every_record:
        return "every record stays"
    if topic.hours is None:
        return "compacted"
    return f"{topic.hours} hours" if topic.hours < 96 else f"{topic.hours // 24} days"
