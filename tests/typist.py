"""A person at a terminal: types into a command that runs in a pseudo-terminal, and sees its screen."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import termios
from collections.abc import Sequence
from pathlib import Path

from ninezero.streams.settings import Settings
from tests.support import NINEZERO, wait_for


class Typist:
    """A person at the terminal of a command.

    Args:
        settings: the deployment.
        arguments: the command.
        prompt: a text that is seen first.
        folder: the current folder of the command.
        more: variables of the environment.
    """

    def __init__(
        self, settings: Settings, arguments: Sequence[str], prompt: str, folder: Path | None = None, **more: str
    ) -> None:
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("NINEZERO_")}, "TERM": "xterm", "LC_ALL": "C.UTF-8",
            "NINEZERO_KAFKA": settings.kafka, "NINEZERO_ORDER": "T", "NINEZERO_TOPIC_PREFIX": settings.topic_prefix,
            "NINEZERO_SUNSET": settings.sunset.isoformat(), "NINEZERO_KEYS": str(settings.keys),
            "NINEZERO_OUTBOX": str(settings.outbox), **more,
        }  # fmt: skip
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 100))
        self.before = termios.tcgetattr(slave)
        self.slave, self.output = slave, b""
        self.process = subprocess.Popen(
            [NINEZERO, *arguments],
            stdin=slave, stdout=slave, stderr=slave, env=env, cwd=folder, start_new_session=True, preexec_fn=lambda: _control(slave),
        )  # fmt: skip
        self.sees(prompt)

    def types(self, text: str | bytes) -> None:
        os.write(self.master, text if isinstance(text, bytes) else text.encode())

    def screen(self) -> str:
        """Returns what the screen shows now."""
        while select.select([self.master], [], [], 0.05)[0]:
            try:
                self.output += os.read(self.master, 65_536)
            except OSError:  # the command has ended
                break
        rows = [""]
        for part in re.findall(
            r"\x1b\[2K|\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", self.output.decode(errors="replace")
        ):
            if part == "\n":
                rows.append("")
            elif part == "\x1b[2K":
                rows[-1] = ""
            elif part[0] not in "\x1b\r":
                rows[-1] += part
        return "\n".join(rows)

    def sees(self, *some: str, seconds: float = 20) -> None:
        try:
            wait_for(lambda: all(one in self.screen() for one in some), seconds, f"{some} on the screen")
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.screen()}") from None

    def ends(self, status: int) -> None:
        wait_for(lambda: self.screen() and self.process.poll() is not None, 30, "the command to end")
        assert self.process.returncode == status, self.screen()
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is restored"

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def _control(slave: int) -> None:
    import fcntl

    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a test that runs in the background inherits an ignored SIGINT
