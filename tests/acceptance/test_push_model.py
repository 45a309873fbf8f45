"""The logic of the pipeline on random pushes, against a model that was written from the contract alone."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
import pytest

from ninezero.agents.logic.policy.reference import decide_scan
from ninezero.agents.logic.pushes.batches import BatchChange, BatchDecider
from ninezero.agents.logic.pushes.parts import GatheredBatch, Parts
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.watchlist.batch_records import batch_records, expiry_records, receipt_of
from ninezero.agents.watchlist.projection import WatchlistProjection
from ninezero.schemas.events import PushBatch, PushConfirmation, PushReceipt, Scan
from ninezero.schemas.times import unix_micros
from ninezero.streams.kafka.decoding import Rejected, decode
from ninezero.streams.kafka.records import OutgoingRecord
from ninezero.streams.kafka.topics import WATCHLIST
from ninezero.streams.kafka.watchlist_state import WatchlistState
from tests.acceptance import oracle
from tests.acceptance.office import Office, scan
from tests.acceptance.oracle import DAY, MINUTE, Ambiguous, Fault, Lists, Record
from tests.support import entry_fields

START = 1_777_636_800_000_000  # 2026-05-01T12:00:00Z
COUNTS = ("accepted", "duplicate", "withdrawn")


class TopicRecord(NamedTuple):
    """A record of the watchlist topic, as a consumer hands it out."""

    offset: int
    timestamp: int
    key: bytes
    value: bytes | None
    headers: Any


@dataclass
class Desk:
    """The minimum around the logic: the topics as lists, and the state of the agent."""

    lists: WatchlistProjection = field(default_factory=WatchlistProjection)
    parts: Parts = field(default_factory=Parts)
    topic: list[Any] = field(default_factory=list)
    written: int = 0
    """Number of records on the watchlist topic."""
    answers: dict[tuple[str, str], BatchChange] = field(default_factory=dict)
    receipts: dict[tuple[str, str], PushReceipt] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state = WatchlistState(self.lists, tracks_removals=True)
        self.state.caught_up = True

    @property
    def watchlist(self) -> WatchlistIndex:
        return self.lists.index

    def process(self, value: bytes, now_ms: int) -> BatchChange | None:
        """Processes one record of a batch. Returns the change of the batch if the record completes it or follows it."""
        part: PushBatch = decode(PushBatch, value)
        self.topic.append(part)
        name = (part.authority, part.batch_id)
        if name not in self.answers:
            gathered = self.parts.add(part, len(self.topic) - 1, now_ms)
            if gathered.has_expired(now_ms):
                self.answer(gathered, BatchChange("rejected", "incomplete"), now_ms)
            elif not gathered.complete:
                return None
            else:
                self.decide(gathered)
        return self.answers[name]

    def decide(self, gathered: GatheredBatch, confirmed: bool = False) -> None:
        batch = gathered.head
        manifest = self.state.manifests.get((batch.authority, batch.list))
        applied = None if manifest is None else manifest.sequence
        now_ms = gathered.kafka_ms
        decider = BatchDecider(batch, len(gathered.lines), now_ms * 1000, now_ms, self.watchlist, applied, confirmed)
        if decider.needs_lines:
            for _, offset in sorted(gathered.offsets.items()):
                decider.decide_lines(self.topic[offset].lines)
            while decider.compare(2):
                pass
        self.answer(gathered, decider.finish(), now_ms)

    def answer(self, gathered: GatheredBatch, change: BatchChange, now_ms: int) -> None:
        """Writes what follows from a change, and applies it as every replica does."""
        batch = gathered.head
        manifest = self.state.manifests.get((batch.authority, batch.list))
        receipt = receipt_of(gathered, change, None if manifest is None else manifest.sequence)
        self.answers[batch.authority, batch.batch_id] = change
        self.receipts[batch.authority, batch.batch_id] = receipt
        self.write(batch_records(batch, change, manifest, receipt, self.watchlist), now_ms)

    def write(self, records: Iterable[OutgoingRecord], now_ms: int) -> None:
        written = [record for record in records if record.topic is WATCHLIST]
        rows = [TopicRecord(self.written + n, now_ms, r.key, r.value, r.headers) for n, r in enumerate(written)]
        self.written += len(rows)
        self.state.apply(rows)
        self.state.clean_up()
        assert not written or self.state.complete, "a manifest does not state the number of entries"

    def sweep(self, now_us: int) -> None:
        for name, manifest in list(self.state.manifests.items()):
            ids = self.watchlist.expired(name, now_us, 1000)
            expired = {entry_id: self.watchlist.get(name, entry_id) for entry_id in ids}
            found = {entry_id: entry for entry_id, entry in expired.items() if entry is not None}
            self.write(expiry_records(name, found, manifest, self.watchlist) if found else (), now_us // 1000)

    def live(self, now_us: int) -> list[tuple[str, ...]]:
        """Returns the live entries with every id that each of them had."""
        return sorted(
            (*name, entry.entry_id, *sorted({entry.entry_id} | self.state.merged_into(name, {entry.entry_id})))
            for name in self.state.manifests
            for entry in self.watchlist.entries(name)
            if entry.to_us > now_us
        )


@dataclass
class Run:
    """One random sequence, sent to the logic and to the model."""

    rng: random.Random
    now_ms: int = START // 1000
    model: Lists = field(default_factory=Lists)
    desk: Desk = field(default_factory=Desk)
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def now(self) -> int:
        return self.now_ms * 1000

    def send(self, value: bytes) -> None:
        """Sends one record to both, and compares their answers and their lists."""
        record = Record(oracle.PUSHES, 0, len(self.desk.topic), self.now_ms, None, value)
        event = oracle.read(record)
        kind = PushConfirmation if b'"confirms"' in value else PushBatch
        if isinstance(event, Fault):
            with pytest.raises(Rejected) as error:
                decode(kind, value)
            assert error.value.reason in event.reasons
            assert error.value.path in event.paths
            self.seen[error.value.reason] += 1
            return
        mistakes = len(self.model.mistakes)
        wanted = self.model.process(record, event)
        if "confirms" in event:
            if wanted is not None and not wanted["confirmation"]:
                self.desk.decide(self.desk.parts.batches[event["authority"], event["confirms"]], confirmed=True)
                self.compare(wanted, self.desk.answers[event["authority"], event["confirms"]])
                self.seen["confirmed"] += 1
        else:
            found = self.desk.process(value, self.now_ms)
            assert (found is None) == (wanted is None)
            if found is not None and wanted is not None:
                self.compare(wanted, found)
        live = [
            (*where, e.entry_id, *sorted(e.ids))
            for where in self.model.entries
            for e in self.model.live(where, self.now)
        ]
        assert self.desk.live(self.now) == sorted(live)
        keys = {name: set(manifest.key_ids) for name, manifest in self.desk.state.manifests.items()}
        assert keys == {name: self.desk.watchlist.key_counts(name).keys() for name in keys}
        self.count(self.model.mistakes[mistakes:])

    def count(self, mistakes: list[oracle.Entry]) -> None:
        """Counts the cases that this test is for."""
        entries = self.model.all()
        self.seen["renewed"] += any(e.first_batch != e.batch_id for e in entries)
        self.seen["merged"] += any(e.merged for e in entries)
        self.seen["merged twice"] += any(len(e.merged) > 1 for e in entries)
        self.seen["without a start"] += any(e.valid_from is None for e in entries)
        self.seen["mistake after a renewal"] += any(e.first_batch != e.batch_id for e in mistakes)
        self.seen["mistake after a merger"] += any(e.merged for e in mistakes)

    def compare(self, wanted: dict[str, Any], found: BatchChange) -> None:
        counts = {name: getattr(found, name) for name in COUNTS} | {"rejected": found.rejected}
        rejects = [{"line": reject.line, "code": reject.code} for reject in found.rejects]
        receipt = self.desk.receipts[wanted["authority"], wanted["batch_id"]]
        got = {"status": found.status, "code": found.code, "rejects": rejects, "sequence": receipt.sequence, **counts}
        assert got == {name: wanted[name] for name in got}, wanted
        self.seen[f"{wanted['mode']} {found.code or found.status}"] += 1
        self.seen["joined"] += found.duplicate > 0 and found.accepted > 0
        self.seen["refused to join"] += any(reject.code in ("bad_window", "term_too_long") for reject in found.rejects)

    def scan(self, seq: int) -> None:
        """Decides a scan in both, some time after its observation, and compares the decisions."""
        late = self.rng.choice((0, 0, MINUTE, DAY))
        event = scan(self.rng, "d", seq, "s", self.now - late)
        try:
            expected = oracle.decide(event, self.model, self.now)
        except Ambiguous:
            self.seen["open scans"] += 1
            return
        decoded = decode(Scan, orjson.dumps(event))
        decision = decide_scan(decoded, unix_micros(decoded.observed_at), self.desk.watchlist, "370115", False)
        got = [
            (hit.person, hit.rule, tuple((m.domain, *entry_fields(m.entry)) for m in hit.matches))
            for hit in decision.hits
        ]
        assert got == [(r.person, r.rule, r.entries) for r in expected]
        self.seen["scans"] += 1
        found = {hit[2:6:3] for reason in expected for hit in reason.entries}
        self.seen["late scans that an entry without a start matches"] += late > 0 and any(
            e.valid_from is None and (e.authority, e.entry_id) in found for e in self.model.all()
        )


def run(seed: int, acts: int = 30) -> Counter[str]:
    """Runs a random sequence of actions. Returns how often each case occurred."""
    now = Run(random.Random(seed))
    office = Office(now.rng, "r", now.model, lambda: now.now, reasons=("cleared", "mistake"))
    for number in range(acts):
        for value in office.act():
            try:
                now.send(value)
            except Ambiguous as why:
                now.seen[f"open: {why}"] += 1
                return now.seen
            now.now_ms += now.rng.choice((0, 1, 500, 5_000))
        now.now_ms += now.rng.choice((0, 60_000, 600_000, DAY // 5000))
        if now.rng.random() < 0.04:
            now.now_ms += 25 * 3_600_000  # what is incomplete by now is rejected when its last part comes
            late = [office.missing.pop(0) for _ in office.missing[:]]
            for part in late:
                now.send(orjson.dumps(part))
        if now.rng.random() < 0.2:
            now.desk.sweep(now.now)
        for seq in range(4):
            now.scan(number * 4 + seq)
    return now.seen


@pytest.mark.parametrize("first", range(0, 100, 10))
def test_receipts_lists_and_decisions_agree_with_the_model(first: int) -> None:
    for seed in range(first, first + 10):
        try:
            run(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def test_the_random_office_exercises_every_case() -> None:
    seen = sum((run(seed) for seed in range(1000, 1050)), Counter[str]())
    wanted = {f"{mode} {code}" for mode in ("delta", "full", "withdraw") for code in ("applied", "stale_sequence")}
    wanted |= {f"{mode} {code}" for mode in ("delta", "full") for code in ("count_mismatch", "no_legal_basis")}
    wanted |= {"full would_empty", "full would_shrink", "delta unknown_category", "confirmed", "scans"}
    wanted |= {"not_json", "schema_invalid", "too_large"}
    assert wanted <= seen.keys(), wanted - seen.keys()
    rare = {"merged twice", "mistake after a merger", "mistake after a renewal", "refused to join"}
    rare |= {f"{mode} {code}" for mode in ("delta", "full") for code in ("unknown_key_ids", "sequence_ahead")}
    seen["incomplete"] = sum(count for case, count in seen.items() if case.endswith("incomplete"))
    rare.add("incomplete")
    common = {"renewed", "merged", "without a start", "joined", "late scans that an entry without a start matches"}
    assert all(seen[case] > 2 for case in rare) and all(seen[case] > 50 for case in common), seen
    assert seen["open scans"] < seen["scans"] / 4
