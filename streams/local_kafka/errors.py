"""Why the local Kafka cannot run: the error, and how its cause is found in the output of Kafka."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from ninezero.streams.errors import UserError


class BrokerError(UserError):
    """The local Kafka cannot be installed, started or found."""


@contextlib.contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """Turns an error of the file system into one that names the folder.

    Raises:
        BrokerError: the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise BrokerError(
            f"cannot write in {folder} ({error.strerror or 'copy failed'}): free space or choose another folder"
        ) from None


def last_error(output: str) -> str:
    """Returns the last ERROR line of Kafka's output with its root cause, or the error of the JVM if Kafka logged none."""
    if "No space left on device" in output:
        return "the disk is full: free some space"
    if "Address already in use" in output:
        return "another program has opened its port: try again"
    found = re.findall(r"(?m)^\S+ \S+ (?:ERROR|FATAL) (.+)((?:\n(?!\d{4}-).*)*)", output)
    if found:
        line, trace = found[-1]
        causes = re.findall(r"(?m)^(?:Caused by: )?((?:\w+\.)+\w+: .+)$", trace)
        return f"{line} ({causes[-1]})"[:300] if causes else line[:300]
    lines = [line.strip() for line in output.splitlines() if re.search(r"\b(Error|Exception)\b", line)]
    return " ".join(lines)[:300] if lines else "it printed no error"
