"""The clock of a device."""

import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path

CLOCK_TOLERANCE_MS = 30_000
"""A device's clock is believed while it is within this of Kafka's."""


class Clock:
    """Kafka's time, once an acknowledgement told it; until then, and while it agrees, the device's own."""

    def __init__(self) -> None:
        self.boot = ""
        with contextlib.suppress(OSError):
            self.boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._offset_ms: int | None = None

    def ticks(self) -> int:
        """Milliseconds since the machine started; they run on while it sleeps, and no one can set them."""
        return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1_000_000

    def wall_ms(self) -> int:
        """The device's own clock, in ms of Unix time."""
        return time.time_ns() // 1_000_000

    def learn(self, kafka_ms: int) -> None:
        """An acknowledgement carried this time. It may have waited on its way, so of near estimates the largest stays."""
        estimate = kafka_ms - self.ticks()
        if self._offset_ms is None or not -5_000 < estimate - self._offset_ms <= 0:
            self._offset_ms = estimate

    def off_ms(self) -> int:
        """How far the device's clock is ahead of Kafka's; 0 while that is not known."""
        return 0 if self._offset_ms is None else self.wall_ms() - self._offset_ms - self.ticks()

    def now(self) -> datetime:
        """The time to put on an event, in whole milliseconds."""
        off, wall = self.off_ms(), self.wall_ms()
        return to_time(wall if abs(off) <= CLOCK_TOLERANCE_MS else wall - off)


def to_time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
