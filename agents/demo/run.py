"""Runs the demo: a Kafka and a database of its own, the workers, the replay of a scenario, and the report."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from ninezero.agents.demo import emptiness, scenario_file
from ninezero.agents.demo.place import Place, own_place
from ninezero.agents.demo.replay import Replay
from ninezero.agents.demo.report import make_report, show
from ninezero.agents.demo.scenario_file import Spec
from ninezero.agents.demo.workers import Workers
from ninezero.streams import settings as settings_
from ninezero.streams.deployment import clickhouse_place
from ninezero.streams.edge.documents.key_ring import new_ring
from ninezero.streams.kafka import administration
from ninezero.streams.kafka.statements import state
from ninezero.streams.local_kafka.broker import Broker
from ninezero.streams.settings import Settings


@dataclass(frozen=True)
class Options:
    """What the user chose."""

    scenario: Path | None = None
    """The scenario file; None for Jiyang."""
    seed: int = 2020
    """Seed of the invented people and events."""
    speed: float = 0.0
    """Multiple of real time; 0 sends as fast as the pipeline answers."""
    once: bool = False
    """Return after the report. Otherwise the workers and the board run until SIGINT or SIGTERM."""
    use_kafka: bool = False
    """Use the Kafka of the settings, which must be empty, instead of one of the demo's own."""
    use_clickhouse: bool = False
    """Use the ClickHouse of the settings, which must be empty, instead of one of the demo's own."""


def run(folder: Path, options: Options) -> bool:
    """Runs the demo and prints its report.

    Args:
        folder: a folder of this demo is made in it. It keeps Kafka, ClickHouse, the key ring, the log of the workers and the report.
        options: what the user chose.

    Returns:
        Whether every row of the report agrees. True if a signal ended the demo.

    Raises:
        UserError: Kafka, ClickHouse or a worker cannot be used.
    """
    # asyncio handles SIGINT between two steps of a task, never within one, so Kafka and the workers are always stopped.
    # SIGTERM is handled in the same way.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    spec = scenario_file.load(options.scenario)
    try:
        with own_place(folder) as place:
            return _run(place, spec, options)
    except KeyboardInterrupt:
        if options.once:  # its status says whether every row agrees
            raise
        return True


def _run(place: Place, spec: Spec, options: Options) -> bool:
    console = Console(stderr=True)
    # An earlier demo of this folder has ended. If it and its workers were killed, its Kafka may still run.
    broker = Broker(place.folder / "kafka")
    broker.stop()
    for left in ("kafka", "clickhouse", "outbox"):
        shutil.rmtree(place.folder / left, ignore_errors=True)
    for former in ("demo.json", "report.json"):  # they are about the database that was deleted
        (place.folder / former).unlink(missing_ok=True)
    environment = _environment(place, spec, options)
    written: Settings | None = None
    try:
        if options.use_clickhouse:
            emptiness.require_empty_clickhouse(settings_.clickhouse(os.environ))
        if options.use_kafka:
            settings_.kafka(os.environ)
        else:
            console.print("starting Kafka …", highlight=False)
            broker.start()
            environment["NINEZERO_KAFKA"] = broker.bootstrap
        settings = settings_.load(environment)
        if options.use_kafka:
            emptiness.require_empty_kafka(settings)
        written = settings
        return _replay(place, spec, options, environment, settings, console)
    finally:
        broker.stop()
        if written is not None and options.use_kafka:  # the next demo finds it as empty as this one did
            administration.erase(written, settings_.ROLES)


def _replay(
    place: Place,
    spec: Spec,
    options: Options,
    environment: Mapping[str, str],
    settings: Settings,
    console: Console,
) -> bool:
    administration.create_topics(settings)
    state(settings, *spec.sites())
    workers = Workers(environment, place)
    host, port = settings.http
    board = f"http://{host}:{port + settings_.ROLES['recording']}/"
    console.print(f"the board, while this runs: {board}", highlight=False)
    try:
        replay = Replay(settings, workers, spec, options.seed, options.speed, console)
        summary = asyncio.run(replay.run())
        summary.scenario = "" if options.scenario is None else str(options.scenario.absolute())
        summary.database = clickhouse_place(settings.clickhouse) if options.use_clickhouse else ""
        summary.save(place.folder)
        report = make_report(settings.clickhouse, summary, spec)
        (place.folder / "report.json").write_text(json.dumps(report, indent=2))
        show(report)
        if not options.once:
            console.print(
                f"The workers keep running: the board at {board}, metrics at http://{host}:{port}/metrics. Ctrl-C ends the demo.",
                highlight=False,
            )
            while True:
                time.sleep(1)
        return bool(report["agrees"])
    finally:
        workers.stop()


def _environment(place: Place, spec: Spec, options: Options) -> dict[str, str]:
    """Returns the environment of the workers. Of the user's settings it has only those that an option names."""
    named = [
        *(("NINEZERO_KAFKA",) if options.use_kafka else ()),
        *(("NINEZERO_CLICKHOUSE",) if options.use_clickhouse else ()),
    ]
    keys = place.folder / "keys.json"
    if not keys.exists():
        new_ring(keys)
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("NINEZERO_")},
        "NINEZERO_CLICKHOUSE": f"chdb://{place.folder / 'clickhouse'}",
        **{
            k: str(Path(v).resolve()) if "_TLS_" in k else v
            for k, v in os.environ.items()
            if k.startswith(tuple(named))
        },
        "NINEZERO_KEYS": str(keys),
        "NINEZERO_OUTBOX": str(place.folder / "outbox"),
        "NINEZERO_ORDER": "DEMO",
        "NINEZERO_HOME": spec.home,
        "NINEZERO_SUNSET": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        "NINEZERO_TOPIC_PREFIX": f"demo-{time.time_ns() // 1_000_000}-{os.getpid()}.",
        "NINEZERO_REPLAY": "1",
        "NINEZERO_HTTP": f"127.0.0.1:{place.port}",
    }
