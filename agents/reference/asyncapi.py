"""The AsyncAPI document, `schemas/asyncapi.json`: every topic of the contract with its messages."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from ninezero.agents.reference.channels import CHANNELS
from ninezero.streams.kafka.topics import SOURCES, Topic


def text() -> str:
    """Returns `schemas/asyncapi.json`."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def document() -> dict[str, Any]:
    """Returns the AsyncAPI 3 document. The pipeline receives what devices and authorities write, and sends the rest."""
    types = sorted({message for some in CHANNELS.values() for message in some}, key=lambda t: t.__name__)
    schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")[1]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "ninezero",
            "version": "1",
            "license": {"name": "Apache-2.0"},
            "description": "Values are JSON in UTF-8; times are RFC 3339 with an offset. An unknown field is an error."
            " NINEZERO_TOPIC_PREFIX goes before each address. Kafka sets the time of every record (LogAppendTime).",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in CHANNELS},
        "operations": {
            f"{_action(topic)}-{topic.name}": {
                "action": _action(topic),
                "channel": {"$ref": f"#/channels/{topic.name}"},
            }
            for topic in CHANNELS
        },
        "components": {
            "messages": {
                message.__name__: {
                    "payload": {"$ref": f"#/components/schemas/{message.__name__}"},
                    "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}}},
                }
                for topic, some in CHANNELS.items()
                for message in some
            },
            "schemas": {name: _draft7(schema) for name, schema in schemas.items()},
        },
    }


def _action(topic: Topic) -> str:
    return "receive" if topic in SOURCES else "send"


def _channel(topic: Topic) -> dict[str, Any]:
    kept = "compacted" if topic.hours is None else f"kept {topic.hours} hours"
    kept = "every record stays" if topic.every_record else kept
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
        "description": f"{topic.content[0].upper()}{topic.content[1:]}. Key {topic.key}; {kept}.",
        "messages": {m.__name__: {"$ref": f"#/components/messages/{m.__name__}"} for m in CHANNELS[topic]},
        "bindings": {"kafka": binding},
    }


def _draft7(schema: Any) -> Any:
    """Converts JSON Schema 2020-12 and Python patterns, as msgspec writes them, to draft 7 and ECMA patterns for AsyncAPI."""
    if isinstance(schema, list):
        return [_draft7(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {name: _draft7(value) for name, value in schema.items()}
    if "prefixItems" in converted:
        converted.pop("items", None)
        converted["items"] = converted.pop("prefixItems")
    if isinstance(converted.get("pattern"), str):
        converted["pattern"] = converted["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    if isinstance(converted.get("description"), str):
        converted["description"] = re.sub(r"\s+", " ", converted["description"])
    return converted
