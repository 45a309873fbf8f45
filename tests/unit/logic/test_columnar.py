"""Deciding by columns: what is decided together is valid, and decided as the reference decides it."""

import gc
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ninezero.agents.logic.policy.decision import RuleHit
from ninezero.agents.logic.policy.evaluator import Evaluator
from ninezero.agents.logic.policy.policy import DEFAULT, Policy
from ninezero.agents.logic.policy.reference import decide_arrival, decide_scan
from ninezero.agents.logic.watchlist.entries import Entry
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.agents.logic.watchlist.tokens import well_formed
from ninezero.agents.recording.projections.topics import projections
from ninezero.agents.screening import decide_batch
from ninezero.agents.screening.agent import Screening
from ninezero.agents.screening.event_kinds import CHECKPOINTS, STATIONS
from ninezero.schemas.events import MAX_VALUE_BYTES, Scan, encode
from ninezero.schemas.times import unix_micros
from ninezero.streams.kafka.decoding import Rejected, decode
from ninezero.streams.kafka.internal_records import UnreadableRecord
from ninezero.streams.kafka.topics import DECISIONS
from ninezero.streams.settings import load
from ninezero.streams.transport.offset_tracker import Chunk
from tests.screened import chunks_of, decided_in
from tests.support import default_policies

HOME = "370115"
NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
NOW_US = unix_micros(NOW)

Hit = tuple[str, int | None, str, list[tuple[str, str]]]
"""Outcome, person, rule, and domain and id of each entry."""


def token(n: int, key: str = "k1") -> str:
    return f"{key}.{n:032x}"


def lists(keys: tuple[str, ...] = ("k1",)) -> WatchlistIndex:
    """Lists the numbers below ten, each in one of the domains in turn, under every key."""
    index = WatchlistIndex()
    put = [
        Entry("a", "l", f"b:{n}", "health_pass" if kind == "pass" else "close_contact", NOW_US - 10**9, NOW_US + 10**9,
              {kind: tuple(token(n, key) for key in keys)}, 1, "b", 1)
        for n, kind in enumerate(("id", "passport", "pass", "phone", "plate") * 2)
    ]  # fmt: skip
    index.apply(("a", "l"), put, ())
    return index


def scan(**changes: Any) -> dict[str, Any]:
    person = {
        "role": "driver",
        "tokens": {"id": token(99)},
        "temperature_c": 36.5,
        "health_code": "green",
        "origin": HOME,
    }
    return {"device_id": "d", "seq": 1, "site_id": "s", "observed_at": NOW.isoformat(), "kind": "vehicle",
            "people": [person | changes.pop("person", {})], "direction": "in", "plate": token(98)} | changes  # fmt: skip


def arrival(**changes: Any) -> dict[str, Any]:
    return {"device_id": "d", "seq": 1, "site_id": "s", "observed_at": NOW.isoformat(), "mode": "rail", "service": "G101",
            "stage": "boarded", "transfer_id": "t1", "destination": HOME,
            "person": {"role": "traveller", "tokens": {"id": token(99)}, "temperature_c": None}} | changes  # fmt: skip


def judged(
    values: list[bytes], kind: Any, index: WatchlistIndex, evaluator: Any = None, stale: bool = False
) -> dict[int, list[Hit]]:
    """Returns the rule hits of the events that are decided together, by position."""
    events = kind.reader.read(values)
    if not events.events:
        return {}
    evaluator = evaluator or Evaluator(DEFAULT, kind.shape)
    found = evaluator.judge(events, index, lambda site: HOME, 301.0 if stale else 300.0)
    return {
        position: hits_of(found.verdicts[n].outcome, found.hits(n))
        for n, position in enumerate(events.positions.tolist())
        if not found.undecided[n]
    }


def reference(
    value: bytes, kind: Any, index: WatchlistIndex, policy: Policy = DEFAULT, stale: bool = False
) -> list[Hit] | None:
    """Returns the rule hits by the reference, or None if decoding rejects the value."""
    try:
        event = decode(kind.event, value)
    except Rejected:
        return None
    decide = decide_scan if kind is CHECKPOINTS else decide_arrival
    decision = decide(event, unix_micros(event.observed_at), index, HOME, stale, policy)
    return hits_of(decision.outcome, decision.hits)


