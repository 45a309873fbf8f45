"""The references that others build against, made from the code: schemas/asyncapi.json and schemas/SQL.md.

python -m ninezero.agents.reference.contract      # writes both; a test says when that is due
"""

from __future__ import annotations

import json
import re
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ninezero.schemas.events import (
    Alert,
    Arrival,
    CareAlert,
    Correction,
    DeadLetter,
    Decisions,
    Disposition,
    FollowupEvent,
    Heartbeat,
    Manifest,
    Outcomes,
    PushBatch,
    PushConfirmation,
    PushReceipt,
    QuarantineEvent,
    Removal,
    Scan,
    WatchlistEntry,
)
from ninezero.streams.clickhouse import engines as clickhouse
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.topics import Topic

SCHEMAS = Path(str(files("ninezero.schemas")))
ASYNCAPI, SQL = SCHEMAS / "asyncapi.json", SCHEMAS / "SQL.md"


class Channel(NamedTuple):
    """What a topic carries: its messages, its key, and whether the pipeline receives it from outside or sends it."""

    messages: tuple[type[msgspec.Struct], ...]
    key: str
    receives: bool = False


CHANNELS: dict[Topic, Channel] = {
    topics.SCANS: Channel((Scan,), "site_id", True),
    topics.ARRIVALS: Channel((Arrival,), "site_id", True),
    topics.DISPOSITIONS: Channel((Disposition,), "site_id", True),
    topics.PUSHES: Channel((PushBatch, PushConfirmation), "authority", True),
    topics.QUARANTINE: Channel((QuarantineEvent,), "case_id", True),
    topics.FOLLOWUPS: Channel((FollowupEvent,), "case_id", True),
    topics.WATCHLIST: Channel((WatchlistEntry, Removal, Manifest, Heartbeat), "authority|list|entry_id"),
    topics.OUTCOMES: Channel((Outcomes,), "site_id"),
    topics.ALERTS: Channel((Alert, Correction, CareAlert), "site_id"),
    topics.DECISIONS: Channel((Decisions,), "site_id"),
    topics.RECEIPTS: Channel((PushReceipt,), "authority"),
    topics.DEAD_LETTERS: Channel((DeadLetter,), "topic of the record"),
}
"""The two ledgers are the pipeline's own, and nobody else's to read."""


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document."""
    types = sorted({message for channel in CHANNELS.values() for message in channel.messages}, key=lambda t: t.__name__)
    schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")[1]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "ninezero",
            "version": "1",
            "license": {"name": "Apache-2.0"},
            "description": "Values are JSON in UTF-8; times are RFC 3339 with an offset. A field that is not named is refused."
            " NINEZERO_TOPIC_PREFIX goes before each address. Kafka sets the time of every record (LogAppendTime).",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic, channel) for topic, channel in CHANNELS.items()},
        "operations": {
            f"{'receive' if channel.receives else 'send'}-{topic.name}": {
                "action": "receive" if channel.receives else "send",
                "channel": {"$ref": f"#/channels/{topic.name}"},
            }
            for topic, channel in CHANNELS.items()
        },
        "components": {
            "messages": {
                message.__name__: {
                    "payload": {"$ref": f"#/components/schemas/{message.__name__}"},
                    "bindings": {"kafka": {"key": {"type": "string", "description": channel.key}}},
                }
                for channel in CHANNELS.values()
                for message in channel.messages
            },
            "schemas": {name: _draft7(schema) for name, schema in schemas.items()},
        },
    }


def _channel(topic: Topic, channel: Channel) -> dict[str, Any]:
    kept = "compacted" if topic.hours is None else f"kept {topic.hours} hours"
    config = topic.config()
    configuration: dict[str, Any] = {"cleanup.policy": [config["cleanup.policy"]]}
    if "retention.ms" in config:
        configuration["retention.ms"] = int(config["retention.ms"])
    configuration["max.message.bytes"] = int(config["max.message.bytes"])
    binding: dict[str, Any] = {"topicConfiguration": configuration}
    if topic.partitions is not None:
        binding["partitions"] = topic.partitions
    return {
        "address": topic.name,
        "description": f"Key {channel.key}; {kept}.",
        "messages": {m.__name__: {"$ref": f"#/components/messages/{m.__name__}"} for m in channel.messages},
        "bindings": {"kafka": binding},
    }


def _draft7(schema: Any) -> Any:
    """msgspec writes JSON Schema 2020-12 and Python's patterns; AsyncAPI reads draft 7 and ECMA's."""
    if isinstance(schema, list):
        return [_draft7(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _draft7(value) for name, value in schema.items()}
    if "prefixItems" in made:
        made.pop("items", None)
        made["items"] = made.pop("prefixItems")
    if isinstance(made.get("pattern"), str):
        made["pattern"] = made["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    if isinstance(made.get("description"), str):
        made["description"] = re.sub(r"\s+", " ", made["description"])
    return made


def sql_reference() -> str:
    """The stable views and the published tables with their columns, as an engine tells them after the migrations."""
    with tempfile.TemporaryDirectory() as folder:
        engine = clickhouse.connect(f"chdb://{folder}")
        clickhouse.migrate(engine)
        columns = engine.query(
            "SELECT database, table, name, type FROM system.columns "
            "WHERE database IN ('ninezero', 'ninezero_published') ORDER BY database, table, position"
        )
        engine.close()
    lines = [
        "# SQL reference", "",
        "Made from `schemas/sql/` by `python -m ninezero.agents.reference.contract`. What each view counts is in the README, *For analysts*;",
        "`ninezero` is for the health authority, `ninezero_published` for everybody. `minute` and `hour` are UTC, `day` is local.", "",
    ]  # fmt: skip
    table = None
    for column in columns:
        if table != (table := (column["database"], column["table"])):
            lines += ["", f"## {column['database']}.{column['table']}", "", "| column | type |", "|---|---|"]
        lines.append(f"| `{column['name']}` | {column['type']} |")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def main() -> None:
    """Writes both."""
    ASYNCAPI.write_text(json.dumps(asyncapi(), indent=1, ensure_ascii=False) + "\n")
    SQL.write_text(sql_reference())


if __name__ == "__main__":
    main()
