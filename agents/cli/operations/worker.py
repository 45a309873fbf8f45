"""`ninezero worker`: runs one role in this process, or every role as a child process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import Annotated

import typer

from ninezero.agents.cli.console import CommandError
from ninezero.agents.roles.logs.formats import LogFormat
from ninezero.streams import settings as settings_

WORKER = (sys.executable, "-m", "ninezero.agents.cli.main", "worker")

STOP_SECONDS = 25
"""A role that has not ended this long after SIGTERM is killed."""


def worker(
    role: Annotated[
        str, typer.Argument(help="Role to run: screening, lists, ledgers or recording. Without it, all of them run.")
    ] = "",
    log_format: Annotated[
        LogFormat, typer.Option(help="Format of the log on stderr: text, or json for one JSON object per line.")
    ] = "text",
) -> None:
    """Runs one role, or all roles as child processes that end together."""
    if role and role not in settings_.ROLES:
        raise CommandError(f"no such role: choose one of {', '.join(settings_.ROLES)}, or none to run all")
    # Only recording needs ClickHouse, so the other roles do not need its password.
    settings = settings_.load(edge=bool(role) and role != "recording")
    if role:
        _run(role, settings, log_format)
    else:
        _supervise(list(settings_.ROLES), log_format)


def _run(role: str, settings: settings_.Settings, log_format: LogFormat) -> None:
    """Runs a role and exits, with status 1 if it failed. The last line of its log has the reason."""
    from msgspec import convert

    from ninezero.agents.roles.logs.output import set_up
    from ninezero.streams.kafka.access import ACCESS, Party
    from ninezero.streams.kafka.client import require_topics

    output = set_up(role, log_format)
    asyncio.run(require_topics(settings, ACCESS[convert(role, Party)].topics))
    import uvloop

    from ninezero.agents.roles.memory import tune_garbage_collector
    from ninezero.agents.roles.run import run
    from ninezero.streams.transport.loop import Loop

    tune_garbage_collector()
    failure = uvloop.run(run(role, settings, output), loop_factory=Loop)
    if failure is not None and log_format == "text":
        print(f"ninezero: the {role} role ended: {failure}", file=sys.stderr, flush=True)
    os._exit(0 if failure is None else 1)  # a client's thread may still wait for what failed


def _supervise(roles: list[str], log_format: LogFormat) -> None:
    """Runs each role as a child process until a signal comes or one of them ends; then ends the others.

    Raises:
        CommandError: a role ended by itself.
    """
    children = {role: subprocess.Popen([*WORKER, role, "--log-format", log_format]) for role in roles}
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, stop)
    ended = None
    while not stopping and ended is None:
        time.sleep(0.1)
        ended = next((role for role, child in children.items() if child.poll() is not None), None)
    for child in children.values():
        child.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for child in children.values():
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
    if not stopping:
        raise CommandError(f"the {ended} role ended, so all roles were stopped: see its last line for the cause")
