"""`ninezero dead-letters` lists rejected records, and sends them again after the cause is repaired."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from ninezero.streams.local_kafka.broker import Broker
from tests.integration.pipeline.test_pipeline import read_all
from tests.support import System, wait_for

PERSON = {"role": "driver", "tokens": {"id": "k1." + "0" * 32}, "temperature_c": 36.5}


def test_rejected_records_are_listed_and_can_be_sent_again_after_the_repair(kafka: Broker, tmp_path: Path) -> None:
    ended = {"NINEZERO_SUNSET": "2020-06-01T00:00:00+08:00"}  # after the sunset, screening does not wait for lists
    system = System(kafka.bootstrap, f"chdb://{tmp_path}/ch", tmp_path, **ended)
    system.prepare()
    old = datetime.now(UTC) - timedelta(days=20)
    event = {"device_id": "d", "seq": 0, "site_id": "s", "observed_at": old.isoformat(), "kind": "vehicle", "people": [PERSON]}  # fmt: skip
    try:
        assert system.run("dead-letters", "list").stdout == b"no rows\n"
        system.start("screening")
        with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:
            for value in (
                orjson.dumps(event),
                orjson.dumps(event),
                b"{370115199001011234",
                orjson.dumps(event | {"seq": 1}),
            ):
                producer.send(system.prefix + "checkpoint-scans", value, key=b"s").get(30)
        wait_for(lambda: len(read_all(system, "dead-letters")) == 4, 60, "the dead letters")

        listed = system.run("dead-letters", "list", "--limit", "3").stdout.decode()
        assert listed.count("clock_out_of_range") == 2 and "1 older ones are not shown" in listed
        assert "not_json" in listed and "370115" not in listed
        assert b"no rows" in system.run("dead-letters", "list", "--topic", "dispositions").stdout
        wrong = system.run("dead-letters", "list", "--topic", "screening-alerts")
        assert (wrong.returncode, wrong.stderr.count(b"\n")) == (1, 1)

        system.kill("screening")
        system.env["NINEZERO_REPLAY"] = "1"  # the repair: old events are accepted
        system.start("screening")
        done = system.run("dead-letters", "redrive", "--reason", "clock_out_of_range")
        assert (done.returncode, done.stdout) == (0, b"sent again: 2 of checkpoint-scans\n"), done.stderr
        wait_for(lambda: len(read_all(system, "screening-outcomes")) > 0, 60, "the outcomes")
        outcomes = [tuple(one[:3]) for value in read_all(system, "screening-outcomes") for one in value["outcomes"]]
        assert sorted(set(outcomes)) == [("d", 0, "order_ended"), ("d", 1, "order_ended")]
        assert len(read_all(system, "dead-letters")) == 4

        topic = system.prefix + "checkpoint-scans"
        with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
            admin.delete_records({TopicPartition(topic, partition): -1 for partition in range(4)})
        done = system.run("dead-letters", "redrive")
        assert done.stdout == b"sent again: nothing\n3 are no longer in Kafka and cannot be sent\n"
    finally:
        system.stop()
    assert "Traceback" not in system.logs()
