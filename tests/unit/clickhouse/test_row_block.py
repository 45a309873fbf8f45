"""A columnar block holds the rows that were added, and a decisions record becomes the right rows."""

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ninezero.agents.logic.days import Days
from ninezero.agents.recording.projections.decisions import device_events, screening_facts, split_by_day
from ninezero.schemas.events import DecisionGroup, Decisions
from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import FIRST_WINS, DeviceEvent, ScreeningFact

DAYS = st.integers(0, 3).map(lambda n: date(2026, 3, 1) + timedelta(days=n))
EVENTS = st.lists(
    st.builds(
        DeviceEvent,
        DAYS,
        st.sampled_from("ab"),
        st.integers(0, 9),
        st.just("s"),
        st.integers(0, 9),
        st.just(0),
        st.just(1),
    ),
    max_size=9,
)
LISTS = st.lists(
    st.tuples(
        st.sampled_from("st"),
        st.sampled_from("ab"),
        st.integers(0, 9),
        st.integers(0, 3 * 86_400_000),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=9,
)


@given(EVENTS, EVENTS, st.sets(DAYS))
def test_a_block_contains_the_rows_that_were_added(
    one: list[DeviceEvent], other: list[DeviceEvent], days: set[date]
) -> None:
    block = Block("device_events", one)
    block.extend(Block("device_events", other))
    assert [DeviceEvent(*row) for row in block] == one + other and len(block) == len(one + other)
    left = block.without_days(days)
    assert list(left) == [row for row in one + other if row.day not in days] and len(left) == len(list(left))
    if one + other:
        assert [block.last_value(name) for name in DeviceEvent._fields] == list((one + other)[-1])
        last_of_day = {row.day: row for row in one + other}
        found = block.last_groups("day")
        assert {day: block.last_value("seq", group) for day, group in found.items()} == {
            day: row.seq for day, row in last_of_day.items()
        }


def test_a_block_of_a_table_without_varying_columns_has_one_group_per_row() -> None:
    block = Block("site_register", [("s", "road", "370115", 1, 2)])
    block.extend([("s", "road", "370115", 5, 3)])
    assert list(block) == [("s", "road", "370115", 1, 2), ("s", "road", "370115", 5, 3)]
    assert (len(block), block.last_value("capacity")) == (2, 5)


@given(LISTS)
def test_a_decisions_record_becomes_one_row_per_event_grouped_by_day(
    events: list[tuple[str, str, int, int, int]],
) -> None:
    day_of, start = Days("Asia/Shanghai").of_second, 1_772_300_000_000
    sites, devices, seqs, after, digests = map(list, zip(*events, strict=True))
    times = [start + ms for ms in after]
    group = DecisionGroup(
        "vehicle",
        "in",
        "",
        2,
        "hold",
        True,
        ["fever"],
        ["refer"],
        list(map("st".index, sites)),
        devices,
        seqs,
        times,
        digests,
    )
    decisions = split_by_day(Decisions("p@2", ["q@1"], 7, 1, ["s", "t"], [group]), day_of)
    minutes = [ms // 60_000 * 60 for ms in times]
    rows = zip(map(day_of, minutes), minutes, sites, devices, seqs, digests, strict=True)
    expected = sorted(rows, key=lambda row: row[0])
    version = FIRST_WINS - 7
    facts, device_rows = screening_facts([decisions]), device_events([decisions])
    assert list(facts) == [
        ScreeningFact(
            day, at, site, d, n, "vehicle", "in", "", 2, "hold", 1, ["fever"], "p@2", ["q@1"], ["refer"], version
        )
        for day, at, site, d, n, _ in expected
    ]
    assert list(device_rows) == [
        DeviceEvent(day, d, n, site, digest, 1, version) for day, _, site, d, n, digest in expected
    ]
    days = set(map(day_of, minutes))
    assert decisions.days == days
    assert len(facts) == len(device_rows) == len(events) and len(list(facts.groups())) == len(days)
