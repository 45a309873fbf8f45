"""Times of a policy on the command line: how they are written and shown."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from ninezero.agents.cli.console import CommandError
from ninezero.agents.doctor.quantities import duration
from ninezero.agents.logic.policy.timeline import NOTICE_SECONDS
from ninezero.schemas.events.base import Time

NOW_SECONDS = 90
"""`now` means in so many seconds, because an activation must be on Kafka 60 seconds before it takes effect."""

assert NOW_SECONDS > NOTICE_SECONDS


def now_ms() -> int:
    """Returns the present time, Unix time in ms."""
    return time.time_ns() // 1_000_000


def soon(replay: bool) -> datetime:
    """Returns the time that `now` means, a full second."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=0 if replay else NOW_SECONDS)


def parse_time(option: str, value: str) -> datetime | None:
    """Returns the time that an option states; None for `now`.

    Raises:
        CommandError: it is not a time with an offset.
    """
    if value == "now":
        return None
    try:
        return msgspec.convert(value, Time).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        raise CommandError(
            f"{option} must be now, or a time with its offset such as 2026-12-31T08:00:00+08:00"
        ) from None


def show_time(when: datetime, timezone: str) -> str:
    """Returns a time for people: the local time of the deployment, the UTC time, and how far away it is."""
    local, utc = when.astimezone(ZoneInfo(timezone)), when.astimezone(UTC)
    away = when - datetime.now(UTC)
    distance = f"in {duration(away)}" if away > timedelta(0) else f"{duration(-away)} ago"
    return f"{local:%Y-%m-%d %H:%M:%S} {timezone} ({utc:%Y-%m-%dT%H:%M:%SZ}), {distance}"
