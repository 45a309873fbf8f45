"""A deployment under load whose workers run different releases."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import time
import urllib.request
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ninezero.streams.local_kafka.broker import Broker
from tests.faults.deployment import Deployment
from tests.faults.load import SCANS, token
from tests.faults.observer import Observer, Place
from tests.support import free_port, wait_for

from .release import Release

ROLES = ("recording", "ledgers", "lists", "screening")
"""The order in which an upgrade restarts them (docs/upgrading.md)."""


class LaneObserver(Observer):
    """Reads scans with a lane as bad records while release N rejects them."""

    refused = True

    def _add(self, place: Place, record: Any) -> None:
        if self.refused and place[0] == SCANS and b'"lane"' in record.value:
            self.ends[place] = record.offset + 1
            self.source[place][record.offset] = None
            return
        super()._add(place, record)


class Rolling(Deployment):
    """One worker of each role, each of a release of its own. Commands run with the program of `release`."""

    OBSERVER = LaneObserver

    def __init__(self, folder: Path, seed: int, broker: Broker, release: Release) -> None:
        self.release = release
        self.runs: dict[str, Release] = {}
        """The release of each worker that was replaced; the others run `first`."""
        self.first = release
        super().__init__(folder, seed, broker)

    @property
    def COMMAND(self) -> str:  # type: ignore[override]
        return self.release.program

    def program_of(self, name: str) -> str:
        return self.runs.get(name, self.first).program

    def output(self, *arguments: str) -> str:
        """Returns the output of a command that must succeed."""
        done = self.run(*arguments)
        text = (done.stdout + done.stderr).decode()
        assert done.returncode == 0 and "Traceback" not in text, f"{arguments}: {text}"
        return text

    def run_as(self, release: Release, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Runs a command of a release, with ports of its own."""
        former, env = self.release, self.env
        self.release, self.env = release, env | {"NINEZERO_HTTP": f"127.0.0.1:{free_port(4)}"}
        try:
            return self.run(*arguments)
        finally:
            self.release, self.env = former, env

    def replace(self, release: Release, rng: random.Random, kills: bool) -> None:
        """Replaces worker after worker by a release, as a rolling update does. With `kills`, another worker is killed each time."""
        names = sorted(self.workers, key=lambda name: (name.partition("-")[1], ROLES.index(name.partition("-")[0])))
        for name in names:
            self.runs[name] = release
            self.leave(name)
            self.start(name)
            if kills:
                time.sleep(rng.uniform(0.2, 2))
                self.kill(rng.choice(names))
            wait_for(lambda name=name: self.is_ready(name), 60, f"{name} of {release.version}")
        wait_for(lambda: all(map(self.is_ready, names)), 60, f"all workers of {release.version}")

    def is_ready(self, name: str) -> bool:
        """Returns whether the /readyz of a worker answers with status 200."""
        port = self._ports[name] + ("screening", "lists", "ledgers", "recording").index(name.partition("-")[0])
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer,
        ):
            return bool(answer.status == 200)
        return False

    def send_lanes(self, count: int) -> None:
        """Sends scans of a device of release N+1, which state their lane. Every second person has a confirmed fever.

        Release N rejects them; each is counted once after it was sent again to release N+1.
        """
        load, site, observed = self.load, "s1", datetime.now(UTC) - timedelta(minutes=3)
        for number in range(count):
            event, fever = (f"lanes-{load.run}", number), bool(number % 2)
            person: dict[str, Any] = {
                "role": "pedestrian",
                "lane": "left",
                "tokens": {"id": token(1000)},
                "temperature_c": 36.5,
            }
            if fever:
                person |= {"temperature_c": 38.4, "temperature_confirmed_c": 38.2}
            scan = {
                "device_id": event[0], "seq": number, "site_id": site, "observed_at": observed.isoformat(),
                "kind": "pedestrian", "people": [person],
            }  # fmt: skip
            rules = ["fever", "fever_in_lane"] if fever else []
            outcome = "refer" if fever else "clear"
            counts = Counter({"passages": 1, "people": 1, outcome: 1, "fevers": int(fever)})
            load.expected.by_minute[event] = (f"{observed:%Y-%m-%d %H:%M:00}", site, counts)
            load._note(event, site, observed, outcome, rules)
            load._send(SCANS, site.encode(), json.dumps(scan).encode(), event, "schema_invalid")
