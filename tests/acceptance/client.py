"""A random client of the pipeline: health authorities that push lists, devices that send scans, arrivals and malformed records.

It knows Kafka and the contract, nothing else. Everything random comes from one seed; the clock and the offsets do
not, so a seed repeats the cases, not the bytes. Cases that the contract leaves open are not sent (see oracle.py).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from . import oracle
from .oracle import ARRIVALS, CATEGORIES, DAY, MIB, MINUTE, PUSHES, SCANS, SECOND, Record

MS = 1000
TOKEN_KINDS = ("id", "passport", "phone", "pass")
SHORT = 9 * MINUTE
"""Time from the start of the pushes to the end of the short windows. Everything must be decided before."""

TEMPERATURES = (None, None, 29.9, 30.0, 30, 36.5, 36.5, 36.6, 37, 37.2, 37.3, 37.3, 38.4, 45.0, 45, 45.1)
MAD_TEMPERATURES = (-400, 0, -0.5, 1e3, 1e300, 99999999)
ORIGINS = (None, "370115", "370115", "370102", "370181", "370199", "420106", "999999", "000000", "CN", "US", "HK", "TW")
CANARY = "CanaryField"
"""Part of every name and text that must never appear in a dead letter."""


def rfc3339(moment: int, rng: random.Random | None = None) -> str:
    """Returns a time in a form that RFC 3339 allows: any offset, and as few fraction digits as possible or three."""
    shift = rng.choice((0, 0, 480, -330, 345)) if rng else 0
    zone = timezone(timedelta(minutes=shift))
    text = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)).astimezone(zone)
    rendered = text.isoformat(timespec="milliseconds" if moment % SECOND else "seconds")
    return rendered.replace("+00:00", "Z") if rng is None or rng.random() < 0.5 else rendered


def render(value: Any, rng: random.Random) -> str:
    """Returns unusual but valid JSON: any key order, white space, escapes, and keys that occur twice with the same value."""
    gap = " " * (rng.random() < 0.05) + "\n" * (rng.random() < 0.02)
    if isinstance(value, dict):
        items = list(value.items())
        if rng.random() < 0.3:
            rng.shuffle(items)
        if items and rng.random() < 0.02:
            items.append(rng.choice(items))
        return "{" + ("," + gap).join(f"{json.dumps(k)}:{gap}{render(v, rng)}" for k, v in items) + gap + "}"
    if isinstance(value, list):
        return "[" + ("," + gap).join(render(v, rng) for v in value) + gap + "]"
    if isinstance(value, str) and value and rng.random() < 0.02:
        return '"' + "".join(f"\\u{ord(c):04x}" if rng.random() < 0.3 else json.dumps(c)[1:-1] for c in value) + '"'
    return json.dumps(value, ensure_ascii=rng.random() < 0.5)


# --- people and the lists that they are on ------------------------------------------------------------------


@dataclass
class Crowd:
    """People and plates. Each has a text for each kind of identity, from which tokens under any key are made."""

    rng: random.Random
    people: list[dict[str, str]] = field(default_factory=list)
    plates: list[str] = field(default_factory=list)
    keys: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def born(cls, rng: random.Random, size: int = 240) -> Crowd:
        crowd = cls(rng, keys={name: rng.randbytes(32) for name in ("k1", "k2", "k9")})
        for number in range(size):
            person = {"id": f"370115{rng.randrange(10**11):011d}X"}
            if rng.random() < 0.4:
                person["passport"] = f"CHN/E{rng.randrange(10**8):08d}"
            if rng.random() < 0.7:
                person["phone"] = f"86138{rng.randrange(10**8):08d}"
            if rng.random() < 0.4:
                person["pass"] = f"JN-{rng.randrange(10**8):08d}"
            if number % 10 == 9 and "phone" in crowd.people[-1]:
                person["phone"] = crowd.people[-1]["phone"]  # a family shares one
            crowd.people.append(person)
        crowd.plates = [f"鲁A·{rng.randrange(10**5):05d}" for _ in range(60)]
        return crowd

    def token(self, domain: str, text: str, key_id: str = "k1") -> str:
        return oracle.token(key_id, self.keys[key_id], domain, oracle.normalise(text))

    def stranger(self) -> dict[str, str]:
        rng = self.rng
        texts = {kind: f"{rng.randrange(10**15)}" for kind in TOKEN_KINDS if rng.random() < 0.6}
        return texts or {"id": f"{rng.randrange(10**15)}"}


@dataclass
class PushedList:
    """One list of one authority; `people` are indexes of the crowd that only this list's category may name."""

    authority: str
    name: str
    category: str
    people: list[int]
    plates: list[str]
    key_ids: tuple[str, ...] = ("k1",)


