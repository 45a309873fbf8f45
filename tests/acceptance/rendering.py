"""Times and JSON in the unusual forms that the contract allows."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from .oracle import SECOND

MS = 1000


def rfc3339(moment: int, rng: random.Random | None = None) -> str:
    """Returns a time in a form that RFC 3339 allows: any offset, and no fraction digits, three or six."""
    shift = rng.choice((0, 0, 480, -330, 345)) if rng else 0
    zone = timezone(timedelta(minutes=shift))
    text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)).astimezone(zone)
    digits = "microseconds" if moment % MS else "milliseconds" if moment % SECOND else "seconds"
    rendered = text.isoformat(timespec=digits)
    return rendered.replace("+00:00", "Z") if rng is None or rng.random() < 0.5 else rendered


def render(value: Any, rng: random.Random) -> str:
    """Returns unusual but valid JSON: any key order, white space, escapes, and keys that occur twice with the same value."""
    gap = " " * (rng.random() < 0.05) + "\n" * (rng.random() < 0.02)
    if isinstance(value, dict):
        items = list(value.items())
        if rng.random() < 0.3:
            rng.shuffle(items)
        if items and rng.random() < 0.02:
            items.append(rng.choice(items))
        return "{" + ("," + gap).join(f"{json.dumps(k)}:{gap}{render(v, rng)}" for k, v in items) + gap + "}"
    if isinstance(value, list):
        return "[" + ("," + gap).join(render(v, rng) for v in value) + gap + "]"
    if isinstance(value, str) and value and rng.random() < 0.02:
        return '"' + "".join(f"\\u{ord(c):04x}" if rng.random() < 0.3 else json.dumps(c)[1:-1] for c in value) + '"'
    return json.dumps(value, ensure_ascii=rng.random() < 0.5)
