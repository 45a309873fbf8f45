"""A rejected record gets its reason and the path of the fault; a dead letter contains no part of the record."""

from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from ninezero.schemas.events import MAX_VALUE_BYTES, Scan
from ninezero.streams.kafka.dead_letters import dead_letter
from ninezero.streams.kafka.decoding import Rejected, check_clock, decode

SECRET = "370115199001011234"
PERSON = {"role": "driver", "tokens": {"id": "k1." + "a" * 32}, "temperature_c": 36.5}
GOOD: dict[str, Any] = {
    "device_id": "d",
    "seq": 0,
    "site_id": "s",
    "observed_at": "2026-01-01T00:00:00Z",
    "kind": "vehicle",
    "people": [PERSON],
}


def changed(**given: Any) -> bytes:
    return orjson.dumps(GOOD | given)


BAD = [
    (None, "not_json", ""),
    (b"", "not_json", ""),
    (b"{", "not_json", ""),
    (b"\xff\xfe", "not_json", ""),
    (b'{"device_id":"\xff"}', "not_json", ""),
    (changed().replace(b"36.5", b"NaN"), "not_json", ""),
    (changed() + b"x", "not_json", ""),
    (b"[" * 1_000_000, "not_json", ""),
    (b" " * (MAX_VALUE_BYTES + 1), "too_large", ""),
    (b"[]", "schema_invalid", ""),
    (b"{}", "schema_invalid", "/device_id"),
    (changed(secret=SECRET), "schema_invalid", ""),
    # The name of a field may look like a message of msgspec. No part of it may get into the path.
    (changed(**{f"x` - at `$.{SECRET}": 1}), "schema_invalid", ""),
    (changed(**{f"x` - at `$[{SECRET}]": 1}), "schema_invalid", ""),
    (changed(**{"x` - at `$[3701151][9900101]": 1}), "schema_invalid", ""),
    (changed(**{"x` - at `$.zhang_san": 1, "zhang_san": {}}), "schema_invalid", ""),
    (changed(**{"Object missing required field `zhang_san`": 1}), "schema_invalid", ""),
    (changed(people=[PERSON | {f"x` - at `$.{SECRET}": 1}]), "schema_invalid", "/people/0"),
    (changed(seq=-1), "schema_invalid", "/seq"),
    (changed(seq="1"), "schema_invalid", "/seq"),
    (changed().replace(b'"seq":0', b'"seq":' + b"9" * 400), "schema_invalid", "/seq"),
    (changed(device_id=SECRET), "schema_invalid", "/device_id"),
    (changed(site_id="a b"), "schema_invalid", "/site_id"),
    (changed(site_id="a\n"), "schema_invalid", "/site_id"),
    (changed(observed_at="2026-01-01T00:00:00"), "schema_invalid", "/observed_at"),
    (changed(observed_at="2026-01-01T00:00:00+0800"), "schema_invalid", "/observed_at"),
    (changed(observed_at="2026-01-01t00:00:00.5-0330"), "schema_invalid", "/observed_at"),
    (changed(observed_at="2026-01-01 00:00:00.123456789+0000"), "schema_invalid", "/observed_at"),
    (changed(people=[]), "schema_invalid", "/people"),
    (changed(people=[PERSON] * 81), "schema_invalid", "/people"),
    (changed(people=[PERSON, PERSON | {"tokens": {"id": SECRET}}]), "schema_invalid", "/people/1/tokens/id"),
    (changed(people=[PERSON | {"quality": ["empty", "odd"]}]), "schema_invalid", "/people/0/quality/1"),
    (
        changed(people=[{k: v for k, v in PERSON.items() if k != "temperature_c"}]),
        "schema_invalid",
        "/people/0/temperature_c",
    ),
    (changed(people=[PERSON | {"origin": "china"}]), "schema_invalid", "/people/0/origin"),
]


@pytest.mark.parametrize(("value", "reason", "path"), BAD)
def test_bad_input_is_rejected_with_its_reason_and_path(value: bytes | None, reason: str, path: str) -> None:
    with pytest.raises(Rejected) as rejected:
        decode(Scan, value)
    assert (rejected.value.reason, rejected.value.path) == (reason, path)
    assert SECRET not in repr(rejected.value)


def test_a_dead_letter_has_the_position_and_size_of_the_record_and_no_content() -> None:
    value = changed(device_id=SECRET)
    record = SimpleNamespace(value=value, offset=42, timestamp=1_700_000_000_000)
    letter = dead_letter("checkpoint-scans", 3, record, Rejected("schema_invalid", "/device_id"))
    assert SECRET.encode() not in letter
    found = orjson.loads(letter)
    assert (found["partition"], found["offset"], found["size"], found["path"]) == (3, 42, len(value), "/device_id")


@pytest.mark.parametrize(
    ("seconds", "replay", "rejected"),
    [
        (600, False, False),
        (601, False, True),
        (601, True, True),
        (-13 * 86_400, False, False),
        (-13 * 86_400 - 1, False, True),
        (-(10**9), True, False),
        (-1_700_000_000, True, True),
    ],
)
def test_the_clock_may_be_ten_minutes_ahead_and_thirteen_days_behind(
    seconds: int, replay: bool, rejected: bool
) -> None:
    kafka_ms = 1_700_000_000_000
    try:
        check_clock((kafka_ms + seconds * 1000) * 1000, kafka_ms, replay)
        assert not rejected
    except Rejected as error:
        assert rejected and error.reason == "clock_out_of_range"