def hits_of(outcome: str, hits: list[RuleHit]) -> list[Hit]:
    return [(outcome, hit.person, hit.rule, [(m.domain, m.entry.entry_id) for m in hit.matches]) for hit in hits]


TOKENS = st.builds(
    token, st.sampled_from([0, 1, 2, 3, 4, *range(50, 60)]), st.sampled_from(["k1", "k1", "k1", "k2", "K-"])
)
ODD = st.sampled_from(["", "k1.", "k1." + "0" * 31, "k1." + "0" * 33, "k1." + "G" * 32, "k1." + "A" * 32, "k1." + "é" * 32, "k1" + "0" * 33,
                       "x" * 35, " k1." + "0" * 31])  # fmt: skip
SOME = st.one_of(TOKENS, TOKENS, TOKENS, TOKENS, ODD)
TEMPERATURES = st.sampled_from([36.5, 36.5, 36.5, 37.3, 37.29, 30.0, 29.9, 45.0, 45.1, None])
ORIGINS = st.sampled_from([None, HOME, HOME, "CN", "370112", "110101", "US", "usa", "37011", "３７０１１５"])
PEOPLE = st.fixed_dictionaries(
    {"role": st.sampled_from(["driver", "passenger"]), "tokens": st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "passport", "phone", "pass"), SOME)),
     "temperature_c": TEMPERATURES},
    optional={"temperature_confirmed_c": TEMPERATURES, "origin": ORIGINS, "health_code": st.sampled_from(["green", "none", "green", "yellow", "red", "blue"]),
              "quality": st.sampled_from([[], ["empty"], ["what"]])},
)  # fmt: skip
NAMES = st.sampled_from(["d", "d-1", "13800000000", "-d", "d" * 65, "d\n", "ü"])
TIMES = st.sampled_from(["2026-03-01T08:00:00Z", "2026-03-01T16:00:00+08:00", "2026-03-01T16:00:00+0800", "2026-03-01T08:00:00.123456-00:00", "2026-03-01T08:00:00.5-0000",
                         "2026-03-01T08:00:00", "2026-03-01 08:00:00Z", "yesterday", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])  # fmt: skip
SCANS = st.fixed_dictionaries(
    {"device_id": NAMES, "seq": st.sampled_from([0, 1, 2**63 - 1, 2**63, -1, 1.5]), "site_id": NAMES, "observed_at": TIMES,
     "kind": st.sampled_from(["vehicle", "pedestrian", "boat"]), "people": st.lists(PEOPLE, max_size=3)},
    optional={"direction": st.sampled_from(["in", "out", "up"]), "plate": st.one_of(st.none(), SOME), "note": st.just("x")},
)  # fmt: skip
USUAL = st.fixed_dictionaries(
    {"device_id": st.just("d"), "seq": st.integers(0, 9), "site_id": st.just("s"), "observed_at": TIMES, "kind": st.just("vehicle"), "people": st.lists(PEOPLE, min_size=1, max_size=2)},
    optional={"direction": st.sampled_from(["in", "out"]), "plate": st.one_of(st.none(), SOME)},
)  # fmt: skip


@settings(max_examples=400)
@given(
    st.lists(st.one_of(SCANS, USUAL, USUAL), max_size=8), st.sampled_from([(), ("k1",), ("k1", "k2")]), st.booleans()
)
def test_what_is_decided_together_is_valid_and_as_the_reference_decides_it(
    events: list[dict[str, Any]], keys: tuple[str, ...], stale: bool
) -> None:
    index = lists(keys) if keys else WatchlistIndex()
    values = [json.dumps(event).encode() for event in events]
    for position, hits in judged(values, CHECKPOINTS, index, stale=stale).items():
        assert hits == reference(values[position], CHECKPOINTS, index, stale=stale), values[position]


