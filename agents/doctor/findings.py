"""The results of checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from ninezero.streams.errors import UserError

Status = Literal["ok", "warning", "failed", "could_not_check", "not_here"]
"""`could_not_check` is a failure: the check applies to this machine. `not_here` is none: it is made on another machine."""


class Result(NamedTuple):
    """One result of a check: its status, what was found, and what to do unless the status is `ok`."""

    status: Status
    found: str
    todo: str = ""


class Finding(NamedTuple):
    """A result with the part of the deployment that it is about."""

    part: str
    status: Status
    found: str
    todo: str = ""


Results = Iterator[Result]


class CannotCheck(UserError):
    """A check that could not be made. The message says why, and after a colon what to do."""


def ok(found: str) -> Result:
    """Returns a result that needs no action."""
    return Result("ok", found)


def warning(found: str, todo: str) -> Result:
    """Returns a result that will or may become a failure."""
    return Result("warning", found, todo)


def failed(found: str, todo: str) -> Result:
    """Returns a result that keeps the deployment from working."""
    return Result("failed", found, todo)


def could_not_check(found: str, todo: str) -> Result:
    """Returns the result of a check that could not be made."""
    return Result("could_not_check", found, todo)


def not_here(found: str) -> Result:
    """Returns the result of a check that is made on another machine."""
    return Result("not_here", found)


def names(items: list[str]) -> str:
    """Returns names for one line, at most six of them."""
    if not items:
        return "none"
    return ", ".join(items) if len(items) <= 6 else f"{', '.join(items[:5])} and {len(items) - 5} more"
