"""The rules of the watchlist topic, over random histories that are cut into slices, compacted and read again."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninezero.agents.watchlist.projection import WatchlistProjection
from ninezero.schemas.events import Heartbeat, Manifest, Removal, WatchlistEntry, encode
from ninezero.schemas.formats import WATCHLIST
from ninezero.streams.kafka.internal_records import Position, UnreadableRecord
from ninezero.streams.kafka.watchlist_state import WatchlistState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = [("a", "l"), ("b", "m")]


class Record(NamedTuple):
    """A record as a consumer hands it out."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 5000
    headers: Any = WATCHLIST.headers


def t(n: int) -> str:
    return f"k1.{n:032x}"


def item(sequence: int, n: int = 1) -> WatchlistEntry:
    return WatchlistEntry(sequence, sequence, "b", "close_contact", {"id": [t(n)]}, NOW, NOW)


def manifest(sequence: int, entries: int, floor: int = 0) -> Manifest:
    return Manifest(sequence, floor, entries, ["k1"], "b", NOW)


def log(*records: tuple[str, Any]) -> list[Record]:
    return [Record(n, key.encode(), None if value is None else encode(value)) for n, (key, value) in enumerate(records)]


def new_state(*, tracks_removals: bool = False) -> WatchlistState:
    return WatchlistState(WatchlistProjection(), tracks_removals=tracks_removals)


def read(records: list[Record], state: WatchlistState | None = None, caught_up: bool = True) -> WatchlistState:
    """Applies records as the replica does, to a new state if none is given."""
    state = state or new_state(tracks_removals=True)
    state.apply(records)
    state.caught_up |= caught_up
    state.clean_up()
    return state


def listed(state: WatchlistState, name: tuple[str, str] = ("a", "l")) -> dict[str, int]:
    return {e.entry_id: e.sequence for e in state._lists.index.entries(name)}  # type: ignore[attr-defined]


def test_a_list_changes_at_its_manifest_and_is_complete_when_its_count_is_right() -> None:
    records = log(("a|l|b:1", item(1)), ("a|l|", manifest(1, 1)))
    state = read(records[:1])
    assert not listed(state) and not state.complete
    read(records[1:], state)
    assert listed(state) == {"b:1": 1} and state.complete and state.version == 1


@pytest.mark.parametrize(
    "records",
    [
        [],
        [("||", Heartbeat(NOW))],
        [("a|l|b:1", item(1))],
        [("a|l|", manifest(1, 1))],
        [("a|l|b:1", item(1)), ("a|l|", manifest(1, 0))],
    ],
)
def test_a_list_without_a_manifest_or_with_another_count_is_not_complete(records: list[tuple[str, Any]]) -> None:
    assert not read(log(*records)).complete


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A monotonic clock that `set` moves."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


def test_the_age_of_a_heartbeat_is_that_of_the_clock_that_shows_more(monotonic: SimpleNamespace) -> None:
    at = 1_700_000_000.0
    state = new_state()
    assert state.heartbeat_age(at) == float("inf"), "none has arrived"
    read([Record(0, b"||", encode(Heartbeat(NOW)), timestamp=int(at * 1000))], state)
    for passed, clock, age in (
        (0, at + 4, 4), (10, at + 14, 14),  # both clocks run
        (301, at + 1, 301),  # the clock was set back after the heartbeat
        (301, at - 30, 301), (5, at - 60, 5),  # it is behind Kafka's, as far as that is harmless
        (5, at - 60.1, float("inf")), (5, at - 86_400, float("inf")),  # the heartbeat is too far in the future
        (2, at + 900, 900),  # the clock was set forward, or the machine stood still
    ):  # fmt: skip
        monotonic.now = 1000.0 + passed
        assert state.heartbeat_age(clock) == pytest.approx(age, abs=0.01), (passed, clock)


def test_a_heartbeat_that_arrives_ends_the_silence_whatever_the_clock_has_shown(monotonic: SimpleNamespace) -> None:
    at = 1_700_000_000.0
    state = read([Record(0, b"||", encode(Heartbeat(NOW)), timestamp=int(at * 1000))])
    monotonic.now += 400
    assert state.heartbeat_age(at) == 400 and state.heartbeat_ahead(at) == 0
    read([Record(1, b"||", encode(Heartbeat(NOW)), timestamp=int(at * 1000) + 400_000)], state)
    assert state.heartbeat_age(at + 401) == pytest.approx(1) and state.heartbeat_ahead(at + 390) == pytest.approx(10)