def test_columns_and_the_reference_give_the_same_results(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    odd: list[dict[str, Any]] = [
        {"person": {"tokens": {"id": token(0)}}}, {"person": {"temperature_c": 38.0}}, {"plate": token(4)}, {"seq": -1}, {"direction": "out"},
        {"person": {"origin": "110101"}}, {"observed_at": (NOW - timedelta(minutes=11)).isoformat()}, {"observed_at": (NOW + timedelta(hours=1)).isoformat()},
    ]  # fmt: skip
    values = []
    for n in range(300):
        change = rng.choice(odd) if rng.random() < 0.2 else {}
        values.append(json.dumps(scan(**{"seq": n, "site_id": f"s{n % 3}"} | change)).encode())
    values += rng.choices(values, k=40)
    found = []
    for fewest, together in ((1, 800), (1, 50), (10_000, 800)):
        monkeypatch.setattr(decide_batch, "MIN_COLUMNAR_EVENTS", fewest)
        monkeypatch.setattr(decide_batch, "EVENTS_TOGETHER", together)
        found.append(decided(values))
    assert found[0] == found[1] == found[2]
    outcomes, alerts, events, letters = found[0]
    assert len(outcomes) + letters == 340 and letters and alerts and len(events) == len({one[1:3] for one in outcomes})


def test_chunks_of_several_partitions_give_the_same_results_as_one() -> None:
    values = [json.dumps(scan(seq=n, site_id=f"s{n % 3}")).encode() for n in range(90)]
    values[17] = values[60] = b"{}"
    found = [decided(values, size) for size in (90, 25)]
    assert found[0] == found[1] and len(found[0][0]) == 88
    letters = [json.loads(value) for topic, _, value, _ in written(values, 25) if topic.name == "dead-letters"]
    assert [(one["partition"], one["offset"]) for one in letters] == [(0, 17), (2, 10)]


def test_the_decisions_of_a_partition_are_one_record_with_the_key_of_its_first_site() -> None:
    values = [json.dumps(scan(seq=n, site_id=f"s{n % 3 + n // 45 * 3}")).encode() for n in range(90)]
    found = [(key, json.loads(value)) for topic, key, value, _ in written(values, 45) if topic is DECISIONS]
    assert [(key, one["sites"]) for key, one in found] == [(b"s0", ["s0", "s1", "s2"]), (b"s3", ["s3", "s4", "s5"])]
    for _, one in found:
        events = [
            (one["sites"][n], seq) for group in one["decisions"] for n, seq in zip(group[8], group[10], strict=True)
        ]
        assert all(site == f"s{seq % 3 + seq // 45 * 3}" for site, seq in events) and len(events) == 45


@pytest.mark.parametrize(
    "wrong",
    [{"sites": ["no site"]}, {"device_ids": ["no\ndevice"]}, {"numbers": [1]}, {"numbers": [-1]}, {"numbers": []}],
)
def test_decisions_with_a_malformed_identifier_are_unreadable(wrong: dict[str, Any]) -> None:
    given = {"ORDER": "o", "SUNSET": "2027-06-30T00:00:00Z", "KAFKA": "k:1", "CLICKHOUSE": "clickhouse://c"}
    loaded = load({f"NINEZERO_{name}": value for name, value in given.items()})
    (_, read, _), *_ = projections(loaded, default_policies(loaded))
    good: dict[str, Any] = {"numbers": [0], "device_ids": ["d"], "seqs": [1], "observed_ms": [1], "digests": [1]}
    for change, accepted in (({}, True), (wrong, False)):
        fields = {"sites": ["s"], **good, **change}
        group = ["vehicle", "in", "", 1, "clear", False, [], [], *(fields[name] for name in good)]
        value = encode(
            {
                "policy": "default@1",
                "shadows": [],
                "decided_ms": 1,
                "watchlist_version": 1,
                "sites": fields["sites"],
                "decisions": [group],
            }
        )
        record = SimpleNamespace(key=b"s", value=value, offset=7, headers=DECISIONS.format.headers)
        if accepted:
            assert read(record, 3).days
        else:
            with pytest.raises(UnreadableRecord, match="partition 3, offset 7, format decisions/1"):
                read(record, 3)


def test_a_rejected_record_does_not_keep_its_chunk_in_memory() -> None:
    def chunks_in_memory() -> int:
        return sum(isinstance(one, Chunk) for one in gc.get_objects())

    bad = [b"{}"] * 3 + [
        json.dumps(scan(**odd)).encode() for odd in ({"seq": -1}, {"observed_at": "0001-01-01T00:00:00Z"})
    ]
    gc.disable()
    try:
        before = chunks_in_memory()
        written(bad)
        assert chunks_in_memory() == before, "a reference cycle keeps them until the next garbage collection"
    finally:
        gc.enable()


def written(values: list[bytes], size: int = 1000) -> list[Any]:
    """Returns the records that screening writes for values. `size` values make a chunk, and each chunk is of another partition."""
    given: Any = SimpleNamespace(sunset=datetime.max.replace(tzinfo=UTC), replay=False, home=HOME)
    replica: Any = SimpleNamespace(heartbeat_age=lambda now: 0.0, version=1)
    policies, register, writer = default_policies(), SimpleNamespace(sites={}), SimpleNamespace()
    stand_ins: Any = (given, replica, SimpleNamespace(index=lists()), writer, policies, register)
    chunks = chunks_of(values, [int(NOW.timestamp() * 1000)] * len(values), size)
    return Screening(*stand_ins).decide(CHECKPOINTS, chunks).records


def decided(values: list[bytes], size: int = 1000) -> tuple[Any, ...]:
    """Returns outcomes in the order of sites, alerts, events with their decision, and the number of dead letters."""
    return decided_in(written(values, size))


@pytest.mark.parametrize(("kind", "event"), [(CHECKPOINTS, scan()), (STATIONS, arrival())])
def test_a_usual_event_is_clear(kind: Any, event: dict[str, Any]) -> None:
    value = json.dumps(event).encode()
    assert judged([b"", value, b"{}", value], kind, lists()) == {1: [], 3: []}
    found = kind.reader.read([b"", value, b"{}", value])
    assert list(found.positions) == [1, 3] and found.observed_us.tolist() == [NOW_US, NOW_US]


def test_an_outbound_event_is_clear_whatever_the_origin() -> None:
    found = {
        origin: judged([json.dumps(scan(direction="out", person={"origin": origin})).encode()], CHECKPOINTS, lists())
        for origin in ("370112", "US", "us")
    }
    assert found == {"370112": {0: []}, "US": {0: []}, "us": {}}


def strings(kind: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path of every string with a pattern in a wire type."""
    for info in msgspec.structs.fields(kind):
        for one in [info.type, *get_args(info.type)]:
            inner = get_args(one)[0] if get_origin(one) is not None and get_args(one) else one
            inner = get_args(inner)[0] if get_origin(inner) is list else inner
            here = (*path, info.encode_name)
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                yield from strings(inner, (*here, 0) if get_origin(one) is not None else here)
            elif any(getattr(meta, "pattern", None) for meta in getattr(one, "__metadata__", ())):
                yield here


@pytest.mark.parametrize(("kind", "event"), [(CHECKPOINTS, scan(direction="out")), (STATIONS, arrival())])
def test_every_string_that_has_a_pattern_is_checked(kind: Any, event: dict[str, Any]) -> None:
    paths = set(strings(kind.event))
    assert len(paths) == (8 if kind.event is Scan else 10), "fields were added: does the fast path check them?"
    for path in paths:
        changed = json.loads(json.dumps(event))
        at = changed
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = "no such thing!"
        assert judged([json.dumps(changed).encode()], kind, lists()) == {}, path


def test_a_value_that_is_too_large_or_nested_too_deeply_is_left_to_the_strict_decoder() -> None:
    padded = json.dumps(scan()).encode() + b" " * MAX_VALUE_BYTES
    values = [padded, b'{"people":' + b"[" * 100_000, b"\xff", json.dumps(scan()).encode()]
    assert judged(values, CHECKPOINTS, lists()) == {3: []}


def test_well_formed_tokens_of_different_lengths_are_recognised() -> None:
    texts = [token(1), token(2, "key2"), token(3, "k2"), "", token(4)[:-1], token(5, "K1"), token(6, "key2").upper()]
    assert well_formed(texts, {"k1", "key2"}).tolist() == [True, True, False, False, False, False, False]
    assert well_formed(texts, frozenset()).tolist() == [False] * 7
    assert well_formed(texts, None).tolist() == [True, *[False] * 6]
    assert well_formed([], {"k1"}).tolist() == []


def test_an_expired_entry_makes_no_rule_apply() -> None:
    expired = WatchlistIndex()
    expired.apply(("a", "l"), [Entry("a", "l", "b:1", "close_contact", 1, 2, {"id": (token(99),)}, 1, "b", 1)], ())
    value = json.dumps(scan(observed_at=(NOW + timedelta(days=1)).isoformat())).encode()
    assert judged([value], CHECKPOINTS, expired) == {0: reference(value, CHECKPOINTS, expired)} == {0: []}
