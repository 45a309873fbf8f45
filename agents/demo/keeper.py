"""Keeps the workers of a demo: `python -m ninezero.agents.demo.keeper FOLDER`, with a pipe of the demo as standard input.

When the pipe is closed, because the demo ended or was killed, it ends the workers and the Kafka of the demo's folder. If the workers end
by themselves, it ends with their status, and the demo starts it again.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.local_kafka.errors import BrokerError

WORKERS = (sys.executable, "-m", "ninezero.agents.cli.main", "worker")

STOP_SECONDS = 35
"""Workers that have not ended this long after SIGTERM are killed; they end their roles after 25 seconds."""


def keep(folder: Path) -> int:
    """Runs the workers until they end or the demo does. Returns the exit status."""
    workers = subprocess.Popen(WORKERS, stdin=subprocess.DEVNULL)
    demo_ended = threading.Event()

    def end(*_: object) -> None:
        workers.terminate()

    def wait_for_demo() -> None:
        sys.stdin.buffer.read()
        demo_ended.set()
        end()

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=wait_for_demo, daemon=True).start()
    deadline = float("inf")
    while workers.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            workers.wait(0.5)
        if demo_ended.is_set():
            deadline = min(deadline, time.monotonic() + STOP_SECONDS)
            if time.monotonic() > deadline:
                workers.kill()
    if demo_ended.is_set():
        try:
            Broker(folder / "kafka").stop()
        except BrokerError as error:
            print(f"ninezero: {error}", file=sys.stderr)
            return 1
    return workers.returncode


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1])))