def test_the_last_record_of_a_key_wins() -> None:
    state = read(
        log(("a|l|b:1", item(1)), ("a|l|b:2", item(1)), ("a|l|b:1", Removal(1)), ("a|l|b:2", Removal(1)), ("a|l|b:2", item(2)),
            ("a|l|", manifest(2, 1)))
    )  # fmt: skip
    assert listed(state) == {"b:2": 2} and state.complete


def test_entries_below_the_floor_are_ignored_and_removed() -> None:
    state = read(
        log(
            ("a|l|b:1", item(1)),
            ("a|l|", manifest(1, 1)),
            ("a|l|b:2", item(2)),
            ("a|l|c:1", item(3)),
            ("a|l|", manifest(3, 1, 3)),
        )
    )
    assert listed(state) == {"c:1": 3} and state.complete
    assert sorted(state.due_tombstones(1.0, 1.0, 10)) == [b"a|l|b:1", b"a|l|b:2"]


def test_records_of_a_delayed_writer_change_nothing_and_their_keys_are_collected() -> None:
    before = log(("a|l|b:1", item(2)), ("a|l|", manifest(2, 1)))
    state = read([*before, *log(("a|l|b:9", item(2)), ("a|l|b:1", Removal(1)), ("a|l|", manifest(3, 1)))])
    assert listed(state) == {"b:1": 2} and state.complete
    assert state.due_tombstones(1.0, 1.0, 10) == [b"a|l|b:9"] and list(state.overwritten) == [b"a|l|b:1"]


def test_a_sweep_removes_with_the_sequence_of_the_manifest() -> None:
    state = read(log(("a|l|b:1", item(2)), ("a|l|", manifest(2, 1)), ("a|l|b:1", Removal(2)), ("a|l|", manifest(2, 0))))
    assert not listed(state) and state.complete
    assert state.removed_by(("a", "l"), 2) == ["b:1"]
    assert state.due_tombstones(4.0, 4.0, 10) == [] and state.due_tombstones(6.0, 6.0, 10) == [b"a|l|b:1"]
    read(log(("a|l|b:1", None)), state)
    assert state.due_tombstones(6.0, 6.0, 10) == [] and state.complete


def test_a_tombstone_removes_nothing_from_a_complete_list() -> None:
    state = read(log(("a|l|b:1", item(1)), ("a|l|", manifest(1, 1))))
    read(log(("a|l|b:1", None), ("a|l|b:7", None)), state)
    assert listed(state) == {"b:1": 1} and list(state.overwritten) == [b"a|l|b:1"]


@pytest.mark.parametrize("tokens", [{"id": ["?"]}, {"?": [t(1)]}])
def test_an_entry_with_a_malformed_token_ends_the_reading(tokens: dict[str, list[str]]) -> None:
    bad = WatchlistEntry(1, 1, "b", "close_contact", tokens, NOW, NOW)
    records = log(("a|l|b:3", item(1)), ("a|l|b:2", bad), ("a|l|b:4", item(1)), ("a|l|", manifest(1, 2)))
    with pytest.raises(UnreadableRecord, match="partition 0, offset 1, format watchlist/1"):
        read(records)
    state = WatchlistState(WatchlistProjection(), set_aside={Position("watchlist", 0, 1)})
    assert read(records, state).complete and listed(state) == {"b:3": 1, "b:4": 1}


UNREADABLE = [
    Record(7, b"a|l|b:1", b"{"),
    Record(7, None, encode(item(1))),
    Record(7, b"\xff||", encode(item(1))),
    Record(7, b"x", None),
    Record(7, b"a|l|b:1", encode(item(1)), headers=()),
    Record(7, b"a|l|b:1", encode(item(1)), headers=(("format", b"watchlist/99"),)),
]


@pytest.mark.parametrize("record", UNREADABLE)
def test_a_record_that_cannot_be_read_ends_the_reading_unless_it_is_set_aside(record: Record) -> None:
    with pytest.raises(UnreadableRecord, match=r"^unreadable_record: topic watchlist, partition 0, offset 7, format"):
        read([record])
    others = log(("a|l|b:3", item(1)), ("a|l|", manifest(1, 1)))
    state = WatchlistState(WatchlistProjection(), set_aside={Position("watchlist", 0, 7)})
    assert listed(read([record, *others], state)) == {"b:3": 1} and state.complete
    with pytest.raises(UnreadableRecord):
        read([record._replace(offset=8)], state)


