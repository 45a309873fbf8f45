"""The workers of the demo: all roles, kept by a child process that is started again if it ends."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Mapping

from ninezero.agents.demo.place import Place
from ninezero.streams.errors import UserError

MAX_RESTARTS = 5
STOP_SECONDS = 70
"""The child process is killed if it has not ended this long after it was asked to."""


class Workers:
    """All roles of the demo, with their output in `worker.log` of its folder.

    The child process ends them and the demo's own Kafka when the demo ends, also if the demo is killed. It holds the lock of the
    folder until then.
    """

    def __init__(self, environment: Mapping[str, str], place: Place) -> None:
        self._environment, self._place = environment, place
        self._log = place.folder / "worker.log"
        self.restarts = 0
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "ninezero.agents.demo.keeper", str(self._place.folder)],
                # Its own folder and session: no settings file of the user's folder, and no Ctrl-C, which the demo handles.
                env=self._environment, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self._place.folder,
                pass_fds=[self._place.lock], start_new_session=True,
            )  # fmt: skip

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
        self._close_pipe()
        self._process = self._start()

    def stop(self) -> None:
        """Ends the workers and the demo's own Kafka, and waits until they have ended."""
        self._close_pipe()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _close_pipe(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
