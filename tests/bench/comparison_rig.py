"""The machinery of the comparison: engines, a list, empty topics for each run, and what a candidate spends and leaves behind."""

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

from ninezero.schemas.rows import ScreeningFact
from ninezero.streams import settings as settings_
from ninezero.streams.clickhouse.engines import ClickHouseError, Server, migrate
from ninezero.streams.kafka import client as kafka
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.topics import Topic
from ninezero.streams.local_kafka.broker import Broker
from tests.bench.feed import ENTRIES, PARTITIONS, SITES, Scans, expected, list_people
from tests.support import ClickHouseServer, System, free_port, wait_for

HOME = Path(__file__).resolve().parents[2]
PYTHON = HOME / ".cache" / "peers" / "bin" / "python"
JAVA = f"{HOME}/.cache/peers/classes:{HOME}/.cache/peers/streams/*"
FLOWING = (topics.SCANS, topics.OUTCOMES, topics.ALERTS, topics.DECISIONS, topics.DEAD_LETTERS)
WARM = Topic("bench-warm-up", 24)
MOST_SECONDS = 150.0
PASSAGES = ("CREATE TABLE bench.passages AS ninezero_data.screening_facts "
            "ENGINE = ReplacingMergeTree(version) PARTITION BY day ORDER BY (minute, site_id, device_id, seq)")  # fmt: skip
FACTS = [name for name in ScreeningFact._fields if name not in ("day", "minute", "reasons", "version")]
SUM = (f"SELECT count() AS n, groupBitXor(cityHash64({', '.join(f'toString({name})' for name in FACTS)}, toString(toInt64(minute) - {{base}}), "
       "arrayStringConcat(reasons, ','))) AS sum FROM {table} FINAL")  # fmt: skip
"""Of all that a row says; its minute is counted from the feed's, which differs from run to run."""


@dataclass(frozen=True)
class Candidate:
    """Who does the job, and what it promises. `share`: of the scans it gets; a slow one gets fewer."""

    name: str
    command: tuple[str, ...] = ()
    share: float = 1.0
    floor: bool = False
    commits: bool = True
    durable: str = "yes"
    letters: str = "yes"
    outcomes: str = "no"


class Found(NamedTuple):
    """What came of one run: CPU seconds by part, seconds, and the sums that must be those of the product."""

    events: int
    cpu: dict[str, float]
    seconds: float
    peak_mb: int
    alerts: tuple[int, str]
    rows: tuple[int, str]
    letters: int
    told: int
    """Outcomes for devices."""

    @property
    def per_cpu(self) -> float:
        """Events a CPU-second."""
        return self.events / sum(self.cpu.values())


class Shape(NamedTuple):
    """What a deployment is like: entries listed, partitions of its topics, checkpoints."""

    entries: int = ENTRIES
    partitions: int = PARTITIONS
    sites: int = SITES


