"""Runs faults with seeds, prints a table, and leaves `.run/faults.json`.

python -m tests.faults.run [--seeds 3] [--only "kill -9"] [--seed 7] [--soak 900] [--table .run/faults.json]

The longest faults ("down 300 s") run only when they are named.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ninezero.streams.local_kafka.broker import Broker
from tests.engines.kafka_cluster import KafkaCluster

from . import brokers, storage  # noqa: F401  # they register their faults
from .check import check
from .deployment import Deployment
from .faults import FAULTS, FRESH, LONG, OF_CLICKHOUSE, OF_CLUSTER
from .observer import GROUPS

ROLES = ("lists", "recording", "ledgers", "screening")
RECOVERY_SECONDS = 60.0
PATIENCE_SECONDS = 300.0
"""Longest wait for a recovery. One that takes longer than RECOVERY_SECONDS is reported, but what comes is not lost."""
MEMORY_MB = 512
"""A worker that needs more holds more than its limits allow: chunks in flight (streams/transport/consumer.py)."""
RECORDING_MEMORY_MB = 300
"""The same for the recording role, which also holds rows that wait (agents/recording/recorder.py), in rebuilds too."""


@dataclass
class Result:
    """The result of one fault with one seed."""

    fault: str
    seed: int
    events: int = 0
    lost: int = 0
    double: int = 0
    recovery: float = 0.0
    pause: float = 0.0
    """Longest pause between two outcome records while events were sent, in seconds."""
    within: list[str] = field(default_factory=list)
    """Kills in that pause."""
    kills: int = 0
    wait: float = 0.0
    """Longest time of an event until its outcome, in seconds."""
    peak: dict[str, int] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    """Workers that ended by themselves and were restarted."""
    polls: int = 0
    curve: list[Any] = field(default_factory=list)
    """For a soak: seconds since the start, and the resident sizes of the workers in MB."""
    wrong: list[str] = field(default_factory=list)


def run(deployment: Deployment, name: str, seed: int) -> Result:
    """Causes one fault under load, waits until everything is processed, and checks it."""
    rng, observer, load = random.Random(seed), deployment.observer, deployment.load
    deployment.peak.clear()
    deployment.ended.clear()
    deployment.kills.clear()
    observer.wrong.clear()
    before, polls = len(load.expected.acknowledged), observer.polls
    began = int(time.time() * 1000)
    if name not in FRESH:
        load.go()
        time.sleep(rng.uniform(1.0, 2.0))
    FAULTS[name](deployment, rng)
    healed = time.monotonic()
    time.sleep(1)
    paused = int(time.time() * 1000)
    load.pause()
    drained = drain(deployment, healed)
    observer.emptied = False
    observer.fresh()
    found = check(deployment)
    if not drained:  # what has not come by now is lost
        found.wrong.insert(0, waiting_for(deployment))
    result = Result(
        name, seed, found.events - before, found.lost, found.double, round(drained or PATIENCE_SECONDS, 1),
        peak=dict(deployment.peak), kills=len(deployment.kills), ended=list(deployment.ended), polls=observer.polls - polls, wrong=found.wrong[:20],
    )  # fmt: skip
    answered = sorted(at for at in observer.answered_at if began <= at <= paused)
    first = min(
        (observer.sent_at[event] for event in observer.outcomes if observer.sent_at[event] > began), default=paused
    )
    gaps = [(b - a - load.paused_for(a, b), a) for a, b in itertools.pairwise([first, *answered, paused])]
    pause, since = max(gaps)
    result.pause = round(pause / 1000, 1)
    result.within = [what for at, what in deployment.kills if since - 1000 < at * 1000 < since + pause]
    waits = [
        answer[1] - observer.sent_at[event]
        for event, answer in observer.outcomes.items()
        if observer.sent_at.get(event, 0) > began
    ]
    result.wait = round(max(waits, default=0) / 1000, 1)
    if name in OF_CLICKHOUSE and result.pause > 3:
        result.wrong.append(f"outcomes paused for {result.pause} s")
    for role, size in result.peak.items():
        if size > (RECORDING_MEMORY_MB if role == "recording" else MEMORY_MB):
            result.wrong.append(f"a {role} worker grew to {size} MB")
    if drained and drained > RECOVERY_SECONDS:
        result.wrong.append(f"recovery took {drained:.0f} s")
    return result


def drain(deployment: Deployment, healed: float) -> float | None:
    """Returns the seconds from the end of the fault until everything is processed, or None if that takes too long."""
    observer, expected = deployment.observer, deployment.load.expected
    while time.monotonic() < healed + PATIENCE_SECONDS:
        observer.fresh()
        asked = time.monotonic()
        with contextlib.suppress(Exception):
            if (
                observer.idle
                and not observer.rebuilding
                and expected.screened <= observer.outcomes.keys()
                and set(expected.batches) <= observer.receipts.keys()
                and recorded_letters(deployment) >= len(observer.dead)
                and counted(deployment) >= len(observer.decided)
            ):
                return time.monotonic() - healed
        time.sleep(max(0.2, time.monotonic() - asked))  # the queries must not slow a rebuild down
    return None


def recorded_letters(deployment: Deployment) -> int:
    return int(deployment.observer.query("SELECT sum(records) FROM ninezero.dead_letters_by_hour")[0][0])


def counted(deployment: Deployment) -> int:
    """Returns the number of scans and arrivals in the views, or 0 if an event, batch or case is missing in one of its tables."""
    query, expected = deployment.observer.query, deployment.load.expected
    [(screened,)] = query("SELECT count() FROM (SELECT DISTINCT device_id, seq FROM ninezero_data.screening_facts)")
    if screened < len(deployment.observer.decided):
        return 0
    tables = ("screening_facts", "disposition_facts", "quarantine_facts", "followup_facts")
    every = " UNION ALL ".join(f"SELECT device_id, seq FROM ninezero_data.{table}" for table in tables)
    for source in (f"({every})", "ninezero_data.device_events"):
        [(events,)] = query(f"SELECT count() FROM (SELECT DISTINCT device_id, seq FROM {source})")
        if events < len(expected.acknowledged):
            return 0
    [(batches,)] = query("SELECT count() FROM ninezero.push_batches")
    if batches < len(expected.batches):
        return 0
    [(passages,)] = query("SELECT sum(passages) FROM ninezero.screening_by_minute")
    [(arrivals,)] = query("SELECT sum(people) FROM ninezero.arrivals_by_day")
    return int(passages) + int(arrivals)


def waiting_for(deployment: Deployment) -> str:
    observer, expected = deployment.observer, deployment.load.expected
    return (
        f"still waiting: lag { ({role: observer.lag(role) for role in GROUPS}) }; "
        f"{len(expected.screened - observer.outcomes.keys())} without an outcome, "
        f"{len(set(expected.batches) - observer.receipts.keys())} batches without a receipt"
    )


def soak(deployment: Deployment, seconds: int, whole: Result) -> None:
    """Runs random combinations for some time, each followed by a check, and adds all of them to `whole`."""
    until, rng = time.monotonic() + seconds, random.Random(whole.seed)
    deployment.curve.clear()
    while time.monotonic() < until:
        one = run(deployment, "random combination", rng.randrange(10**6))
        print(json.dumps(asdict(one)), flush=True)
        whole.events, whole.polls, whole.kills = (
            whole.events + one.events,
            whole.polls + one.polls,
            whole.kills + one.kills,
        )
        whole.lost, whole.double = max(whole.lost, one.lost), max(whole.double, one.double)
        whole.recovery, whole.wait = max(whole.recovery, one.recovery), max(whole.wait, one.wait)
        if one.pause > whole.pause:
            whole.pause, whole.within = one.pause, one.within
        whole.peak = {role: max(size, whole.peak.get(role, 0)) for role, size in one.peak.items()}
        whole.ended += one.ended
        whole.curve = list(deployment.curve)
        whole.wrong += [f"seed {one.seed}: {what}" for what in one.wrong]


COLUMNS = (
    "fault", "runs", "kills", "events", "lost", "double", "worst recovery s", "peak RSS MB", "longest pause s",
    "longest wait s",
)  # fmt: skip


def rows(results: list[Result]) -> Iterator[tuple[str, ...]]:
    """Yields one row per fault, with the worst values of its runs."""
    for name in dict.fromkeys(result.fault for result in results):
        runs = [result for result in results if result.fault == name]
        yield (
            name, str(len(runs)), str(sum(r.kills for r in runs) or ""), f"{sum(r.events for r in runs):,}",
            str(sum(r.lost for r in runs)), str(sum(r.double for r in runs)), f"{max(r.recovery for r in runs):.1f}",
            str(max((max(r.peak.values(), default=0) for r in runs), default=0)), f"{max(r.pause for r in runs):.1f}",
            f"{max(r.wait for r in runs):.1f}",
        )  # fmt: skip


def markdown(results: list[Result]) -> str:
    """Returns the table of docs/reliability.md."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (COLUMNS, ("---",) * len(COLUMNS), *rows(results)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="number of runs of each fault")
    parser.add_argument("--seed", type=int, default=None, help="first seed (default: random)")
    parser.add_argument("--only", action="append", default=[], help="run only faults whose name contains this text")
    parser.add_argument("--soak", type=int, default=0, help="run random faults for this many seconds instead")
    parser.add_argument(
        "--table", type=Path, nargs="+", default=[], help="print the results in these files as Markdown"
    )
    parser.add_argument("--out", type=Path, default=Path(".run/faults.json"))
    given = parser.parse_args()
    if given.table:
        print(markdown([Result(**result) for file in given.table for result in json.loads(file.read_text())]))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that everything that was started is stopped
    names = [name for name in FAULTS if (any(text in name for text in given.only) if given.only else name not in LONG)]
    first = secrets.randbelow(10**6) if given.seed is None else given.seed
    results: list[Result] = []
    given.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        for seed in range(first, first + (1 if given.soak else given.seeds)):
            for result in results_of(seed, names, given.soak, given.out.parent):
                results.append(result)
                print(json.dumps(asdict(result)), flush=True)
    finally:  # an interrupted run keeps its results so far
        given.out.write_text(json.dumps([asdict(result) for result in results], indent=1))
    shown = Table(*COLUMNS)
    for row in rows(results):
        shown.add_row(*row)
    Console().print(shown)
    wrong = [result for result in results if result.wrong]
    for result in wrong:
        print(f"{result.fault}, seed {result.seed}:", *result.wrong, sep="\n  ")
    return int(bool(wrong))


