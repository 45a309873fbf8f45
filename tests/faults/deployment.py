"""A deployment to break: a broker, a ClickHouse server behind a link, and workers that are restarted when they end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from ninezero.streams.local_kafka.broker import Broker
from tests.engines.clickhouse_server import ClickHouseServer
from tests.engines.kafka_cluster import NODES, KafkaCluster
from tests.support import NINEZERO, System, free_port, wait_for

from .load import Load, token
from .observer import Observer
from .proxy import SeparateLink

ROOT = Path(__file__).resolve().parents[2]
CURVE_SECONDS = 10


class Deployment(System):
    """One worker of each role, more workers on demand (such as `screening-2`), one load and one observer."""

    OBSERVER = Observer

    def __init__(
        self, folder: Path, seed: int, broker: Broker | KafkaCluster | None = None, partitions: int = 4
    ) -> None:
        self.broker = broker or Broker(folder / "kafka")
        self.own_broker = broker is None
        self.broker.start()
        self.server = ClickHouseServer(folder / "clickhouse")
        self.server.start()
        self._link = SeparateLink(self.server.port)
        self.link = self._link.link
        super().__init__(self.broker.bootstrap, self.server.url_through(self.link.port), folder)
        self.ended: list[str] = []
        """Workers that ended by themselves."""
        self.peak: dict[str, int] = {}
        """Largest resident size of each role in MB, since this was last cleared."""
        self.curve: list[tuple[int, dict[str, int]]] = []
        """Seconds since the start, and the resident sizes of the workers in MB, every CURVE_SECONDS."""
        self.kills: list[tuple[float, str]] = []
        """When which worker was killed (Unix time), and at which failpoint, if at one."""
        self._began = time.monotonic()
        self._doomed: dict[str, str] = {}
        """The failpoint at which each worker is going to be killed, or an empty string."""
        self._ports: dict[str, int] = {}
        self._wanted: set[str] = set()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        replication = ["--replication", str(NODES)] if isinstance(self.broker, KafkaCluster) else []
        done = self.run("topics", "create", "--partitions", str(partitions), *replication)
        assert done.returncode == 0, done.stderr
        assert self.run("migrate").returncode == 0
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()
        self.observer = self.OBSERVER(self.broker.bootstrap, self.prefix, self.server.port)
        self.load = Load(self.broker.bootstrap, self.prefix, seed)
        self.load.receipts = self.observer.receipts

    def begin(self, *names: str) -> None:
        """Starts workers and pushes the lists that the load expects."""
        self.start(*names)
        self.load.push("cases", "confirmed_case", [{"id": [token(1)]}], 1)
        self.load.push("contacts", "close_contact", [{"passport": [token(2)]}], 1)
        wait_for(lambda: len(self.observer.receipts) >= 2, 60, "the first receipts")
        time.sleep(2.1)

    def start(self, *roles: str, failpoint: str = "") -> None:
        for name in roles:
            with self._lock:
                self._wanted.add(name)
                self._start(name, failpoint)

    def _start(self, name: str, failpoint: str = "") -> None:
        role = name.partition("-")[0]
        port = self._ports.setdefault(name, self.http if name == role else free_port(4))
        env = self.env | {"NINEZERO_HTTP": f"127.0.0.1:{port}"}
        command = [self.program_of(name), "worker", role]
        if failpoint:
            env |= {"FAILPOINT": failpoint, "PYTHONPATH": str(ROOT)}
            command = [sys.executable, "-m", "tests.faults.failpoints", role]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.workers[name] = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        self._doomed[name] = failpoint

    def program_of(self, name: str) -> str:
        """Returns the program that runs a worker."""
        return NINEZERO

    def signal(self, name: str, sign: signal.Signals) -> None:
        self.workers[name].send_signal(sign)

    def kill(self, name: str, pause: float = 0.0, failpoint: str = "") -> None:
        """Kills a worker with SIGKILL and starts it again after a pause, to be killed at a failpoint if one is given."""
        with self._lock:
            self.workers[name].kill()
            self.workers[name].wait()
            self.kills.append((time.time(), name))
            time.sleep(pause)
            self._start(name, failpoint)

    def kill_at(self, name: str, failpoint: str, seconds: float = 40.0) -> bool:
        """Kills a worker, and once more at a failpoint. Returns whether it reached that. Then it is started again without one."""
        self.kill(name, failpoint=failpoint)
        deadline = time.monotonic() + seconds
        while self._doomed[name] and time.monotonic() < deadline:
            time.sleep(0.05)
        if not self._doomed[name]:
            return True
        self.kill(name)
        return False

    def lose(self, name: str) -> None:
        """Kills a worker with SIGKILL and does not start it again."""
        with self._lock:
            self._wanted.discard(name)
            process = self.workers.pop(name)
            process.kill()
            process.wait()
            self.kills.append((time.time(), name))

    def leave(self, name: str) -> float:
        """Stops a worker with SIGTERM and does not start it again. Returns how many seconds the stop took."""
        with self._lock:
            self._wanted.discard(name)
            process = self.workers.pop(name)
        began = time.monotonic()
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return time.monotonic() - began

    def stop(self) -> None:
        """Stops everything that was started."""
        self.load.close()
        self._ending.set()
        self._keeper.join(10)
        with contextlib.suppress(ProcessLookupError):
            for process in self.workers.values():
                process.send_signal(signal.SIGCONT)
        self.server.signal(signal.SIGCONT)
        super().stop()
        self.observer.close()
        self._link.close()
        self.server.close()
        if self.own_broker:
            self.broker.stop()

    def _keep(self) -> None:
        """Restarts workers that have ended, as an orchestrator does, and measures the memory of all workers."""
        while not self._ending.wait(0.3):
            with self._lock:
                since = int(time.monotonic() - self._began)
                if not self.curve or since >= self.curve[-1][0] + CURVE_SECONDS:
                    self.curve.append(
                        (since, {name: resident(self.workers[name].pid) for name in sorted(self._wanted)})
                    )
                for name in self._wanted:
                    process = self.workers[name]
                    if process.poll() is not None:
                        if self._doomed[name] and process.returncode == -signal.SIGKILL:
                            self.kills.append((time.time(), f"{name} at {self._doomed[name]}"))
                        else:
                            self.ended.append(name)
                        self._start(name)
                    role = name.partition("-")[0]
                    self.peak[role] = max(self.peak.get(role, 0), resident(process.pid))


def resident(pid: int) -> int:
    """Returns the resident size of a process in MB, or 0 if it has ended."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") >> 20
    return 0
