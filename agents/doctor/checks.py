"""Runs the checks of `ninezero doctor`, one part of the deployment after the other.

A part that could not be checked is reported as such; it never counts as good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ninezero.agents.doctor import (
    check_formats,
    check_kafka,
    check_lists,
    check_outboxes,
    check_policies,
    check_roles,
    check_settings,
)
from ninezero.agents.doctor.findings import Finding, Results
from ninezero.agents.doctor.places import EVERYWHERE, WITH_CLICKHOUSE, WITH_KEY_RING, WITH_LISTS, WORKERS, Where
from ninezero.agents.doctor.probe import DeploymentProbe
from ninezero.streams.errors import UNREADABLE, UserError


def _clickhouse(probe: DeploymentProbe) -> Results:
    from ninezero.agents.doctor import check_clickhouse  # the edge has no package of ClickHouse

    yield from check_clickhouse.clickhouse(probe)


class Check(NamedTuple):
    """The check of one part of a deployment: where it is made, and why nowhere else."""

    results: Callable[[DeploymentProbe], Results]
    where: tuple[Where, ...] = EVERYWHERE
    why: str = ""


PARTS: Mapping[str, Check] = {
    "settings": Check(check_settings.settings),
    "sunset": Check(check_settings.sunset),
    "kafka": Check(check_kafka.kafka),
    "topics": Check(check_kafka.topics),
    "acls": Check(check_kafka.acls),
    "formats": Check(check_formats.formats, WORKERS, "only roles read internal records"),
    "policy": Check(check_policies.policy, WORKERS, "only roles read the policies"),
    "clickhouse": Check(_clickhouse, WITH_CLICKHOUSE, "only the recording role uses ClickHouse"),
    "keys": Check(check_lists.keys, WITH_KEY_RING, "only devices and authorities have the key ring"),
    "lists": Check(check_lists.lists, WITH_LISTS, "only the screening and lists roles read the lists"),
    "clocks": Check(
        check_lists.clocks,
        tuple({*WITH_LISTS, *WITH_CLICKHOUSE}),
        "the clocks are those of ClickHouse and of the heartbeats on the watchlist, which are not read here",
    ),
    "outboxes": Check(check_outboxes.outboxes, WITH_KEY_RING, "only devices have outboxes"),
    "roles": Check(check_roles.roles, WORKERS, "no role runs here"),
}
"""The parts in the order in which their problems are best solved."""


def examine(environ: Mapping[str, str], parts: tuple[str, ...] = (), where: Where = "all") -> Iterator[Finding]:
    """Checks a deployment and yields each finding when it is made.

    Args:
        environ: The settings of the deployment.
        parts: Names of `PARTS`; all if empty.
        where: The kind of this machine. A check that is made on another kind is reported as such.
    """
    parts = parts or tuple(PARTS)
    no_clickhouse = where not in WITH_CLICKHOUSE or (
        "clickhouse" not in parts and not environ.get("NINEZERO_CLICKHOUSE")
    )
    probe = DeploymentProbe(environ, where, edge=no_clickhouse)
    for part in parts:
        check = PARTS[part]
        if where not in check.where:
            yield Finding(part, "not_here", check.why)
            continue
        try:
            for result in check.results(probe):
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
        except ModuleNotFoundError:
            yield Finding(
                part,
                "could_not_check",
                "packages of the workers are not installed",
                "on a device or where lists are pushed: ninezero doctor --where edge; on a server: pip install 'ninezero[worker]'",
            )
        except Exception as error:  # its message may quote anything, so only its type is shown
            yield Finding(part, "could_not_check", f"unexpected {type(error).__name__}", "report it")
