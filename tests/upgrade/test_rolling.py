"""Workers of release N are replaced one by one by those of release N+1, and back, under load: nothing is lost or counted twice."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaConsumer

from ninezero.streams.kafka.sync import read_to_end
from ninezero.streams.local_kafka.broker import Broker
from tests.faults.check import check
from tests.faults.load import SCANS
from tests.faults.run import RECOVERY_SECONDS, drain, waiting_for
from tests.support import wait_for

from .release import Releases
from .rolling import ROLES, Rolling

LANES = 20
"""Scans that a device of release N+1 sends to workers of release N."""


@pytest.fixture
def rolling(kafka: Broker, tmp_path: Path, releases: Releases) -> Iterator[Rolling]:
    deployment = Rolling(tmp_path, int(os.environ.get("FAULT_SEED", "1")), kafka, releases.first)
    yield deployment
    deployment.stop()


def formats_of(d: Rolling, topic: str) -> set[str]:
    """Returns the formats that the records of a topic state."""
    with closing(KafkaConsumer(bootstrap_servers=d.broker.bootstrap)) as reader:
        return {dict(r.headers).get("format", b"").decode() for r in read_to_end(reader, d.prefix + topic) if r.value}


def reject_lanes(d: Rolling) -> None:
    """A device of release N+1 sends a field that release N does not know: each scan becomes a dead letter with the path of its object."""
    d.send_lanes(LANES)
    sent = d.load.expected.garbage
    wait_for(lambda: len(sent) == LANES and sent.keys() <= d.observer.dead.keys(), 30, "the dead letters of the lanes")
    listed = d.output("dead-letters", "list", "--topic", SCANS, "--reason", "schema_invalid")
    assert listed.count(" /people/0 ") == LANES, listed


def upgrade(d: Rolling, releases: Releases, rng: random.Random, steps: tuple[int, ...], kills: bool) -> None:
    """Migrates, and replaces all workers by release N+1 (step 1) or N (step 0), step after step."""
    d.release = releases.second
    assert not releases.made or "002_dead_letter_size" in d.output("migrate", "--plan")
    d.output("migrate")
    if releases.made:
        early = d.run("upgrade", "finish", "--by", "op1", "--yes")
        assert early.returncode == 1 and b"replace them first" in early.stderr, early
    for step in steps:
        d.replace(releases[step], rng, kills)
        time.sleep(rng.uniform(0.5, 1.5))
    written = formats_of(d, "screening-decisions")
    assert not releases.made or written == {"decisions/1"}, "the older format is written until the upgrade is finished"


def finish(d: Rolling, releases: Releases) -> None:
    """Finishes the upgrade and sends the rejected scans again."""
    d.output("upgrade", "finish", "--by", "op1", "--yes")
    if not releases.made:
        return
    wait_for(lambda: "decisions/2" in formats_of(d, "screening-decisions"), 30, "decisions of the new format")
    d.observer.refused = False
    d.output("dead-letters", "redrive", "--topic", SCANS, "--reason", "schema_invalid")


def correct(d: Rolling, releases: Releases) -> None:
    """Waits until everything is processed, and compares all outputs with the oracle."""
    time.sleep(1)
    d.load.pause()
    seconds = drain(d, time.monotonic())
    assert seconds is not None and seconds < RECOVERY_SECONDS, [*d.observer.wrong, waiting_for(d)]
    d.observer.fresh()
    found = check(d)
    assert (found.lost, found.double, found.wrong) == (0, 0, [])
    assert found.events > 500 and not d.ended, d.ended
    assert "Traceback" not in d.logs()
    if not releases.made:
        return
    lanes = "SELECT sum(count) FROM ninezero.reasons_by_day WHERE rule = 'fever_in_lane'"
    assert d.observer.query(lanes) == [(LANES // 2,)]
    [(sizes,)] = d.observer.query("SELECT countIf(size > 0) FROM ninezero_data.dead_letter_facts")
    assert sizes, "release N+1 fills its column"


def test_an_upgrade_under_load_loses_nothing_and_counts_nothing_twice(rolling: Rolling, releases: Releases) -> None:
    """The short case: forward, without kills."""
    rng = random.Random(rolling.load.run)
    rolling.begin(*ROLES)
    if releases.made:
        reject_lanes(rolling)
    rolling.load.go()
    upgrade(rolling, releases, rng, (1,), kills=False)
    finish(rolling, releases)
    correct(rolling, releases)


@pytest.mark.upgrade
def test_an_upgrade_that_goes_forward_back_and_forward_with_kills_loses_nothing(
    rolling: Rolling, releases: Releases
) -> None:
    """Two workers of the roles with much to do, so that both releases run side by side in their consumer groups."""
    rng = random.Random(rolling.load.run)
    rolling.begin(*ROLES, "screening-2", "recording-2")
    if releases.made:
        reject_lanes(rolling)
    rolling.load.go()
    upgrade(rolling, releases, rng, (1, 0, 1), kills=True)
    finish(rolling, releases)
    if releases.made:
        refused = rolling.run_as(releases.first, "worker", "recording")
        text = refused.stderr.decode()
        assert refused.returncode == 1 and text.count("\n") == 1 and "there is no way back" in text, text
    correct(rolling, releases)