@dataclass
class Window:
    """A valid line that was pushed, kept so that scans can be made at the ends of its window."""

    tokens: dict[str, list[str]]
    valid_from: int
    valid_to: int


def windows(rng: random.Random, base: int, category: str) -> tuple[int, int]:
    """A window, in whole milliseconds; those that end soon end at `base + SHORT`."""
    past = base - rng.randrange(12 * DAY) // MS * MS
    kinds = [
        (past, base + rng.randrange(DAY, 15 * DAY) // MS * MS),
        (past, base + rng.randrange(DAY, 15 * DAY) // MS * MS),
        (base - 2 * 60 * MINUTE, base + 20 * DAY),
        (base + 3 * MINUTE, base + 10 * DAY),  # not valid yet, but for a clock ahead
        (base + DAY, base + 2 * DAY),  # not valid yet
        (past, base + SHORT),
        (base - DAY, base - DAY + oracle.MAX_TERM),  # as long as may be
    ]
    if category == "health_pass":
        kinds += [(base - 30 * DAY, base + 300 * DAY)] * 3
    return rng.choice(kinds)


@dataclass
class Authorities:
    """Writes the delta batches of one to three authorities for all six categories."""

    rng: random.Random
    run: str
    crowd: Crowd
    base: int
    good: list[Window] = field(default_factory=list)
    batches: int = 0

    def lists(self) -> list[PushedList]:
        rng, everyone = self.rng, list(range(len(self.crowd.people)))
        names = [f"{self.run}-health.{n}" for n in range(rng.randint(1, 3))]
        found = []
        for category in CATEGORIES:
            keys = ("k1", "k2") if category == "suspected_case" else ("k1",)
            people = rng.sample(everyone, 50)
            found.append(PushedList(rng.choice(names), f"l-{category}", category, people, self.crowd.plates[:40], keys))
        # A list of several categories, each with people and plates of its own.
        mixed = rng.sample(everyone, 48)
        authority = rng.choice(names)
        for number, category in enumerate(CATEGORIES):
            people, plates = mixed[number * 8 : number * 8 + 8], self.crowd.plates[40 + number * 3 : 43 + number * 3]
            found.append(PushedList(authority, "mixed", category, people, plates))
        return found

    def _tokens(self, target: PushedList) -> dict[str, list[str]]:
        """Returns tokens of one person, of some or all kinds, with or without a plate, or the token of a plate alone."""
        rng, crowd = self.rng, self.crowd
        person = crowd.people[rng.choice(target.people)]
        kinds = [kind for kind in TOKEN_KINDS if kind in person]
        texts = [(kind, person[kind]) for kind in kinds if rng.random() < 0.7] or [("id", person["id"])]
        chance = rng.random()
        if chance < 0.12:
            texts = [("plate", rng.choice(target.plates))]
        elif chance < 0.2:
            texts.append(("plate", rng.choice(target.plates)))
        elif chance < 0.3 and "phone" in person:
            texts = [("phone", person["phone"])]
        return {kind: [crowd.token(kind, text, key) for key in target.key_ids] for kind, text in texts}

    def _line(self, target: PushedList, sent: list[dict[str, Any]]) -> dict[str, Any]:
        rng = self.rng
        again = [line for line in sent if "code" not in line]
        if again and rng.random() < 0.2:
            old = rng.choice(again)
            line = {name: old[name] for name in ("tokens", "valid_from", "valid_to")}
            if rng.random() < 0.4:  # the same subject under another window replaces
                start, end = windows(rng, self.base, target.category)
                line |= {"valid_from": rfc3339(start), "valid_to": rfc3339(end)}
            return line
        start, end = windows(rng, self.base, target.category)
        line = {"tokens": self._tokens(target), "valid_from": rfc3339(start, rng), "valid_to": rfc3339(end, rng)}
        self.good.append(Window(line["tokens"], start, end))
        return line

    def _bad_line(self, target: PushedList) -> dict[str, Any]:
        rng, base = self.rng, self.base
        tokens = self._tokens(target)
        kind = next(iter(tokens))
        good = tokens[kind][0]
        bad = rng.choice(
            (good[:-1], good + "0", good.upper(), good[3:], "k-1" + good[2:], "a" * 17 + good[2:], "370115199001011234")
        )
        window = {"valid_from": rfc3339(base - DAY), "valid_to": rfc3339(base + DAY)}
        later, past = rfc3339(base + 2 * DAY), rfc3339(base - MINUTE)
        long = {"valid_from": rfc3339(base - DAY), "valid_to": rfc3339(base - DAY + oracle.MAX_TERM + SECOND)}
        choices: list[dict[str, Any]] = [
            {"tokens": {}, **window},
            {"tokens": {kind: []}, **window},
            {"tokens": {**tokens, kind: [bad]}, **window},
            {"tokens": {**tokens, kind: [good, bad]}, **window},
            {"tokens": tokens, "valid_to": window["valid_to"]},
            {"tokens": tokens, "valid_from": window["valid_from"]},
            {"tokens": tokens},
            {"tokens": tokens, "valid_from": later, "valid_to": window["valid_to"]},
            {"tokens": tokens, "valid_from": later, "valid_to": later},
            {"tokens": tokens, "valid_from": window["valid_from"], "valid_to": past},
            {"tokens": tokens, **long},  # good for a health pass, and then an entry like any other
            # A line with two faults gets the first code in the order of §5.
            {"tokens": {}},
            {"tokens": {kind: [bad]}, "valid_to": past},
            {"tokens": tokens, "valid_to": past},
            {"tokens": tokens, "valid_from": past, "valid_to": rfc3339(base - 2 * MINUTE)},
            {"tokens": tokens, "valid_from": rfc3339(base - 40 * DAY), "valid_to": past},
        ]
        return rng.choice(choices) | {"code": "bad"}

    def _batch(self, target: PushedList, sequence: int, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns the parts of one batch."""
        rng = self.rng
        self.batches += 1
        step = rng.choice((1, 1, 3))
        numbered = [
            {"line": 1 + step * n, **{k: v for k, v in line.items() if k != "code"}} for n, line in enumerate(lines)
        ]
        parts = rng.choice((1, 1, 2, 3)) if len(lines) > 3 else 1
        common = {
            "batch_id": f"{self.run}-b{self.batches}",
            "authority": target.authority,
            "pushed_by": "duty-officer",
            "list": target.name,
            "category": target.category,
            "mode": "delta",
            "sequence": sequence,
            "issued_at": rfc3339(self.base, rng),
            "legal_basis": "JN-2026-17",
            "purpose": "epidemic_control",
            "declared_lines": len(lines),
        }
        if parts == 1 and rng.random() < 0.5:
            return [common | {"lines": numbered}]
        size = -(-len(numbered) // parts)
        return [
            common | {"part": n + 1, "parts": parts, "lines": numbered[n * size : (n + 1) * size]} for n in range(parts)
        ]

    def _rejected(self, target: PushedList, sequence: int) -> Iterator[dict[str, Any]]:
        """Yields batches that are rejected as a whole, and records that are dead-lettered and get no receipt."""
        rng = self.rng
        lines = [self._line(target, []) for _ in range(3)]
        good = self._batch(target, sequence, lines)[:1]
        del self.good[-len(lines) :]
        batch = good[0] | {"lines": good[0]["lines"], "declared_lines": len(good[0]["lines"])}
        batch.pop("part", None), batch.pop("parts", None)
        spoilt: list[dict[str, Any]] = [
            {k: v for k, v in batch.items() if k != "legal_basis"},
            batch | {"legal_basis": None},
            batch | {"legal_basis": ""},
            batch | {"category": rng.choice(("political_view", "criminal_record", "ethnicity"))},
            batch | {"sequence": 0},
            batch | {"purpose": "law_enforcement"},
            batch | {"issued_at": "soon"},
            batch | {"lines": [*batch["lines"][:1], batch["lines"][1] | {"valid_from": "2026-02-30T00:00:00Z"}]},
            batch | {"lines": [batch["lines"][0] | {"tokens": {CANARY: ["x"]}}]},
            batch | {"lines": [batch["lines"][0] | {CANARY: "Zhang San"}]},
            batch | {"legal_basis": "because of the epidemic"},
            {k: v for k, v in batch.items() if k != "declared_lines"},
            batch | {CANARY: 1},
            batch | {"authority": "health bureau"},
            batch | {"mode": "merge"},
        ]
        for number, one in enumerate(spoilt):
            yield one | {"batch_id": f"{batch['batch_id']}x{number}"}

    def pushes(self) -> Iterator[tuple[str, bytes]]:
        """Yields the authority and the value of every PushBatch record, in order."""
        rng, sequences = self.rng, dict[tuple[str, str], int]()
        sent: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        targets = self.lists()
        for turn in range(3):
            for target in rng.sample(targets, len(targets)):
                where = (target.authority, target.name)
                sequences[where] = sequences.get(where, 0) + rng.randint(1, 3)
                before = sent.setdefault((*where, target.category), [])
                lines: list[dict[str, Any]] = []
                for _ in range(rng.randint(6, 24)):
                    bad = rng.random() < 0.15
                    lines.append(self._bad_line(target) if bad else self._line(target, before + lines))
                before.extend(lines)
                parts = self._batch(target, sequences[where], lines)
                rendered = [(target.authority, render(part, rng).encode()) for part in parts]
                yield from rendered
                if len(parts) == 1 and rng.random() < 0.3:
                    yield rendered[0]  # the same batch_id again
                if turn == 1 and rng.random() < 0.3:
                    # Rejected for good, so it may be sent with any sequence but a stale one.
                    for rejected in self._rejected(target, sequences[where] + 1000):
                        yield target.authority, render(rejected, rng).encode()
        for value in (b"", b"{", b"[]", b'{"lines": NaN}', b"\xff\xfe"):
            yield targets[0].authority, value
        # A list all of whose lines are rejected stays empty, and so lacks no key.
        empty = PushedList(
            targets[0].authority, "empty", "close_contact", targets[0].people, targets[0].plates, ("k9",)
        )
        for part in self._batch(empty, 1, [{"tokens": {}}]):
            yield empty.authority, render(part, rng).encode()


# --- scans, arrivals and malformed records --------------------------------------------------------------------------------

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
_BAD_TIMES: tuple[Any, ...] = (
    None,
    0,
    "",
    [],
    "yesterday",
    "2026-11-20",
    "2026-11-20T10:00:00",
    "2026-02-30T00:00:00Z",
)
_BAD_TIMES += ("2026-13-01T00:00:00Z", "2026-11-20T25:00:00Z", "2026-11-20T10:00Z", "20261120T100000Z")
_BAD_TIMES += (
    "2026-11-20T10:00:00+08",
    "2026-11-20T10:00:00+0800",
    "2026-11-20T10:00:00 +08:00",
    "2026-11-20T10:00:00Z\n",
)
_BAD_TIMES += ("1795168800", 1795168800, "2026-11-20T10:00:00+25:00", "２０２６-11-20T10:00:00Z")
_EVENT: tuple[Spoiled, ...] = (
    (("device_id",), _BAD_IDS),
    (("seq",), (-1, 1.5, "7", None, True, [], {})),
    (("site_id",), _BAD_IDS[:-1]),
    (("observed_at",), _BAD_TIMES),
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


@dataclass
class Devices:
    """Devices at checkpoints and stations. Each has one counter for all topics."""

    rng: random.Random
    run: str
    crowd: Crowd
    base: int
    good: list[Window]
    sites: int = 6
    seqs: dict[str, int] = field(default_factory=dict)

    def checkpoints(self) -> list[str]:
        return [f"{self.run}-cp{n}" for n in range(self.sites)]

    def stations(self) -> list[str]:
        return [f"{self.run}-st{n}" for n in range(2)]

    def _event(self, sites: list[str], observed_at: int) -> dict[str, Any]:
        rng = self.rng
        home = rng.choice(sites)
        device = f"{home}_d{rng.randrange(2)}"
        seq = self.seqs.get(device, 0)
        self.seqs[device] = seq + 1
        site = home if rng.random() < 0.95 else rng.choice(sites)
        return {"device_id": device, "seq": seq, "site_id": site, "observed_at": rfc3339(observed_at, rng)}

    def when(self) -> int:
        """Returns a time within the clock limits: mostly now, often late, sometimes ahead. Whole milliseconds."""
        rng, now = self.rng, int(time.time() * 1000) * MS
        chance = rng.random()
        if chance < 0.65:
            return now - rng.randrange(90 * SECOND) // MS * MS
        if chance < 0.75:
            return now - rng.randrange(9 * MINUTE, 12 * MINUTE) // MS * MS
        if chance < 0.9:
            return now - rng.randrange(12 * MINUTE, 12 * DAY) // MS * MS
        if chance < 0.93:
            return now - 13 * DAY + 15 * MINUTE
        return now + rng.randrange(9 * MINUTE) // MS * MS

    def never(self) -> int:
        """Returns a time outside the clock limits."""
        rng, now = self.rng, int(time.time() * 1000) * MS
        ahead = now + 16 * MINUTE + rng.randrange(3 * DAY) // SECOND * SECOND
        behind = now - 13 * DAY - MINUTE - rng.randrange(3 * DAY) // SECOND * SECOND
        return rng.choice((ahead, behind, 0, 4_102_444_800 * SECOND))

    def _tokens(self) -> dict[str, str]:
        rng, crowd = self.rng, self.crowd
        chance = rng.random()
        if chance < 0.06:
            return {}
        person = rng.choice(crowd.people) if chance < 0.8 else crowd.stranger()
        key_id = rng.choices(("k1", "k2", "k9"), (30, 1, 1))[0]
        keep = 0.9 if rng.random() < 0.6 else 0.4
        return {kind: crowd.token(kind, text, key_id) for kind, text in person.items() if rng.random() < keep}

    def person(self, role: str) -> dict[str, Any]:
        rng = self.rng
        calm = rng.random() < 0.5  # else clear outcomes would be rare
        person: dict[str, Any] = {"role": role, "tokens": self._tokens()}
        person["temperature_c"] = 36.4 if calm else rng.choice(TEMPERATURES)
        if not calm and rng.random() < 0.02:
            person["temperature_c"] = rng.choice(MAD_TEMPERATURES)
        if not calm and rng.random() < 0.4:
            person["temperature_confirmed_c"] = rng.choice(TEMPERATURES)
        if rng.random() < 0.5:
            person["health_code"] = "green" if calm else rng.choice(("green", "none", "yellow", "red"))
        if rng.random() < 0.6:
            person["origin"] = rng.choice((None, "370115", "CN")) if calm else rng.choice(ORIGINS)
        if rng.random() < 0.2:
            person["quality"] = rng.sample(oracle.FLAGS, rng.randint(0, 3))
        return person

    def scan(self, observed_at: int | None = None) -> dict[str, Any]:
        rng = self.rng
        event = self._event(self.checkpoints(), self.when() if observed_at is None else observed_at)
        vehicle = rng.random() < 0.7
        count = rng.choices((1, 2, 4, 20, 80), (60, 25, 10, 2, 0.3))[0] if vehicle else 1
        roles = ["driver"] + ["passenger"] * (count - 1) if vehicle else ["pedestrian"]
        event |= {"kind": "vehicle" if vehicle else "pedestrian", "people": [self.person(role) for role in roles]}
        if rng.random() < 0.6:
            event["direction"] = rng.choice(("in", "in", "out"))
        if vehicle and rng.random() < 0.5:
            chance = rng.random()
            text = rng.choice(self.crowd.plates) if chance < 0.6 else f"鲁B{rng.randrange(10**5):05d}"
            event["plate"] = self.crowd.token("plate", text, "k9" if rng.random() < 0.05 else "k1")
        elif rng.random() < 0.2:
            event["plate"] = None
        return event

    def arrival(self, observed_at: int | None = None) -> dict[str, Any]:
        rng = self.rng
        event = self._event(self.stations(), self.when() if observed_at is None else observed_at)
        return event | {
            "mode": rng.choice(("air", "rail", "coach", "ferry")),
            "service": rng.choice(("G12", "MU5101", "K8", "12345678", "AB")),
            "stage": rng.choice(("registered", "boarded", "delivered")),
            "transfer_id": rng.choice((None, "tr-1", f"tr.{rng.randrange(60)}_b")),
            "destination": rng.choice((None, "370115", "420106")),
            "person": self.person("traveller"),
        }

    def at_an_edge(self) -> tuple[str, dict[str, Any]] | None:
        """Returns a scan or arrival of a listed person, a millisecond before, at or after an end of the window."""
        rng, now = self.rng, int(time.time() * 1000) * MS
        window = rng.choice(self.good)
        edges = [e for e in (window.valid_from, window.valid_to) if now - 12 * DAY < e < now + 9 * MINUTE + 30 * SECOND]
        if not edges:
            return None
        observed_at = rng.choice(edges) + rng.choice((-MS, 0, MS))
        tokens = {kind: texts[0] for kind, texts in window.tokens.items() if kind != "plate"}
        topic = SCANS if "plate" in window.tokens or rng.random() < 0.7 else ARRIVALS
        event = self.scan(observed_at) if topic == SCANS else self.arrival(observed_at)
        (event["people"][0] if topic == SCANS else event["person"])["tokens"] = tokens
        if "plate" in window.tokens:
            event["plate"] = window.tokens["plate"][0]
        return topic, event

    def _good(self) -> tuple[str, dict[str, Any]]:
        chance = self.rng.random()
        aimed = self.at_an_edge() if chance < 0.15 else None
        if aimed is not None:
            return aimed
        return (SCANS, self.scan()) if chance < 0.8 else (ARRIVALS, self.arrival())

    def records(self, count: int) -> Iterator[tuple[str, str, bytes]]:
        """Returns (topic, site, value) of about `count` valid events and every kind of malformed one, out of order, some twice."""
        rng = self.rng
        sent: list[tuple[str, str, bytes]] = []
        for _ in range(count):
            topic, event = self._good()
            value = render(event, rng).encode()
            if rng.random() < 0.003:
                value += b" " * (MIB - 4096 - len(value))  # large, and allowed
            sent.append((topic, event["site_id"], value))
        for _ in range(60):
            event = self.scan(self.never())
            sent.append((SCANS, event["site_id"], render(event, rng).encode()))
            event = self.arrival(self.never())
            sent.append((ARRIVALS, event["site_id"], render(event, rng).encode()))
        makers: tuple[tuple[str, Callable[[], dict[str, Any]]], ...] = ((SCANS, self.scan), (ARRIVALS, self.arrival))
        for topic, make in makers:
            spoiled = list(garbage(topic, make, rng))
            site = self.checkpoints()[0] if topic == SCANS else self.stations()[0]
            sent.extend((topic, site, value) for value in spoiled)
        # Neighbours are swapped, malformed records are inserted anywhere, and one record in twelve is sent again later.
        order = sorted(range(len(sent)), key=lambda n: n + rng.randrange(40) if n < count else rng.randrange(count))
        resends = [(place + rng.randrange(1, 400), n) for place, n in enumerate(order) if rng.random() < 0.08]
        placed = sorted([(place, n) for place, n in enumerate(order)] + resends)
        yield from (sent[n] for _, n in placed)


# --- Kafka ------------------------------------------------------------------------------------------------------


class Tail:
    """Follows topics from their beginning, without a group."""

    def __init__(self, bootstrap: str, prefix: str, topics: Iterable[str], wait: float = 60) -> None:
        self._prefix = prefix
        self._consumer: Any = KafkaConsumer(
            bootstrap_servers=bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            group_id=None,
            isolation_level="read_committed",
        )
        self.records: dict[str, list[Record]] = {topic: [] for topic in topics}
        assigned = []
        until = time.monotonic() + wait
        for topic in self.records:
            while not (partitions := self._consumer.partitions_for_topic(prefix + topic)):
                assert time.monotonic() < until, f"no topic {topic}"
                time.sleep(0.5)
            assigned += [TopicPartition(prefix + topic, number) for number in sorted(partitions)]
        self._consumer.assign(assigned)
        self._consumer.seek_to_beginning(*assigned)

    def poll(self) -> int:
        """Fetches new records. Returns their number."""
        fetched = self._consumer.poll(timeout_ms=500, max_records=5000)
        for where, records in fetched.items():
            topic = where.topic.removeprefix(self._prefix)
            self.records[topic].extend(
                Record(topic, where.partition, r.offset, r.timestamp, r.key, r.value or b"") for r in records
            )
        return sum(len(records) for records in fetched.values())

    def until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Polls until `done()` or the time is over. Returns whether it was done."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                return False
            self.poll()
        return True

    def close(self) -> None:
        self._consumer.close()


@dataclass
class Client:
    """One run: pushes, then scans. `records` holds what was sent, as the broker stores it, in the order of sending."""

    bootstrap: str
    prefix: str
    seed: int
    run: str
    count: int = 3000
    records: list[Record] = field(default_factory=list)
    base: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.crowd = Crowd.born(self.rng)
        self.authorities = Authorities(self.rng, self.run, self.crowd, 0)
        self.devices = Devices(self.rng, self.run, self.crowd, 0, self.authorities.good)
        self.producer: Any = KafkaProducer(
            bootstrap_servers=self.bootstrap, acks="all", max_request_size=3 * MIB, linger_ms=5
        )

    def sites(self) -> list[str]:
        return self.devices.checkpoints() + self.devices.stations()

    def _send(self, messages: Iterable[tuple[str, str, bytes]], chunks: tuple[int, ...] = (500,)) -> None:
        """Sends values in chunks of these sizes, then reads them back: only the broker knows the timestamp that the rules use."""
        futures, room = [], 0
        for topic, key, value in messages:
            futures.append((self.producer.send(self.prefix + topic, key=key.encode(), value=value), value))
            room -= 1
            if room < 0:
                self.producer.flush()
                room = self.rng.choice(chunks)
        self.producer.flush()
        places = [(future.get(timeout=60), value) for future, value in futures]
        wanted = {(meta.topic.removeprefix(self.prefix), meta.partition, meta.offset): value for meta, value in places}
        tail = Tail(self.bootstrap, self.prefix, sorted({topic for topic, _, _ in wanted}))

        def found() -> dict[tuple[str, int, int], Record]:
            return {(r.topic, r.partition, r.offset): r for some in tail.records.values() for r in some}

        assert tail.until(lambda: wanted.keys() <= found().keys(), 120), "what was acknowledged can't be read back"
        tail.close()
        read = found()
        assert all(read[place].value == value for place, value in wanted.items()), "the broker changed a value"
        self.records.extend(read[place] for place in wanted)

    def push(self, seconds: float = 180) -> list[Record]:
        """Pushes every batch and waits for the receipts, then two seconds more (§5). Returns the receipts."""
        self.base = int(time.time()) * SECOND
        self.authorities.base = self.devices.base = self.base
        self._send((PUSHES, authority, value) for authority, value in self.authorities.pushes())
        wanted = len(oracle.expect(self.records).receipts)
        tail = Tail(self.bootstrap, self.prefix, ["push-receipts"])
        receipts = tail.records["push-receipts"]
        assert tail.until(lambda: len(receipts) >= wanted, seconds), f"{len(receipts)} of {wanted} receipts"
        time.sleep(2)
        tail.close()
        return receipts

    def send(self) -> None:
        """Sends every event in chunks of many sizes, so that the workers get small and large fetches."""
        self._send(list(self.devices.records(self.count)), (0, 1, 20, 500, 2000))

    def close(self) -> None:
        self.producer.close()
