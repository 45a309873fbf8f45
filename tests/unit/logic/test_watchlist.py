"""The watchlist index agrees with a model of plain dictionaries under churn, colliding tags, shared tokens, odd ids, floors."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ninezero.agents.logic.watchlist import hash_table, tokens
from ninezero.agents.logic.watchlist.columns import Rows
from ninezero.agents.logic.watchlist.entries import Entry, ListName, columns_of
from ninezero.agents.logic.watchlist.hash_table import HashTable
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.joined_lines import DOMAINS
from ninezero.schemas.times import NO_START_US

NAMES = [("a", "l"), ("a", "m"), ("b", "l")]
IDS = ["b1:0", "b1:1", "b1:2", "b2:1", "b2:01", "b2:-1", "b2:99999999999", ":1", "b2", "x|y:3", "多:٣", "b:1_0", "b1:"]
TOKENS = [f"{key}.{n:032x}" for key in ("k1", "k2", "K", "abcdefgh12345678") for n in (0, 1, 2**127)]


def t(n: int, key: str = "k1") -> str:
    return f"{key}.{n:032x}"


def entry(n: int, *, name: ListName = ("a", "l"), sequence: int = 1, **tokens: Any) -> Entry:
    return Entry(
        *name, f"b{sequence}:{n}", "close_contact", 0, 10, tokens or {"id": (t(n),)}, sequence, f"b{sequence}", sequence
    )


def staged(watchlist: WatchlistIndex, *entries: Entry) -> None:
    watchlist.stage((entries[0].authority, entries[0].list), columns_of(entries))


class Model:
    """The expected content of the index, in dictionaries."""

    def __init__(self) -> None:
        self.live: dict[ListName, dict[str, Entry]] = {name: {} for name in NAMES}
        self.staged: dict[ListName, dict[str, Entry | None]] = {name: {} for name in NAMES}
        self.floor = dict.fromkeys(NAMES, 0)

    def switch(self, name: ListName, floor: int) -> None:
        self.floor[name] = max(self.floor[name], floor)
        mine = self.live[name]
        for entry_id, e in self.staged[name].items():
            mine.pop(entry_id, None)
            if e is not None:
                mine[entry_id] = e
        self.live[name] = {k: e for k, e in mine.items() if e.sequence >= self.floor[name]}
        self.staged[name] = {}

    def check(self, watchlist: WatchlistIndex) -> None:
        """Compares every look-up."""
        everything = [e for mine in self.live.values() for e in mine.values()]
        for kind in DOMAINS:
            for token in TOKENS:
                there = [e for e in everything if token in e.tokens.get(kind, ())]
                assert by_name(watchlist.find(kind, token)) == by_name(there)
                for at in (0, 3, 7):
                    valid = [e for e in there if e.from_us <= at < e.to_us]
                    assert by_name(watchlist.find_valid(kind, token, at)) == by_name(valid)
        sets = []
        for name, mine in self.live.items():
            keys = Counter(
                token.partition(".")[0] for e in mine.values() for some in e.tokens.values() for token in some
            )
            assert watchlist.size(name) == len(mine)
            assert by_name(watchlist.entries(name)) == by_name(mine.values())
            assert watchlist.key_counts(name) == keys
            assert watchlist.count_unexpired(name, 4) == sum(e.to_us > 4 for e in mine.values())
            assert sorted(watchlist.expired(name, 4, 100)) == sorted(e.entry_id for e in mine.values() if e.to_us <= 4)
            assert len(watchlist.expired(name, 4, 1)) <= 1
            assert all(watchlist.get(name, entry_id) == mine.get(entry_id) for entry_id in IDS)
            sets += [set(keys)] if mine else []
        assert watchlist.common_keys == (frozenset(set.intersection(*sets)) if sets else None)
        assert +Counter(watchlist.count_by_category()) == Counter(e.category for e in everything)


def by_name(entries: Any) -> list[Entry]:
    return sorted(entries, key=lambda e: (e.authority, e.list, e.entry_id))


some_tokens = st.dictionaries(
    st.sampled_from(DOMAINS),
    st.lists(st.sampled_from(TOKENS), min_size=1, max_size=3, unique=True).map(tuple),
    min_size=1,
)
puts = st.lists(
    st.builds(
        lambda *fields: fields,
        st.sampled_from(IDS), st.sampled_from(["close_contact", "health_pass"]), st.sampled_from([NO_START_US, 0, 1, 2, 3, 4]),
        st.integers(1, 9), some_tokens, st.integers(1, 6), st.sampled_from(["b1", "b2"]), st.integers(1, 2),
    ),
    max_size=6, unique_by=lambda put: put[0],
)  # fmt: skip
steps = st.lists(
    st.one_of(
        st.tuples(st.just("stage"), st.sampled_from(NAMES), puts),
        st.tuples(st.just("remove"), st.sampled_from(NAMES), st.lists(st.sampled_from(IDS), max_size=4)),
        st.tuples(st.just("switch"), st.sampled_from(NAMES), st.integers(0, 6)),
        st.tuples(st.just("remove_now"), st.sampled_from(NAMES), st.sampled_from(IDS)),
        st.tuples(st.just("apply"), st.sampled_from(NAMES), puts),
        st.tuples(st.just("remove_dead"), st.none(), st.integers(1, 8)),
    ),
    max_size=14,
)


def compare_with_model(drawn_steps: list[tuple[str, Any, Any]]) -> None:
    watchlist, model = WatchlistIndex(), Model()
    for what, name, value in drawn_steps:
        if what == "stage":
            watchlist.stage(name, columns_of([Entry(*name, *put) for put in value]))
            model.staged[name] |= {put[0]: Entry(*name, *put) for put in value}
        elif what == "remove":
            watchlist.stage_removals(name, value)
            model.staged[name] |= dict.fromkeys(value)
        elif what == "switch":
            watchlist.switch(name, value)
            model.switch(name, value)
        elif what == "remove_now":
            watchlist.remove_now(name, value)
            model.live[name].pop(value, None)
            model.staged[name].pop(value, None)
        elif what == "apply":
            watchlist.apply(name, [Entry(*name, *put) for put in value], IDS[:2])
            model.staged[name] |= dict.fromkeys(IDS[:2]) | {put[0]: Entry(*name, *put) for put in value}
            model.switch(name, 0)
        else:
            watchlist.remove_dead(value)
        model.check(watchlist)
    while watchlist.remove_dead(3):
        model.check(watchlist)


@given(steps)
def test_the_index_holds_what_dictionaries_hold(drawn_steps: list[tuple[str, Any, Any]]) -> None:
    compare_with_model(drawn_steps)


@settings(max_examples=40)
@given(steps)
def test_colliding_tags_do_not_change_results(drawn_steps: list[tuple[str, Any, Any]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for module in (hash_table, tokens):
            patch.setattr(module, "hash", lambda text: len(text) & 1, raising=False)
        compare_with_model(drawn_steps)


@pytest.mark.parametrize("distinct", [1, 7, 1 << 32])
def test_a_table_finds_every_row_while_it_grows_and_shrinks(distinct: int) -> None:
    rng, table, model = random.Random(distinct), HashTable(), dict[int, int]()
    rows = Rows(table.link)
    for _ in range(60):
        new = rows.allocate(rng.randrange(1, 400))
        tags = np.array([rng.randrange(distinct) for _ in range(len(new))], np.uint32)
        table.add(new, tags)
        model |= dict(zip(new.tolist(), tags.tolist(), strict=True))
        removed = rng.sample(sorted(model), rng.randrange(len(model)) if rng.random() < 0.3 else 0)
        table.remove(np.array(removed, np.int64))
        rows.free(np.array(removed, np.int64))
        for row in removed:
            del model[row]
        asked = {*rng.sample(sorted(set(model.values())), min(20, len(set(model.values())))), 5}
        for tag in asked:
            assert sorted(table.find(tag)) == sorted(row for row, its in model.items() if its == tag)
        order = sorted(asked)
        places, found = table.search(np.array(order, np.uint32))
        assert sorted(zip([order[p] for p in places.tolist()], found.tolist(), strict=True)) == sorted(
            (its, row) for row, its in model.items() if its in asked
        )


def test_a_staged_entry_is_not_found_before_the_switch() -> None:
    watchlist = WatchlistIndex()
    staged(watchlist, entry(1))
    assert not watchlist.find("id", t(1)) and watchlist.size(("a", "l")) == 0
    watchlist.switch(("a", "l"))
    assert [e.entry_id for e in watchlist.find("id", t(1))] == ["b1:1"]


def test_a_floor_drops_lower_entries_and_keeps_those_that_the_full_wrote_again() -> None:
    watchlist = WatchlistIndex()
    watchlist.apply(("a", "l"), [entry(1), entry(2)], [])
    kept = Entry("a", "l", "b1:2", "close_contact", 0, 10, {"id": (t(2),)}, 2, "b2", 1)
    staged(watchlist, kept, entry(3, sequence=2))
    watchlist.switch(("a", "l"), 2)
    assert sorted(e.entry_id for e in watchlist.entries(("a", "l"))) == ["b1:2", "b2:3"]
    removed: list[tuple[ListName, str]] = []
    while watchlist.remove_dead(1, removed):
        pass
    assert removed == [(("a", "l"), "b1:1")]  # b1:2 still has a row


def test_an_entry_found_by_different_tokens_is_equal() -> None:
    watchlist = WatchlistIndex()
    watchlist.apply(("a", "l"), [entry(1, id=(t(1),), phone=(t(2), t(3)))], [])
    assert watchlist.find("id", t(1)) == watchlist.find("phone", t(3)) == [watchlist.get(("a", "l"), "b1:1")]
    assert watchlist.find("id", t(1))[0].batch_id == "b1"


@pytest.mark.parametrize(
    "bad",
    ["k1", "k1." + "0" * 31, "k1." + "A" * 32, "." + "0" * 32, "k." + "g" * 32, "k-." + "0" * 32, "k１." + "0" * 32],
)
def test_a_malformed_token_stages_nothing(bad: str) -> None:
    watchlist = WatchlistIndex()
    with pytest.raises(ValueError):
        watchlist.apply(("a", "l"), [entry(1), entry(2, id=(t(9), bad))], [])
    watchlist.switch(("a", "l"))
    assert watchlist.size(("a", "l")) == 0 and not watchlist.find("id", bad)


def test_an_id_that_is_removed_twice_is_removed_once() -> None:
    watchlist = WatchlistIndex()
    watchlist.apply(("a", "l"), [entry(1), entry(2)], [])
    staged(watchlist, entry(3))
    watchlist.apply(("a", "l"), [], ["b1:1", "b1:1", "b1:3", "b1:3"])
    while watchlist.remove_dead(9):
        pass
    assert [e.entry_id for e in watchlist.entries(("a", "l"))] == ["b1:2"]


def test_churn_reuses_rows_and_groups() -> None:
    watchlist = WatchlistIndex()
    for sequence in range(1, 40):
        staged(watchlist, *(entry(n, sequence=sequence, id=(t(n), t(n, "k2"))) for n in range(300)))
        watchlist.switch(("a", "l"), sequence)
        while watchlist.remove_dead(100):
            pass
    assert watchlist.size(("a", "l")) == 300 and watchlist.key_counts(("a", "l")) == {"k1": 300, "k2": 300}
    assert watchlist._rows.end <= 601 and watchlist._tokens._rows.end <= 1201 and len(watchlist._groups) <= 3


def test_a_token_of_very_many_entries_is_found_and_removed() -> None:
    watchlist = WatchlistIndex()
    staged(watchlist, *(entry(n, id=(t(n),), phone=(t(5),)) for n in range(5000)))
    watchlist.switch(("a", "l"))
    assert len(watchlist.find("phone", t(5))) == 5000
    watchlist.apply(("a", "l"), [], [f"b1:{n}" for n in range(4999)])
    while watchlist.remove_dead(500):
        pass
    assert [e.entry_id for e in watchlist.find("phone", t(5))] == ["b1:4999"]
