"""Imports point in one direction, and topics have the retention of the contract."""

import subprocess
import sys
from pathlib import Path

from ninezero.streams.kafka import topics

ROOT = Path(__file__).resolve().parents[3]


def test_imports_point_one_way() -> None:
    done = subprocess.run([str(Path(sys.executable).parent / "lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_topics_have_the_retention_of_the_contract() -> None:
    hours = {topic.name: topic.hours for topic in topics.ALL}
    assert hours["checkpoint-scans"] == hours["station-arrivals"] == hours["screening-outcomes"] == 24
    assert (
        hours["screening-alerts"] == 72 and hours["dead-letters"] == 7 * 24 and hours["screening-decisions"] == 14 * 24
    )
    assert hours["watchlist"] is None and topics.WATCHLIST.partitions == 1
    for topic in topics.ALL:
        assert topic.config()["message.timestamp.type"] == "LogAppendTime"


def test_the_broker_removes_no_record_of_the_policies() -> None:
    config = topics.POLICIES.config()
    assert config["cleanup.policy"] == "compact" and config["min.compaction.lag.ms"] == str(2**63 - 1)
    assert int(config["max.compaction.lag.ms"]) >= int(config["min.compaction.lag.ms"]), (
        "the broker rejects it otherwise"
    )
    assert topics.POLICIES.partitions == 1
    assert [topic for topic in topics.ALL if topic.every_record] == [topics.POLICIES]
