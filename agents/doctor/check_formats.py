"""Checks of the formats of internal records, and of the workers that read them."""

from __future__ import annotations

import asyncio

from ninezero.agents.doctor.findings import CannotCheck, Results, could_not_check, failed, names, not_here, ok, warning
from ninezero.agents.doctor.places import parties
from ninezero.agents.doctor.probe import DeploymentProbe
from ninezero.agents.doctor.quantities import counted
from ninezero.schemas.formats import FORMATS, unsupported
from ninezero.streams.settings import ROLES


def formats(probe: DeploymentProbe) -> Results:
    """Checks that this release reads what the deployment writes, and that every running worker reads what it will write."""
    from ninezero.streams.kafka.register import read_register

    if probe.kafka_fault is not None:
        raise CannotCheck("Kafka was not reached")
    register = asyncio.run(read_register(probe.settings))
    stated = {} if register.formats is None else register.formats.formats
    if unknown := unsupported(FORMATS, stated):
        yield failed(
            f"the deployment writes {names(unknown)}, which this release does not read",
            "use the release of its workers",
        )
        return
    written = [f"{one.name}/{stated.get(one.name, one.readable[0])}" for one in FORMATS]
    current = {f"{one.name}/{one.current.number}" for one in FORMATS}
    if older := sorted({*written} - current):
        yield warning(
            f"the upgrade is not finished: {names(older)} is still written",
            "when every worker is of the new release: ninezero upgrade finish",
        )
    aside = f"; {counted(len(register.set_aside), 'record is', 'records are')} set aside" if register.set_aside else ""
    yield ok(f"records are written as {', '.join(written)}{aside}")
    yield from _workers(probe, current)


def _workers(probe: DeploymentProbe, current: set[str]) -> Results:
    """Checks that every running worker reads the current formats of this release."""
    from ninezero.streams.kafka.administration import running_workers
    from ninezero.streams.kafka.sync import KafkaForbidden

    try:
        workers = running_workers(probe.settings, ROLES)
    except KafkaForbidden:
        unseen = "the releases of the workers: this user may not see their groups"
        yield not_here(unseen) if parties(probe.where) else could_not_check(unseen, "run it as an operator")
        return
    if old := sorted(worker.address for _, worker in workers if not current <= {*worker.formats}):
        yield warning(f"workers of an older release run: {names(old)}", "replace them: see docs/upgrading.md")
    elif workers:
        yield ok(f"{counted(len(workers), 'worker reads', 'workers read')} these formats")
