"""Small records for tests of the oracle."""

from __future__ import annotations

import json
from typing import Any

from . import oracle
from .oracle import PUSHES, SCANS, Lists, Record

NOW_MS = 1_795_478_400_000  # 2026-11-24T00:00:00Z
NOW = NOW_MS * 1000
AT = "2026-11-24T00:00:00Z"


def tok(letter: str, key_id: str = "k1") -> str:
    return f"{key_id}.{letter * 32}"


ID, PASSPORT, PHONE, PASS, PLATE = (tok(letter) for letter in "abcde")


def person(**fields: Any) -> dict[str, Any]:
    return {"role": "driver", "tokens": {"id": ID}, "temperature_c": 36.5, **fields}


def scan(*people: dict[str, Any], **fields: Any) -> dict[str, Any]:
    event = {"device_id": "d1", "seq": 0, "site_id": "cp1", "observed_at": AT, "kind": "vehicle"}
    return event | {"people": list(people) or [person()]} | fields


def arrival(someone: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    event = {"device_id": "s1", "seq": 0, "site_id": "st1", "observed_at": AT, "mode": "rail", "service": "G12"}
    rest = {"stage": "boarded", "transfer_id": None, "destination": None, "person": someone or person(role="traveller")}
    return event | rest | fields


def record(value: Any, topic: str = SCANS, offset: int = 0, ms: int = NOW_MS) -> Record:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Record(topic, 0, offset, ms, b"k", raw)


def entry_line(number: int = 1, **fields: Any) -> dict[str, Any]:
    window = {"valid_from": "2026-11-23T00:00:00Z", "valid_to": "2026-11-30T00:00:00Z"}
    return {"line": number, "tokens": {"id": [ID]}, **window, **fields}


def batch(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    common = {"batch_id": "b1", "authority": "cdc", "pushed_by": "li", "list": "l1", "category": "confirmed_case"}
    common |= {"mode": "delta", "issued_at": AT, "legal_basis": "JN-1", "purpose": "epidemic_control"}
    return common | {"sequence": 1, "declared_lines": len(lines), "lines": list(lines)} | fields


def listed(*batches: dict[str, Any]) -> Lists:
    return oracle.expect([record(b, PUSHES, n) for n, b in enumerate(batches)]).lists


def rules(event: dict[str, Any], lists: Lists | None = None) -> list[tuple[int | None, str]]:
    return [(r.person, r.rule) for r in oracle.decide(event, lists or Lists(), NOW)]


def outcome(event: dict[str, Any], lists: Lists | None = None) -> str:
    reasons = oracle.decide(event, lists or Lists(), NOW)
    return oracle.Decided(SCANS, event, b"", reasons, {False}).outcome


def receipt_of(lists: Lists, batch_id: str, authority: str = "cdc") -> dict[str, Any]:
    receipt = lists.batches[authority, batch_id].receipt
    assert receipt is not None
    return receipt
