"""The clock of a device, corrected by the clock of Kafka."""

import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path

TOLERANCE_MS = 30_000
"""The device's clock is used while it differs from Kafka's by at most this many ms."""


class Clock:
    """The device's clock, replaced by Kafka's if the two differ by more than `TOLERANCE_MS`.

    Attributes:
        boot_id: identifies the current boot of the machine; empty where the kernel does not offer it.
    """

    def __init__(self) -> None:
        self.boot_id = ""
        with contextlib.suppress(OSError):
            self.boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._kafka_minus_ticks_ms: int | None = None

    def ticks_ms(self) -> int:
        """Returns the time since the machine started, in ms. It includes sleep, and nobody can set it."""
        return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1_000_000

    def wall_ms(self) -> int:
        """Returns the device's own clock, Unix time in ms."""
        return time.time_ns() // 1_000_000

    def observe(self, kafka_ms: int) -> None:
        """Updates the estimate of Kafka's clock with the timestamp of an acknowledged event, Unix time in ms.

        An acknowledgement may be delayed, which makes the estimate too small. So of estimates within five seconds of each
        other the largest is kept.
        """
        estimate = kafka_ms - self.ticks_ms()
        if self._kafka_minus_ticks_ms is None or not -5_000 < estimate - self._kafka_minus_ticks_ms <= 0:
            self._kafka_minus_ticks_ms = estimate

    def offset_ms(self) -> int:
        """Returns how far the device's clock is ahead of Kafka's, in ms; 0 before the first acknowledgement."""
        return (
            0 if self._kafka_minus_ticks_ms is None else self.wall_ms() - self._kafka_minus_ticks_ms - self.ticks_ms()
        )

    def now(self) -> datetime:
        """Returns the time to put on an event, in UTC and whole milliseconds."""
        offset, wall = self.offset_ms(), self.wall_ms()
        return to_datetime(wall if abs(offset) <= TOLERANCE_MS else wall - offset)


def to_datetime(unix_ms: int) -> datetime:
    """Returns a Unix time in ms as a datetime in UTC."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC)
