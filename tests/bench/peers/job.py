"""What every Python peer shares, so that the comparison is about the plumbing: the job itself, as a good engineer writes it.

Events are decoded and validated by msgspec into the contract's own type and decided by the product's own decision table (it
is pure). The list is a plain dict of tokens, which is faster than the product's watchlist and can be neither updated nor
switched. Rows have the columns of the product's table of facts and go to ClickHouse over the native protocol, by columns. What
cannot be read is dead-lettered. Outcomes for the devices are sent where that is asked (BENCH_OUTCOMES), grouped by site where the
peer has batches. Not asked of a peer: rollups, completeness of devices, progress kept in the database, metrics.
"""

from __future__ import annotations

import gc
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
from clickhouse_driver import Client

from ninezero.agents.logic.policy import rules
from ninezero.agents.logic.watchlist.index import Entry
from ninezero.schemas import rows
from ninezero.schemas.events import Alert, MatchedEntry, Outcomes, Reason, Scan, encode
from ninezero.schemas.times import unix_micros
from ninezero.streams.kafka.deadletters import dead_letter
from ninezero.streams.kafka.decoding import LATE_US, Rejected, check_clock
from ninezero.streams.kafka.decoding import decode as validated

KAFKA = os.environ["BENCH_KAFKA"]
GROUP = os.environ["BENCH_GROUP"]
SCANS, ALERTS, DEAD_LETTERS, OUTCOMES = (
    os.environ["BENCH_PREFIX"] + name
    for name in ("checkpoint-scans", "screening-alerts", "dead-letters", "screening-outcomes")
)
ANSWERS = os.environ.get("BENCH_OUTCOMES") == "1"
"""Whether devices are told."""
CLICKHOUSE = os.environ["BENCH_CLICKHOUSE"]
HOME = "370115"

FLUSH_ROWS, FLUSH_SECONDS = 50_000, 1.0
"""ClickHouse wants large inserts, about one a second; the product flushes alike."""

LIBRDKAFKA = {
    "bootstrap.servers": KAFKA,
    "group.id": GROUP,
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "isolation.level": "read_committed",
}
LIBRDKAFKA_OUT = {"bootstrap.servers": KAFKA, "acks": "all", "linger.ms": 20}

decode = msgspec.json.Decoder(Scan).decode
_day = rows.local_day("Asia/Shanghai")


class Judged(NamedTuple):
    """What follows from one event: its row, the alert if it raises one, and what its device is told."""

    key: bytes
    row: tuple[Any, ...]
    alert: bytes | None
    answer: tuple[str, int, str, list[int]] | None


class Listed:
    """A list of a million in a dict: token → line."""

    def __init__(self, path: Path) -> None:
        with path.open() as file:
            self._about = json.loads(next(file))
            self._lines = {line.rstrip("\n"): number for number, line in enumerate(file)}
        self.common_keys = frozenset(self._about["keys"])

    def valid(self, kind: str, token: str, at_us: int) -> tuple[Entry, ...]:
        """As `Watchlist.valid`."""
        line = self._lines.get(token)
        if line is None or kind != "id" or not self._about["from_us"] <= at_us < self._about["to_us"]:
            return ()
        about = self._about
        return (
            Entry(about["authority"], about["list"], f"{about['batch']}:{line}", about["category"], about["from_us"],
                  about["to_us"], {"id": (token,)}, 1),
        )  # fmt: skip


def load() -> Listed:
    """Reads the list and tells the bench that the job can begin; what is in memory by now is not searched for cycles again."""
    listed = Listed(Path(os.environ["BENCH_LIST"]))
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)  # as the product does
    print("ready", flush=True)
    return listed


def judge(listed: Any, value: bytes, kafka_ms: int) -> Judged:
    """Decodes, validates, matches, decides.

    Raises:
        Rejected: the event is to be dead-lettered.
    """
    try:
        scan = decode(value)
    except msgspec.MsgspecError:
        scan = validated(Scan, value)  # says why, and where
    at_us = unix_micros(scan.observed_at)
    check_clock(at_us, kafka_ms, False)
    verdict = rules.decide_scan(scan, at_us, listed, HOME, False)
    late = kafka_ms * 1000 - at_us > LATE_US
    now = time.time()
    minute = at_us // 60_000_000 * 60
    row = (
        _day(minute), minute, scan.site_id, scan.device_id, scan.seq, scan.kind, scan.direction, "", len(scan.people),
        verdict.outcome, int(late), [why.rule for why in verdict.reasons], rows.FIRST_WINS - int(now * 1000),
    )  # fmt: skip
    alert = _alert(scan, verdict, late, now) if verdict.reasons else None
    answer = (scan.device_id, scan.seq, verdict.outcome, verdict.people if verdict.reasons else []) if ANSWERS else None
    return Judged(scan.site_id.encode(), row, alert, answer)


def outcomes(site: bytes, answers: list[Any]) -> bytes:
    """The record of a site's outcomes."""
    return encode(Outcomes(site.decode(), datetime.now(UTC), 1, answers))


def letter(value: bytes | None, partition: int, offset: int, kafka_ms: int, refused: Rejected) -> bytes:
    """The dead letter of a record."""
    record = SimpleNamespace(value=value, offset=offset, timestamp=kafka_ms)
    return dead_letter("checkpoint-scans", partition, record, refused)


class Rows:
    """Rows in hand, and their way into ClickHouse."""

    def __init__(self) -> None:
        host, _, port = CLICKHOUSE.rpartition(":")
        self._client = Client(host, int(port))
        self._rows: list[tuple[Any, ...]] = []
        self.add = self._rows.append
        self._flushed = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time for an insert."""
        return len(self._rows) >= FLUSH_ROWS or time.monotonic() - self._flushed > FLUSH_SECONDS

    def flush(self) -> None:
        """Returns when the rows are durable by ClickHouse's own measure."""
        if self._rows:
            self._client.execute(
                f"INSERT INTO bench.passages ({', '.join(rows.ScreeningFact._fields)}) VALUES",
                list(zip(*self._rows, strict=True)),
                columnar=True,
            )
            self._rows.clear()
        self._flushed = time.monotonic()


def _alert(scan: Scan, verdict: rules.Verdict, late: bool, now: float) -> bytes:
    return encode(
        Alert(
            alert_id=rules.alert_id(scan.device_id, scan.seq, verdict.reasons),
            table=rules.TABLE,
            site_id=scan.site_id,
            device_id=scan.device_id,
            seq=scan.seq,
            observed_at=scan.observed_at,
            decided_at=datetime.fromtimestamp(now, UTC),
            outcome=verdict.outcome,
            late=late,
            watchlist_version=1,
            reasons=[
                Reason(
                    why.person,
                    why.rule,
                    [
                        MatchedEntry(matched, e.category, e.authority, e.list, e.batch_id, e.entry_id,
                                     datetime.fromtimestamp(e.to_us / 1_000_000, UTC))
                        for matched, e in why.entries
                    ],
                )
                for why in verdict.reasons
            ],
        )
    )  # fmt: skip


__all__ = ["Judged", "Listed", "Rejected", "Rows", "judge", "letter", "load", "outcomes"]
