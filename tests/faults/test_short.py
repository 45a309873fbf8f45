"""The short form of `make faults`. Another seed: `FAULT_SEED=123 pytest tests/faults`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ninezero.streams.local_kafka.broker import Broker

from .deployment import Deployment
from .run import ROLES, run


@pytest.mark.server
def test_no_event_is_lost_or_counted_twice_when_every_process_is_killed_once(kafka: Broker, tmp_path: Path) -> None:
    seed = int(os.environ.get("FAULT_SEED", "1"))
    deployment = Deployment(tmp_path, seed, kafka)
    try:
        deployment.begin(*ROLES)
        results = [run(deployment, name, seed) for name in ("short mix of faults", "short mix of data losses")]
    finally:
        deployment.stop()
    for result in results:
        assert (result.lost, result.double, result.wrong) == (0, 0, []), result.fault
        assert result.events > 500
    assert "Traceback" not in deployment.logs()
