"""Past the sunset nothing is matched, nobody is held, and no count moves."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson
from kafka import KafkaProducer

from streams.broker import Broker
from tests.integration.test_pipeline import read_all
from tests.support import System, wait_for


def test_past_the_sunset_the_outcome_is_order_ended_and_nothing_else_happens(kafka: Broker, tmp_path: Path) -> None:
    system = System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path, NINEZERO_SUNSET="2020-06-01T00:00:00+08:00")
    system.prepare()
    system.start("screening")
    try:
        person = {"role": "driver", "tokens": {}, "temperature_c": 40.0, "health_code": "red"}
        scan = {
            "device_id": "d",
            "seq": 0,
            "site_id": "s",
            "observed_at": datetime.now(UTC).isoformat(),
            "kind": "vehicle",
            "people": [person],
        }
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
        producer.send(system.prefix + "checkpoint-scans", key=b"s", value=orjson.dumps(scan))
        producer.close()
        wait_for(lambda: read_all(system, "screening-outcomes"), 40, "the outcome")
        assert read_all(system, "screening-outcomes")[0]["outcomes"] == [["d", 0, "order_ended", []]]
        assert read_all(system, "screening-alerts") == read_all(system, "screening-decisions") == []
    finally:
        system.stop()
