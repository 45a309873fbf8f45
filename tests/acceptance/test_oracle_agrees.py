"""The logic of the pipeline against an oracle that was written from the contract alone and has no code in common with it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import orjson
import pytest

from ninezero.agents.logic.policy.reference import decide_scan
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import PushBatch, Scan
from ninezero.schemas.times import unix_micros
from ninezero.streams.kafka.decoding import Rejected, decode
from tests.acceptance import oracle
from tests.acceptance.garbage import BAD_TIMES
from tests.support import decide_batch, entry_fields

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
KINDS = ("id", "passport", "pass", "phone", "plate")
CATEGORIES = (
    "confirmed_case",
    "suspected_case",
    "quarantine_order",
    "close_contact",
    "risk_region_arrival",
    "health_pass",
)


def t(rng: random.Random) -> str:
    return f"{rng.choice(['k1'] * 9 + ['k2'])}.{rng.randrange(12):032x}"


def batch(rng: random.Random, n: int) -> dict[str, Any]:
    lines = []
    for number in range(rng.randrange(1, 7)):
        kinds = rng.sample(KINDS, rng.choice([0, 1, 1, 2, 3]))
        tokens = {kind: [t(rng) for _ in range(rng.choice([1, 1, 2]))] for kind in kinds}
        if rng.random() < 0.05 and tokens:
            tokens[kinds[0]] = ["nonsense"]
        first = NOW + timedelta(days=rng.choice([-3, -1, 0, 1]))
        line = {
            "line": number,
            "tokens": tokens,
            "valid_from": first.isoformat(),
            "valid_to": (first + timedelta(days=rng.choice([0, 2, 5, 28, 29]))).isoformat(),
        }
        if rng.random() < 0.3:
            line["valid_from"] = None
        if rng.random() < 0.05:
            del line["valid_to"]
        lines.append(line)
    return {
        "batch_id": f"b{n}", "authority": "a", "pushed_by": "p", "list": rng.choice(["x", "y"]), "category": rng.choice([*CATEGORIES] * 4 + ["other"]),
        "mode": "delta", "sequence": rng.choice([n, n, n, n, 0]), "issued_at": NOW.isoformat(), "legal_basis": rng.choice(["o"] * 9 + [""]),
        "purpose": "epidemic_control", "declared_lines": len(lines) + (rng.random() < 0.05), "lines": lines,
    }  # fmt: skip


def scan(rng: random.Random, n: int) -> dict[str, Any]:
    people = [
        {
            "role": "driver", "tokens": {kind: t(rng) for kind in rng.sample(KINDS[:4], rng.randrange(4))},
            "temperature_c": rng.choice([None, 29.9, 30.0, 36.5, 37.2, 37.3, 45.0, 45.1]),
            "temperature_confirmed_c": rng.choice([None, None, 29.9, 37.2, 37.3, 45.1]), "health_code": rng.choice(["green", "yellow", "red", "none"]),
            "origin": rng.choice([None, "370115", "370102", "420106", "CN", "US", "HK"]),
        }
        for _ in range(rng.randrange(1, 4))
    ]  # fmt: skip
    observed = NOW - timedelta(seconds=rng.choice([0, 60, 3600, 2 * 86400]))
    return {"device_id": "d", "seq": n, "site_id": "s", "observed_at": observed.isoformat(), "kind": "vehicle", "people": people,
            "direction": rng.choice(["in", "out"]), "plate": rng.choice([None, t(rng)])}  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_receipts_and_reasons_agree_with_the_oracle(seed: int) -> None:
    rng = random.Random(seed)
    theirs, ours, last = oracle.Lists(), WatchlistIndex(), dict[tuple[str, str], int]()
    for n in range(1, 15):
        pushed = batch(rng, n)
        before = {name: list(entries) for name, entries in theirs.entries.items()}
        try:
            receipt = theirs.push(oracle.Record(oracle.PUSHES, 0, n, NOW_MS, None, b""), pushed)
        except oracle.Ambiguous:
            theirs.entries = before
            continue
        assert receipt is not None
        push_batch = msgspec.convert(pushed, PushBatch, strict=False)
        name = (push_batch.authority, push_batch.list)
        change = decide_batch(push_batch, unix_micros(NOW), ours, last.get(name))
        if change.status == "applied":
            ours.apply(name, change.put.values(), change.remove)
            last[name] = push_batch.sequence
        found = {
            "status": change.status,
            "code": change.code,
            "accepted": change.accepted,
            "duplicate": change.duplicate,
            "rejected": len(change.rejects),
        }
        assert found == {key: receipt[key] for key in found}
        assert sorted(e.entry_id for e in ours.entries(name)) == sorted(
            e.entry_id for e in theirs.entries.get(name, [])
        )
    compared = 0
    for n in range(200):
        event = scan(rng, n)
        try:
            expected = oracle.decide(event, theirs, NOW_MS * 1000)
        except oracle.Ambiguous:
            continue
        decoded_scan = decode(Scan, orjson.dumps(event))
        decision = decide_scan(decoded_scan, unix_micros(decoded_scan.observed_at), ours, "370115", False)
        got = [
            (hit.person, hit.rule, tuple((m.domain, *entry_fields(m.entry)) for m in hit.matches))
            for hit in decision.hits
        ]
        assert got == [(r.person, r.rule, r.entries) for r in expected]
        compared += 1
    assert compared > 20


@pytest.mark.parametrize("seed", range(40))
def test_rejections_agree_with_the_oracle(seed: int) -> None:
    """Mutates a valid scan: both accept it, or both reject it for the same reason."""
    rng = random.Random(seed)
    for n in range(100):
        event = scan(rng, n)
        target = rng.choice([event, event["people"][0], event["people"][0]["tokens"]])
        name = rng.choice([*target, "unknown"])
        target[name] = rng.choice(
            ["", "a b", "370115199001011234", -1, 1.5, True, [], {}, "x" * 65, "in", "k1." + "A" * 32]
        )
        if rng.random() < 0.3:
            target.pop(name)
        value = orjson.dumps(event)
        if rng.random() < 0.1:
            value = value[: rng.randrange(len(value))]
        try:
            found = oracle.read(oracle.Record(oracle.SCANS, 0, n, NOW_MS, None, value))
        except oracle.Ambiguous:
            continue
        try:
            decode(Scan, value)
            assert not isinstance(found, oracle.Fault), value
        except Rejected as error:
            assert isinstance(found, oracle.Fault), value
            assert error.reason in found.reasons
            assert error.path in found.paths


@pytest.mark.parametrize("text", [time for time in BAD_TIMES if isinstance(time, str)])
def test_a_time_that_is_not_rfc_3339_is_rejected(text: str) -> None:
    with pytest.raises(Rejected) as error:
        decode(Scan, orjson.dumps(scan(random.Random(1), 0) | {"observed_at": text}))
    assert (error.value.reason, error.value.path) == ("schema_invalid", "/observed_at")
