"""Quarantine and follow-up on a real Kafka: events give alerts and daily views, although workers are killed in between."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from kafka import KafkaProducer

from ninezero.streams.local_kafka.broker import Broker
from tests import case_oracle
from tests.case_events import PLACE, ZONE, check, make, quarantine_event
from tests.integration.pipeline.test_pipeline import read_all
from tests.support import NINEZERO, System, free_port, wait_for

TOPICS = {"quarantine": "quarantine-events", "followup": "followup-events"}
Sent = tuple[str, bytes, bytes]


@pytest.fixture
def producer(kafka: Broker) -> Iterator[KafkaProducer]:
    kafka_producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=2 << 20, acks="all")
    yield kafka_producer
    kafka_producer.close()


def record(event: dict[str, Any]) -> Sent:
    kind = next(kind for kind, place in PLACE.items() if place in event)
    return TOPICS[kind], event["case_id"].encode(), orjson.dumps(event)


def send(system: System, producer: KafkaProducer, records: list[Sent]) -> None:
    for topic, key, value in records:
        producer.send(system.prefix + topic, key=key, value=value)
    producer.flush()


def garbage() -> list[Sent]:
    """Returns bad records, each bad in a different way."""
    old = quarantine_event("admitted", datetime.now(UTC) - timedelta(days=14), n=77)
    bad = [b"{", b"{}", b" " * 1_100_000, orjson.dumps(old), orjson.dumps(old | {"case_id": "c.370115199001011234"})]
    return [(topic, b"c.0", value) for topic in TOPICS.values() for value in bad]


def alerts(system: System) -> tuple[case_oracle.Alerts, dict[str, Counter[str]]]:
    """Returns the alerts, and for each alert id how often each content occurred."""
    found: case_oracle.Alerts = set()
    times: dict[str, Counter[str]] = {}
    for alert in read_all(system, "screening-alerts"):
        place = alert["site_id"] or alert["district"]
        found.add((alert["rule"], alert["case_id"], date.fromisoformat(alert["day"]), alert["slot"], place))
        times.setdefault(alert["alert_id"], Counter())[orjson.dumps(alert).decode()] += 1
    return found, times


def expected(events: list[dict[str, Any]]) -> case_oracle.Alerts:
    zone, now = ZoneInfo(ZONE), datetime.now(UTC)
    some = [[event for event in events if place in event] for place in PLACE.values()]
    return case_oracle.quarantine_alerts(some[0], zone, now) | case_oracle.followup_alerts(some[1], zone, now)


def counted(events: list[dict[str, Any]]) -> Counter[tuple[str, str, str]]:
    """Returns the expected rows of care_alerts_by_day: the alerts about days that ended less than 72 hours ago."""
    oldest = (datetime.now(UTC) - timedelta(hours=72)).astimezone(ZoneInfo(ZONE)).date()
    found = expected(events)
    assert {rule for rule, *_ in found} >= {"release_due", "term_exceeded", "fever", "symptoms", "reading_missed"}
    return Counter((str(day), place, rule) for rule, _, day, _, place in found if day >= oldest)


def _sent(system: System) -> Counter[tuple[str, str, str]]:
    """Returns the rows of care_alerts_by_day. A site and a district of one name count together, as in `counted`."""
    found: Counter[tuple[str, str, str]] = Counter()
    for row in system.query("SELECT * FROM ninezero.care_alerts_by_day"):
        found[row["day"], row["site_id"] + row["district"], row["rule"]] += int(row["alerts"])
    return found


def test_every_alert_is_raised_once_and_views_are_exact_despite_kills_and_a_takeover(
    kafka: Broker, producer: KafkaProducer, tmp_path: Path
) -> None:
    seed = int(os.environ.get("FAULT_SEED", "1"))
    print("seed", seed)
    events = make(random.Random(seed), (8, 0))
    limit = int(datetime.now(UTC).timestamp() * 1000) + 10**8  # events after it are resends
    originals = [event for ms, event in events if ms < limit]
    first = case_oracle.first_contents(events)
    cases = sorted({event["case_id"] for event in first})
    parts = [[record(e) for e in originals if cases.index(e["case_id"]) % 3 == n] for n in range(3)]
    again = [record(event) for ms, event in events if ms >= limit]
    system = System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path, NINEZERO_TIMEZONE=ZONE)
    system.prepare()
    system.start("ledgers", "recording")
    second: subprocess.Popen[bytes] | None = None
    try:
        wait_for(lambda: system.ready("ledgers"), 40, "the ledgers role")
        send(system, producer, parts[0] + garbage()[:5])
        early = [event for event in first if cases.index(event["case_id"]) % 3 == 0]
        wait_for(lambda: alerts(system)[0] == expected(early), 30, "the alerts of the first part")
        with (tmp_path / "second.log").open("ab") as log:
            env = system.env | {"NINEZERO_HTTP": f"127.0.0.1:{free_port(4)}"}
            second = subprocess.Popen([NINEZERO, "worker", "ledgers"], env=env, stdout=log, stderr=log)
        send(system, producer, parts[1])
        time.sleep(2)
        system.kill("ledgers")
        system.kill("recording")
        send(system, producer, parts[2] + garbage()[5:])
        time.sleep(0.05)  # two contents within one millisecond have no first one
        send(system, producer, again)
        system.start("recording")
        with contextlib.suppress(AssertionError):
            wait_for(lambda: alerts(system)[0] == expected(first), 60, "every alert")
        assert alerts(system)[0] == expected(first)
        wait_for(lambda: _recorded(system) == len(first), 60, "every fact")
        wait_for(lambda: _dead(system) == 10, 30, "every dead letter")
        wait_for(lambda: _sent(system) == counted(first), 30, "the counts of the alerts that were sent")
        check(system, events)
        time.sleep(2)  # the second worker has read the cases of the first one, and raises no alert again
        _, times = alerts(system)
        assert {n for contents in times.values() for n in contents.values()} == {1}
        assert all(len(contents) == 1 for contents in times.values())
        print("alerts", len(times), "records", sum(sum(c.values()) for c in times.values()))
    finally:
        if second is not None and second.poll() is None:
            second.kill()
        system.stop()
    check(system, events)
    assert "Traceback" not in system.logs()
    assert "370115199001011234" not in system.logs()


def _recorded(system: System) -> int:
    return sum(
        int(system.query(f"SELECT count() AS n FROM ninezero_data.{kind}_facts FINAL")[0]["n"]) for kind in PLACE
    )


def _dead(system: System) -> int:
    rows = system.query("SELECT sum(records) AS n FROM ninezero.dead_letters_by_hour")
    return int(rows[0]["n"] or 0)
