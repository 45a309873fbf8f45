"""Measures the CPU time of recording per million scans, beside an earlier commit: `python -m tests.bench.recording [COMMIT]`.

Decisions of several seconds at two rates are written as the recorder writes them: projected, inserted, rolled up, once a second. CPU
time is that of the process and, for a server, of the server too, until its merges have ended. Without a commit only this
version is measured. With one, its files are checked out into a temporary folder and both versions are measured in turn.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from ninezero.agents.recording.checkpoint import Checkpoint
from ninezero.agents.recording.projections.topics import project, projections
from ninezero.schemas.events import DecisionGroup, Decisions, encode
from ninezero.schemas.row_block import Block
from ninezero.streams import clickhouse, settings
from ninezero.streams.clickhouse.topic_buffer import Batch
from tests.support import default_policies

RATES = (1_000, 20_000)
"""Scans a second."""
FLUSHES, PARTITIONS, ROUNDS = 20, 12, 3
SITES, DEVICES = 1_000, 1_200
MERGE_SECONDS = 3.0
KINDS = (("vehicle", "clear", [], 62), ("pedestrian", "clear", [], 30), ("vehicle", "hold", ["weak_match"], 4), ("vehicle", "refer", ["fever"], 2), ("pedestrian", "quarantine", ["close_contact", "no_identity"], 2))  # fmt: skip
"""Kind, outcome and reasons of a scan, and the share in percent."""


def decisions(rng: random.Random, at_ms: int, scans: int, seqs: dict[int, int]) -> list[bytes]:
    """Returns the decisions records of one second, one a partition."""
    found = []
    for partition in range(PARTITIONS):
        groups: dict[tuple[Any, ...], DecisionGroup] = {}
        sites: dict[str, int] = {}
        for _ in range(scans // PARTITIONS):
            device = rng.randrange(DEVICES // PARTITIONS) * PARTITIONS + partition
            seqs[device] = seqs.get(device, -1) + 1
            ((kind, outcome, reasons, _),) = rng.choices(KINDS, [share for *_, share in KINDS])
            common = (kind, rng.choice(["in", "out"]), "", rng.choice([1, 1, 1, 2]), outcome, False)
            group = groups.setdefault(
                (*common, *reasons), DecisionGroup(*common, list(reasons), [], [], [], [], [], [])
            )
            group.sites.append(sites.setdefault(f"site-{device * SITES // DEVICES:04}", len(sites)))
            group.device_ids.append(f"dev-{device:04}")
            group.seqs.append(seqs[device])
            group.observed_ms.append(at_ms - rng.randrange(1_000))
            group.digests.append(rng.getrandbits(32))
        found.append(encode(Decisions("default@1", [], at_ms, 1, list(sites), list(groups.values()))))
    return found


def measure(kind: str, rate: int, seed: int) -> float:
    """Returns the CPU seconds per million scans."""
    given = {"ORDER": "o", "SUNSET": "2100-01-01T00:00:00Z", "KAFKA": "k:1", "CLICKHOUSE": "clickhouse://c"}
    loaded = settings.load({f"NINEZERO_{name}": value for name, value in given.items()})
    projection, *_ = projections(loaded, default_policies(loaded))
    stated = getattr(projection.topic, "format", None)
    headers = stated.headers if stated else ()  # an earlier version has none
    rng, seqs, start = random.Random(seed), dict[int, int](), int(datetime.now(UTC).timestamp() * 1000)
    seconds = [decisions(rng, start + n * 1_000, rate, seqs) for n in range(FLUSHES)]
    with tempfile.TemporaryDirectory() as folder, _server(kind, Path(folder)) as (url, pid):
        engine = clickhouse.connect(url)
        clickhouse.migrate(engine)
        given_parts: list[Any] = [SimpleNamespace(), SimpleNamespace(topic_ids={}), "Asia/Shanghai", {projection.topic.name: frozenset(projection.tables)}]  # fmt: skip
        checkpoint = Checkpoint(*given_parts[: len(signature(Checkpoint).parameters)])  # an earlier one takes fewer
        before = _cpu(pid)
        for records in seconds:
            rows: dict[str, Block] = {}
            for partition, value in enumerate(records):
                record = SimpleNamespace(value=value, timestamp=start, offset=0, headers=headers, key=b"site")
                chunk: Any = SimpleNamespace(records=[record], tp=TP(projection.topic.name, partition))
                for table, block in project(projection, chunk, frozenset()).rows.items():
                    rows.setdefault(table, Block(table)).extend(block)
            checkpoint._write(engine, Batch([], rows, rate), {})
        time.sleep(MERGE_SECONDS)
        spent = _cpu(pid) - before
        engine.close()
    return spent / (FLUSHES * (rate // PARTITIONS * PARTITIONS)) * 1e6


@contextmanager
def _server(kind: str, folder: Path) -> Any:
    """Yields the URL of an empty database, and the process id of its server, or 0."""
    if kind == "embedded":
        yield f"chdb://{folder}/db", 0
        return
    server: Any
    try:
        from tests.engines.clickhouse_server import start_server
    except ImportError:  # until 2026-11-30 the server of the tests was Debian's
        from tests import support

        server = support.ClickHouseServer(folder)
        server.start()
    else:
        server = start_server(folder)
    try:
        yield server.url, server._process.pid
    finally:
        server.kill()


def _cpu(pid: int) -> float:
    """Returns the CPU seconds of this process, and of another one if `pid` is not 0."""
    own = time.process_time()
    if not pid:
        return own
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return own + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def side_by_side(commit: str, kind: str) -> None:
    """Measures this version and an earlier one in turn, each time in a process of its own, and prints the medians."""
    here = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as name:
        archive = subprocess.run(["git", "archive", commit], cwd=here, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", name], input=archive, check=True)
        trees = {commit: Path(name), "this version": here}
        found: dict[tuple[str, int], list[float]] = {}
        for seed in range(ROUNDS):
            for rate in RATES:
                for version, tree in trees.items():
                    command = [sys.executable, str(Path(__file__).resolve()), "--measure", kind, str(rate), str(seed)]
                    env = os.environ | {"PYTHONPATH": str(tree)}
                    done = subprocess.run(command, cwd=tree, env=env, check=True, stdout=subprocess.PIPE)
                    found.setdefault((version, rate), []).append(json.loads(done.stdout))
    print(f"{kind}: CPU seconds per million scans, median of {ROUNDS} (lowest to highest)")
    for (version, rate), some in sorted(found.items(), key=lambda item: item[0][1]):
        print(
            f"  {rate:>7,} scans/s  {version:16} {statistics.median(some):6.2f}  ({min(some):.2f} to {max(some):.2f})"
        )


def main(arguments: list[str]) -> None:
    """Runs one measurement (`--measure`), or the comparison."""
    if arguments[:1] == ["--measure"]:
        kind, rate, seed = arguments[1:]
        print(json.dumps(measure(kind, int(rate), int(seed))))
    elif arguments:
        for kind in arguments[1:] or ["embedded"]:
            side_by_side(arguments[0], kind)
    else:
        for rate in RATES:
            some = [measure("embedded", rate, seed) for seed in range(ROUNDS)]
            print(f"{rate:>7,} scans/s: {statistics.median(some):.2f} CPU seconds per million scans")


if __name__ == "__main__":
    main(sys.argv[1:])
