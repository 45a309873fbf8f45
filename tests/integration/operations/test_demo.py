"""A demo in the folder and the environment of a real deployment changes and stops nothing of it, and leaves no process behind."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer

from ninezero.schemas.rows import FIRST_WINS, ScreeningFact
from ninezero.streams import clickhouse
from ninezero.streams import direct_http as direct
from ninezero.streams.local_kafka.broker import Broker
from tests.support import NINEZERO, System, wait_for

ROOT = Path(__file__).parents[3]
LAKESIDE = str(ROOT / "agents" / "demo" / "scenarios" / "lakeside.toml")


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The deployment of a user, set up by commands in one folder: a Kafka, topics, and a database with one passage."""
    folder = tmp_path_factory.mktemp("user")
    system = System("127.0.0.1:1", f"chdb://{folder}/.run/counts", folder, XDG_STATE_HOME=str(folder / "state"),
                    NINEZERO_KEYS=str(folder / "keys.json"), NINEZERO_OUTBOX=str(folder / "outbox"))  # fmt: skip
    started = system.run("kafka", "start").stdout.decode()
    assert started.startswith("Kafka answers at 127.0.0.1:"), started
    system.env["NINEZERO_KAFKA"] = started.split()[-1]
    system.prepare()
    fact = ScreeningFact(date(2026, 1, 1), 1_767_200_040, "s", "d", 0, "vehicle", "in", "", 1, "clear", 0, [],
                         "default@1", [], [], FIRST_WINS)  # fmt: skip
    with closing(clickhouse.connect(system.env["NINEZERO_CLICKHOUSE"])) as engine:
        engine.insert("ninezero_data.screening_facts", ScreeningFact._fields, [fact])
    yield system
    Broker(folder / ".run" / "kafka").stop()


def unchanged(user: System) -> bool:
    """Returns whether the user's Kafka runs and has the topics of the user alone, and the database has its one passage."""
    status = user.run("kafka", "status").stdout.decode()
    with closing(KafkaConsumer(bootstrap_servers=user.env["NINEZERO_KAFKA"])) as reader:
        theirs = all(topic.startswith((user.prefix, "mine", "__")) for topic in reader.topics())
    passages = user.query("SELECT toUInt64(sum(passages)) AS n FROM ninezero.screening_by_day")
    return user.env["NINEZERO_KAFKA"] in status and theirs and int(passages[0]["n"]) == 1


class Demo:
    """A demo that keeps running, with its output in a file."""

    def __init__(self, user: System, name: str) -> None:
        self.output = user.folder / f"{name}.output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [NINEZERO, "demo", "--scenario", LAKESIDE], cwd=user.folder, env=user.env, stdout=output, stderr=output
            )

    def board(self) -> str:
        found = re.search(r"http://\S+", self.output.read_text())
        return found[0] if found else ""

    def answers(self) -> bool:
        """Returns whether its board answers."""
        try:
            return bool(self.board()) and direct.ask(self.board(), timeout=5).status == 200
        except OSError:
            return False


def test_demos_leave_the_deployment_of_their_user_alone_and_no_process_behind(user: System) -> None:
    """Two at the same time; one is killed, one receives SIGTERM."""
    demos = [Demo(user, "first"), Demo(user, "second")]
    run = user.folder / ".run"
    brokers = [Broker(run / name / "kafka") for name in ("demo", "demo-2")]
    try:
        for demo in demos:
            wait_for(demo.answers, 90, "the board")
        assert demos[0].board() != demos[1].board() and all(broker.running() for broker in brokers)
        assert unchanged(user)
        for demo, sign in zip(demos, (signal.SIGKILL, signal.SIGTERM), strict=True):
            demo.process.send_signal(sign)
        for demo in demos:
            demo.process.wait(90)
        wait_for(lambda: not any(broker.running() for broker in brokers), 60, "the end of both Kafkas")
        assert not any(demo.answers() for demo in demos)
        again = Demo(user, "again")  # in the folder of the one that was killed
        demos.append(again)
        wait_for(again.answers, 90, "the board")
        assert any(broker.running() for broker in brokers) and not (run / "demo-3").exists()
        again.process.send_signal(signal.SIGINT)
        again.process.wait(90)
    finally:
        for demo in demos:
            demo.process.kill()
        wait_for(lambda: not any(broker.running() for broker in brokers), 60, "the end of all Kafkas")
    assert unchanged(user)
    assert "Traceback" not in "".join(demo.output.read_text() for demo in demos)


def test_a_demo_on_a_database_or_kafka_that_is_not_empty_is_refused_and_changes_nothing(user: System) -> None:
    done = user.run("demo", "--once", "--use-clickhouse")
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1, done.stderr
    assert b"ninezero_data.screening_facts has 1 row" in done.stderr and b"without --use-clickhouse" in done.stderr
    with closing(KafkaProducer(bootstrap_servers=user.env["NINEZERO_KAFKA"])) as producer:
        producer.send(user.prefix + "dead-letters", b"mine").get(30)
    done = user.run("demo", "--once", "--use-kafka")
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1, done.stderr
    assert f"the topic {user.prefix}dead-letters has records".encode() in done.stderr
    del user.env["NINEZERO_CLICKHOUSE"]
    done = user.run("demo", "--once", "--use-clickhouse")
    assert done.returncode == 1 and done.stderr.startswith(b"ninezero: NINEZERO_CLICKHOUSE is not set"), done.stderr
    user.env["NINEZERO_CLICKHOUSE"] = f"chdb://{user.folder}/.run/counts"
    assert unchanged(user)


def test_commands_name_the_deployment_that_they_change(user: System) -> None:
    kafka = f"acting on: Kafka {user.env['NINEZERO_KAFKA']}, topic prefix {user.prefix}\n"
    database = f"acting on: embedded ClickHouse {user.folder}/.run/counts\n"
    (user.folder / "sites.csv").write_text("site_id,kind,division,capacity\ns,road,370115,0\n")
    for target, *arguments in (
        (kafka, "topics", "create"), (kafka, "dead-letters", "redrive"), (database, "migrate"), (database, "retain"),
        (database, "publish"), (kafka, "sites", "load", "sites.csv"), (kafka, "register", "site", "sites.csv"),
    ):  # fmt: skip
        done = user.run(*arguments)
        assert (done.returncode, done.stderr.decode()) == (0, target), arguments
    assert user.run("migrate", "--plan").stderr == b"", "it changes nothing"
    refused = user.run("erase")
    target, line = refused.stderr.decode().splitlines()
    assert target == f"{kafka.strip()}; {database.strip().removeprefix('acting on: ')}; this machine, order TEST-2026-1"
    assert line.startswith("ninezero: nothing was erased") and unchanged(user)


def test_starting_and_stopping_kafka_say_what_happened(user: System) -> None:
    address = user.env["NINEZERO_KAFKA"]
    again = user.run("kafka", "start")
    assert (again.returncode, again.stdout.decode()) == (0, f"Kafka runs here already and answers at {address}\n")
    other = user.folder / "other"
    other.mkdir()
    port = address.rpartition(":")[2]
    for arguments, status, text in (
        (("start", "--port", port), 1, f"port {port} is in use"),
        (("stop",), 0, f"nothing was stopped: no Kafka runs in {other}/.run/kafka"),
    ):
        done = subprocess.run([NINEZERO, "kafka", *arguments], cwd=other, env=user.env, capture_output=True, text=True)
        assert done.returncode == status and text in done.stdout + done.stderr, done
    assert unchanged(user)
