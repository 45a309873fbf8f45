"""Follows the topic `policies`, so that a worker knows which policy was in force when Kafka received an event.

An activation is written at least 60 seconds before it takes effect. So an event can be decided while the topic is known to be
complete as of the last 20 seconds. While this is not known, nothing is decided.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

from ninezero.agents.logic.policy.history import has_use
from ninezero.agents.logic.policy.policy import Policy
from ninezero.agents.logic.policy.timeline import InForce, Timeline, time_of
from ninezero.schemas.policies import label
from ninezero.streams import metrics
from ninezero.streams.kafka.followed_topic import FollowedTopic
from ninezero.streams.kafka.internal_records import InternalRecords
from ninezero.streams.kafka.register import Register
from ninezero.streams.kafka.topics import POLICIES
from ninezero.streams.settings import Settings
from ninezero.streams.transport.offset_tracker import OffsetTracker

log = logging.getLogger("ninezero.policies")

CURRENT_SECONDS = 20.0
"""Events are decided while the topic is complete as of an instant that is at most this long ago. An activation is written 60 seconds
before it takes effect: the other 40 are for the clocks of brokers, and for the time in which a batch is decided."""

CHECK_SECONDS = 1.0
"""Time between two checks which policy is in force, and whether it is known."""


def default_policy(settings: Settings) -> Policy:
    """Returns the policy that holds where no other one is active: the table of the documentation, with the home of the deployment."""
    return Policy(home=settings.home, max_list_age_s=settings.max_list_age)


class Policies:
    """The policies of this worker.

    Attributes:
        timeline: what holds at each time.
        ready: is set while the topic has the policy that was activated last, so that `timeline` may be used.
        changes: the number of times that new records were applied.
    """

    def __init__(self, settings: Settings, register: Register) -> None:
        """Prepares the reading.

        Args:
            settings: the settings of the process.
            register: what operators state: the policy that was activated last, and the records that are passed over.
        """
        self.timeline = Timeline(default_policy(settings), settings.replay)
        self.ready = asyncio.Event()
        self.changes = 0
        self._replay, self._register = settings.replay, register
        self._records = InternalRecords(POLICIES, register.set_aside)
        self._topic = FollowedTopic(settings, POLICIES, self._apply)
        self._in_force: InForce | None = None
        """What was in force at the last check."""
        self._lacking: str | None = None
        """The policy that was activated last, if the topic lacked it or its use at the last check."""
        self._reason: str | None = None
        """Why the worker was not ready at the last check."""

    async def start(self) -> None:
        """Connects to the broker."""
        await self._topic.start()

    async def stop(self) -> None:
        """Disconnects."""
        await self._topic.stop()

    async def watch(self) -> None:
        """Reads the topic to its end, then follows it. Never returns.

        Raises:
            TopicLost: the topic was deleted, truncated or created again.
            UnreadableRecord: a record cannot be read.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._topic.watch())
            group.create_task(self._check_regularly())

    def at(self, ms: int) -> InForce:
        """Returns what holds at a time, Unix time in ms."""
        return self.timeline.at(ms)

    def time_of(self, kafka_ms: int, observed_us: int) -> int:
        """Returns the time that decides which policy an event is judged by, Unix time in ms. See `timeline.time_of`."""
        return time_of(kafka_ms, observed_us, self._replay)

    async def wait_until_current(self) -> None:
        """Waits until the topic is known to be complete as of the last 20 seconds, and ready. Usually it returns immediately."""
        await self._topic.wait_until_current(CURRENT_SECONDS)
        await self.ready.wait()

    async def wait_until_known(self, times: Iterable[int], tracker: OffsetTracker) -> bool:
        """Waits until this release can apply the policies that hold at some times. Usually it returns immediately.

        It waits for a policy that names what only a newer release knows: that release is to decide its events.

        Args:
            times: the times of events, Unix time in ms (see `time_of`). They are read only if there is such a policy.
            tracker: the tracker of the events' partition. If it is closed, another worker has the events now, and waiting ends.

        Returns:
            False if it ended because the tracker is closed.
        """
        await self.wait_until_current()
        if not any(one.unknown for one in self.timeline.intervals):
            return True
        needed = set(times)
        while any(self.at(ms).unknown for ms in needed):
            if tracker.closed:
                return False
            await asyncio.sleep(CHECK_SECONDS)
            await self.wait_until_current()
        return True

    def known_before(self, times: Sequence[int]) -> int:
        """Returns how many events in a row, from the first one on, have policies that this release can apply."""
        return next((number for number, ms in enumerate(times) if self.at(ms).unknown), len(times))

    @property
    def why_not_ready(self) -> str | None:
        """Why events of this moment are not decided; None if they are."""
        if self._topic.age == math.inf:
            return f"the topic {POLICIES.name} is not read to its end yet"
        if self._lacking is not None:
            return (
                f"the topic {POLICIES.name} lacks {self._lacking}, the policy that was activated last: activate it again from its"
                " file (ninezero policy activate)"
            )
        if self._topic.age > CURRENT_SECONDS:
            return f"the topic {POLICIES.name} does not answer, so it is not known which policy is in force"
        if (unknown := self.at(_now_ms()).unknown) is not None:
            return f"the policy {unknown} is in force and this release cannot apply it: start a newer release"
        return None

    def _apply(self, records: Sequence[Any]) -> None:
        refused = []
        for record in self._records.remaining(records):
            value, key = self._records.decode(record), record.key or b""
            if (refusal := self.timeline.apply(key, value, record.timestamp)) is not None:
                refused.append(refusal)
        self.changes += 1
        if self._topic.age == math.inf and len(refused) > 1:
            log.warning("%d records of the topic %s have no effect", len(refused), POLICIES.name)
            refused = refused[-1:]
        for one in refused:
            log.warning("a record of the topic %s has no effect: %s", POLICIES.name, one.sentence)

    async def _check_regularly(self) -> None:
        await self._topic.wait_until_read()
        while True:
            self._check()
            await asyncio.sleep(CHECK_SECONDS)

    def _check(self) -> None:
        """Sets `ready` and the metric, and logs what has changed since the last check."""
        current = self._register.current_policy
        # Otherwise the register has changed since the topic was asked for its end, which may not have had the policy.
        if self._topic.age < self._register.current_policy_age:
            there = current is None or has_use(self.timeline, current.policy, current.version)
            self._lacking = None if current is None or there else label(current.policy, current.version)
        if self._lacking is None:
            self.ready.set()
        else:
            self.ready.clear()
        before, self._reason = self._reason, self.why_not_ready
        if self._reason != before:
            if self._reason is None:
                log.info("the policy in force is known again")
            else:
                log.warning("not ready: %s", self._reason)
        in_force = self.at(_now_ms())
        metrics.policy_info.clear()
        if self._reason is None:
            metrics.policy_info.labels(in_force.active.name, str(in_force.active.version)).set(1)
        if in_force != self._in_force:
            self._in_force = in_force
            shadows = "".join(f", shadow {one.label}" for one in in_force.shadows)
            log.info("the policy %s is in force%s", in_force.active.label, shadows)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