def results_of(seed: int, names: list[str], soak_seconds: int, logs: Path) -> Iterator[Result]:
    """Runs the named faults, or a soak: first those of one broker, then those of a cluster, each kind in one deployment."""
    of_one = [name for name in names if name not in OF_CLUSTER]
    of_cluster = [name for name in names if name in OF_CLUSTER and not soak_seconds]
    if of_one or soak_seconds:
        with deployed(seed, logs / f"faults-{seed}.log") as deployment:
            deployment.begin(*ROLES)
            if soak_seconds:
                whole = Result(f"soak of {soak_seconds // 60} minutes", seed)
                soak(deployment, soak_seconds, whole)
                yield whole
                return
            for name in of_one:
                if name in FRESH:
                    with deployed(seed, logs / f"faults-{seed}-fresh.log", deployment.broker) as fresh:
                        yield run(fresh, name, seed)
                else:
                    yield run(deployment, name, seed)
    if of_cluster:
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ending:
            cluster = KafkaCluster(Path(folder))
            ending.callback(cluster.stop)
            deployment = ending.enter_context(deployed(seed, logs / f"faults-{seed}-cluster.log", cluster))
            deployment.begin(*ROLES)
            for name in of_cluster:
                yield run(deployment, name, seed)


@contextlib.contextmanager
def deployed(seed: int, log: Path, broker: Broker | KafkaCluster | None = None) -> Iterator[Deployment]:
    """Yields a deployment in a temporary folder. Afterwards the logs of its workers are in `log`."""
    with tempfile.TemporaryDirectory() as folder:
        deployment = Deployment(Path(folder), seed, broker)
        try:
            yield deployment
        finally:
            deployment.stop()
            log.write_text(deployment.logs())


if __name__ == "__main__":
    sys.exit(main())
