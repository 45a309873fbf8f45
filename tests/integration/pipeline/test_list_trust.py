"""A person who could not be checked is never clear: the watchlist topic is stopped, emptied and deleted on a real broker."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import PolicyViolationError

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
        wait_for(lambda: _delete_records(admin, topic), 30, "the broker to allow deletion")
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


def _delete_records(admin: KafkaAdminClient, topic: str) -> bool:
    """Deletes every record of a topic. Returns False while the broker does not know yet that this is allowed."""
    try:
        admin.delete_records({TopicPartition(topic, 0): -1})
    except PolicyViolationError:
        return False
    return True


def recreate(system: System, *names: str) -> None:
    """Deletes topics and creates them again, as nobody should."""
    admin = KafkaAdminClient(bootstrap_servers=system.env["NINEZERO_KAFKA"])
    topics = [system.prefix + name for name in names]
    admin.delete_topics(topics)
    wait_for(lambda: not {*topics} & {*admin.list_topics()}, 30, "the deletion")
    admin.close()
    assert system.run("topics", "create").returncode == 0


def why_not_ready(system: System) -> str:
    """Returns what the /readyz of the screening role answers, or an empty text if it is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{system.http}/readyz", timeout=5):
            return ""
    except urllib.error.HTTPError as answer:
        return answer.read().decode()
    except OSError:
        return "no answer"


@pytest.mark.parametrize(
    "lost",
    [
        ("watchlist",),
        ("watchlist", "push-receipts"),  # the receipts of a list that was pushed over a week ago are gone, too
        ("watchlist", "list-register"),
    ],
)
def test_nobody_is_clear_while_one_of_the_lists_that_were_lost_is_missing(
    system: System, gate: Device, lost: tuple[str, ...]
) -> None:
    ring = KeyRing.load(system.env["NINEZERO_KEYS"])
    listed, other = {"id": [ring.token("id", LISTED)]}, {"id": [ring.token("id", "110101199003074258")]}
    system.start("lists", "screening")
    push(system, listed, sequence=4, to="contacts")
    push(system, other, sequence=5)
    assert (outcome_of(gate), outcome_of(gate, LISTED)) == ("clear", "refer")
    recreate(system, *lost)
    for role in ("lists", "screening"):
        wait_for(lambda: system.workers[role].poll() is not None, 60, f"the end of the {role} role")  # noqa: B023
    system.start("lists", "screening")
    push(system, other, sequence=6, mode="full")
    assert outcome_of(gate, LISTED, wait=8) == "not_checked", "the other list alone must not count as all lists"
    assert why_not_ready(system) == (
        "not ready: the topic watchlist lacks the list contacts of cdc as last applied: push it again with --full --again\n"
    )
    doctor = system.run("doctor", "lists").stdout.decode()
    assert "contacts of cdc: the topic watchlist lacks it as last applied; no screening worker is ready" in doctor
    send(system, listed, sequence=4, mode="full", to="contacts")
    wait_for(lambda: read(system, "push-receipts")[-1]["sequence"] == 4, 30, "the receipt")
    # An old batch changes nothing. It is answered with the receipt that it has, if it has one.
    stale = "stale_sequence" if "push-receipts" in lost else None
    assert read(system, "push-receipts")[-1]["code"] == stale
    assert outcome_of(gate, LISTED, wait=4) == "not_checked"
    push(system, listed, sequence=7, mode="full", to="contacts")
    assert (outcome_of(gate), outcome_of(gate, LISTED)) == ("clear", "refer")
    wait_for(lambda: "no list is missing any more" in system.logs(), 30, "the log line at the end of the outage")


def test_lists_that_are_not_registered_are_registered_at_the_start_of_the_lists_role(
    system: System, gate: Device
) -> None:
    """As after the upgrade from a release without a list register, or after its loss."""
    token = {"id": [KeyRing.load(system.env["NINEZERO_KEYS"]).token("id", LISTED)]}
    system.start("lists", "screening")
    push(system, token, sequence=4, to="contacts")
    push(system, sequence=5, mode="full")
    before = read(system, "list-register")
    system.kill("lists")
    system.kill("screening")
    recreate(system, "list-register")
    system.start("lists", "screening")
    wait_for(lambda: len(read(system, "list-register")) == 2, 60, "the registered lists")
    found = {entry["list"]: entry for entry in read(system, "list-register")}
    assert found == {entry["list"]: entry for entry in before}
    assert (outcome_of(gate), outcome_of(gate, LISTED)) == ("clear", "refer")
    system.kill("lists")
    system.start("lists")
    wait_for(lambda: system.ready("lists"), 60, "the lists role")
    push(system, token, sequence=6)
    registered = read(system, "list-register")[2:]
    assert [(entry["list"], entry["sequence"]) for entry in registered] == [("cases", 6)], "nothing is registered twice"
