"""Durations and counts as text."""

from __future__ import annotations

from datetime import timedelta


def duration(span: timedelta) -> str:
    """Returns a duration in its largest unit that is contained at least twice, such as "36 hours"."""
    seconds = span.total_seconds()
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return counted(round(seconds), "second", "seconds")


def counted(count: int, singular: str, plural: str) -> str:
    """Returns a count with its noun, such as "1 entry" or "2 entries"."""
    return f"{count} {singular if count == 1 else plural}"
