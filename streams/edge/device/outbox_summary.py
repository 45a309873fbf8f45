"""What an outbox holds, read beside the device that uses it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from ninezero.streams.edge.device.outbox_deployment import OutboxDeployment


class OutboxSummary(NamedTuple):
    """The state of an outbox."""

    device_id: str
    waiting: int
    """Events that Kafka has not acknowledged."""
    stopped: bool
    """True if it accepts nothing, because Kafka has events of its device that it does not know."""
    compared: bool
    """False if it is new and not known to be the first one of its device. Nothing of it is sent then."""
    deployment: OutboxDeployment | None
    """The deployment that it belongs to; None before one has used it."""

    def is_of_another(self, given: OutboxDeployment) -> bool:
        """Returns whether it belongs to another deployment, as far as both can be told apart without Kafka."""
        same = None if self.deployment is None else self.deployment.is_same(given)
        return same is False or (same is None and self.deployment is not None and self.deployment.order != given.order)


def read_summary(path: Path) -> OutboxSummary:
    """Reads an outbox of any version. Changes nothing.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA query_only = ON")
        waiting = int(db.execute("SELECT count(*) FROM unsent").fetchone()[0])
        device = dict(db.execute("SELECT * FROM device").fetchone())
    stated = device.get("deployment")
    return OutboxSummary(
        device["device_id"],
        waiting,
        stopped=device["next_seq"] < 0,
        compared=bool(device.get("compared", True)),
        deployment=OutboxDeployment.read(stated) if stated else None,
    )