class Processes:
    """The processes of a candidate with their children."""

    def __init__(self, **pids: int) -> None:
        self._pids = pids

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, of each with all its children, those that ended included."""
        stats = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = path.read_text().rpartition(")")[2].split()
                stats[int(path.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
        children: dict[int, list[int]] = {}
        for pid, (parent, _) in stats.items():
            children.setdefault(parent, []).append(pid)

        def total(pid: int) -> int:
            return stats[pid][1] + sum(map(total, children.get(pid, ())))

        return {name: total(pid) / os.sysconf("SC_CLK_TCK") for name, pid in self._pids.items()}

    def memory_mb(self, which: str = "VmRSS:") -> dict[str, int]:
        """Resident memory of each, without children."""
        texts = {name: Path(f"/proc/{pid}/status").read_text() for name, pid in self._pids.items()}
        return {name: int(text.partition(which)[2].split()[0]) >> 10 for name, text in texts.items()}

    def peak_mb(self) -> int:
        """Peak memory, summed."""
        return sum(self.memory_mb("VmHWM:").values())

    def settle(self, ready: Callable[[], bool]) -> None:
        """Waits until it is ready and has nothing more to do."""
        wait_for(ready, 90, "a candidate to be ready")
        deadline = time.monotonic() + 60
        while True:
            before = sum(self.cpu().values())
            time.sleep(1.5)
            if sum(self.cpu().values()) - before < 0.15:
                return
            assert time.monotonic() < deadline, "a candidate does not come to rest"


class Bench:
    """One broker, one ClickHouse, one list."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self.broker = Broker(folder / "kafka", free_port())
        self.server = ClickHouseServer(folder / "clickhouse")

    def start(self) -> None:
        """Starts the engines, makes the list, for us and for the peers."""
        self.start_engines()
        self.shape(Shape())
        self._create_topics()
        with (self.folder / "list.txt").open("w") as out:
            out.writelines(f"{line}\n" for line in asyncio.run(list_people(self.settings, self.shaped.entries)))
        warm = self.settings.topic(WARM.name)
        self.admin.create_topics(
            [
                NewTopic(name, self.shaped.partitions, 1, topic_configs=WARM.config())
                for name in (warm, f"{warm}-alerts")
            ]
        )
        asyncio.run(self.scans.feed(self.settings, min(self.count, 100_000), WARM))

    def start_engines(self) -> None:
        """Starts the broker and the server."""
        self.broker.start()
        self.server.start()
        self.admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        self.engine = Server(self.server.url)

    def reshape(self, shape: Shape) -> None:
        """The same deployment and list, in another shape from the next `clean` on."""
        self.shaped, self.scans = shape, Scans(self.count, *shape)

    def shape(self, shape: Shape) -> None:
        """A deployment of its own, of this shape."""
        self.reshape(shape)
        self.system = System(
            self.broker.bootstrap, self.server.url, self.folder, NINEZERO_MAX_LIST_AGE="1000000"
        )  # nobody pushes here: the lists role is not part of the job
        self.settings = settings_.load(self.system.env)

    def _create_topics(self) -> None:
        done = self.system.run("topics", "create", "--partitions", str(self.shaped.partitions))
        assert done.returncode == 0, done.stderr

    def stop(self) -> None:
        """Ends everything."""
        self.server.kill()
        self.broker.stop()

    def clean(self) -> None:
        """Empty topics and an empty database."""
        names = [self.settings.topic(topic.name) for topic in FLOWING]
        self.admin.delete_topics(names)
        wait_for(lambda: not set(names) & set(self.admin.list_topics()), 30, "the topics to go")
        self._create_topics()
        self.empty()

    def empty(self) -> None:
        """An empty database."""
        for name in ("ninezero", "ninezero_data", "ninezero_published", "bench"):
            with contextlib.suppress(ClickHouseError):
                self.engine.execute(f"DROP DATABASE {name}")
        migrate(self.engine)
        self.engine.execute("CREATE DATABASE bench")
        self.engine.execute(PASSAGES)
        self.engine.execute(PASSAGES.replace("passages", "warm_up"))

    def run(self, candidate: Candidate) -> Found:
        """One candidate does the job once."""
        self.clean()
        count = int(self.count * candidate.share)
        return self._run_ours(count) if not candidate.command else self._run_peer(candidate, count)

    def _run_ours(self, count: int) -> Found:
        self.system.start("screening", "recording")
        try:
            processes = Processes(**{role: process.pid for role, process in self.system.workers.items()})
            processes.settle(lambda: self.system.ready("screening") and self.system.ready("recording"))
            scans, decisions = self.settings.topic(topics.SCANS.name), self.settings.topic(topics.DECISIONS.name)
            decided = self.settings.group("recording")

            def done() -> bool:
                return self.committed(self.settings.group("screening"), scans) >= count and self.committed(
                    decided, decisions
                ) >= self.ends(decisions)

            return self._measure(processes, count, done, "ninezero_data.screening_facts")
        finally:
            self.system.stop()
            self.system.workers.clear()

    def _run_peer(self, candidate: Candidate, count: int) -> Found:
        group = f"{self.settings.topic_prefix}peer-{time.time_ns()}"
        store = self.folder / group
        store.mkdir()
        environment = os.environ | {
            "PYTHONPATH": str(HOME), "BENCH_KAFKA": self.broker.bootstrap, "BENCH_GROUP": group, "BENCH_LIST": str(self.folder / "list.txt"),
            "BENCH_PREFIX": self.settings.topic_prefix, "BENCH_CLICKHOUSE": f"127.0.0.1:{self.server.port}",
            "BENCH_CLICKHOUSE_HTTP": f"http://127.0.0.1:{self.server.http}", "BENCH_WARM": self.settings.topic(WARM.name),
            "BENCH_OUTCOMES": "1" if candidate.outcomes == "yes" else "0",
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
            processes.settle(lambda: self._lives(process, log) and b"ready" in log.read_bytes())
            scans, rows = self.settings.topic(topics.SCANS.name), expected(count).rows

            def done() -> bool:
                self._lives(process, log)
                if candidate.commits:
                    return self.committed(group, scans) >= count
                return int(self.engine.query("SELECT count() AS n FROM bench.passages")[0]["n"]) >= rows

            return self._measure(processes, count, done, "bench.passages")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @staticmethod
    def _lives(process: subprocess.Popen[bytes], log: Path) -> bool:
        assert process.poll() is None, f"a peer ended: {log.read_text()[-2000:]}"
        return True

    def _measure(self, processes: Processes, count: int, done: Callable[[], bool], table: str) -> Found:
        base, cpu, seconds = self.spend(processes, count, done)
        row = self.engine.query(SUM.format(table=table, base=int(base.timestamp())))[0]
        return Found(
            count, cpu, seconds, processes.peak_mb(), self.alerts(base),
            (int(row["n"]), str(row["sum"])), self.ends(self.settings.topic(topics.DEAD_LETTERS.name)), self.told(),
        )  # fmt: skip

    def spend(
        self, processes: Processes, count: int, done: Callable[[], bool]
    ) -> tuple[datetime, dict[str, float], float]:
        """Feeds so many scans. The minute of the last, CPU seconds of each part, and seconds from the feed until all is done."""
        before = processes.cpu()
        base = asyncio.run(self.scans.feed(self.settings, count))
        began = time.monotonic()
        while not done():
            assert time.monotonic() - began < MOST_SECONDS, "a candidate takes too long"
            time.sleep(0.05)
        seconds, after = time.monotonic() - began, processes.cpu()
        return base, {name: after[name] - before[name] for name in before}, seconds

    def committed(self, group: str, topic: str) -> int:
        """Sum of a group's committed offsets on a topic."""
        try:
            found = self.admin.list_group_offsets([group])[group]
        except KafkaError:  # the group is not there yet
            return 0
        return sum(offset.offset for tp, offset in found.items() if isinstance(tp, TopicPartition) and tp.topic == topic)  # fmt: skip

    def ends(self, topic: str) -> int:
        """Sum of a topic's end offsets."""
        reader = KafkaConsumer(bootstrap_servers=self.broker.bootstrap)
        try:
            return sum(
                reader.end_offsets([TopicPartition(topic, p) for p in reader.partitions_for_topic(topic)]).values()
            )
        finally:
            reader.close()

    def alerts(self, base: datetime) -> tuple[int, str]:
        """Number of alerts, and a sum over what they say."""
        said = []
        for value in self._values(topics.ALERTS):
            alert = orjson.loads(value)
            del alert["decided_at"], alert["watchlist_version"]
            alert["observed_at"] = str(datetime.fromisoformat(alert["observed_at"]) - base)
            said.append(orjson.dumps(alert, option=orjson.OPT_SORT_KEYS))
        return len(said), hashlib.sha256(b"\n".join(sorted(said))).hexdigest()

    def told(self) -> int:
        """How many events have an outcome."""
        return len({(d, n) for value in self._values(topics.OUTCOMES) for d, n, *_ in orjson.loads(value)["outcomes"]})

    def _values(self, topic: Topic) -> list[bytes]:
        return asyncio.run(_read(self.settings, self.settings.topic(topic.name), self.shaped.partitions))


async def _read(settings: settings_.Settings, topic: str, partitions: int) -> list[bytes]:
    reader = kafka.consumer(settings, auto_offset_reset="earliest", isolation_level="read_committed")
    await reader.start()
    tps = [kafka.TopicPartition(topic, p) for p in range(partitions)]
    reader.assign(tps)
    ends, found = await reader.end_offsets(tps), []
    while [tp for tp in tps if await reader.position(tp) < ends[tp]]:
        for records in (await reader.getmany(timeout_ms=200)).values():
            found += [record.value for record in records]
    await reader.stop()
    return found
