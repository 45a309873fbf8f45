"""Runs the checks of `ninezero doctor`, one part of the deployment after the other.

A part that could not be checked is reported as such; it never counts as good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ninezero.agents.doctor import (
    check_clickhouse,
    check_formats,
    check_kafka,
    check_lists,
    check_roles,
    check_settings,
)
from ninezero.agents.doctor.findings import Finding, Results
from ninezero.agents.doctor.probe import DeploymentProbe
from ninezero.streams.errors import UNREADABLE, UserError

PARTS: Mapping[str, Callable[[DeploymentProbe], Results]] = {
    "settings": check_settings.settings,
    "sunset": check_settings.sunset,
    "kafka": check_kafka.kafka,
    "topics": check_kafka.topics,
    "acls": check_kafka.acls,
    "formats": check_formats.formats,
    "clickhouse": check_clickhouse.clickhouse,
    "keys": check_lists.keys,
    "lists": check_lists.lists,
    "clocks": check_lists.clocks,
    "roles": check_roles.roles,
}
"""The parts in the order in which their problems are best solved."""


def examine(environ: Mapping[str, str], parts: tuple[str, ...] = ()) -> Iterator[Finding]:
    """Checks a deployment and yields each finding when it is made.

    Args:
        environ: The settings of the deployment.
        parts: Names of `PARTS`; all if empty.
    """
    parts = parts or tuple(PARTS)
    probe = DeploymentProbe(environ, edge="clickhouse" not in parts and not environ.get("NINEZERO_CLICKHOUSE"))
    for part in parts:
        try:
            for result in PARTS[part](probe):
                yield Finding(part, *result)
        except UserError as error:
            text, unreadable = str(error).removeprefix(f"{UNREADABLE}: "), str(error).startswith(UNREADABLE)
            why, _, todo = text.partition(": ")
            yield Finding(
                part,
                "failed" if unreadable else "could_not_check",
                why,
                todo or "solve the problems of the other parts first, then run it again",
            )
        except Exception as error:  # its message may quote anything, so only its type is shown
            yield Finding(part, "could_not_check", f"unexpected {type(error).__name__}", "report it")
