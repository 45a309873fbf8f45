"""Checks of the worker processes."""

from __future__ import annotations

import urllib.error
from http import HTTPStatus

from ninezero.agents.doctor.findings import Results, could_not_check, failed, not_here, ok
from ninezero.agents.doctor.probe import DeploymentProbe
from ninezero.streams import direct_http
from ninezero.streams.settings import ROLES

MAX_STATE_BYTES = 1000
"""Most bytes that are read of an answer which says why a role is not ready."""


def roles(probe: DeploymentProbe) -> Results:
    """Asks each worker of `NINEZERO_WORKERS`, or each role on this machine, whether it is ready; in a container only its role."""
    given, alone = probe.settings, probe.where in ROLES
    if alone:
        yield not_here("the other roles: they run in containers of their own")
    for worker in given.workers_of_this_machine() if alone else given.all_workers():
        role = worker.role
        if alone and role != probe.where:
            continue
        where = "at its address of NINEZERO_WORKERS" if given.workers and not alone else "on this machine"
        try:
            with direct_http.ask(f"{worker.url}/readyz", timeout=5):
                yield ok(f"{role} is ready")
        except urllib.error.HTTPError as answer:
            if answer.code == HTTPStatus.MISDIRECTED_REQUEST:
                yield could_not_check(
                    f"{role} does not answer under the name in NINEZERO_WORKERS",
                    "add that name to NINEZERO_HOSTS on the worker",
                )
                continue
            yield failed(
                f"{role} runs and is {_state(answer.read(MAX_STATE_BYTES))}",
                "check the lists and the policy, and whether another process of the role has the partitions",
            )
        except OSError:
            yield could_not_check(
                f"{role} does not answer {where}",
                f"start it (ninezero worker {role}); if roles run elsewhere: set NINEZERO_WORKERS to their addresses, or in a"
                " container of one role: ninezero doctor --where ROLE",
            )
    named = {worker.role for worker in given.workers}
    if named and not alone and (others := [role for role in ROLES if role not in named]):
        yield could_not_check(
            f"{', '.join(others)}: not asked, since not in NINEZERO_WORKERS",
            "add the addresses of these roles to NINEZERO_WORKERS",
        )


def _state(answer: bytes) -> str:
    """Returns what a role that is not ready answers. Something else at its address gives no reason."""
    text = answer.decode(errors="replace").strip()
    return text if text.startswith("not ready: ") and text.isprintable() else "not ready"
