"""Compares ninezero with its peers at one job: `make bench-peers`.

The job: read scans of about 400 bytes from 12 partitions, decode and validate them, match every token against a watchlist of a
million entries, apply the decision table, send alerts, and have rows in a ClickHouse server that are durable before the offsets are
committed. For ninezero these are the roles screening and recording; both are counted. All candidates read the same scans from the
same broker, in random order in each round.

CPU seconds are user and system time of every process of a candidate, from before the scans are sent until everything is durable and
committed. By then the candidate has started, joined its group and is idle. The scans are sent in one transaction, so a consumer of
committed records sees all of them at the same moment; elapsed seconds count from that moment. Broker and ClickHouse are not counted.
There are two mixes of scans (`mixes.py`), and all lists of both are on the watchlist. A mix states which rules apply to each scan: every
row and alert of every candidate is checked against that, and alerts and rows must equal those of ninezero. Otherwise a candidate has no
figure.
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
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from tests.bench import results
from tests.bench.comparison_rig import PEERS, PYTHON, Bench, Candidate, RunResult, Shape
from tests.bench.feed import ENTRIES, expected
from tests.bench.mixes import MIXES, USUAL, Mix

NINEZERO, FLINK, FLOOR = "ninezero (both roles)", "Apache Flink (Java)", "floor: aiokafka, decoding only"

HEADER = ("", "events per CPU-second", "ninezero is", "events per second", "peak MB", "durable before commit", "dead letters", "outcomes")  # fmt: skip


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (str(PYTHON), "-m", *arguments, f"tests.bench.peers.{name}")


def _java(jars: str, main: str) -> tuple[str, ...]:
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in ("java.lang", "java.util", "java.time")]
    return ("java", "-Xmx1g", *(opened if main == "FlinkJob" else ()), "-cp", f"{PEERS}/{jars}/classes:{PEERS}/{jars}/*", main)  # fmt: skip


CANDIDATES = [
    Candidate(NINEZERO, outcomes="yes"),
    Candidate("stock Faust", _module("stock_faust"), 0.15, durable="not on error", dead_letters="not on error"),
    Candidate(
        "stock Faust, outcomes too",
        _module("stock_faust"),
        0.15,
        durable="not on error",
        dead_letters="not on error",
        outcomes="yes",
    ),
    Candidate("Quix Streams", _module("quix")),
    Candidate("Quix Streams, outcomes too", _module("quix"), outcomes="yes"),
    Candidate("Bytewax", _module("bytewax_flow", "bytewax.run"), commits=False, durable="yes, own store"),
    Candidate("loop on confluent-kafka", _module("confluent_loop")),
    Candidate("loop on confluent-kafka, outcomes too", _module("confluent_loop"), outcomes="yes"),
    Candidate("loop on aiokafka", _module("aiokafka_loop")),
    Candidate("loop on aiokafka, outcomes too", _module("aiokafka_loop"), outcomes="yes"),
    Candidate("Kafka Streams (Java)", _java("streams", "StreamsJob"), durable="not at a rebalance"),
    Candidate(FLINK, _java("flink", "FlinkJob"), only_asked=True),
    Candidate(FLOOR, _module("floor_aiokafka"), floor=True),
    Candidate("floor: librdkafka, decoding only", _module("floor_librdkafka"), floor=True),
]


def main() -> None:
    """Runs the rounds of each mix, prints the tables and stores the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--events", type=int, default=240_000)
    arguments.add_argument("--entries", type=int, default=ENTRIES, help="entries on the list of contacts")
    arguments.add_argument("--mix", choices=MIXES, help="run only this mix")
    arguments.add_argument(
        "--only",
        default="",
        help="words, separated by commas: run only the candidates whose names contain one of them, and ninezero",
    )
    asked = arguments.parse_args()
    chosen = candidates([word for word in asked.only.lower().split(",") if word])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # runs the cleanup below
    began = time.monotonic()
    stored: dict[str, Any] = results.read("peers") if asked.only or asked.mix else {}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), asked.events)
        try:
            bench.start(Shape(asked.entries))
            for mix in MIXES.values() if asked.mix is None else [MIXES[asked.mix]]:
                bench.use(mix)
                found = run_rounds(bench, chosen, asked.rounds, began)
                stored[mix.name] = stored.get(mix.name, {}) | report(found, mix)
        finally:
            bench.stop()
    results.store("peers", stored)


def candidates(words: list[str]) -> list[Candidate]:
    """Returns the candidates whose names contain one of these words, and ninezero. Without words, all that need not be asked for."""
    if not words:
        return [candidate for candidate in CANDIDATES if not candidate.only_asked]
    return [c for c in CANDIDATES if c.name == NINEZERO or any(word in c.name.lower() for word in words)]


def run_rounds(bench: Bench, chosen: list[Candidate], rounds: int, began: float) -> dict[str, list[RunResult]]:
    """Lets the candidates do the job, in random order in each round. Returns their results by name."""
    found: dict[str, list[RunResult]] = {c.name: [] for c in chosen}
    for number in range(rounds):
        for candidate in random.sample(chosen, len(chosen)):
            try:
                one = bench.run(candidate)
            except AssertionError as error:  # a peer that fails has no figure; the others continue
                print(f"round {number + 1}: {candidate.name}: {error}", file=sys.stderr)
                continue
            found[candidate.name].append(one)
            print(
                f"{time.monotonic() - began:4.0f} s, {bench.shaped.mix.name}, round {number + 1}: {candidate.name}: "
                f"{one.events_per_cpu_second:,.0f} events per CPU-second",
                file=sys.stderr,
            )
    return found


