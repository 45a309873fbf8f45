"""Formats of log lines: text for people, and one JSON object per line for collectors."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["text", "json"]

_TOKEN = re.compile(r"[A-Za-z0-9]{1,16}\.[0-9a-f]{32,}")
_RESIDENT_NUMBER = re.compile(r"(?<![0-9A-Za-z])[0-9]{17}[0-9Xx](?![0-9A-Za-z])")


def redact(text: str) -> str:
    """Replaces what looks like a token, a case number or a resident number.

    No message of ours holds one. A message of a library could quote a value.
    """
    return _RESIDENT_NUMBER.sub("[number]", _TOKEN.sub("[token]", text))


class TextFormatter(logging.Formatter):
    """`TIME LEVEL LOGGER: MESSAGE`, and the traceback on the following lines if there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Returns the redacted line."""
        return redact(super().format(record))


class JsonFormatter(logging.Formatter):
    """An object with `time` (RFC 3339, UTC), `level`, `logger`, `message` and `role`, and `exception` if there is a traceback."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """Returns the redacted line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
            "role": self._role,
        }
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def formatter(kind: LogFormat, role: str) -> logging.Formatter:
    """Returns the formatter of a role's log lines."""
    return JsonFormatter(role) if kind == "json" else TextFormatter()
