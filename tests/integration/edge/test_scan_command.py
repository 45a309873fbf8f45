"""`ninezero scan` with events that are ready to send: each gets an outcome, resends too, and none is `clear` unchecked."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ninezero.streams.kafka import administration
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.settings import Settings
from tests.integration.edge.test_device_faults import answer, deployment_settings, records
from tests.support import NINEZERO, free_port, wait_for


@pytest.fixture
def settings(kafka: Broker, tmp_path: Path) -> Settings:
    new_settings = deployment_settings(kafka.bootstrap, tmp_path)
    administration.create_topics(new_settings, partitions=2)
    return new_settings


def scan(settings: Settings, *seqs: int) -> subprocess.Popen[str]:
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith("NINEZERO_")}, "NINEZERO_KAFKA": settings.kafka, "NINEZERO_ORDER": "T",
        "NINEZERO_SUNSET": settings.sunset.isoformat(), "NINEZERO_TOPIC_PREFIX": settings.topic_prefix,
    }  # fmt: skip
    event = {"device_id": "gate-a", "site_id": "road-01", "observed_at": datetime.now(UTC).isoformat(), "kind": "pedestrian",
             "people": [{"role": "pedestrian", "tokens": {}, "temperature_c": 36.5}]}  # fmt: skip
    process = subprocess.Popen(
        [NINEZERO, "scan", "-"],
        env=env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin
    process.stdin.write("\n".join(json.dumps(event | {"seq": seq}) for seq in seqs))
    process.stdin.close()
    process.stdin = None
    return process


def test_each_event_and_each_resend_gets_an_outcome_or_is_not_checked(settings: Settings) -> None:
    first = scan(settings, 0, 1, 0)
    wait_for(lambda: len(records(settings, "checkpoint-scans")) == 3, 20, "the scans")
    answer(settings, 0, 1, 0)
    assert first.communicate(timeout=30) == ("gate-a 0: clear\ngate-a 1: clear\ngate-a 0: clear\n", "")
    assert first.returncode == 0
    second = scan(settings, 1, 2)
    wait_for(lambda: len(records(settings, "checkpoint-scans")) == 5, 20, "the scans")
    answer(settings, 1)
    output, error = second.communicate(timeout=30)
    assert output == "gate-a 1: clear\ngate-a 2: not checked\n"
    assert (second.returncode, error.count("\n")) == (1, 1) and "do not read that as clear" in error


def test_a_missing_broker_or_topic_is_reported_in_one_line(settings: Settings, tmp_path: Path) -> None:
    for other, expected in (
        (deployment_settings(settings.kafka, tmp_path), "topics are missing on the broker"),
        (deployment_settings(f"127.0.0.1:{free_port()}", tmp_path), "Kafka does not answer at NINEZERO_KAFKA"),
    ):
        process = scan(other, 0)
        output, error = process.communicate(timeout=60)
        assert (process.returncode, output, error.count("\n")) == (1, "", 1) and expected in error
