"""A record of an unknown format ends the recorder; after it is set aside, exactly it is passed over. An upgrade is finished."""

from __future__ import annotations

import asyncio
import urllib.request
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from ninezero.schemas.events import DecisionGroup, Decisions, encode
from ninezero.schemas.formats import Format, Version
from ninezero.schemas.register import StatedFormats
from ninezero.streams import settings
from ninezero.streams.kafka import administration, statements, sync
from ninezero.streams.kafka.register import read_register
from ninezero.streams.kafka.statements import state
from ninezero.streams.local_kafka.broker import Broker
from tests.support import System, wait_for


def decisions(seq: int) -> bytes:
    """Returns a decisions record about one scan."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    group = DecisionGroup("vehicle", "in", "", 1, "clear", False, [], [], [0], ["gate-a"], [seq], [now_ms], [seq])
    return encode(Decisions("default@1", [], now_ms, 1, ["road-0"], [group]))


def committed(system: System) -> int:
    """Returns the offset that the recorder has committed for partition 0 of the decisions; 0 without one."""
    group, partition = f"{system.prefix}ninezero-recording", TopicPartition(f"{system.prefix}screening-decisions", 0)
    with closing(KafkaAdminClient(bootstrap_servers=system.env["NINEZERO_KAFKA"])) as admin:
        found = admin.list_group_offsets([group])[group].get(partition)
    return 0 if found is None else int(found.offset)


def metrics(system: System) -> str:
    """Returns the metrics of the recorder."""
    with urllib.request.urlopen(f"http://127.0.0.1:{system.http + 3}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def test_a_record_of_format_99_ends_the_recorder_and_is_passed_over_once_it_is_set_aside(
    kafka: Broker, tmp_path: Path
) -> None:
    system = System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path)
    system.prepare()
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:
        for seq, form in enumerate((b"decisions/1", b"decisions/99", b"decisions/1", None)):
            headers = [] if form is None else [("format", form)]
            producer.send(f"{system.prefix}screening-decisions", decisions(seq), b"road-0", headers, 0).get(10)
    readable = system.run("records", "set-aside", "screening-decisions/0@0", "--by", "ops-1", "--yes")
    assert readable.returncode == 1 and b"this release reads the record" in readable.stderr

    def logged(line: str) -> bool:
        return line in system.logs()

    try:
        for offset, number in ((1, 99), (3, 0)):
            line = f"unreadable_record: topic screening-decisions, partition 0, offset {offset}, format decisions/{number}: "
            system.start("recording")
            wait_for(partial(logged, line), 20, "the line")
            assert 'ninezero_unreadable_records_total{topic="screening-decisions"} 1.0' in metrics(system)
            assert not system.ready("recording")
            system.stop()
            assert system.workers["recording"].returncode == 1 and committed(system) == 0
            command = ("records", "set-aside", f"screening-decisions/0@{offset}", "--by", "ops-1")
            asked = system.run(*command)
            assert asked.returncode == 1 and b"not counted" in asked.stdout and b"--yes" in asked.stderr
            assert system.run(*command, "--yes").returncode == 0

        system.start("recording")
        wait_for(lambda: committed(system) == 4, 20, "the recorder to pass over both records")
        [row] = system.query("SELECT sum(received) AS n FROM ninezero.device_completeness")
        assert int(row["n"]) == 2 and system.logs().count("passing over the record screening-decisions/0@") == 3
        status = system.run("upgrade", "status").stdout.decode()
        assert "set aside: screening-decisions/0@1, at" in status and status.count("yes") == 1
    finally:
        system.stop()
    assert "Traceback" not in system.logs()


def test_an_alert_that_cannot_be_read_ends_the_recorder_and_is_passed_over_once_it_is_set_aside(
    kafka: Broker, tmp_path: Path
) -> None:
    system = System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path)
    system.prepare()
    topic = f"{system.prefix}screening-alerts"
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:
        producer.send(topic, b'{"case_id": 7}', b"road-0", partition=0).get(10)
    try:
        system.start("recording")
        line = "unreadable_record: topic screening-alerts, partition 0, offset 0, format none: "
        wait_for(lambda: line in system.logs() and system.workers["recording"].poll() == 1, 30, "the recorder to end")
        assert system.run("records", "set-aside", "screening-alerts/0@0", "--by", "ops-1", "--yes").returncode == 0
        system.start("recording")
        wait_for(
            lambda: "passing over the record screening-alerts/0@0" in system.logs(), 20, "the record to be passed over"
        )
        assert system.workers["recording"].poll() is None
    finally:
        system.stop()
    assert "Traceback" not in system.logs()


def test_an_upgrade_is_finished_when_every_worker_reads_the_formats(kafka: Broker, tmp_path: Path) -> None:
    system = System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path)
    system.prepare()
    older = KafkaConsumer(
        f"{system.prefix}watchlist-pushes", bootstrap_servers=kafka.bootstrap, group_id=f"{system.prefix}ninezero-lists",
        client_id="old-machine:127.0.0.1:6067/17f",
    )  # fmt: skip
    with closing(older):
        older.poll(5000)
        refused = system.run("upgrade", "finish", "--by", "ops-1", "--yes")
        assert refused.returncode == 1 and b"1 of 1 workers do not read these formats" in refused.stderr
        assert b"old-machine" in refused.stdout
    system.start("screening")
    wait_for(lambda: "yes" in system.run("upgrade", "status").stdout.decode(), 20, "the worker to join")
    asked = system.run("upgrade", "finish", "--by", "ops-1")
    assert asked.returncode == 1 and b"--yes" in asked.stderr
    assert system.run("upgrade", "finish", "--by", "ops-1", "--yes").returncode == 0
    wait_for(lambda: "writing decisions/1" in system.logs(), 10, "the worker to follow the statement")
    assert b"was finished before" in system.run("upgrade", "finish", "--by", "ops-1", "--yes").stdout

    newer = StatedFormats({"audit": 1, "decisions": 2}, "0.9.0", "ops-1", datetime.now(UTC))
    state(settings.load(system.env), newer)
    wait_for(lambda: system.workers["screening"].poll() is not None, 10, "the worker to end")
    assert "audit" in system.run("upgrade", "status").stdout.decode()
    assert (
        "writes audit/1, decisions/2, which this release does not know: start that release or a newer one"
        in system.logs()
    )
    refused = system.run("worker", "screening")
    assert refused.returncode == 1 and b"finished its upgrade to release 0.9.0" in refused.stderr
    assert "Traceback" not in system.logs()


def test_a_new_deployment_writes_the_current_formats_from_the_beginning(
    kafka: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings.load(System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path).env)
    newer = Version(2, Decisions, upgrade=lambda value: value, downgrade=lambda value: value)
    for module in (administration, statements):
        monkeypatch.setattr(module, "FORMATS", (Format("decisions", Version(1, Decisions), newer),))
    assert "register" in {name.rpartition(".")[2] for name in administration.create_topics(given, 1)}
    stated = asyncio.run(read_register(given)).formats
    assert stated is not None and stated.formats == {"decisions": 2}
    with closing(sync.admin(given)) as admin:
        admin.delete_topics([given.topic("dead-letters")])
        wait_for(lambda: given.topic("dead-letters") not in admin.list_topics(), 10, "the topic to be deleted")
    assert administration.create_topics(given, 1) == [given.topic("dead-letters")]
    assert asyncio.run(read_register(given)).formats == stated, "an older worker may run beside existing topics"