def merger(sequence: int, old: str, into: str) -> list[tuple[str, Any]]:
    """Returns the records of a batch by which one entry of a list of two takes the place of the other."""
    return [
        (f"a|l|{old}", Removal(sequence, merged_into=into)),
        (f"a|l|{into}", item(sequence)),
        ("a|l|", manifest(sequence, 1)),
    ]


def test_the_ids_of_merged_entries_are_followed_through_several_mergers_and_after_a_restart() -> None:
    records = log(
        ("a|l|b:1", item(1)), ("a|l|b:2", item(1)), ("a|l|", manifest(1, 2)), *merger(2, "b:2", "b:1"),
        ("a|l|c:1", item(3)), ("a|l|", manifest(3, 2)), *merger(4, "b:1", "c:1"),
        ("a|l|c:1", Removal(5)), ("a|l|", manifest(5, 0)), ("x|l|b:9", Removal(1, merged_into="c:1")),
    )  # fmt: skip
    state = read(records)
    again = read([r for r in records if r.key not in (b"a|l|",) or r is records[-3]])  # as compaction leaves it, about
    for one in (state, again):
        assert one.merged_into(("a", "l"), {"c:1"}) == {"b:1", "b:2"}
        assert one.merged_into(("a", "l"), {"b:1"}) == {"b:2"} and not one.merged_into(("a", "l"), {"b:2"})
        assert not one.merged_into(("a", "other"), {"c:1"})
    assert state.removed_by(("a", "l"), 5) == ["c:1"]


def test_a_merged_entry_has_its_tombstone_later_than_one_that_was_removed() -> None:
    state = read(log(("a|l|b:1", item(1)), ("a|l|b:2", item(1)), ("a|l|b:3", item(1)), ("a|l|", manifest(1, 3)),
                     ("a|l|b:3", Removal(2)), ("a|l|b:2", Removal(2, merged_into="b:1")), ("a|l|b:1", item(2)), ("a|l|", manifest(2, 1))))  # fmt: skip
    while state._lists.tidy(10, []):
        pass
    state.clean_up()
    assert state.due_tombstones(1e9, 4.0, 10) == [b"a|l|b:3"]
    assert sorted(state.due_tombstones(1e9, 6.0, 10)) == [b"a|l|b:2", b"a|l|b:3"]
    read([Record(20, b"a|l|b:2", None)], state)
    assert not state.merged_into(("a", "l"), {"b:1"})


def test_a_full_that_merges_entries_drops_the_others_and_follows_the_merged_ones() -> None:
    state = read(log(("a|l|b:1", item(1)), ("a|l|b:2", item(1)), ("a|l|b:3", item(1)), ("a|l|", manifest(1, 3)),
                     ("a|l|b:2", Removal(2, merged_into="b:1")), ("a|l|b:1", item(2)), ("a|l|", manifest(2, 1, 2))))  # fmt: skip
    assert listed(state) == {"b:1": 2} and state.complete
    assert state.due_tombstones(1e9, 4.0, 10) == [b"a|l|b:3"] and state.merged_into(("a", "l"), {"b:1"}) == {"b:2"}


