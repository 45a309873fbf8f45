"""Runs faults with seeds, prints a table, and leaves `.run/faults.json`.

python -m tests.faults.run [--seeds 3] [--only "kill -9"] [--seed 7]; the longest ("down 300 s") only when named
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import secrets
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import storage  # noqa: F401  # it registers its faults
from .check import Findings, check, facts
from .deployment import Deployment
from .faults import FAULTS, LONG, OF_CLICKHOUSE

ROLES = ("lists", "recording", "screening")
RECOVERY_SECONDS = 60.0


@dataclass
class Result:
    """What one fault did with one seed."""

    fault: str
    seed: int
    events: int = 0
    lost: int = 0
    double: int = 0
    recovery: float = 0.0
    pause: float = 0.0
    """Longest pause between two records of outcomes while events came, in seconds."""
    wait: float = 0.0
    """Longest wait of an event for its outcome, in seconds."""
    peak: dict[str, int] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    """Workers that ended by themselves and were started again."""
    polls: int = 0
    wrong: list[str] = field(default_factory=list)


def run(deployment: Deployment, name: str, seed: int) -> Result:
    """One fault under load; then everything is drained and checked."""
    rng, observer, load = random.Random(seed), deployment.observer, deployment.load
    deployment.peak.clear()
    deployment.ended.clear()
    observer.wrong.clear()
    before, polls = len(load.expected.acknowledged), observer.polls
    began = int(time.time() * 1000)
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
    found = check(deployment) if drained else Findings(wrong=[*observer.wrong, waiting_for(deployment)])
    if not drained:
        found.events = len(load.expected.acknowledged)
        found.lost = len(load.expected.acknowledged - facts(deployment))
    result = Result(
        name, seed, found.events - before, found.lost, found.double, round(drained or RECOVERY_SECONDS + 15, 1),
        peak=dict(deployment.peak), ended=list(deployment.ended), polls=observer.polls - polls, wrong=found.wrong[:20],
    )  # fmt: skip
    answered = sorted(at for at in observer.answered_at if began <= at <= paused)
    gaps = [b - a - load.stood_still(a, b) for a, b in zip([began + 1000, *answered], [*answered, paused], strict=True)]
    result.pause = round(max(gaps) / 1000, 1)
    waits = [
        said[1] - observer.sent_at[event]
        for event, said in observer.outcomes.items()
        if observer.sent_at.get(event, 0) > began
    ]
    result.wait = round(max(waits, default=0) / 1000, 1)
    if name in OF_CLICKHOUSE and result.pause > 3:
        result.wrong.append(f"outcomes paused for {result.pause} s")
    if drained and drained > RECOVERY_SECONDS:
        result.wrong.append(f"recovery took {drained:.0f} s")
    return result


def drain(deployment: Deployment, healed: float) -> float | None:
    """Seconds from the healing until nothing is left to do; None if something still is after a while."""
    observer, expected = deployment.observer, deployment.load.expected
    while time.monotonic() < healed + RECOVERY_SECONDS + 15:
        observer.fresh()
        with contextlib.suppress(Exception):
            if (
                observer.lag("screening") == observer.lag("recording") == 0
                and expected.acknowledged <= observer.outcomes.keys()
                and len(facts(deployment)) >= len(observer.decided)
                and set(expected.batches) <= observer.receipts.keys()
                and recorded_letters(deployment) >= len(observer.dead)
                and counted(deployment) >= len(observer.decided)
            ):
                return time.monotonic() - healed
        time.sleep(0.2)
    return None


def recorded_letters(deployment: Deployment) -> int:
    return int(deployment.observer.query("SELECT sum(records) FROM ninezero.dead_letters_by_hour")[0][0])


def counted(deployment: Deployment) -> int:
    """Events in the views that have one row for each; none while an event of a device or a batch is not recorded."""
    query, expected = deployment.observer.query, deployment.load.expected
    [(events,)] = query("SELECT count() FROM (SELECT DISTINCT device_id, seq FROM ninezero_data.device_events)")
    [(batches,)] = query("SELECT count() FROM ninezero.push_batches")
    if events < len(deployment.observer.decided) or batches < len(expected.batches):
        return 0
    [(passages,)] = query("SELECT sum(passages) FROM ninezero.screening_by_minute")
    [(arrivals,)] = query("SELECT sum(people) FROM ninezero.arrivals_by_day")
    return int(passages) + int(arrivals)


def waiting_for(deployment: Deployment) -> str:
    observer, expected = deployment.observer, deployment.load.expected
    return (
        f"still waiting: lag of screening {observer.lag('screening')}, of recording {observer.lag('recording')}; "
        f"{len(expected.acknowledged - observer.outcomes.keys())} without an outcome, "
        f"{len(set(expected.batches) - observer.receipts.keys())} batches without a receipt"
    )


def table(results: list[Result]) -> Table:
    """One row a fault: the worst of its runs."""
    shown = Table(
        "fault", "runs", "events", "lost", "double", "worst recovery s", "peak RSS MB", "longest pause of outcomes s"
    )
    for name in dict.fromkeys(result.fault for result in results):
        runs = [result for result in results if result.fault == name]
        shown.add_row(
            name, str(len(runs)), f"{sum(r.events for r in runs):,}", str(sum(r.lost for r in runs)),
            str(sum(r.double for r in runs)), f"{max(r.recovery for r in runs):.1f}",
            str(max((max(r.peak.values(), default=0) for r in runs), default=0)), f"{max(r.pause for r in runs):.1f}",
        )  # fmt: skip
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each fault")
    parser.add_argument("--seed", type=int, default=None, help="the first seed; random without it")
    parser.add_argument("--only", action="append", default=[], help="faults whose name holds this text")
    parser.add_argument("--out", type=Path, default=Path(".run/faults.json"))
    given = parser.parse_args()
    names = [name for name in FAULTS if (any(text in name for text in given.only) if given.only else name not in LONG)]
    first = secrets.randbelow(10**6) if given.seed is None else given.seed
    results: list[Result] = []
    console = Console()
    for seed in range(first, first + given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            deployment = Deployment(Path(folder), seed)
            try:
                deployment.begin(*ROLES)
                for name in names:
                    result = run(deployment, name, seed)
                    results.append(result)
                    print(json.dumps(asdict(result)), flush=True)
            finally:
                deployment.stop()
                given.out.parent.mkdir(parents=True, exist_ok=True)
                (given.out.parent / f"faults-{seed}.log").write_text(deployment.logs())
    given.out.write_text(json.dumps([asdict(result) for result in results], indent=1))
    console.print(table(results))
    wrong = [result for result in results if result.wrong]
    for result in wrong:
        print(f"{result.fault}, seed {result.seed}:", *result.wrong, sep="\n  ")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
