"""Workers that are started by the command line, and small parts that many tests need."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import orjson

from ninezero.agents.logic.pushes.batches import BatchChange, BatchDecider
from ninezero.agents.logic.watchlist.entries import Entry
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.policies.policies import Policies
from ninezero.schemas.events import PushBatch
from ninezero.streams.clickhouse import ClickHouseError, Engine, Row
from ninezero.streams.kafka.register import Register
from ninezero.streams.settings import Settings, load

NINEZERO = str(Path(sys.executable).parent / "ninezero")


def free_port(count: int = 1) -> int:
    """Returns the first of `count` consecutive loopback ports that are free now.

    The ports are below those of outgoing connections, so no connection uses one before its server does, and a killed worker finds
    its port free again.
    """
    while True:
        first = random.SystemRandom().randrange(10_000, 32_000)
        try:
            for n in range(count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", first + n))
            return first
        except OSError:
            continue


class System:
    """A deployment: its settings and workers. Everything is done through the command line."""

    PROGRAM: ClassVar = [NINEZERO]
    """The command that starts workers."""
    COMMAND: str = NINEZERO
    """The program of all other commands."""

    def __init__(self, kafka: str, clickhouse: str, folder: Path, **extra: str) -> None:
        self.folder = folder
        self.http = free_port(4)
        self.prefix = f"t{time.time_ns()}."
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("NINEZERO_")},
            "NINEZERO_KAFKA": kafka,
            "NINEZERO_CLICKHOUSE": clickhouse,
            "NINEZERO_ORDER": "TEST-2026-1",
            "NINEZERO_SUNSET": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
            "NINEZERO_TOPIC_PREFIX": self.prefix,
            "NINEZERO_HTTP": f"127.0.0.1:{self.http}",
            **extra,
        }
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.program = self.PROGRAM

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Runs a command of ninezero."""
        return subprocess.run(
            [self.COMMAND, *arguments], env=self.env, input=stdin, capture_output=True, cwd=self.folder, timeout=90
        )

    def prepare(self) -> None:
        """Creates the topics and the schema."""
        for arguments in (("topics", "create", "--partitions", "4"), ("migrate",)):
            done = self.run(*arguments)
            assert done.returncode == 0, done.stderr

    def start(self, *roles: str, log_format: str | None = None) -> None:
        """Starts roles, each in a process of its own that logs to `ROLE.log`."""
        options = [] if log_format is None else ["--log-format", log_format]
        for role in roles:
            with (self.folder / f"{role}.log").open("ab") as log:
                self.workers[role] = subprocess.Popen(
                    [*self.program, "worker", role, *options], env=self.env, stdout=log, stderr=log
                )

    def ready(self, role: str) -> bool:
        """Returns whether the /readyz of a role answers with status 200."""
        port = self.http + {"screening": 0, "lists": 1, "ledgers": 2, "recording": 3}[role]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self, role: str) -> None:
        """Kills a role with SIGKILL."""
        self.workers[role].kill()
        self.workers[role].wait()

    def stop(self) -> None:
        """Stops all roles with SIGTERM."""
        for process in self.workers.values():
            process.send_signal(signal.SIGTERM)
        for process in self.workers.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Returns the rows of `ninezero query`."""
        done = self.run("query", sql, "--format", "json")
        assert done.returncode == 0, done.stderr
        return [orjson.loads(line) for line in done.stdout.splitlines()]

    def logs(self) -> str:
        """Returns the logs of all workers."""
        return "\n".join(path.read_text() for path in self.folder.glob("*.log"))


def stored_files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yields the files under a folder with their content, without those that a running Kafka or ClickHouse removes meanwhile."""
    for where, _, names in os.walk(folder):  # passes over a folder that is gone, unlike rglob() before Python 3.13
        for path in (Path(where, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    yield path, path.read_bytes()


class Killed:
    """An engine that fails from the n-th statement on. Earlier statements stay done."""

    def __init__(self, engine: Engine, statements: int) -> None:
        self._engine, self._left = engine, statements

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ClickHouseError("killed")

    def query(self, sql: str) -> list[Row]:
        return self._engine.query(sql)

    def execute(self, sql: str) -> None:
        self._count()
        self._engine.execute(sql)

    def insert(self, table: str, columns: Any, rows: Any) -> None:
        self._count()
        self._engine.insert(table, columns, rows)

    def close(self) -> None:
        pass


PATIENCE = 3
"""Factor by which something may take longer than on an idle machine before a test fails."""


def wait_for(done: Any, seconds: float, what: str) -> None:
    """Polls until `done()`. Fails after PATIENCE times `seconds`, which is enough on an idle machine."""
    deadline = time.monotonic() + PATIENCE * seconds
    while not done():
        assert time.monotonic() < deadline, f"waited {PATIENCE * seconds} s for {what}"
        time.sleep(0.1)


def decide_batch(
    batch: PushBatch, now_us: int, watchlist: WatchlistIndex, applied: int | None, **given: bool
) -> BatchChange:
    """Decides a batch of one part."""
    decider = BatchDecider(batch, len(batch.lines), now_us, now_us // 1000, watchlist, applied, **given)
    if decider.needs_lines:
        decider.decide_lines(batch.lines)
    return decider.finish()


def default_policies(given: Settings | None = None, *, replay: bool = False) -> Policies:
    """Returns the policies of a worker that has read none: only the built-in one holds."""
    if given is None:
        some = {"ORDER": "o", "SUNSET": "2100-01-01T00:00:00Z", "KAFKA": "k:1", "CLICKHOUSE": "clickhouse://c"}
        some["REPLAY"] = str(int(replay))
        given = load({f"NINEZERO_{name}": value for name, value in some.items()})
    return Policies(given, Register(given))


def entry_fields(entry: Entry) -> tuple[str, str, str, str, str, int]:
    """Returns what the oracle states about an entry that matches."""
    return entry.category, entry.authority, entry.list, entry.batch_id, entry.entry_id, entry.to_us
