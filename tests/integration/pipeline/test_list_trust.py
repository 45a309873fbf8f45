"""A person who could not be checked is never clear: the watchlist topic is stopped, emptied and deleted on a real broker."""

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
    deployment = System(
        kafka.bootstrap, f"chdb://{tmp_path}/db", tmp_path,
        NINEZERO_KEYS=str(tmp_path / "keys.json"), NINEZERO_OUTBOX=str(tmp_path / "outbox"),
        NINEZERO_MAX_LIST_AGE="13",
    )  # fmt: skip
    deployment.prepare()
    yield deployment
    deployment.stop()


@pytest.fixture
def gate(system: System) -> Iterator[Device]:
    with Device(settings_.load(system.env, edge=True), site_id="road-01", device_id="gate-a") as device:
        yield device


def outcome_of(gate: Device, person: str = NOBODY, wait: float = 60) -> str:
    """Scans a person and returns the outcome that the device shows."""
    passer = Traveller(role="pedestrian", id=person, temperature_c=36.5)
    return gate.scan("pedestrian", [passer]).wait(wait).outcome


def test_nothing_is_decided_without_a_list_and_everyone_is_held_without_a_heartbeat(
    system: System, gate: Device
) -> None:
    system.start("screening")
    assert outcome_of(gate, wait=8) == "not_checked", "a topic without a manifest does not mean that nobody is listed"
    assert not system.ready("screening")
    system.start("lists")
    push(system, {"id": [KeyRing.load(system.env["NINEZERO_KEYS"]).token("id", LISTED)]})
    assert (outcome_of(gate), outcome_of(gate, LISTED)) == ("clear", "refer")
    system.kill("lists")
    wait_for(lambda: outcome_of(gate) == "hold", 30, "list_stale")
    assert outcome_of(gate, LISTED) == "refer", "the last complete list is still used"
    system.start("lists")
    wait_for(lambda: outcome_of(gate) == "clear", 30, "the heartbeat")


@pytest.mark.parametrize("how", ["emptied", "deleted"])
def test_a_worker_is_not_ready_after_the_watchlist_topic_was_emptied_or_deleted(
    system: System, gate: Device, how: str
) -> None:
    system.start("lists", "screening")
    push(system, {"id": [KeyRing.load(system.env["NINEZERO_KEYS"]).token("id", LISTED)]})
    assert (outcome_of(gate), outcome_of(gate, LISTED)) == ("clear", "refer")
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
    assert outcome_of(gate, LISTED, wait=8) == "not_checked"
    line = {"id": [KeyRing.load(system.env["NINEZERO_KEYS"]).token("id", NOBODY)]}
    send(system, line, sequence=2)
    wait_for(lambda: read(system, "dead-letters"), 20, "the dead letter of the delta")
    assert not system.ready("screening"), "the rest of a list must not count as the complete list"
    push(system, line, sequence=3, mode="full")
    assert outcome_of(gate, NOBODY) == "refer"
