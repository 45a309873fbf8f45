"""The workers of the demo: `ninezero worker` as a child process that is started again if it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ninezero.streams.errors import UserError

MAX_RESTARTS = 5
STOP_SECONDS = 40
"""The workers are killed if they have not ended this long after SIGTERM."""


class Workers:
    """All roles of the demo in one child process, with their output in a log file."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment, self._log = environment, log
        self.restarts = 0
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "ninezero.agents.cli.main", "worker"],
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def restart_if_ended(self) -> None:
        """Starts the workers again if they ended.

        Raises:
            UserError: they ended more than `MAX_RESTARTS` times.
        """
        if self._process.poll() is None:
            return
        self.restarts += 1
        if self.restarts > MAX_RESTARTS:
            raise UserError(f"the workers ended {self.restarts} times: see {self._log}")
        self._process = self._start()

    def stop(self) -> None:
        """Stops the workers and waits until they have ended."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
