"""Runs the demo: a local Kafka, the workers, the replay of a scenario, and the report."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from ninezero.agents.demo import scenario_file
from ninezero.agents.demo.replay import Replay
from ninezero.agents.demo.report import make_report, show
from ninezero.agents.demo.scenario_file import Spec
from ninezero.agents.demo.workers import Workers
from ninezero.agents.recording.sites import load_sites
from ninezero.streams import settings as settings_
from ninezero.streams.edge.documents.key_ring import new_ring
from ninezero.streams.kafka import administration
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.local_kafka.ports import free_port, is_free

FIRST_PORT = 6066
"""The roles listen on this port and the next three, if all are free."""


def run(folder: Path, *, path: Path | None, seed: int, speed: float, once: bool) -> bool:
    """Runs the demo and prints its report.

    Args:
        folder: keeps Kafka, ClickHouse, the key ring, the log of the workers and the report.
        path: the scenario file; None for Jiyang.
        seed: seed of the invented people and events.
        speed: multiple of real time; 0 sends as fast as the pipeline answers.
        once: return after the report. Otherwise the workers and the board run until SIGINT or SIGTERM.

    Returns:
        Whether every row of the report agrees. True if a signal ended the demo.
    """
    # asyncio handles SIGINT between two steps of a task, never within one, so Kafka and the workers are always stopped.
    # SIGTERM is handled in the same way.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    spec = scenario_file.load(path)
    console = Console(stderr=True)
    folder.mkdir(exist_ok=True)
    broker = Broker(folder / "kafka")
    console.print("starting Kafka …", highlight=False)
    broker.start()
    environment = _environment(folder, broker, spec)
    settings = settings_.load(environment)
    administration.create_topics(settings)
    load_sites(settings.clickhouse, spec.sites(), settings.timezone)
    workers = Workers(environment, folder / "worker.log")
    host, port = settings.http
    board = f"http://{host}:{port + settings_.ROLES['recording']}/"
    console.print(f"the board, while this runs: {board}", highlight=False)
    try:
        summary = asyncio.run(Replay(settings, workers, spec, seed, speed, console).run())
        summary.scenario = "" if path is None else str(path.absolute())
        summary.save(folder)
        report = make_report(settings.clickhouse, summary, spec)
        (folder / "report.json").write_text(json.dumps(report, indent=2))
        show(report)
        if not once:
            console.print(
                f"The workers keep running: the board at {board}, metrics at http://{host}:{port}/metrics. Ctrl-C ends the demo.",
                highlight=False,
            )
            while True:
                time.sleep(1)
    except KeyboardInterrupt:
        return True
    finally:
        workers.stop()
        broker.stop()
    return bool(report["agrees"])


def _environment(folder: Path, broker: Broker, spec: Spec) -> dict[str, str]:
    """Deletes the database of the last demo and returns the environment of the workers.

    The topic prefix is new in every run. The key ring of the folder is kept. `NINEZERO_CLICKHOUSE`, if set, names another database.
    """
    data = (folder / "clickhouse").absolute()
    shutil.rmtree(data, ignore_errors=True)
    keys = folder / "keys.json"
    if not keys.exists():
        new_ring(keys)
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("NINEZERO_")},
        "NINEZERO_KAFKA": broker.bootstrap,
        "NINEZERO_CLICKHOUSE": os.environ.get("NINEZERO_CLICKHOUSE") or f"chdb://{data}",
        "NINEZERO_KEYS": str(keys.absolute()),
        "NINEZERO_ORDER": "DEMO",
        "NINEZERO_HOME": spec.home,
        "NINEZERO_SUNSET": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        "NINEZERO_TOPIC_PREFIX": f"demo-{int(time.time())}.",
        "NINEZERO_REPLAY": "1",
        "NINEZERO_HTTP": f"127.0.0.1:{_free_ports()}",
    }


def _free_ports() -> int:
    """Returns the first of as many consecutive free ports as there are roles."""
    first = FIRST_PORT
    while not all(is_free(first + n) for n in range(len(settings_.ROLES))):
        first = min(free_port(), 65_000)
    return first
