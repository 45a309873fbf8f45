"""After the sunset nothing is matched, nobody is held, no count changes, and all events are discarded and counted."""

from __future__ import annotations

import re
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from kafka import KafkaProducer

from ninezero.streams.local_kafka.broker import Broker
from tests.integration.pipeline.test_pipeline import read_all
from tests.support import System, wait_for

PERSON = {"role": "driver", "tokens": {}, "temperature_c": 40.0, "health_code": "red"}
CASE = {"case_id": "c." + "0" * 32}
EVENTS: dict[str, dict[str, Any]] = {
    "checkpoint-scans": {"site_id": "s", "kind": "vehicle", "people": [PERSON]},
    "station-arrivals": {"site_id": "s", "mode": "rail", "service": "G12", "stage": "boarded", "transfer_id": None,
                         "destination": None, "person": PERSON},
    "dispositions": {"site_id": "s", "of": {"device_id": "d", "seq": 0}, "action": "referred", "override": None},
    "quarantine-events": CASE | {"site_id": "s", "type": "admitted", "slot": None, "temperature_c": None, "symptoms": None,
                                 "to_site_id": None, "term_days": 14, "reason": None},
    "followup-events": CASE | {"district": "x", "type": "opened", "source": "declared", "batch_id": None, "visit": None,
                               "closed": None},
}  # fmt: skip


def discarded(system: System) -> dict[str, int]:
    """Returns how many events of each topic were counted as `order_ended`. Any other outcome fails."""
    found: dict[str, int] = {}
    for role in (0, 2):
        page = urllib.request.urlopen(f"http://127.0.0.1:{system.http + role}/metrics", timeout=5).read().decode()
        for outcome, topic, n in re.findall(r'ninezero_events_total\{outcome="(\w+)",topic="([\w-]+)"\} (\S+)', page):
            if float(n):
                assert outcome == "order_ended"
                found[topic] = int(float(n))
    return found


def test_after_the_sunset_the_outcome_is_order_ended_and_nothing_else_happens(kafka: Broker, tmp_path: Path) -> None:
    system = System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path, NINEZERO_SUNSET="2020-06-01T00:00:00+08:00")
    system.prepare()
    system.start("screening", "ledgers", "recording")
    try:
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
        for seq, (topic, event) in enumerate(EVENTS.items()):
            full = {"device_id": "d", "seq": seq, "observed_at": datetime.now(UTC).isoformat()} | event
            producer.send(system.prefix + topic, key=b"s", value=orjson.dumps(full))
        producer.close()
        wait_for(lambda: len(read_all(system, "screening-outcomes")) == 2, 40, "the outcomes")
        wait_for(lambda: discarded(system) == dict.fromkeys(EVENTS, 1), 40, "every event to be discarded and counted")
        outcomes = sorted(o for record in read_all(system, "screening-outcomes") for o in record["outcomes"])
        assert outcomes == [["d", 0, "order_ended", []], ["d", 1, "order_ended", []]]
        for topic in ("screening-alerts", "screening-decisions", "dead-letters"):
            assert read_all(system, topic) == []
        wait_for(lambda: "dispositions" in recorded(system), 40, "the recording role to have read everything")
    finally:
        system.stop()
    tables = system.query(
        "SELECT name FROM system.tables WHERE database = 'ninezero_data' AND match(name, 'facts|events|cases')"
    )
    assert {"screening_facts", "device_events", "disposition_facts"} <= {table["name"] for table in tables}
    for table in tables:
        assert system.query(f"SELECT * FROM ninezero_data.{table['name']}") == []
    for view in ("screening_by_day", "arrivals_by_day", "dispositions_by_day", "device_completeness"):
        assert system.query(f"SELECT * FROM ninezero.{view}") == []


def recorded(system: System) -> set[str]:
    """Returns the topics for which the recording role has stored progress."""
    rows = system.query("SELECT DISTINCT topic FROM ninezero_data.recorder_progress")
    return {row["topic"].removeprefix(system.prefix) for row in rows}
