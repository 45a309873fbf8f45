"""Could not check is never clear: each way in which the lists can fall silent, broken for real."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from ninezero import Device, Traveller
from ninezero.streams import settings as settings_
from ninezero.streams.edge.documents.key_ring import KeyRing, new_ring
from ninezero.streams.local_kafka.broker import Broker
from tests.integration.edge.test_device import LISTED, NOBODY, push, read, send
from tests.support import System, wait_for


@pytest.fixture
def system(kafka: Broker, tmp_path: Path) -> Iterator[System]:
    new_ring(tmp_path / "keys.json")
    made = System(
        kafka.bootstrap, f"chdb://{tmp_path}/db", tmp_path,
        NINEZERO_KEYS=str(tmp_path / "keys.json"), NINEZERO_OUTBOX=str(tmp_path / "outbox"),
        NINEZERO_MAX_LIST_AGE="13",
    )  # fmt: skip
    made.prepare()
    yield made
    made.stop()


@pytest.fixture
def gate(system: System) -> Iterator[Device]:
    with Device(settings_.load(system.env, edge=True), site_id="road-01", device_id="gate-a") as made:
        yield made


def told(gate: Device, person: str = NOBODY, wait: float = 60) -> str:
    """What the checkpoint is told."""
    passer = Traveller(role="pedestrian", id=person, temperature_c=36.5)
    return gate.scan("pedestrian", [passer]).wait(wait).outcome


def test_nothing_is_decided_before_there_is_a_list_and_everyone_is_held_once_the_lists_fall_silent(
    system: System, gate: Device
) -> None:
    system.start("screening")
    assert told(gate, wait=8) == "not_checked", "a topic without a manifest is no list of nobody"
    assert not system.ready("screening")
    system.start("lists")
    push(system, {"id": [KeyRing.load(system.env["NINEZERO_KEYS"]).token("id", LISTED)]})
    assert (told(gate), told(gate, LISTED)) == ("clear", "refer")
    system.kill("lists")
    wait_for(lambda: told(gate) == "hold", 30, "list_stale")
    assert told(gate, LISTED) == "refer", "the last good list serves on"
    system.start("lists")
    wait_for(lambda: told(gate) == "clear", 30, "the heartbeat")


@pytest.mark.parametrize("how", ["emptied", "deleted"])
def test_a_list_topic_that_was_emptied_is_not_ready_and_never_nobody(system: System, gate: Device, how: str) -> None:
    system.start("lists", "screening")
    push(system, {"id": [KeyRing.load(system.env["NINEZERO_KEYS"]).token("id", LISTED)]})
    assert (told(gate), told(gate, LISTED)) == ("clear", "refer")
    system.kill("lists")  # it would write a manifest again at the next push
    admin = KafkaAdminClient(bootstrap_servers=system.env["NINEZERO_KAFKA"])
    topic = system.prefix + "watchlist"
    if how == "emptied":  # a compacted topic keeps its records unless deletion is allowed
        allowed = {"cleanup.policy": "compact,delete"}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=allowed)])
        admin.delete_records({TopicPartition(topic, 0): -1})
    else:
        admin.delete_topics([topic])
        time.sleep(2)
        system.run("topics", "create")
    admin.close()
    system.kill("screening")
    system.start("screening", "lists")
    assert told(gate, LISTED, wait=8) == "not_checked"
    line = {"id": [KeyRing.load(system.env["NINEZERO_KEYS"]).token("id", NOBODY)]}
    send(system, line, sequence=2)
    wait_for(lambda: read(system, "dead-letters"), 20, "the delta to be refused")
    assert not system.ready("screening"), "what is left of a list must not pass for the whole"
    push(system, line, sequence=3, mode="full")
    assert told(gate, NOBODY) == "refer"
