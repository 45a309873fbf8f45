"""Apache ZooKeeper for tests: a process of its own, on a free port of 127.0.0.1."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ninezero.streams.local_kafka.java import find_java
from tests.support import free_port, wait_for

JARS = Path(__file__).resolve().parents[3] / ".cache" / "zookeeper"


@contextmanager
def zookeeper(folder: Path) -> Iterator[int]:
    """Runs ZooKeeper with its data in a folder. Yields its port."""
    assert any(JARS.glob("zookeeper-*.jar")), f"{JARS} is missing: run `make engines`"
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zoo.cfg").write_text(
        f"tickTime=500\ndataDir={folder}/data\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
    )
    options = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [find_java(), *options, "org.apache.zookeeper.server.quorum.QuorumPeerMain", folder / "zoo.cfg"],
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: _answers(port), 20, "ZooKeeper to answer")
        yield port
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
