"""The job of the Python peers, written once, so that the comparison measures the plumbing.

Events are decoded and validated by msgspec into the wire type and decided by a plain decision table (`rules.py`). The watchlist is a
plain dict of tokens: faster than that of ninezero, but it can be neither updated nor switched. Rows have the columns of
the fact table and are inserted over the native protocol, column by column. Records that cannot be decoded are dead-lettered. Outcomes
are written if BENCH_OUTCOMES is 1, grouped by site where the peer has batches. A peer need not do: rollups, completeness of devices,
progress in the database, metrics.
"""

from __future__ import annotations

import gc
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
from clickhouse_driver import Client

from ninezero.agents.logic.days import Days
from ninezero.agents.logic.policy.policy import DEFAULT
from ninezero.agents.screening.alerts import build_alert
from ninezero.schemas.events import Outcomes, Scan, encode
from ninezero.schemas.rows import FIRST_WINS, ScreeningFact
from ninezero.schemas.times import unix_micros
from ninezero.streams.kafka import dead_letters
from ninezero.streams.kafka.decoding import Rejected, check_clock, is_late
from ninezero.streams.kafka.decoding import decode as validated
from tests.bench.peers import rules
from tests.bench.peers.dict_watchlist import DictWatchlist

KAFKA = os.environ["BENCH_KAFKA"]
GROUP = os.environ["BENCH_GROUP"]
SCANS, ALERTS, DEAD_LETTERS, OUTCOMES = (
    os.environ["BENCH_PREFIX"] + name
    for name in ("checkpoint-scans", "screening-alerts", "dead-letters", "screening-outcomes")
)
WITH_OUTCOMES = os.environ.get("BENCH_OUTCOMES") == "1"
"""True if outcomes are written for devices."""
CLICKHOUSE = os.environ["BENCH_CLICKHOUSE"]
HOME = "370115"

FLUSH_ROWS, FLUSH_SECONDS = 50_000, 1.0
"""ClickHouse needs large inserts, about one per second. ninezero flushes at the same size and interval."""

LIBRDKAFKA = {
    "bootstrap.servers": KAFKA,
    "group.id": GROUP,
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "isolation.level": "read_committed",
}
LIBRDKAFKA_OUT = {"bootstrap.servers": KAFKA, "acks": "all", "linger.ms": 20}

decode = msgspec.json.Decoder(Scan).decode
_day = Days("Asia/Shanghai").of_second


class Decided(NamedTuple):
    """The result of one event: its key, its row, its alert if it raises one, and its outcome if outcomes are written."""

    key: bytes
    row: tuple[Any, ...]
    alert: bytes | None
    outcome: tuple[str, int, str, list[int]] | None


def load_watchlist() -> DictWatchlist:
    """Reads the watchlist and reports that the job can begin. The garbage collector does not scan what is in memory by now."""
    with Path(os.environ["BENCH_LIST"]).open() as file:
        watchlist = DictWatchlist(file)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)  # as ninezero does
    print("ready", flush=True)
    return watchlist


def decide(watchlist: Any, value: bytes, kafka_ms: int) -> Decided:
    """Decodes and validates a scan, matches it and applies the decision table.

    Raises:
        Rejected: the scan must be dead-lettered.
    """
    try:
        scan = decode(value)
    except msgspec.MsgspecError:
        scan = validated(Scan, value)  # raises with the reason and the field
    at_us = unix_micros(scan.observed_at)
    check_clock(at_us, kafka_ms, False)
    decision = rules.decide_scan(scan, at_us, watchlist, HOME, False)
    late = is_late(at_us, kafka_ms, False)
    now = time.time()
    minute = at_us // 60_000_000 * 60
    row = (
        _day(minute), minute, scan.site_id, scan.device_id, scan.seq, scan.kind, scan.direction, "", len(scan.people),
        decision.outcome, int(late), [hit.rule for hit in decision.hits], DEFAULT.label, [], [],
        FIRST_WINS - int(now * 1000),
    )  # fmt: skip
    alert = (
        encode(build_alert(scan, decision, late, datetime.fromtimestamp(now, UTC), 1, DEFAULT.label))
        if decision.hits
        else None
    )
    outcome = (
        (scan.device_id, scan.seq, decision.outcome, decision.people if decision.hits else [])
        if WITH_OUTCOMES
        else None
    )
    return Decided(scan.site_id.encode(), row, alert, outcome)


def outcomes_record(site: bytes, outcomes: list[Any]) -> bytes:
    """Returns the record with the outcomes of a site."""
    return encode(Outcomes(site.decode(), datetime.now(UTC), 1, outcomes))


def dead_letter(value: bytes | None, partition: int, offset: int, kafka_ms: int, rejection: Rejected) -> bytes:
    """Returns the dead letter of a record."""
    record = SimpleNamespace(value=value, offset=offset, timestamp=kafka_ms)
    return dead_letters.dead_letter("checkpoint-scans", partition, record, rejection)


class Rows:
    """Collects rows and inserts them into ClickHouse."""

    def __init__(self) -> None:
        host, _, port = CLICKHOUSE.rpartition(":")
        self._client = Client(host, int(port))
        self._rows: list[tuple[Any, ...]] = []
        self.add = self._rows.append
        self._flushed = time.monotonic()

    @property
    def due(self) -> bool:
        """Returns whether an insert is due, by number of rows or by time."""
        return len(self._rows) >= FLUSH_ROWS or time.monotonic() - self._flushed > FLUSH_SECONDS

    def flush(self) -> None:
        """Inserts the rows, and returns when ClickHouse has acknowledged them."""
        if self._rows:
            self._client.execute(
                f"INSERT INTO bench.passages ({', '.join(ScreeningFact._fields)}) VALUES",
                list(zip(*self._rows, strict=True)),
                columnar=True,
            )
            self._rows.clear()
        self._flushed = time.monotonic()


__all__ = ["Decided", "DictWatchlist", "Rejected", "Rows", "dead_letter", "decide", "load_watchlist", "outcomes_record"]
