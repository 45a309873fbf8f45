"""The configuration of the local Kafka: a single KRaft node, broker and controller in one process."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from pathlib import Path


def random_uuid() -> str:
    """Returns a random UUID in Kafka's notation. Like Kafka's own it never begins with a dash, which its tools read as an option."""
    text = "-"
    while text.startswith("-"):
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return text


def server_properties(data: Path, port: int, controller_port: int, more: Mapping[str, str]) -> str:
    """Returns the text of `server.properties`.

    Args:
        data: folder of Kafka's log segments.
        port: port of the broker on 127.0.0.1.
        controller_port: port of the controller on 127.0.0.1.
        more: properties that are added, or replace those here.
    """
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
        "log.message.timestamp.type": "LogAppendTime",
        "message.max.bytes": (2 << 20) + 4096,
        "replica.fetch.max.bytes": 4 << 20,
        "auto.create.topics.enable": "false",
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 2,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # A killed broker can register again only when its former session has ended, 9 s by default.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "metadata.max.idle.interval.ms": 0,  # no write to the disk every half second while nothing happens
        "log.retention.check.interval.ms": 60_000,
        "log.cleaner.dedupe.buffer.size": 64 << 20,  # compacts 2.5 million watchlist keys in one pass
        **more,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())
