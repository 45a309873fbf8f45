"""The logic of the pipeline on random pushes, against a model that was written from the contract alone."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson
import pytest

from ninezero.agents.logic.policy.rules import decide_scan
from ninezero.agents.logic.pushes.batches import BatchChange, BatchDecider
from ninezero.agents.logic.pushes.parts import GatheredBatch, Parts
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import PushBatch, PushConfirmation, Scan
from ninezero.schemas.times import unix_micros
from ninezero.streams.kafka.decoding import Rejected, decode
from tests.acceptance import oracle
from tests.acceptance.office import Office, scan
from tests.acceptance.oracle import DAY, Ambiguous, Fault, Lists, Record
from tests.support import entry_fields

START = 1_777_636_800_000_000  # 2026-05-01T12:00:00Z
COUNTS = ("accepted", "duplicate", "withdrawn")


@dataclass
class Desk:
    """The minimum around the logic: the topic as a list, and the state of the agent."""

    watchlist: WatchlistIndex = field(default_factory=WatchlistIndex)
    parts: Parts = field(default_factory=Parts)
    topic: list[Any] = field(default_factory=list)
    applied: dict[tuple[str, str], int] = field(default_factory=dict)
    answers: dict[tuple[str, str], BatchChange] = field(default_factory=dict)

    def process(self, value: bytes, now_ms: int) -> BatchChange | None:
        """Processes one record of a batch. Returns the change of the batch if the record completes it or follows it."""
        part: PushBatch = decode(PushBatch, value)
        self.topic.append(part)
        name = (part.authority, part.batch_id)
        if name not in self.answers:
            gathered = self.parts.add(part, len(self.topic) - 1, now_ms)
            if not gathered.complete:
                return None
            self.decide(gathered)
        return self.answers[name]

    def decide(self, gathered: GatheredBatch, confirmed: bool = False) -> None:
        batch = gathered.head
        name = (batch.authority, batch.list)
        now_us = gathered.kafka_ms * 1000
        decider = BatchDecider(batch, len(gathered.lines), now_us, self.watchlist, self.applied.get(name), confirmed)
        if decider.needs_lines:
            for _, offset in sorted(gathered.offsets.items()):
                decider.decide_lines(self.topic[offset].lines)
        change = decider.finish()
        self.answers[batch.authority, batch.batch_id] = change
        if change.status == "applied":
            self.applied[name] = batch.sequence
            put = [msgspec.structs.replace(entry, sequence=batch.sequence) for entry in change.put.values()]
            self.watchlist.apply(name, put, change.remove)
            if batch.mode == "full":
                self.watchlist.switch(name, batch.sequence)

    def sweep(self, now_us: int) -> None:
        for name in self.applied:
            self.watchlist.apply(name, (), self.watchlist.expired(name, now_us, 1000))

    def live(self, now_us: int) -> list[tuple[str, str, str]]:
        return sorted(
            (*name, entry.entry_id)
            for name in self.applied
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
        live = [(*where, e.entry_id) for where in self.model.entries for e in self.model.live(where, self.now)]
        assert self.desk.live(self.now) == sorted(live)

    def compare(self, wanted: dict[str, Any], found: BatchChange) -> None:
        counts = {name: getattr(found, name) for name in COUNTS} | {"rejected": found.rejected}
        rejects = [{"line": reject.line, "code": reject.code} for reject in found.rejects]
        got = {"status": found.status, "code": found.code, "rejects": rejects, **counts}
        assert got == {name: wanted[name] for name in got}, wanted
        self.seen[f"{wanted['mode']} {found.code or found.status}"] += 1

    def scan(self, seq: int) -> None:
        """Decides a scan in both at the time of its observation, and compares the decisions."""
        event = scan(self.rng, "d", seq, "s", self.now)
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


def run(seed: int, acts: int = 30) -> Counter[str]:
    """Runs a random sequence of actions. Returns how often each case occurred."""
    now = Run(random.Random(seed))
    office = Office(now.rng, "r", now.model, lambda: now.now)
    for number in range(acts):
        for value in office.act():
            try:
                now.send(value)
            except Ambiguous as why:
                now.seen[f"open: {why}"] += 1
                return now.seen
            now.now_ms += now.rng.choice((0, 1, 500, 5_000))
        now.now_ms += now.rng.choice((0, 60_000, 600_000, DAY // 5000))
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
    seen = sum((run(seed) for seed in range(1000, 1020)), Counter[str]())
    wanted = {f"{mode} {code}" for mode in ("delta", "full", "withdraw") for code in ("applied", "stale_sequence")}
    wanted |= {f"{mode} {code}" for mode in ("delta", "full") for code in ("count_mismatch", "no_legal_basis")}
    wanted |= {"full would_empty", "full would_shrink", "delta unknown_category", "confirmed", "scans"}
    wanted |= {"not_json", "schema_invalid", "too_large"}
    assert wanted <= seen.keys()
    assert seen["open scans"] < seen["scans"] / 4
