"""Runs one candidate of the comparison: engines, a watchlist, empty topics for each run, CPU time and results."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import orjson
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from ninezero.agents.logic.policy.policy import DEFAULT
from ninezero.agents.logic.policy.rules import RULES
from ninezero.schemas.rows import ScreeningFact
from ninezero.streams import settings as settings_
from ninezero.streams.clickhouse import ClickHouseError, Server, migrate
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.topics import Topic
from ninezero.streams.local_kafka.broker import Broker
from tests.bench.feed import ENTRIES, PARTITIONS, SITES, Scans, expected, write_watchlist
from tests.bench.mixes import MIXES, USUAL, Mix
from tests.bench.processes import Processes
from tests.engines.clickhouse_server import ClickHouseServer
from tests.support import System, free_port, wait_for

HOME = Path(__file__).resolve().parents[2]
PEERS = HOME / ".cache" / "peers"
PYTHON = PEERS / "bin" / "python"
RUN_TOPICS = (topics.SCANS, topics.OUTCOMES, topics.ALERTS, topics.DECISIONS, topics.DEAD_LETTERS)
WARM_UP, WARM_UP_ALERTS = Topic("bench-warm-up", 24), Topic("bench-warm-up-alerts", 24)
MAX_RUN_SECONDS = 150.0
PEER_TABLE = "CREATE TABLE bench.passages AS ninezero_data.screening_facts"
"""Columns and engine are those of the facts."""
COMPARED_COLUMNS = [name for name in ScreeningFact._fields if name not in ("day", "minute", "reasons", "version")]
CHECKSUM = (f"SELECT count() AS n, groupBitXor(cityHash64({', '.join(f'toString({name})' for name in COMPARED_COLUMNS)}, toString(toInt64(minute) - {{base}}), "
       "arrayStringConcat(reasons, ','))) AS sum FROM {table} FINAL")  # fmt: skip
"""The number of rows and a checksum of their columns. Minutes count from the minute of the feed, which differs between runs."""


@dataclass(frozen=True)
class Candidate:
    """A program that does the job, and what it promises.

    `command` is empty for ninezero itself. `event_share` is the part of the scans that it gets; slow programs get fewer. `floor` marks
    a program that only reads and decodes. `commits` is false if it keeps its offsets outside Kafka. `durable`, `dead_letters` and
    `outcomes` are shown in the table.
    """

    name: str
    command: tuple[str, ...] = ()
    event_share: float = 1.0
    floor: bool = False
    commits: bool = True
    durable: str = "yes"
    dead_letters: str = "yes"
    outcomes: str = "no"
    only_asked: bool = False
    """Whether it runs only if `--only` names it."""


class Checksum(NamedTuple):
    """A number of records and a checksum of their content."""

    number: int
    digest: str


class Spent(NamedTuple):
    """The use of a feed: the minute of its last scan, CPU seconds by process, and seconds until all scans were done."""

    base: datetime
    cpu: dict[str, float]
    seconds: float


class RunResult(NamedTuple):
    """The use and the results of one run.

    `cpu` has the CPU seconds by process. `alerts` and `rows` are a number and a checksum; both must equal those of ninezero.
    `outcomes` is the number of events that have an outcome for their device.
    """

    events: int
    cpu: dict[str, float]
    seconds: float
    peak_mb: int
    alerts: Checksum
    rows: Checksum
    dead_letters: int
    outcomes: int

    @property
    def events_per_cpu_second(self) -> float:
        """Events for each CPU second of all processes."""
        return self.events / sum(self.cpu.values())


class Shape(NamedTuple):
    """A deployment: entries on its list of contacts, partitions of its topics, checkpoints, and its traffic."""

    entries: int = ENTRIES
    partitions: int = PARTITIONS
    sites: int = SITES
    mix: Mix = USUAL


class Bench:
    """One broker, one ClickHouse server and one watchlist, for many runs."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self.broker = Broker(folder / "kafka", free_port())
        self.server = ClickHouseServer(folder / "clickhouse")
        self.server.settings["http"] = free_port()

    def start(self, shape: Shape) -> None:
        """Starts the engines and a deployment, and writes the lists of every mix for ninezero and for the peers."""
        self.start_engines()
        self.shape(shape)
        self._create_topics()
        everything = USUAL._replace(lists=tuple(dict.fromkeys(one for mix in MIXES.values() for one in mix.lists)))
        with (self.folder / "list.txt").open("w") as out:
            lines = asyncio.run(write_watchlist(self.settings, self.shaped.entries, everything))
            out.writelines(f"{line}\n" for line in lines)

    def use(self, mix: Mix) -> None:
        """Lets the runs from now on have the scans of a mix. Those for warming up are of the same mix."""
        self.reshape(self.shaped._replace(mix=mix))
        names = [self.settings.topic(topic.name) for topic in (WARM_UP, WARM_UP_ALERTS)]
        self._delete(names)
        self.admin.create_topics(
            [NewTopic(name, self.shaped.partitions, 1, topic_configs=WARM_UP.config()) for name in names]
        )
        asyncio.run(self.scans.feed(self.settings, min(self.count, 100_000), WARM_UP))

    def start_engines(self) -> None:
        """Starts the broker and the ClickHouse server."""
        self.broker.start()
        self.server.start()
        self.admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        self.engine = Server(self.server.admin_url)

    def reshape(self, shape: Shape) -> None:
        """Keeps the deployment and its watchlist, and changes its shape from the next `clean` on."""
        self.shaped = shape
        self.scans = Scans(self.count, shape.mix, shape.entries, shape.partitions, shape.sites)

    def shape(self, shape: Shape) -> None:
        """Makes a new deployment of this shape."""
        self.reshape(shape)
        self.system = System(
            self.broker.bootstrap, self.server.url, self.folder, NINEZERO_MAX_LIST_AGE="1000000"
        )  # nothing is pushed here, so there is no lists role that writes heartbeats
        self.settings = settings_.load(self.system.env)

    def _create_topics(self) -> None:
        done = self.system.run("topics", "create", "--partitions", str(self.shaped.partitions))
        assert done.returncode == 0, done.stderr

    def stop(self) -> None:
        """Stops the engines."""
        self.server.close()
        self.broker.stop()

    def clean(self) -> None:
        """Empties the topics and the database."""
        names = [self.settings.topic(topic.name) for topic in RUN_TOPICS]
        self._delete(names)
        self._create_topics()
        self.empty()

    def _delete(self, names: list[str]) -> None:
        """Deletes those of the topics that exist."""
        if there := set(names) & set(self.admin.list_topics()):
            self.admin.delete_topics(list(there))
            wait_for(lambda: not there & set(self.admin.list_topics()), 30, "the topics to go")

    def empty(self) -> None:
        """Empties the database."""
        for name in ("ninezero", "ninezero_data", "ninezero_published", "bench"):
            with contextlib.suppress(ClickHouseError):
                self.engine.execute(f"DROP DATABASE {name}")
        migrate(self.engine)
        self.engine.execute("CREATE DATABASE bench")
        self.engine.execute(PEER_TABLE)
        self.engine.execute(PEER_TABLE.replace("passages", "warm_up"))

    def run(self, candidate: Candidate) -> RunResult:
        """Lets a candidate do the job once, on empty topics."""
        self.clean()
        count = int(self.count * candidate.event_share)
        return (self._run_peer if candidate.command else self._run_ninezero)(candidate, count)

    def _run_ninezero(self, candidate: Candidate, count: int) -> RunResult:
        self.system.start("screening", "recording")
        try:
            processes = Processes(**{role: process.pid for role, process in self.system.workers.items()})
            processes.wait_until_idle(lambda: self.system.ready("screening") and self.system.ready("recording"))
            scans, decisions = self.settings.topic(topics.SCANS.name), self.settings.topic(topics.DECISIONS.name)
            decided = self.settings.group("recording")

            def done() -> bool:
                return self.committed(self.settings.group("screening"), scans) >= count and self.committed(
                    decided, decisions
                ) >= self.ends(decisions)

            return self._measure(processes, count, done, candidate)
        finally:
            self.system.stop()
            self.system.workers.clear()

    def _run_peer(self, candidate: Candidate, count: int) -> RunResult:
        group = f"{self.settings.topic_prefix}peer-{time.time_ns()}"
        store = self.folder / group
        store.mkdir()
        environment = os.environ | {
            "PYTHONPATH": str(HOME), "BENCH_KAFKA": self.broker.bootstrap, "BENCH_GROUP": group, "BENCH_LIST": str(self.folder / "list.txt"),
            "BENCH_PREFIX": self.settings.topic_prefix, "BENCH_CLICKHOUSE": f"127.0.0.1:{self.server.port}",
            "BENCH_CLICKHOUSE_HTTP": f"http://127.0.0.1:{self.server.settings['http']}", "BENCH_WARM": self.settings.topic(WARM_UP.name),
            "BENCH_WARM_ALERTS": self.settings.topic(WARM_UP_ALERTS.name), "BENCH_OUTCOMES": "1" if candidate.outcomes == "yes" else "0",
        }  # fmt: skip
        command = list(candidate.command)
        if "bytewax.run" in command:
            subprocess.run([str(PYTHON), "-m", "bytewax.recovery", str(store), "1"], check=True, cwd=HOME)
            command = [*command[:-1], f"{command[-1]}:flow", "-r", str(store), "-s", "1", "-b", "0"]
        if "stock_faust" in command[-1]:
            command += ["worker", "--without-web", "-l", "warn"]
        log = store / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, env=environment, stdout=out, stderr=out, cwd=store if command[0] == "java" else HOME, start_new_session=True
            )  # fmt: skip
        try:
            processes = Processes(all=process.pid)
            processes.wait_until_idle(lambda: self._check_alive(process, log) and b"ready" in log.read_bytes())
            scans, rows = self.settings.topic(topics.SCANS.name), expected(count, self.shaped.mix).rows

            def done() -> bool:
                self._check_alive(process, log)
                if candidate.commits:
                    return self.committed(group, scans) >= count
                return int(self.engine.query("SELECT count() AS n FROM bench.passages")[0]["n"]) >= rows

            return self._measure(processes, count, done, candidate)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @staticmethod
    def _check_alive(process: subprocess.Popen[bytes], log: Path) -> bool:
        assert process.poll() is None, f"a peer ended: {log.read_text()[-2000:]}"
        return True

    def _measure(self, processes: Processes, count: int, done: Callable[[], bool], candidate: Candidate) -> RunResult:
        base, cpu, seconds = self.feed_and_wait(processes, count, done)
        table = "bench.passages" if candidate.command else "ninezero_data.screening_facts"
        if not candidate.floor:
            self._check_rows(table, count)
        row = self.engine.query(CHECKSUM.format(table=table, base=int(base.timestamp())))[0]
        return RunResult(
            count, cpu, seconds, processes.peak_mb(), self.alerts(base),
            Checksum(int(row["n"]), str(row["sum"])), self.ends(self.settings.topic(topics.DEAD_LETTERS.name)), self.outcomes(),
        )  # fmt: skip

    def feed_and_wait(self, processes: Processes, count: int, done: Callable[[], bool]) -> Spent:
        """Feeds `count` scans and waits until all are done."""
        before = processes.cpu()
        base = asyncio.run(self.scans.feed(self.settings, count))
        began = time.monotonic()
        while not done():
            assert time.monotonic() - began < MAX_RUN_SECONDS, "a candidate takes too long"
            time.sleep(0.05)
        seconds, after = time.monotonic() - began, processes.cpu()
        return Spent(base, {name: after[name] - before[name] for name in before}, seconds)

    def committed(self, group: str, topic: str) -> int:
        """Returns the sum of a group's committed offsets on a topic."""
        try:
            found = self.admin.list_group_offsets([group])[group]
        except KafkaError:  # the group is not there yet
            return 0
        return sum(offset.offset for tp, offset in found.items() if isinstance(tp, TopicPartition) and tp.topic == topic)  # fmt: skip

    def ends(self, topic: str) -> int:
        """Returns the sum of a topic's end offsets."""
        reader = KafkaConsumer(bootstrap_servers=self.broker.bootstrap)
        try:
            return sum(
                reader.end_offsets([TopicPartition(topic, p) for p in reader.partitions_for_topic(topic)]).values()
            )
        finally:
            reader.close()

    def alerts(self, base: datetime) -> Checksum:
        """Returns the number of alerts and a checksum of their content. Times count from `base`.

        Checks the reasons of each against what the mix states.
        """
        contents = []
        for value in self._values(topics.ALERTS):
            alert = orjson.loads(value)
            reasons = [(reason["person"], reason["rule"]) for reason in alert["reasons"]]
            assert reasons == self.scans.rules[alert["seq"]], f"the alert about scan {alert['seq']} has other reasons"
            del alert["decided_at"], alert["watchlist_version"]
            alert["observed_at"] = str(datetime.fromisoformat(alert["observed_at"]) - base)
            contents.append(orjson.dumps(alert, option=orjson.OPT_SORT_KEYS))
        return Checksum(len(contents), hashlib.sha256(b"\n".join(sorted(contents))).hexdigest())

    def _check_rows(self, table: str, count: int) -> None:
        """Checks outcome and reasons in each row about the first `count` scans against what the mix states of them."""
        rows = self.engine.query(f"SELECT seq, outcome, reasons FROM {table} FINAL")
        found = {int(row["seq"]): (row["outcome"], row["reasons"]) for row in rows}
        due = {
            n: (DEFAULT.most_severe([RULES[rule] for _, rule in rules]), [rule for _, rule in rules])
            for n, rules in enumerate(self.scans.rules[:count])
            if rules is not None
        }
        wrong = sorted(n for n in due.keys() | found.keys() if due.get(n) != found.get(n))
        assert not wrong, f"{len(wrong)} rows are not as the mix states, such as {wrong[0]}: {found.get(wrong[0])}"

    def outcomes(self) -> int:
        """Returns the number of events that have an outcome."""
        return len({(d, n) for value in self._values(topics.OUTCOMES) for d, n, *_ in orjson.loads(value)["outcomes"]})

    def _values(self, topic: Topic) -> list[bytes]:
        return asyncio.run(_read(self.settings, self.settings.topic(topic.name), self.shaped.partitions))


async def _read(settings: settings_.Settings, topic: str, partitions: int) -> list[bytes]:
    tps = [kafka.TopicPartition(topic, p) for p in range(partitions)]
    async with kafka.connected(kafka.consumer(settings, isolation_level="read_committed")) as reader:
        return [record.value async for record in kafka.read_to_end(reader, tps)]
