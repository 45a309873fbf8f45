"""Records that must be dead-lettered: each field spoiled in every way that the contract names."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from .authorities import CANARY
from .oracle import ARRIVALS, MIB, SCANS

Spoiled = tuple[tuple[str | int, ...], tuple[Any, ...]]
_BAD_IDS: tuple[Any, ...] = (
    "",
    None,
    5,
    True,
    [],
    {},
    "-x",
    ".x",
    "a b",
    "a" * 65,
    "d12345678901",
    "d1\n",
    "设备",
    "a/b",
    "a|b",
    10**400,
)
_BAD_TOKENS: tuple[Any, ...] = (
    "",
    5,
    [],
    "370115199001011234",
    "k1." + "A" * 32,
    "k1." + "a" * 31,
    "k1." + "a" * 33,
    "k1." + "a" * 32 + "\n",
)
_BAD_TOKENS += ("a" * 17 + "." + "a" * 32, "." + "a" * 32, "a" * 32, "k1." + "g" * 32, "k-1." + "a" * 32)
BAD_TIMES: tuple[Any, ...] = (
    None,
    0,
    "",
    [],
    "yesterday",
    "2026-11-20",
    "2026-11-20T10:00:00",
    "2026-02-30T00:00:00Z",
)
BAD_TIMES += ("2026-13-01T00:00:00Z", "2026-11-20T25:00:00Z", "2026-11-20T10:00Z", "20261120T100000Z")
BAD_TIMES += (
    "2026-11-20T10:00:00+08",
    "2026-11-20T10:00:00+0800",
    "2026-11-20T10:00:00 +08:00",
    "2026-11-20T10:00:00Z\n",
)
BAD_TIMES += ("1795168800", 1795168800, "2026-11-20T10:00:00+25:00", "２０２６-11-20T10:00:00Z")
_EVENT: tuple[Spoiled, ...] = (
    (("device_id",), _BAD_IDS),
    (("seq",), (-1, 1.5, "7", None, True, [], {})),
    (("site_id",), _BAD_IDS[:-1]),
    (("observed_at",), BAD_TIMES),
)


def _person_faults(*at: str | int) -> tuple[Spoiled, ...]:
    not_numbers: tuple[Any, ...] = ("37.3", True, False, [], {}, "NaN")
    return (
        ((*at, "role"), ("guard", None, 1, "Driver")),
        ((*at, "tokens"), (None, [], "x", 5, {CANARY: "k1." + "a" * 32}, {"plate": "k1." + "a" * 32})),
        ((*at, "tokens", "id"), _BAD_TOKENS),
        ((*at, "tokens", "phone"), _BAD_TOKENS[:5]),
        ((*at, "temperature_c"), not_numbers),
        ((*at, "temperature_confirmed_c"), not_numbers),
        ((*at, "health_code"), ("blue", None, 1, "GREEN", "")),
        (
            (*at, "origin"),
            ("3701", "370115 ", "370115\n", "Jinan", 370115, "CHN", "", "３７０１１５", "37011a", [], "3701155"),
        ),
        ((*at, "quality"), ("empty", None, {}, [CANARY], [5], [None], ["empty", "free text"])),
        ((*at, CANARY), ("Zhang San", None)),
    )


SPOILED: dict[str, tuple[Spoiled, ...]] = {
    SCANS: (
        *_EVENT,
        (("kind",), ("car", None, 1, "Vehicle", "")),
        (("direction",), ("sideways", None, 0, "IN")),
        (("plate",), ("鲁A12345", *_BAD_TOKENS)),
        (("people",), (None, {}, [], "x", [None], [5], 5)),
        ((CANARY,), ("x", None, {"a": [1]})),
        (("temperature_c",), (36.5,)),  # a field of the contract, but not of a Scan
        *_person_faults("people", 0),
    ),
    ARRIVALS: (
        *_EVENT,
        (("mode",), ("spaceship", None, 1, "AIR")),
        (("service",), ("g12", "G", "G12345678", "G 12", None, 5, "", "G12\n", "Ｇ１２")),
        (("stage",), ("lost", None, 1)),
        (("transfer_id",), ("", "a b", 5, [], "t12345678901")),
        (("destination",), ("CN", "37", 370115, "", "37011５")),
        (("person",), (None, [], "x", 5)),
        (("people",), ([],)),
        ((CANARY,), ("x", None)),
        *_person_faults("person"),
    ),
}
REQUIRED = {
    SCANS: ("device_id", "seq", "site_id", "observed_at", "kind", "people"),
    ARRIVALS: (
        "device_id",
        "seq",
        "site_id",
        "observed_at",
        "mode",
        "service",
        "stage",
        "transfer_id",
        "destination",
        "person",
    ),
}


def _put(event: dict[str, Any], where: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(event))
    inner: Any = copy
    for step in where[:-1]:
        inner = inner[step]
    inner[where[-1]] = value
    return copy


def _not_json(text: str) -> Iterator[bytes]:
    """Returns malformed forms of the text of a valid event."""
    raw = text.encode()
    yield from (
        b"",
        b"  \n",
        b"{",
        raw[:-1],
        raw[: len(raw) // 2],
        raw + b"}",
        raw + raw,
        raw[:-1] + b",}",
        b"\x00",
        b"\xff",
    )
    yield from (raw.replace(b'"', b"'"), raw[1:], b"not json " + CANARY.encode(), raw[:-1] + b',"x"}', b'"' + raw)
    at = text.index('"temperature_c"')
    for number in (
        "NaN",
        "Infinity",
        "-Infinity",
        "036.5",
        "+36.5",
        "36.",
        ".5",
        "0x25",
        "36,5",
        "nil",
        "None",
        "True",
    ):
        yield (
            text[:at] + f'"temperature_c":{number},"temperature_c":36.5,' + text[at + 15 :].partition(",")[2]
        ).encode()
    yield raw.replace(b'"device_id":"', b'"device_id":"\xc3\x28', 1)
    yield raw.replace(b'"device_id":"', b'"device_id":"\xed\xa0\x80', 1)
    yield raw.replace(b'"device_id":"', b'"device_id":"\n', 1)
    yield raw.replace(b'"device_id":"', b'"device_id":"\\x41', 1)


def garbage(topic: str, make: Callable[[], dict[str, Any]], rng: random.Random) -> Iterator[bytes]:
    """Returns every kind of malformed record for one topic, each with one fault."""

    def plain() -> str:
        event = make()
        person = event["people"][0] if topic == SCANS else event["person"]
        person.pop("temperature_confirmed_c", None)
        person["temperature_c"] = None
        person["health_code"] = "green"
        return json.dumps(event, separators=(",", ":"))

    yield from _not_json(plain())
    yield from (b"42", b'"x"', b"null", b"true", b"[]", b"{}", b"[{}]")
    for where, values in SPOILED[topic]:
        for value in values:
            yield json.dumps(_put(make(), where, value), ensure_ascii=False).encode()
    for name in REQUIRED[topic]:
        yield json.dumps({k: v for k, v in make().items() if k != name}).encode()
    for name in ("role", "tokens", "temperature_c"):
        event = make()
        del (event["people"][0] if topic == SCANS else event["person"])[name]
        yield json.dumps(event).encode()
    if topic == SCANS:
        event = make()
        yield json.dumps(event | {"people": event["people"][:1] * 81}).encode()
        last = event["people"][:1] * 79 + [event["people"][0] | {"temperature_c": "hot"}]
        yield json.dumps(event | {"people": last}).encode()
    whole = json.dumps(make()).encode()
    for depth in (2_000, 100_000, 500_000):
        yield b"[" * depth + b"]" * depth
        yield b"[" * depth
        nested = b"[" * depth + b"]" * depth
        yield (
            whole[:-1] + b',"people":' + nested[: MIB - len(whole) - 100] + b"}"
            if depth < 500_000
            else b'{"a":' * 100_000
        )
    for size in (MIB + 1, MIB + MIB // 2, 2 * MIB - 8192):
        yield whole + b" " * (size - len(whole))
        yield rng.randbytes(size)
    yield (whole[:-1] + b',"x":"' + b"a" * MIB + b'"}')
