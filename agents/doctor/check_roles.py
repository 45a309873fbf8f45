"""Checks of the worker processes on this machine."""

from __future__ import annotations

import urllib.error

from ninezero.agents.doctor.findings import Results, could_not_check, failed, ok
from ninezero.agents.doctor.probe import DeploymentProbe
from ninezero.streams import direct_http
from ninezero.streams.settings import ROLES, reachable_host


def roles(probe: DeploymentProbe) -> Results:
    """Asks each role on this machine whether it is ready."""
    host, first = probe.settings.http
    host = reachable_host(host)
    address = f"[{host}]" if ":" in host else host
    for role, step in ROLES.items():
        try:
            with direct_http.ask(f"http://{address}:{first + step}/readyz", timeout=5):
                yield ok(f"{role} is ready")
        except urllib.error.HTTPError:
            waits = "its partitions, or for complete lists" if role == "screening" else "its partitions"
            yield failed(
                f"{role} runs and is not ready: it waits for {waits}",
                "check the lists, and whether another process of the role has the partitions",
            )
        except OSError:
            yield could_not_check(
                f"{role} does not answer on this machine",
                f"start it here (ninezero worker {role}), or run ninezero doctor where it runs",
            )