class Row(NamedTuple):
    """A row of the table, as text. Fields that do not apply are empty."""

    name: str
    events_per_cpu_second: str
    ninezero_is: str = ""
    events_per_second: str = ""
    peak_mb: str = ""
    durable: str = ""
    dead_letters: str = ""
    outcomes: str = ""


def report(found: dict[str, list[RunResult]], mix: Mix = USUAL) -> dict[str, Any]:
    """Prints the table of a mix and returns its figures. A candidate whose results differ from those of ninezero has no figure."""
    ours = found[NINEZERO]
    assert ours, "ninezero did not do the job"
    due = expected(ours[0].events, mix)
    assert {(one.rows.number, one.alerts.number, one.dead_letters) for one in ours} == {tuple(due)}, (
        "ninezero did not do the job"
    )
    rows: list[Row] = []
    stored: dict[str, Any] = {}
    for candidate in CANDIDATES:
        runs = found.get(candidate.name)
        if runs is None:
            continue
        if len(runs) < len(ours) or any(not same(candidate, one, ours[0], mix) for one in runs):
            rows.append(with_promises(Row(candidate.name, "other results: not shown"), candidate))
            continue
        rows.append(candidate_row(candidate, runs, ours))
        stored[candidate.name] = rate_figures([one.events_per_cpu_second for one in runs], ours) | {
            "events_per_second": [one.events / one.seconds for one in runs],
            "peak_mb": [one.peak_mb for one in runs],
            "events": runs[0].events,
        }
        if candidate.name == NINEZERO:
            for role in ours[0].cpu:
                rates = [one.events / one.cpu[role] for one in runs]
                rows.append(Row(f"ninezero {role} alone", spread(rates), ratio(rates, ours)))
                stored[f"ninezero {role} alone"] = rate_figures(rates, ours)
    show(rows, mix, len(ours))
    if FLOOR in stored:
        alone, floor = (
            statistics.median(stored[name]["events_per_cpu_second"]) for name in ("ninezero screening alone", FLOOR)
        )
        print(f"screening alone reaches {alone / floor:.0%} of the throughput of aiokafka without any work")
    return stored


def candidate_row(candidate: Candidate, runs: list[RunResult], ours: list[RunResult]) -> Row:
    """Returns the row of a candidate whose results are right."""
    rates = [one.events_per_cpu_second for one in runs]
    row = Row(
        candidate.name,
        spread(rates),
        ratio(rates, ours) if candidate.name != NINEZERO else "",
        spread([one.events / one.seconds for one in runs]),
        f"{statistics.median(one.peak_mb for one in runs):,.0f}",
    )
    return with_promises(row, candidate)


def with_promises(row: Row, candidate: Candidate) -> Row:
    """Adds what a candidate promises. A floor promises nothing."""
    if candidate.floor:
        return row
    return row._replace(durable=candidate.durable, dead_letters=candidate.dead_letters, outcomes=candidate.outcomes)


def rate_figures(rates: list[float], ours: list[RunResult]) -> dict[str, Any]:
    """Returns the stored figures of these events per CPU second."""
    return {"events_per_cpu_second": rates, "ours_is": median_rate(ours) / statistics.median(rates)}


def ratio(rates: list[float], ours: list[RunResult]) -> str:
    """Returns how many times as many events per CPU second ninezero processes."""
    return f"{median_rate(ours) / statistics.median(rates):.2f} x"


def median_rate(runs: list[RunResult]) -> float:
    """Returns the median of the events per CPU second of these runs."""
    return statistics.median(one.events_per_cpu_second for one in runs)


def show(rows: list[Row], mix: Mix, rounds: int) -> None:
    """Prints a table for people on a terminal, otherwise one in Markdown."""
    title = f"The {mix.name} mix, {rounds} rounds: median (lowest to highest)"
    if not sys.stdout.isatty():
        print(f"\n{title}\n")
        for row in (HEADER, ("---",) * len(HEADER), *rows):
            print(f"| {' | '.join(row)} |")
        return
    table = Table(*HEADER, title=title)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def same(candidate: Candidate, one: RunResult, ours: RunResult, mix: Mix) -> bool:
    """Returns whether a run has the results of ninezero. Of fewer scans, only the numbers are compared."""
    if candidate.floor:
        return True
    due = expected(one.events, mix)
    if one.outcomes != (due.rows if candidate.outcomes == "yes" else 0):
        return False
    if one.events == ours.events:
        return (one.rows, one.alerts) == (ours.rows, ours.alerts)
    return (one.rows.number, one.alerts.number) == (due.rows, due.alerts)


def spread(figures: list[float]) -> str:
    """Returns median, lowest and highest."""
    return f"{statistics.median(figures):,.0f} ({min(figures):,.0f} to {max(figures):,.0f})"


if __name__ == "__main__":
    main()