class Writer:
    """Writes a random history by the rules of the lists role, and records what each list must hold."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.records: list[tuple[str, Any]] = []
        self.lists: dict[tuple[str, str], dict[str, int]] = {name: {} for name in NAMES}
        self.last: dict[tuple[str, str], tuple[int, int]] = {}
        self.off: dict[str, None] = {}

    def write(self, name: tuple[str, str], entry_id: str, value: Any) -> None:
        self.records.append((f"{name[0]}|{name[1]}|{entry_id}", value))

    def put(self, name: tuple[str, str], entry_id: str, sequence: int) -> None:
        self.write(name, entry_id, item(sequence, self.rng.randrange(9)))
        self.lists[name][entry_id] = sequence
        self.off.pop(f"{name[0]}|{name[1]}|{entry_id}", None)

    def remove(self, name: tuple[str, str], entry_id: str, sequence: int, into: str | None = None) -> None:
        self.write(name, entry_id, Removal(sequence, merged_into=into))
        self.lists[name].pop(entry_id)
        self.off[f"{name[0]}|{name[1]}|{entry_id}"] = None

    def step(self) -> None:
        rng, name = self.rng, self.rng.choice(NAMES)
        mine = self.lists[name]
        sequence, floor = self.last.get(name, (0, 0))
        what = rng.choice(["delta", "full", "sweep", "tombstones", "late", "beat"])
        if what == "delta":
            sequence += rng.randrange(1, 3)
            for _ in range(rng.randrange(6)):
                if len(mine) > 1 and rng.random() < 0.3:
                    old, into = rng.sample(sorted(mine), 2)
                    self.remove(name, old, sequence, into)
                    self.put(name, into, sequence)
                elif mine and rng.random() < 0.4:
                    self.remove(name, rng.choice(sorted(mine)), sequence)
                else:
                    self.put(name, f"b{rng.randrange(sequence)}:{rng.randrange(3)}", sequence)
        elif what == "full":
            sequence += rng.randrange(1, 3)
            floor, before = sequence, sorted(mine)
            for entry_id in rng.sample(before, rng.randrange(len(before) + 1)):
                self.put(name, entry_id, sequence)
            for n in range(rng.randrange(4)):
                self.put(name, f"b{sequence}:{n}", sequence)
            for entry_id in before:
                if mine[entry_id] < floor:
                    del mine[entry_id]
                    self.off[f"{name[0]}|{name[1]}|{entry_id}"] = None
        elif what == "sweep" and name in self.last:
            for entry_id in rng.sample(sorted(mine), rng.randrange(len(mine) + 1)):
                self.remove(name, entry_id, sequence)
        elif what == "tombstones":
            for key in rng.sample(sorted(self.off), rng.randrange(len(self.off) + 1)):
                self.records.append((key, None))
                del self.off[key]
            return
        elif what == "late" and name in self.last:
            entry_id = f"b{rng.randrange(9)}:{rng.randrange(3)}"
            if entry_id not in mine:
                self.write(name, entry_id, item(rng.randrange(sequence + 1)))
                self.off[f"{name[0]}|{name[1]}|{entry_id}"] = None
            return
        else:
            self.write(("", ""), "", Heartbeat(NOW))
            return
        self.last[name] = (sequence, floor)
        self.write(name, "", manifest(sequence, len(mine), floor))

    def compacted(self, end: int, all_tombstones: bool) -> list[Record]:
        """Returns what compaction may leave of the records before `end`: the last of each key; tombstones may be deleted."""
        records = log(*self.records)
        last = {record.key: record.offset for record in records[:end]}
        return [
            r for r in records
            if r.offset >= end or (last[r.key] == r.offset and (r.value is not None or all_tombstones or self.rng.random() < 0.5))
        ]  # fmt: skip


def sliced(rng: random.Random, records: list[Record], state: WatchlistState) -> None:
    """Applies records in slices of random size."""
    start = 0
    while start < len(records):
        end = start + rng.randrange(1, 8)
        read(records[start:end], state, caught_up=end >= len(records))
        start = end


@given(st.integers(0, 2**32), st.integers(1, 25))
def test_every_reader_arrives_at_the_lists_of_the_writer(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    writer = Writer(rng)
    follower = new_state(tracks_removals=True)
    read([], follower)
    for _ in range(steps):
        start = len(writer.records)
        writer.step()
        sliced(rng, log(*writer.records)[start:], follower)
        for name in NAMES:
            assert listed(follower, name) == writer.lists[name]
        assert follower.complete == bool(writer.last) and not follower.overwritten
    while follower._lists.tidy(2, removed := []):
        follower._removed |= {f"{a}|{b}|{i}".encode(): (-1, 0.0) for (a, b), i in removed}
    assert {key.decode() for key in follower.due_tombstones(1e9, 1e9, 1000)} <= set(writer.off)

    for key in list(writer.off):
        writer.records.append((key, None))
    for end in (0, rng.randrange(len(writer.records) + 1), len(writer.records)):
        kept = writer.compacted(end, all_tombstones=rng.random() < 0.5)
        again = new_state()
        sliced(rng, kept, again)
        overtaken = new_state()  # compaction happens while it reads
        middle = rng.randrange(len(writer.records) + 1)
        kept = writer.compacted(end, all_tombstones=True)
        sliced(rng, log(*writer.records)[:middle] + [r for r in kept if r.offset >= middle], overtaken)
        for state in (again, overtaken):
            read([], state)
            for name in NAMES:
                assert listed(state, name) == writer.lists[name]
            assert state.complete == bool(writer.last)
