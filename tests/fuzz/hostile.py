"""Hostile records for every topic that the workers read, and the result that the contract requires for each.

This module is written from the contract alone and imports nothing of the pipeline. A case that must be dead-lettered has the
reasons and paths that are correct. A case that must be accepted has no reasons. A record that was mutated at random may be
accepted or dead-lettered, but not both.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

CANARY = "Zhang-San-CANARY"
"""Text that must appear in no log, dead letter, metric or count."""

MIB = 1 << 20
BOTH = frozenset({"not_json", "schema_invalid"})


@dataclass(frozen=True)
class Case:
    """A record, and the correct reasons and paths of its dead letter. No reasons: it is accepted. None: either is correct."""

    name: str
    value: bytes | None
    reasons: frozenset[str] | None = frozenset()
    paths: frozenset[str] = frozenset({""})
    key: bytes | None = b"k"


class Raw(str):
    """JSON text that replaces a value as it is."""


_DEEP = 100_000
HOSTILE_TEXT = (
    "", " ", "a b", "a\x00b", "a\nb", "\r\nERROR forged line", "\x1b[2J\x1b[31mred", "\u202eevil", "a\u200bb", "\ufeffa", "é", "Ａ１", "鲁A12345",
    "'; DROP TABLE ninezero_data.screening_facts; --", "a' OR '1'='1", "a\\' --", '=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1",
    "<script>alert(1)</script>", "{{7*7}}", "${jndi:ldap://x}", "%s%n", "../../etc/passwd", "a|b|c", "a" * 65, "x" * 65_536, "a12345678901", ".", "_a",
)  # fmt: skip
TEXTS = tuple(text + CANARY if text and len(text) < 200 else text for text in HOSTILE_TEXT)
NOT_TEXT = (
    None,
    True,
    0,
    1.5,
    -1,
    [],
    {},
    [CANARY],
    {CANARY: CANARY},
    Raw("1e308"),
    Raw("1" * 400),
    Raw('"\\ud800"'),
    Raw("[" * 999 + "]" * 999),
)
NOT_NUMBER = (None, "1", True, False, [], {}, {CANARY: 1}, Raw(f'"{CANARY}"'))
BAD_TIMES = (
    None, 0, 1e9, True, [], {}, CANARY, "", "now", "2026-02-30T10:00:00Z", "2026-02-03T25:00:00Z", "2026-02-03T10:00:00", "2026-02-03",
    "2026-02-03T10:00:00+0800", "10000-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "2026-02-03T10:00:00Z" + CANARY, "-001-01-01T00:00:00Z",
    "2026-02-03T10:00:00+99:99", "x" * 65_536,
)  # fmt: skip
FAR_TIMES = (
    "0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "1970-01-01T00:00:00Z",
    "2106-02-07T06:28:16Z",
    "9999-12-31T23:59:59.999999Z",
)
OVER_TIMES = ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59")
"""Times outside the years that a time in UTC can have."""

GOOD_TEXTS = ("a", "9", "A" * 64, "a.b-c_d", "a" + "-" * 63, "1234567890", "null", "NaN", "DROP", "a--", "e1")


def _token(n: int) -> str:
    return f"k1.{n:032x}"


Spec = dict[str, tuple[Any, ...]]


def _enum(*members: str, null: bool = False) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    bad = (*(v for v in NOT_TEXT if not (null and v is None)), *TEXTS, members[0].upper() + "X")
    return bad, (*members, *((None,) if null else ()))


_ID = ((*NOT_TEXT, *TEXTS), GOOD_TEXTS)
_ID0 = (_ID[0][1:], (*GOOD_TEXTS, None))
_SEQ = ((*NOT_NUMBER, 1.5, -1, Raw("1e308"), 2**63, 2**64, Raw("1" * 400), Raw("-0.5")), (0, 2**31, 2**53, 2**63 - 1))
_NUMBER = (
    NOT_NUMBER[1:],
    (None, 0, Raw("-0.0"), Raw("1e308"), Raw("-1e308"), Raw("5e-324"), Raw("1e-400"), 2**63, -(2**63), 36.6, 1e16),
)
_TOKEN = (
    (
        *NOT_TEXT,
        *TEXTS,
        "k1." + "A" * 32,
        "k1." + "0" * 31,
        "k1." + "0" * 33,
        "." + "0" * 32,
        "k" * 17 + "." + "0" * 32,
    ),
    (_token(7), "K" * 16 + "." + "f" * 32),
)
_TOKEN0 = (_TOKEN[0][1:], (*_TOKEN[1], None))
_TIME = (BAD_TIMES, ())
_BOOL0 = ((0, 1, "true", [], {}, CANARY, 1.0), (True, False, None))
_COUNT0 = ((*_SEQ[0][1:-1], 2**31), (0, 1, 2**31 - 1, None))
_DIVISION0 = ((*NOT_TEXT[1:], *TEXTS, "37011", "3701155", "３７０１１５", 370115), ("370115", "000000", "999999", None))
_CASE = ((*NOT_TEXT, *TEXTS, "c." + "g" * 32, "c." + "0" * 31, "C." + "0" * 32), ())

_PERSON = {
    "role": _enum("driver", "passenger", "pedestrian", "traveller"), "tokens/id": _TOKEN, "tokens/pass": _TOKEN, "temperature_c": _NUMBER,
    "temperature_confirmed_c": _NUMBER, "health_code": _enum("green", "yellow", "red", "none"),
    "origin": ((*NOT_TEXT[1:], *TEXTS, "CHN", "3701"), ("370115", "CN", "ZZ", "000000", None)), "quality/0": _enum("empty", "mrz_format"),
}  # fmt: skip
_EVENT = {"device_id": _ID, "seq": _SEQ, "site_id": _ID, "observed_at": _TIME}

FIELDS: dict[str, dict[str, Any]] = {
    "checkpoint-scans": {
        **_EVENT, "kind": _enum("vehicle", "pedestrian"), "direction": _enum("in", "out"), "plate": _TOKEN0,
        "people": ((None, {}, [], "x", 0, [None], [[]], [CANARY], [{}]), ()), **{f"people/0/{name}": kind for name, kind in _PERSON.items()},
    },
    "station-arrivals": {
        **_EVENT, "mode": _enum("air", "rail", "coach", "ferry"), "service": ((*NOT_TEXT, *TEXTS, "g1", "G"), ("G1", "ABCDEFGH", "00")),
        "stage": _enum("registered", "boarded", "delivered"), "transfer_id": _ID0, "destination": _DIVISION0,
        "person": ((None, [], "x", 0, {}), ()), **{f"person/{name}": kind for name, kind in _PERSON.items()},
    },
    "dispositions": {
        **_EVENT, "of": ((None, [], "x", {}, 0), ()), "of/device_id": _ID, "of/seq": _SEQ,
        "action": _enum("released", "turned_back", "referred", "sent_to_quarantine"),
        "override": _enum("mistaken_identity", "remeasured", "document_shown", "other", null=True),
    },
    "quarantine-events": {
        **_EVENT, "case_id": _CASE, "type": _enum("admitted", "reading", "released", "transferred", "extended"),
        "slot": _enum("am", "pm", null=True), "temperature_c": _NUMBER, "symptoms": _BOOL0, "to_site_id": _ID0, "term_days": _COUNT0,
        "reason": _enum("completed", "negative", "hospital", "other", null=True),
    },
    "followup-events": {
        **{name: kind for name, kind in _EVENT.items() if name != "site_id"}, "case_id": _CASE, "district": _ID,
        "type": _enum("opened", "visit", "closed"), "source": _enum("push", "arrival", "checkpoint", "declared", null=True), "batch_id": _ID0,
        "visit": _enum("seen_well", "seen_symptomatic", "not_reached", "refused", null=True),
        "closed": _enum("completed", "quarantined", "lost", "withdrawn", null=True),
    },
    "watchlist-pushes": {
        **dict.fromkeys(("batch_id", "authority", "pushed_by", "list"), _ID),
        "category": ((None, 0, True, [], {}), ("close_contact", CANARY, "=1+1", "'; --", "x" * 65_536, "a\x00b", "\x1b[2J", "")),
        "mode": _enum("delta", "full", "withdraw"), "sequence": _SEQ, "issued_at": (BAD_TIMES, FAR_TIMES), "purpose": _enum("epidemic_control"),
        "declared_lines": (_COUNT0[0], (0, 1, 2**31 - 1)), "legal_basis": ((*_ID[0][1:13], *TEXTS[1:]), (None, "", *GOOD_TEXTS)),
        "part": ((*_SEQ[0], 0, 100_001), ()), "withdraw_reason": _enum("expired", "cleared", "mistake", null=True),
        "lines": ((None, {}, "x", [None], [CANARY], 0), ([],)), "lines/0/line": (_COUNT0[0], (0, 2**31 - 1)),
        "lines/0/tokens": ((None, [], "x", {CANARY: []}), ({},)), "lines/0/tokens/id": ((None, "x", {}, [None], [1], [[]]), ([], [CANARY], ["x" * 65_536], ["\x00"], ["'; --"])),
        "lines/0/valid_from": (BAD_TIMES[1:], (None, *FAR_TIMES)), "lines/0/valid_to": (BAD_TIMES[1:], (None, *FAR_TIMES)),
    },
}  # fmt: skip
SCREENED = ("checkpoint-scans", "station-arrivals")


class Sender:
    """Makes valid records, each with a device and number of its own."""

    def __init__(self, seed: int) -> None:
        self._seed, self._n = seed, 0

    def valid_record(self, topic: str) -> dict[str, Any]:
        """Returns a valid record of a topic."""
        self._n += 1
        n, now = self._n, datetime.now(UTC)
        device = f"fz{self._seed}-{n}"
        event = {"device_id": device, "seq": n, "site_id": f"road-{n % 3}", "observed_at": now.isoformat()}
        person = {"role": "traveller", "tokens": {"id": _token(n), "pass": _token(n)}, "temperature_c": 36.5, "temperature_confirmed_c": None,
                  "health_code": "green", "origin": "370115", "quality": ["empty"]}  # fmt: skip
        if topic == "checkpoint-scans":
            return event | {"kind": "vehicle", "direction": "in", "plate": None, "people": [person]}
        if topic == "station-arrivals":
            return event | {
                "mode": "rail",
                "service": "G1",
                "stage": "boarded",
                "transfer_id": None,
                "destination": None,
                "person": person,
            }
        if topic == "dispositions":
            return event | {"of": {"device_id": "x", "seq": n}, "action": "released", "override": None}
        case = f"c.{self._seed * 1_000_000 + n:032x}"
        if topic == "quarantine-events":
            empty = dict.fromkeys(("slot", "temperature_c", "symptoms", "to_site_id", "term_days", "reason"))
            return event | {"case_id": case, "type": ("admitted", "reading", "extended")[n % 3]} | empty
        if topic == "followup-events":
            del event["site_id"]
            empty = dict.fromkeys(("source", "batch_id", "visit", "closed"))
            return event | {"district": "d1", "case_id": case, "type": ("opened", "visit")[n % 2]} | empty
        return {
            "batch_id": f"b{self._seed}-{n}", "authority": f"cdc-{n % 5}", "pushed_by": "p1", "list": f"l{n}", "category": "close_contact", "mode": "delta",
            "sequence": n, "issued_at": now.isoformat(), "purpose": "epidemic_control", "declared_lines": 1, "legal_basis": "B-1", "part": 1, "parts": 1,
            "withdraw_reason": None,
            "lines": [{"line": 1, "tokens": {"id": [_token(n)]}, "valid_from": now.isoformat(), "valid_to": (now + timedelta(days=3)).isoformat()}],
        }  # fmt: skip


def encode_json(value: Any) -> bytes:
    """Returns the value as JSON, with each `Raw` as it is."""
    raws: list[str] = []

    def mark(inner: Any) -> Any:
        if isinstance(inner, Raw):
            raws.append(str(inner))
            return f"@raw{len(raws) - 1}@"
        if isinstance(inner, dict):
            return {key: mark(item) for key, item in inner.items()}
        return [mark(item) for item in inner] if isinstance(inner, list) else inner

    text = json.dumps(mark(value), ensure_ascii=False, separators=(",", ":"))
    for number, raw in enumerate(raws):
        text = text.replace(f'"@raw{number}@"', raw)
    return text.encode("utf-8", "surrogatepass")


def with_value(event: Any, path: str, value: Any) -> Any:
    """Returns a copy of an event with another value at a path."""
    copy = json.loads(json.dumps(event))
    inner: Any = copy
    *steps, last = [int(step) if step.isdecimal() else step for step in path.split("/")]
    for step in steps:
        inner = inner[step]
    inner[last] = value
    return copy


def field_cases(topic: str, make: Callable[[], dict[str, Any]]) -> Iterator[Case]:
    """Yields cases for every field: values of wrong types or forms, and extreme values that are valid."""
    for path, (bad, good) in FIELDS[topic].items():
        pointer = f"/{path}"
        for value in bad:
            # The path may be that of a malformed list or object, of something in it, or of a field that it lacks.
            within = {pointer, pointer.rpartition("/")[0], f"{pointer}/0"}
            lacks = {
                f"{pointer}{at}/{name}"
                for at in ("", "/0")
                for name in ("role", "tokens", "temperature_c", "device_id", "seq")
            }
            huge = isinstance(value, Raw) or (isinstance(value, int) and abs(value) >= 2**63)
            yield Case(
                f"{path} is {value!r:.40}", encode_json(with_value(make(), path, value)), BOTH if huge else frozenset({"schema_invalid"}),
                frozenset(within | lacks | {""}) if huge or isinstance(value, list | dict) else frozenset({pointer}),
            )  # fmt: skip
        for value in good:
            yield Case(f"{path} is {value!r:.40}, which is allowed", encode_json(with_value(make(), path, value)))
    if "observed_at" in FIELDS[topic]:
        for when in FAR_TIMES:
            yield Case(
                f"at {when}",
                encode_json(make() | {"observed_at": when}),
                frozenset({"clock_out_of_range"}),
                frozenset({"/observed_at"}),
            )
        for when in OVER_TIMES:
            yield Case(
                f"at {when}",
                encode_json(make() | {"observed_at": when}),
                frozenset({"clock_out_of_range", "schema_invalid"}),
                frozenset({"/observed_at"}),
            )
    for name in make():
        if name not in ("direction", "plate", "legal_basis", "part", "parts", "withdraw_reason"):
            left_out = {key: item for key, item in make().items() if key != name}
            yield Case(
                f"without {name}", encode_json(left_out), frozenset({"schema_invalid"}), frozenset({"", f"/{name}"})
            )
    for name in (CANARY, "x" * 70_000, "a\nb", "id", "`$.plate`", "' - at `$.people`"):
        yield Case(f"an unknown field: {name:.20}", encode_json(make() | {name: CANARY}), frozenset({"schema_invalid"}))


def confirmation_cases() -> Iterator[Case]:
    """Yields confirmations of a held batch: malformed ones, and one for an unknown batch."""
    confirmation = {
        "confirms": "no-such-batch",
        "authority": "cdc-0",
        "confirmed_by": "p2",
        "at": "2026-02-03T10:00:00Z",
    }
    yield Case(
        "a confirmation for an unknown batch",
        encode_json(confirmation),
        frozenset({"schema_invalid"}),
        frozenset({"/confirms"}),
    )
    for name in confirmation:
        for value in BAD_TIMES if name == "at" else _ID[0]:
            if (name, value) != ("confirms", None):  # without `confirms` it is not a confirmation
                yield Case(
                    f"a confirmation, {name} is {value!r:.40}",
                    encode_json(confirmation | {name: value}),
                    BOTH,
                    frozenset({"", f"/{name}", f"/{name}/0"}),
                )
        left_out = {key: item for key, item in confirmation.items() if key != name}
        yield Case(
            f"a confirmation without {name}",
            encode_json(left_out),
            frozenset({"schema_invalid"}),
            frozenset({"", f"/{name}", "/batch_id"}),
        )


def malformed_cases(make: Callable[[], Any], every: int = 1) -> Iterator[Case]:
    """Yields bytes that are not a record of the topic at all."""
    not_json = frozenset({"not_json"})
    raw = encode_json(make())
    for end in range(0, len(raw), every):
        yield Case(f"cut after {end} bytes", raw[:end], not_json)
    yield Case("no value", None, not_json)
    for value in (b"42", b"null", b"[]", b"{}", b'"x"', b"[{}]", b"true", b"-0.0", b"1e999", b"9" * 5000):
        yield Case(f"{value[:12]!r}", value, BOTH, frozenset({"", "/device_id", "/batch_id", "/seq"}))
    for bad in (
        b"\xff",
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xc0\xaf",
        b"\n",
        b"\x00",
        b"\\x41",
        b"\\ud800",
        b"\\udc00\\ud800",
    ):
        first = re.search(rb'[:\[]"', raw)
        assert first
        where = first.end()
        yield Case(
            f"{bad!r} in a text",
            raw[:where] + bad + CANARY.encode() + raw[where:],
            BOTH,
            frozenset({"", "/device_id", "/batch_id"}),
        )
    for number in (b"NaN", b"Infinity", b"-Infinity", b"01", b"+1", b"1.", b".5", b"0x1", b"1e", b"nil", b"--1"):
        yield Case(f"{number!r} for a number", raw[:-1] + b',"seq":' + number + b"}", not_json)
    yield Case("UTF-16", raw.decode().encode("utf-16"), not_json)
    yield Case("two values in one record", raw + raw, not_json)
    yield Case("a trailing comma", raw[:-1] + b",}", not_json)
    for depth in (1_000, _DEEP, 1_000_000):
        yield Case(f"{depth} deep", b"[" * depth, BOTH, frozenset({"", "/0"}))
        deep = b"[" * (depth // 2) + b"]" * (depth // 2)
        yield Case(
            f"{depth} deep in a field",
            raw[:-1] + b',"' + CANARY.encode() + b'":' + deep + b"}" if depth <= _DEEP else deep,
            BOTH,
            frozenset({"", "/0"}),
        )
    yield Case("deep objects", b'{"lines":' * _DEEP, BOTH, frozenset({"", "/lines"}))
    for size in (MIB + 1, 2 * MIB - 8192):
        yield Case(f"{size} bytes", raw + b" " * (size - len(raw)), frozenset({"too_large"}))
    yield Case("1 MiB and valid", raw + b" " * (MIB - len(raw)))
    again = encode_json(make())
    if again[:1] == b"{":
        yield Case("a name twice", again[:-1] + b',"' + again[2 : again.index(b",")] + b"}")
    yield Case("no key", encode_json(make()), key=None)
    yield Case("a key of 64 KB that is not UTF-8", encode_json(make()), key=b"\xff" * 65_536)


def mutated_case(make: Callable[[], Any], rng: random.Random) -> Case:
    """Returns a record with some bytes changed, repeated or removed at random."""
    raw = bytearray(encode_json(make()))
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(raw))
        match rng.randrange(4):
            case 0:
                raw[at] = rng.randrange(256)
            case 1:
                del raw[at : at + rng.randrange(1, 20)]
            case 2:
                raw[at:at] = raw[at : at + rng.randrange(1, 40)]
            case _:
                raw[at:at] = rng.choice(
                    (b'"', b"{", b"}", b"[", b"\\u0000", b"1e999", b"null", b",", b"\xff", f"{CANARY} ".encode())
                )
    return Case("mutated", bytes(raw), None)
