"""Measures the CPU time that the board takes from the workers, and how far it is behind, while scans are processed.

Rounds with PAGES open pages and rounds without alternate.

python -m tests.bench.board [SCANS_PER_SECOND] [server|embedded]
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from ninezero.agents.board.server import WATCHED_SECONDS
from ninezero.streams import settings as settings_
from ninezero.streams.kafka import topics
from ninezero.streams.kafka.records import OutgoingRecord
from ninezero.streams.kafka.writer import Writer
from ninezero.streams.local_kafka.broker import Broker
from tests.bench.freshness import TICK_SECONDS, push_person, scan
from tests.bench.processes import cpu_seconds
from tests.engines.clickhouse_server import start_server
from tests.support import System, free_port, wait_for

PAGES = 10
ROUND_SECONDS = 8.0
ROUNDS = 8


async def stream(system: System, rate: int, sent: list[int]) -> None:
    """Sends `rate` scans per second until it is cancelled, and counts them in `sent[0]`."""
    writer = Writer(settings_.load(system.env))
    await writer.start()
    began = time.monotonic()
    try:
        while True:
            due = int(rate * (time.monotonic() - began))
            await writer.write(
                OutgoingRecord(topics.SCANS, b"s%d" % (n % 100), scan(n, 10**6 + n)) for n in range(sent[0], due)
            )
            sent[0] = max(due, sent[0])
            await asyncio.sleep(TICK_SECONDS)
    finally:
        await writer.stop()


async def watch(url: str, sent: list[int], behind: list[float], rate: int) -> None:
    """Reads the situation every two seconds, as an open page does, and appends to `behind` how many seconds of scans it lacks."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{url}situation.json") as answer:
                situation: dict[str, Any] = json.loads(await answer.read())
            if situation["today"]:
                behind.append((sent[0] - situation["today"]["passages"]) / rate)
            await asyncio.sleep(2)


async def cpu_during(system: System, seconds: float) -> dict[str, float]:
    """Returns the CPU seconds of each role during `seconds`."""
    before = {role: cpu_seconds(process.pid) for role, process in system.workers.items()}
    await asyncio.sleep(seconds)
    return {role: cpu_seconds(process.pid) - before[role] for role, process in system.workers.items()}


async def measure(system: System, rate: int) -> None:
    """Prints the CPU time of each role with and without pages, under load and idle, and how far the board was behind."""
    sent, behind = [0], list[float]()
    url = f"http://127.0.0.1:{system.http + 3}/"
    sending = asyncio.create_task(stream(system, rate, sent))
    await asyncio.sleep(6)
    spent: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    idle: dict[bool, float] = {}
    for n in range(ROUNDS + 2):  # the last two rounds have no scans: the cost of the pages alone
        watched, streaming = n % 2 == 1, n < ROUNDS
        if n == ROUNDS:
            sending.cancel()
        if n >= 2 and not watched:
            await asyncio.sleep(WATCHED_SECONDS + 1)
        pages = [
            asyncio.create_task(watch(url, sent, behind if streaming else [], rate))
            for _ in range(PAGES if watched else 0)
        ]
        await asyncio.sleep(3)  # the first request reads every part
        count = sent[0]
        found = await cpu_during(system, ROUND_SECONDS)
        if streaming:
            spent[watched].append({role: seconds / (sent[0] - count) * 1e6 for role, seconds in found.items()})
            if sending.done():
                sending.result()
        else:
            idle[watched] = sum(found.values()) / ROUND_SECONDS
        for page in pages:
            page.cancel()
    print(
        f"{rate:,} scans per second requested; CPU seconds per million scans, medians of {ROUNDS // 2} rounds of {ROUND_SECONDS:.0f} s"
    )
    total = {watched: statistics.median(sum(round_.values()) for round_ in rounds) for watched, rounds in spent.items()}
    for role in system.workers:
        print(
            f"  {role:10}", *(f"{statistics.median(r[role] for r in spent[watched]):8.2f}" for watched in (False, True))
        )
    print(
        f"  all       {total[False]:8.2f} {total[True]:8.2f}  (no page, {PAGES} pages): {100 * (total[True] / total[False] - 1):+.1f} %"
    )
    print(
        "  rounds, no page:",
        *(f"{sum(r.values()):.2f}" for r in spent[False]),
        " watched:",
        *(f"{sum(r.values()):.2f}" for r in spent[True]),
    )
    cost = idle[True] - idle[False]
    print(
        f"  without scans: {1000 * idle[False]:.0f} ms per second, with pages {1000 * idle[True]:.0f} ms: the pages cost {1000 * cost:.0f} ms per second, "
        f"{100 * cost / (total[False] * rate / 1e6):.1f} % of the workers' time under load"
    )
    print(f"  the board was {statistics.median(behind):.1f} s behind what was sent (worst {max(behind):.1f} s)")


def main(rate: int, engine: str) -> None:
    """Runs the measurement at `rate` scans per second, with an `engine` of ClickHouse: server or embedded."""
    with tempfile.TemporaryDirectory() as name:
        broker = Broker(Path(name) / "kafka", free_port())
        broker.start()
        server = start_server(Path(name) / "clickhouse") if engine == "server" else None
        system = System(broker.bootstrap, server.url if server else f"chdb://{name}/db", Path(name))
        try:
            system.prepare()
            system.start("lists", "screening", "ledgers", "recording")
            push_person(system, 0, 1)
            wait_for(lambda: system.ready("screening") and system.ready("recording"), 60, "the workers")
            asyncio.run(measure(system, rate))
        finally:
            system.stop()
            if server is not None:
                server.close()
            broker.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000, sys.argv[2] if len(sys.argv) > 2 else "server")
