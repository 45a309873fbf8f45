"""A role: one Faust app in a process of its own, with its agents, its background work and its end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from aiohttp import web
from faust.exceptions import ConsumerNotStarted

from ninezero.agents.policies.policies import Policies
from ninezero.agents.roles.logs.error_description import describe
from ninezero.streams.kafka.internal_records import UnreadableRecord
from ninezero.streams.kafka.register import Register
from ninezero.streams.kafka.topics import Topic
from ninezero.streams.kafka.worker_identity import WorkerIdentity
from ninezero.streams.settings import ROLES, Settings
from ninezero.streams.transport.app import App
from ninezero.streams.transport.consumer import RawSchema, chunks, credentials

SESSION_SECONDS = 6.0
"""Time after which the partitions of a lost worker are assigned to others. Brokers allow no less by default."""

HEARTBEAT_SECONDS = 0.5
"""Interval between heartbeats to the consumer group. A worker learns of a rebalance from the answer, and the rebalance
waits for the slowest."""

STOP_SECONDS = 20.0
"""Time that a role may take to stop before its process ends anyway."""


class Component(Protocol):
    """A part of a role that is started before its agents and stopped after them."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


C = TypeVar("C", bound=Component)


class Role:
    """A role of this process.

    Attributes:
        name: screening, lists, ledgers or recording.
        settings: the settings of the process.
        app: the Faust app.
        address: host and port of the HTTP server.
        identity: the release of this process, and the formats that it reads.
        client_id: the Kafka client id of this process. It states the identity.
        client_id_prefix: what the client ids of earlier processes at the same address begin with. They are dead, since this
            process has bound the port.
        register: what operators state. A builder gives `register.set_aside` to the readers of internal topics.
        policies: which policy is in force at each time.
        topic_ids: the id of each topic on the broker, by name, as of the start.
        routes: what the HTTP server serves; a builder may add to them.
        readiness: each returns why the role does not do its work now, or None; a builder may add to them.
        ended: is set when the process is to end, to the reason or, after a signal, to None.
        found_unreadable: whether a record that cannot be read is the reason.
        stop_asked: is set when a signal asks the process to end.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings = name, settings
        host, first = settings.http
        self.address = (host, first + ROLES[name])
        self.client_id_prefix = f"{socket.gethostname()}:{host}:{self.address[1]}/"
        self.identity = WorkerIdentity.of_this_process(self.client_id_prefix.rstrip("/"))
        self.client_id = self.identity.client_id(f"{time.time_ns():x}")
        self.app = App(
            settings.group(name),
            broker_client_id=self.client_id,
            broker=[f"chunks://{server}" for server in settings.kafka.split(",")],
            broker_credentials=credentials(settings),
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            stream_wait_empty=True,  # calls our consumer's wait_empty(), which waits a bounded time and commits
            consumer_auto_offset_reset="earliest",
            broker_commit_interval=0.5,
            broker_session_timeout=SESSION_SECONDS,
            broker_heartbeat_interval=HEARTBEAT_SECONDS,
            broker_request_timeout=40.0,
            consumer_metadata_max_age_ms=10_000,  # partitions that were added are read after at most this time
        )
        self.register = Register(settings)
        self.policies = Policies(settings, self.register)
        self.topic_ids: dict[str, str] = {}
        self.routes: list[web.RouteDef] = []
        self.readiness: list[Callable[[], str | None]] = [
            lambda: self.policies.why_not_ready,
            self._why_without_partitions,
        ]
        self.ended: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.found_unreadable = False
        self.stop_asked = asyncio.Event()
        self._components = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    # -- what a builder puts together --------------------------------------------------------------------------------

    async def start_component(self, component: C) -> C:
        """Starts a component and returns it. It is stopped when the role stops."""
        await component.start()
        self._components.push_async_callback(component.stop)
        return component

    def at_stop(self, stop: Callable[[], Awaitable[None]]) -> None:
        """Calls `stop` when the role stops, before what was started earlier is stopped."""
        self._components.push_async_callback(stop)

    def add_agent(self, topic: Topic, process: Callable[[Any], Awaitable[None]]) -> None:
        """Adds an agent over the chunks of a topic. An exception in it ends the process; it never skips a record."""
        source = self.app.topic(self.settings.topic(topic.name), schema=RawSchema())

        async def guarded(stream: Any) -> None:
            try:
                await process(chunks(stream))
            except Exception as error:
                self.fail_with(error, f"{topic.name}: ")
                await asyncio.Event().wait()  # the process is ending, so Faust must not start the agent again

        self.app.agent(source, name=f"{self.name}-{topic.name}", concurrency=1)(guarded)

    def run_in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs work beside the agents until the role stops. An exception in it ends the process."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                self.fail_with(error)

        self._tasks.append(asyncio.create_task(guarded()))

    def run_after_start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs work in the background as soon as the consumer of the app has started."""

        async def wait_then_work() -> None:
            while not self._consumer_started():
                await asyncio.sleep(0.05)
            await work()

        self.run_in_background(wait_then_work())

    # -- its state and its end ---------------------------------------------------------------------------------------

    def why_not_ready(self) -> str | None:
        """Returns why the role does not do its work now; None if it does."""
        if self.ended.done():
            return "it is ending"
        return next((why for reason in self.readiness if (why := reason())), None)

    def _why_without_partitions(self) -> str | None:
        try:
            assigned = bool(self.app.consumer.assignment())
        except ConsumerNotStarted:
            assigned = False
        return None if assigned else "it has no partition"

    def _consumer_started(self) -> bool:
        if not self.app.started or not self.app.consumer.started:
            return False
        try:
            self.app.consumer.assignment()
        except ConsumerNotStarted:
            return False
        return True

    def end(self) -> None:
        """Ends the process in order."""
        self.stop_asked.set()
        if not self.ended.done():
            self.ended.set_result(None)

    def fail(self, reason: str) -> None:
        """Ends the process because of a failure, in order; `reason` is logged."""
        if not self.ended.done():
            self.ended.set_result(reason)

    def fail_with(self, error: Exception, where: str = "") -> None:
        """Ends the process because of an error. `where` is put before its description."""
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        self.found_unreadable |= isinstance(error, UnreadableRecord)
        self.fail(where + describe(error))

    async def watch_faust(self) -> None:
        """Ends the process if Faust stops by itself."""
        while True:
            if self.app.crashed or self.app.should_stop:
                cause = self.app.crash_reason
                self.fail(f"Faust stopped: {describe(cause)}" if cause else "Faust stopped")
            await asyncio.sleep(1)

    async def stop(self) -> None:
        """Stops the app, which finishes and commits what it has started, for at most STOP_SECONDS."""
        with contextlib.suppress(TimeoutError):  # what is not committed is delivered again after the next start
            await asyncio.wait_for(self.app.stop(), STOP_SECONDS)
        for task in self._tasks:
            task.cancel()

    async def stop_components(self) -> None:
        """Stops the components, the last one first."""
        await self._components.aclose()
