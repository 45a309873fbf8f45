"""Lines by column get the codes, windows and tokens of single lines, and the records of plain lines are those of their entries."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

import msgspec
import pytest

from ninezero.agents.logic.pushes.batches import BatchDecider
from ninezero.agents.logic.pushes.line_columns import concatenate, line_columns
from ninezero.agents.logic.pushes.put_entries import PutEntries
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.watchlist.entry_records import entry_record, put_records
from ninezero.schemas.events import PushBatch, PushLine
from ninezero.schemas.joined_lines import DOMAINS, joinable, tokens_of
from ninezero.schemas.line_codes import LINE_CODES, line_code
from ninezero.schemas.times import unix_micros

NOW = datetime(2026, 1, 10, 12, 0, 0, 123456, tzinfo=UTC)
NOW_US = unix_micros(NOW)
EDGES = [timedelta(0), timedelta(microseconds=1), timedelta(days=5), timedelta(days=28), timedelta(days=-3)]
MALFORMED = [
    "",
    "k1.",
    "k1." + "F" * 32,
    "k1." + "0" * 31,
    "k_1." + "0" * 32,
    "k1." + "0" * 32 + "\n",
    "界." + "0" * 32,
]


def random_token(rng: random.Random, people: int = 9) -> str:
    return f"{rng.choice(('k1', 'k1', 'k2', 'abcdefgh12345678'))}.{rng.randrange(people):032x}"


def random_time(rng: random.Random) -> datetime | None:
    if rng.random() < 0.1:
        return rng.choice((None, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, tzinfo=UTC)))
    zone = rng.choice((UTC, timezone(timedelta(hours=8))))
    return (NOW + rng.choice(EDGES) + rng.choice((0, 0, 1, -1)) * rng.choice(EDGES)).astimezone(zone)


def random_line(rng: random.Random, number: int, people: int = 9) -> PushLine:
    tokens: dict[str, list[str]] = {}
    for domain in rng.sample(DOMAINS, rng.choice((0, 1, 1, 2, 3))):
        some = [random_token(rng, people) for _ in range(rng.choice((0, 1, 1, 1, 2, 3)))]
        tokens[domain] = some + rng.choices(MALFORMED, k=rng.random() < 0.05)
    return msgspec.convert(
        {"line": number, "tokens": tokens, "valid_from": random_time(rng), "valid_to": random_time(rng)}, PushLine
    )


@pytest.mark.parametrize("mode", ["delta", "withdraw"])
@pytest.mark.parametrize("category", ["close_contact", "health_pass"])
def test_lines_by_column_are_what_they_are_one_by_one(mode: Literal["delta", "withdraw"], category: str) -> None:
    rng, index, seen = random.Random(mode + category), WatchlistIndex(), Counter[str]()
    for _ in range(60):
        lines = [random_line(rng, rng.randrange(2**31)) for _ in range(rng.randrange(1, 60))]
        cut = rng.randrange(len(lines) + 1)
        parts = [line_columns(some, index.parse_tokens) for some in (lines[:cut], lines[cut:])]
        columns = concatenate(parts)
        codes, fine = columns.codes(mode, category, NOW_US).tolist(), columns.clamped()
        texts = [
            (DOMAINS[code & 7], f"{index.key_id(code >> 3)}.{digest.tobytes().hex()}")
            for code, digest in zip(columns.tokens.codes.tolist(), columns.tokens.digests, strict=True)
        ]
        for position, line in enumerate(lines):
            code = line_code(line, mode, category, NOW_US)
            assert codes[position] == (0 if code is None else LINE_CODES.index(code) + 1)
            assert columns.numbers[position] == line.line
            seen[str(code)] += 1
            if code in ("no_token", "bad_token"):
                assert columns.counts[position] == 0
                continue
            start = columns.starts[position]
            pairs = [(domain, token) for domain, some in tokens_of(line).items() for token in some]
            assert texts[start : start + columns.counts[position]] == pairs
            if code is None and line.valid_to is not None:
                one = joinable(position, line)
                assert (fine.from_us[position], fine.to_us[position]) == (one.from_us, one.to_us)
                seen["window"] += 1
    codes_of_mode = LINE_CODES[:2] if mode == "withdraw" else LINE_CODES[: 5 if category == "health_pass" else 6]
    assert all(seen[code] > 20 for code in ("None", "window", *codes_of_mode)), seen


def test_the_records_of_plain_lines_are_those_of_their_entries() -> None:
    rng, index, seen = random.Random(5), WatchlistIndex(), Counter[str]()
    before: list[PushLine] = []
    for sequence in range(1, 90):
        again = [
            line if rng.random() < 0.5 else msgspec.structs.replace(line, valid_to=NOW + timedelta(days=sequence))
            for line in rng.sample(before, min(len(before), 12))
        ]
        lines = [random_line(rng, n, people=200) for n in range(20)] + again
        lines = [msgspec.structs.replace(line, line=n) for n, line in enumerate(lines)]
        head: dict[str, Any] = {
            "batch_id": f"b{sequence}", "authority": "a", "pushed_by": "p", "list": "l", "category": "health_pass",
            "mode": rng.choice(("delta", "full")), "sequence": sequence, "issued_at": NOW, "legal_basis": "lb",
            "purpose": "epidemic_control", "declared_lines": len(lines), "lines": [],
        }  # fmt: skip
        batch = msgspec.convert(head, PushBatch)
        decider = BatchDecider(batch, len(lines), NOW_US, NOW_US // 1000, index, None, confirmed=True)
        decider.decide_lines(lines)
        put = decider.finish().put
        assert isinstance(put, PutEntries)
        wanted = [entry_record(entry, sequence) for entry in put.values()]
        assert list(put_records(batch, put)) == wanted
        plain = len(put) - len(put.others)
        seen["new"] += plain - len(put.replaced)
        seen["replaced"] += len(put.replaced)
        seen["others"] += len(put.others)
        seen["unchanged"] += sum(entry.batch_id != batch.batch_id for entry in put.entries())
        index.apply(("a", "l"), [msgspec.structs.replace(e, sequence=sequence) for e in put.values()], ())
        before = lines
    assert min(seen[case] for case in ("new", "replaced", "others", "unchanged")) > 30, seen
