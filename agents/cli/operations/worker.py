"""`ninezero worker`: runs one role in this process, or every role as a child process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from typing import Annotated

import typer

from ninezero.agents.cli.console import CommandError
from ninezero.streams import settings as settings_

STOP_SECONDS = 25
"""A role that has not ended this long after SIGTERM is killed."""


def worker(
    role: Annotated[
        str, typer.Argument(help="Role to run: screening, lists, ledgers or recording. Without it, all of them run.")
    ] = "",
) -> None:
    """Runs one role, or all roles as child processes that end together."""
    if role and role not in settings_.ROLES:
        raise CommandError(f"no such role: choose one of {', '.join(settings_.ROLES)}, or none to run all")
    # Only recording needs ClickHouse, so the other roles do not need its password.
    settings = settings_.load(edge=bool(role) and role != "recording")
    if role:
        _run(role, settings)
    else:
        _supervise(list(settings_.ROLES))


def _run(role: str, settings: settings_.Settings) -> None:
    """Runs a role and exits: with status 1 and one line on stderr if it failed."""
    from msgspec import convert

    from ninezero.streams.kafka.access import ACCESS, Who
    from ninezero.streams.kafka.client import require_topics

    asyncio.run(require_topics(settings, ACCESS[convert(role, Who)].topics))
    _configure_logging()
    import uvloop

    from ninezero.agents.roles.memory import tune_garbage_collector
    from ninezero.agents.roles.run import run
    from ninezero.streams.transport.loop import Loop

    tune_garbage_collector()
    failure = uvloop.run(run(role, settings), loop_factory=Loop)
    if failure is not None:
        print(f"ninezero: the {role} role ended: {failure}", file=sys.stderr, flush=True)
    os._exit(0 if failure is None else 1)  # a client's thread may still wait for what failed


def _supervise(roles: list[str]) -> None:
    """Runs each role as a child process until a signal comes or one of them ends; then ends the others.

    Raises:
        CommandError: a role ended by itself.
    """
    children = {
        role: subprocess.Popen([sys.executable, "-m", "ninezero.agents.cli.main", "worker", role]) for role in roles
    }
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
    for child in children.values():
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
    if not stopping:
        raise CommandError(f"the {ended} role ended, so all roles were stopped: see its last line for the cause")


def _configure_logging() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("aiokafka", "faust", "kafka.admin", "mode"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    # aiokafka logs "Group Coordinator Request failed" while a new broker creates its offsets topic, and tries again by itself.
    logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.CRITICAL)
    logging.getLogger("ninezero").setLevel(logging.INFO)
