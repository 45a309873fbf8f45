"""`make bench-peers`: one job by this product and by its peers, in one run.

The job: read scans (about 400 bytes, 12 partitions), decode and validate, match every token against a list of a million, decide
by the table, send alerts, and have rows in a ClickHouse server, durable before the offsets are committed. For the product that is
screening and recording, both counted. All read the same scans from the same broker; the order is shuffled in each round.

CPU seconds are user and system of every process of a candidate, from before the scans are fed to when all is durable and
committed; it is started, joined and idle by then, and reading what is committed it gets all scans at once (one transaction).
Seconds are counted from that moment. Broker and ClickHouse are not counted. A candidate's alerts and rows must be those of the
product, one by one, or its figure is not printed.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import results
from tests.bench.feed import expected
from tests.bench.rig import JAVA, PYTHON, Bench, Candidate, Found

OURS, FLOOR = "ninezero (both roles)", "floor: aiokafka, decoding only"

HEADER = ("", "events a CPU-second", "ours is", "events a second", "peak MB", "durable before commit", "dead letters", "outcomes")  # fmt: skip


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (str(PYTHON), "-m", *arguments, f"tests.bench.peers.{name}")


CANDIDATES = [
    Candidate(OURS, outcomes="yes"),
    Candidate("stock Faust", _module("stock_faust"), 0.15, durable="not on error", letters="not on error"),
    Candidate(
        "stock Faust, outcomes too",
        _module("stock_faust"),
        0.15,
        durable="not on error",
        letters="not on error",
        outcomes="yes",
    ),
    Candidate("Quix Streams", _module("quix")),
    Candidate("Quix Streams, outcomes too", _module("quix"), outcomes="yes"),
    Candidate("Bytewax", _module("bytewax_flow", "bytewax.run"), commits=False, durable="yes, own store"),
    Candidate("loop on confluent-kafka", _module("confluent_loop")),
    Candidate("loop on confluent-kafka, outcomes too", _module("confluent_loop"), outcomes="yes"),
    Candidate("loop on aiokafka", _module("aiokafka_loop")),
    Candidate("loop on aiokafka, outcomes too", _module("aiokafka_loop"), outcomes="yes"),
    Candidate("Kafka Streams (Java)", ("java", "-Xmx1g", "-cp", JAVA, "Screening"), durable="not at a rebalance"),
    Candidate(FLOOR, _module("floor_aiokafka"), floor=True),
    Candidate("floor: librdkafka, decoding only", _module("floor_librdkafka"), floor=True),
]


def main() -> None:
    """Runs the rounds, prints the table, keeps the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--events", type=int, default=240_000)
    arguments.add_argument(
        "--only", default="", help="candidates whose names have one of these words, beside the product"
    )
    asked = arguments.parse_args()
    words = [word for word in asked.only.lower().split(",") if word]
    chosen = [c for c in CANDIDATES if c.name == OURS or not words or any(word in c.name.lower() for word in words)]
    found: dict[str, list[Found]] = {c.name: [] for c in chosen}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), asked.events)
        try:
            bench.start()
            for number in range(asked.rounds):
                for candidate in random.sample(chosen, len(chosen)):
                    try:
                        one = bench.run(candidate)
                    except AssertionError as error:  # a peer that fails has no figure; the others go on
                        print(f"round {number + 1}: {candidate.name}: {error}", file=sys.stderr)
                        continue
                    found[candidate.name].append(one)
                    print(
                        f"{time.monotonic() - began:4.0f} s, round {number + 1}: {candidate.name}: {one.per_cpu:,.0f} events a CPU-second",
                        file=sys.stderr,
                    )
        finally:
            bench.stop()
    report(found)


def report(found: dict[str, list[Found]]) -> None:
    """Prints the table, and keeps the figures. A figure whose results are not the product's is left out."""
    ours = found[OURS]
    wanted = expected(ours[0].events)
    assert {(one.rows[0], one.alerts[0], one.letters) for one in ours} == {tuple(wanted)}, (
        "the product did not do the job"
    )
    mine = statistics.median(one.per_cpu for one in ours)
    lines: list[tuple[str, ...]] = []
    kept: dict[str, Any] = {}
    for candidate in CANDIDATES:
        runs = found.get(candidate.name)
        if runs is None:
            continue
        wrong = len(runs) < len(ours) or any(not same(candidate, one, ours[0]) for one in runs)
        parts = {candidate.name: [one.per_cpu for one in runs]}
        if candidate.name == OURS:
            parts |= {f"ninezero {part} alone": [one.events / one.cpu[part] for one in runs] for part in ours[0].cpu}
        for name, rates in parts.items():
            alone = name != candidate.name
            promises = (
                ("", "", "") if candidate.floor or alone else (candidate.durable, candidate.letters, candidate.outcomes)
            )
            if wrong:
                lines.append((name, "other results: not shown", "", "", "", *promises))
                continue
            seconds = [one.events / one.seconds for one in runs]
            theirs = statistics.median(rates)
            lines.append((
                name, spread(rates), f"{mine / theirs:.2f} x" if name != OURS else "", "" if alone else spread(seconds),
                "" if alone else f"{statistics.median(one.peak_mb for one in runs):,.0f}", *promises,
            ))  # fmt: skip
            kept[name] = {"events_per_cpu_second": rates, "ours_is": mine / theirs} | (
                {}
                if alone
                else {"events_per_second": seconds, "peak_mb": [one.peak_mb for one in runs], "events": runs[0].events}
            )
    show(lines, len(ours))
    if FLOOR in kept:
        alone, floor = (
            statistics.median(kept[name]["events_per_cpu_second"]) for name in ("ninezero screening alone", FLOOR)
        )
        print(f"screening alone is {alone / floor:.0%} of the floor of aiokafka, on which it stands")
    results.keep("peers", kept)


def show(lines: list[tuple[str, ...]], rounds: int) -> None:
    """On a terminal a table for people, else one for the README."""
    if not sys.stdout.isatty():
        for line in (HEADER, ("---",) * len(HEADER), *lines):
            print(f"| {' | '.join(line)} |")
        return
    table = Table(*HEADER, title=f"One job by this product and its peers, {rounds} rounds: median (least to most)")
    for line in lines:
        table.add_row(*line)
    Console().print(table)


def same(candidate: Candidate, one: Found, ours: Found) -> bool:
    """Whether a candidate's run had the product's results; of fewer scans, the right number of each."""
    if candidate.floor:
        return True
    told = expected(one.events).rows if candidate.outcomes == "yes" else 0
    if one.events == ours.events:
        return (one.rows, one.alerts, one.told) == (ours.rows, ours.alerts, told)
    return (one.rows[0], one.alerts[0], one.told) == (*expected(one.events)[:2], told)


def spread(figures: list[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(figures):,.0f} ({min(figures):,.0f} to {max(figures):,.0f})"


if __name__ == "__main__":
    main()
