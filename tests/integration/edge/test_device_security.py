"""A device with a broker that requires TLS and a password (SASL_SSL), and with one that it must not trust."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ninezero.streams.kafka import administration
from ninezero.streams.local_kafka.broker import Broker
from tests.integration.edge.test_device_faults import arrived, deployment_settings, gate, scan
from tests.secured import certificates
from tests.support import free_port, wait_for


class Secured(NamedTuple):
    """A broker, the address of its TLS listener, and the CA of its certificate."""

    broker: Broker
    address: str
    ca: Path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    ca = certificates(folder)
    plain, tls, controller = free_port(), free_port(), free_port()
    login = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_gate="right";'
    broker = Broker(folder / "kafka", plain, more={
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{plain},SECURE://127.0.0.1:{tls},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{plain},SECURE://127.0.0.1:{tls}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT",
        "listener.name.secure.sasl.enabled.mechanisms": "PLAIN", "listener.name.secure.plain.sasl.jaas.config": login,
        "ssl.keystore.type": "PEM", "ssl.keystore.location": str(folder / "broker.pem"),
    })  # fmt: skip
    broker.start()
    yield Secured(broker, f"127.0.0.1:{tls}", ca)
    broker.stop()


def test_a_device_sends_over_tls_with_its_password(secured: Secured, tmp_path: Path) -> None:
    settings = deployment_settings(
        secured.address, tmp_path, NINEZERO_KAFKA_TLS_CA=str(secured.ca), NINEZERO_KAFKA_SASL_MECHANISM="PLAIN",
        NINEZERO_KAFKA_SASL_USER="gate", NINEZERO_KAFKA_SASL_PASSWORD="right",
    )  # fmt: skip
    administration.create_topics(settings, partitions=2)
    with gate(settings) as device:
        scan(device, 50)
        assert device.flush(30)
        assert device.status().connected
    plain = deployment_settings(secured.broker.bootstrap, tmp_path, NINEZERO_TOPIC_PREFIX=settings.topic_prefix)
    assert arrived(plain) == list(range(50))


@pytest.mark.parametrize(
    "wrong",
    [{"NINEZERO_KAFKA_SASL_PASSWORD": "wrong"}, {"NINEZERO_KAFKA_TLS_CA": "another"}, {"NINEZERO_KAFKA": "localhost"}],
    ids=["password", "signer", "name"],
)
def test_without_trust_no_event_is_sent_and_all_stay_in_the_outbox(
    wrong: dict[str, str], secured: Secured, tmp_path: Path
) -> None:
    if "NINEZERO_KAFKA_TLS_CA" in wrong:
        wrong = {"NINEZERO_KAFKA_TLS_CA": str(certificates(tmp_path))}
    if "NINEZERO_KAFKA" in wrong:
        wrong = {"NINEZERO_KAFKA": secured.address.replace("127.0.0.1", "localhost")}
    given = {
        "NINEZERO_KAFKA_TLS_CA": str(secured.ca), "NINEZERO_KAFKA_SASL_MECHANISM": "PLAIN",
        "NINEZERO_KAFKA_SASL_USER": "gate", "NINEZERO_KAFKA_SASL_PASSWORD": "right", **wrong,
    }  # fmt: skip
    with gate(deployment_settings(secured.address, tmp_path, **given)) as device:
        scan(device, 5)
        wait_for(lambda: device.status().problem != "", 30, "the line")
        time.sleep(1)
        assert device.status()[:2] == (False, 5)
        assert "right" not in device.status().problem and "wrong" not in device.status().problem
