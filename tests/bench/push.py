"""Measures how long a pushed batch takes: from the Kafka timestamp of its last part to that of its receipt.

The contract (§5) allows 2 s plus one second for each 50,000 lines.

python -m tests.bench.push [LINES …]
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from ninezero.streams.edge.documents.key_ring import new_ring
from ninezero.streams.local_kafka.broker import Broker
from tests.support import System, free_port, wait_for

LINES_PER_PART = 4_000


def make_parts(lines: int, batch_id: str, mode: str, sequence: int) -> list[bytes]:
    """Returns the parts of a batch of people with two tokens each."""
    now = datetime.now(UTC)
    head: dict[str, Any] = {
        "batch_id": batch_id, "authority": "cdc", "pushed_by": "op1", "list": "cases", "category": "close_contact",
        "mode": mode, "sequence": sequence, "issued_at": now, "legal_basis": "LAW-1", "purpose": "epidemic_control",
        "declared_lines": lines,
    }  # fmt: skip
    window = {"valid_from": now - timedelta(hours=1), "valid_to": now + timedelta(days=7, seconds=sequence)}
    records = []
    numbers = range(0, max(lines, 1), LINES_PER_PART)
    for part, first in enumerate(numbers, 1):
        some = [
            {"line": n, "tokens": {"id": [f"k1.{n * 7919:032x}"], "phone": [f"k1.{n * 104729:032x}"]}, **window}
            for n in range(first, min(first + LINES_PER_PART, lines))
        ]
        records.append(orjson.dumps({**head, "part": part, "parts": len(numbers), "lines": some}))
    return records


def main(sizes: list[int]) -> None:
    """Pushes each size as a full list, then as a delta with another window, and prints the seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Broker(folder / "kafka", free_port())
        broker.start()
        new_ring(folder / "keys.json")
        system = System(broker.bootstrap, f"chdb://{folder}/db", folder, NINEZERO_KEYS=str(folder / "keys.json"))
        try:
            system.prepare()
            system.start("lists")
            wait_for(lambda: system.ready("lists"), 60, "the lists role")
            print(f"{'lines':>10} {'mode':>6} {'seconds':>8} {'allowed':>8}")
            for sequence, (lines, mode) in enumerate([(n, m) for n in sizes for m in ("full", "delta")], 1):
                print(f"{lines:>10,} {mode:>6} {_push(system, lines, mode, sequence):>8.2f} {2 + lines / 50_000:>8.2f}")
        finally:
            system.stop()
            broker.stop()


def _push(system: System, lines: int, mode: str, sequence: int) -> float:
    parts = make_parts(lines, f"b{sequence}", mode, sequence)
    producer = KafkaProducer(bootstrap_servers=system.env["NINEZERO_KAFKA"], max_request_size=2 << 20)
    sent = [producer.send(system.prefix + "watchlist-pushes", value, b"cdc") for value in parts]
    last = sent[-1].get(120).timestamp
    producer.close()
    reader = KafkaConsumer(bootstrap_servers=system.env["NINEZERO_KAFKA"], isolation_level="read_committed")
    tp = TopicPartition(system.prefix + "push-receipts", 0)
    reader.assign([tp])
    reader.seek_to_beginning(tp)
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        for records in reader.poll(timeout_ms=200).values():
            for record in records:
                receipt = orjson.loads(record.value)
                if receipt["batch_id"] == f"b{sequence}":
                    assert receipt["status"] == "applied" and receipt["accepted"] == lines, receipt["code"]
                    reader.close()
                    return float(record.timestamp - last) / 1000
    raise AssertionError("no receipt within ten minutes")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1_000, 100_000, 1_000_000])
