"""Checks of the outboxes of the devices on this machine."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ninezero.agents.doctor.findings import CannotCheck, Results, could_not_check, failed, ok
from ninezero.agents.doctor.probe import DeploymentProbe
from ninezero.agents.doctor.quantities import counted
from ninezero.streams.edge.device.outbox_place import former_folder, outbox_files
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
    waiting, files = 0, found[folder]
    for path in files:
        try:
            with closing(sqlite3.connect(path)) as db:
                db.execute("PRAGMA query_only = ON")
                waiting += int(db.execute("SELECT count(*) FROM unsent").fetchone()[0])
        except sqlite3.Error:
            yield could_not_check(
                f"the outbox {path.name} cannot be read", "run this as the user of the device, and check the disk"
            )
    yield ok(
        f"{counted(len(files), 'outbox', 'outboxes')} in {folder}, {counted(waiting, 'event', 'events')} waiting for Kafka"
    )
