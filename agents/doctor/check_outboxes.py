"""Checks of the outboxes of the devices on this machine: where they are, what waits in them, and which are refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ninezero.agents.doctor.findings import CannotCheck, Result, Results, could_not_check, failed, ok
from ninezero.agents.doctor.probe import DeploymentProbe
from ninezero.agents.doctor.quantities import counted
from ninezero.streams.edge.device.outbox_deployment import OutboxDeployment
from ninezero.streams.edge.device.outbox_place import former_folder, outbox_files
from ninezero.streams.edge.device.outbox_summary import OutboxSummary, read_summary
from ninezero.streams.settings import SettingsError


def outboxes(probe: DeploymentProbe) -> Results:
    """Checks where the outboxes are, that they can be read, and that none is left in the former default folder."""
    if "NINEZERO_OUTBOX" in probe.faults:
        raise CannotCheck("NINEZERO_OUTBOX is wrong")
    try:
        folder = probe.settings.outbox_folder()
    except SettingsError:
        yield ok("no device runs under this account: it has no home folder, and NINEZERO_OUTBOX is not set")
        return
    former = former_folder(probe.settings)
    found: dict[Path, list[Path]] = {}
    for place in dict.fromkeys(filter(None, (former, folder))):
        try:
            found[place] = outbox_files(place)
        except OSError as error:
            yield could_not_check(f"{place} cannot be read ({error.strerror})", "run this as the user of the devices")
    if former is not None and former != folder and (left := found.get(former)):
        yield failed(
            f"{counted(len(left), 'outbox', 'outboxes')} in {former}, the folder of earlier releases",
            "start each of these devices in this folder once, which moves its outbox; or set NINEZERO_OUTBOX to that folder",
        )
    if folder not in found:
        return
    given, waiting, others = OutboxDeployment.of(probe.settings), 0, 0
    for path in found[folder]:
        try:
            summary = read_summary(path)
        except sqlite3.Error:
            yield could_not_check(
                f"the outbox {path.name} cannot be read", "run this as the user of the device, and check the disk"
            )
            continue
        if summary.is_of_another(given):
            others += 1
            continue
        waiting += summary.waiting
        if summary.stopped:
            yield _refused(summary)
    if others:
        yield ok(f"{counted(others, 'outbox', 'outboxes')} in {folder} of other deployments")
    yield ok(
        f"{counted(len(found[folder]) - others, 'outbox', 'outboxes')} in {folder}, {counted(waiting, 'event', 'events')} waiting for Kafka"
    )


def _refused(summary: OutboxSummary) -> Result:
    """Reports an outbox that accepts nothing, and what waits in it."""
    device, events = summary.device_id, counted(summary.waiting, "event", "events")
    what = f"the outbox of {device} accepts nothing, because Kafka has events of {device} that are not from it"
    if summary.compared or not summary.waiting:
        return failed(f"{what}; {events} waiting", "start the device under a new device_id")
    return failed(
        f"{what}; it is new, and {events} in it {'is' if summary.waiting == 1 else 'are'} not sent",
        f"run ninezero outbox rename {device} NEW_ID, and start a device under the new id, which sends them; the device goes on with the"
        " outbox that it had, if there is one",
    )
