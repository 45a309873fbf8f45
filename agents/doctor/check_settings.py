"""Checks of the settings and of the end of the emergency order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from ninezero.agents.doctor.findings import CannotCheck, Results, failed, ok, warning
from ninezero.agents.doctor.probe import DeploymentProbe, on_this_machine
from ninezero.agents.doctor.quantities import duration

SUNSET_NEAR = timedelta(days=7)


def settings(probe: DeploymentProbe) -> Results:
    """Checks that every setting is valid, and that connections to other machines use TLS."""
    for fault in probe.faults.values():
        found, _, todo = str(fault).partition(": ")
        yield failed(found, todo)
    for name in probe.unknown_settings():
        if name != "NINEZERO_DEBUG":
            yield warning(f"{name} is not a setting and has no effect", "check the spelling: ninezero reads the settings in docs/reference/settings.md")  # fmt: skip
    given = probe.settings
    if given.replay:
        yield warning("replay mode: no event is late, no slot ends by the clock, no facts are dropped", "unset NINEZERO_REPLAY in production")  # fmt: skip
    if "ca" not in given.kafka_security and not on_this_machine(given.kafka):
        yield warning("the connection to Kafka leaves this machine without TLS", "set NINEZERO_KAFKA_TLS_CA")
    database = urlsplit(given.clickhouse)
    if database.scheme == "clickhouse" and not on_this_machine(database.netloc.rpartition("@")[2]):
        yield warning("the connection to ClickHouse leaves this machine without TLS", "use clickhouses:// in NINEZERO_CLICKHOUSE")  # fmt: skip
    if not probe.faults:
        yield ok(f"all settings are valid; the order is {given.order}")


def sunset(probe: DeploymentProbe) -> Results:
    """Checks that the emergency order has not ended and does not end soon."""
    if {"NINEZERO_SUNSET", "NINEZERO_ORDER"} & probe.faults.keys():
        raise CannotCheck("NINEZERO_ORDER or NINEZERO_SUNSET is missing or wrong")
    left = probe.settings.sunset - datetime.now(UTC)
    end = f"{probe.settings.sunset:%Y-%m-%dT%H:%M:%SZ}"
    if left <= timedelta(0):
        yield failed(
            f"the order ended at {end}: every event is discarded",
            "stop the workers, then run ninezero erase; or set the new order and its end",
        )
    elif left < SUNSET_NEAR:
        yield warning(
            f"the order ends at {end}, in {duration(left)}", "prepare ninezero erase, or have the order prolonged"
        )
    else:
        yield ok(f"the order ends at {end}, in {duration(left)}")
