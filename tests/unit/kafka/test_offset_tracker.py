"""The offset tracker never lets an offset be committed past an unfinished chunk."""

from types import SimpleNamespace

import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from ninezero.streams.transport.offset_tracker import MAX_BYTES_IN_FLIGHT, Chunk, OffsetTracker

ONE = TP("t", 0)


def chunk(tracker: OffsetTracker, first: int, count: int, value: bytes | None = b"") -> Chunk:
    return Chunk(ONE, [SimpleNamespace(offset=first + n, value=value) for n in range(count)], tracker)


def test_nothing_is_committed_before_the_first_delivery() -> None:
    assert OffsetTracker().watermark is None


def test_the_oldest_unfinished_chunk_holds_the_watermark() -> None:
    tracker = OffsetTracker()
    first, second = chunk(tracker, 5, 3), chunk(tracker, 8, 2)
    tracker.deliver(first)
    tracker.deliver(second)
    second.done()
    assert tracker.watermark == 5
    first.done()
    assert tracker.watermark == 10


def test_what_was_passed_after_the_last_record_is_committed_when_every_record_is_finished() -> None:
    tracker = OffsetTracker()
    first = chunk(tracker, 5, 3)
    tracker.deliver(first)
    tracker.passed = 9
    assert tracker.committable == 5
    first.done()
    assert (tracker.watermark, tracker.committable) == (8, 9)
    second = chunk(tracker, 9, 1)
    tracker.deliver(second)
    assert tracker.committable == 8, "Faust does not commit a lower offset"
    second.done()
    assert tracker.committable == 10
    tracker.close()
    assert tracker.committable is None


def test_a_chunk_that_finishes_after_the_close_does_not_move_the_watermark() -> None:
    tracker = OffsetTracker()
    old = chunk(tracker, 0, 4)
    tracker.deliver(old)
    tracker.close()
    old.done()
    assert tracker.watermark is None


def test_delivering_a_chunk_twice_under_one_assignment_is_an_error() -> None:
    tracker = OffsetTracker()
    tracker.deliver(chunk(tracker, 0, 4))
    with pytest.raises(ValueError):
        tracker.deliver(chunk(tracker, 3, 2))


def test_missing_offsets_belong_to_the_chunk_after_them() -> None:
    tracker = OffsetTracker()
    first, second = chunk(tracker, 0, 2), chunk(tracker, 10, 2)
    tracker.deliver(first)
    tracker.deliver(second)
    assert (second.start, second.first) == (2, 10)


def test_the_watermark_stays_before_missing_offsets_of_an_unfinished_chunk() -> None:
    tracker = OffsetTracker()
    first, second = chunk(tracker, 0, 2), chunk(tracker, 3, 1)  # offset 2 is a transaction marker
    tracker.deliver(first)
    tracker.deliver(second)
    first.done()
    assert tracker.watermark == 2
    second.done()
    assert tracker.watermark == 4


def test_large_records_use_up_the_capacity_until_they_are_done() -> None:
    tracker = OffsetTracker()
    large = [chunk(tracker, n, 1, bytes(MAX_BYTES_IN_FLIGHT // 2)) for n in range(2)]
    tracker.deliver(large[0])
    assert tracker.has_capacity
    tracker.deliver(large[1])
    assert not tracker.has_capacity
    large[0].done()
    assert tracker.has_capacity


def test_a_tombstone_has_no_bytes() -> None:
    assert chunk(OffsetTracker(), 0, 1, None).bytes == 0


def test_after_a_rewind_the_next_chunk_starts_at_the_rewound_offset_even_if_that_offset_is_missing() -> None:
    tracker = OffsetTracker()
    tracker.position = 155
    first = chunk(tracker, 156, 1)  # offset 155 is a transaction marker, which no consumer receives
    tracker.deliver(first)
    assert first.start == tracker.watermark == 155


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["deliver", "done", "revoke", "stale"]), st.integers(0, 50)), max_size=80))
def test_no_sequence_of_events_commits_past_an_unfinished_chunk(steps: list[tuple[str, int]]) -> None:
    """Models a log from offset 0: an offset is durable only when the chunk that held it is done."""
    tracker, position, committed = OffsetTracker(), 0, 0
    durable: set[int] = set()
    open_chunks: list[Chunk] = []
    stale: list[Chunk] = []
    for what, n in steps:
        if what == "deliver":
            current = chunk(tracker, position, n % 5 + 1)
            tracker.deliver(current)
            position = current.next
            open_chunks.append(current)
        elif what == "done" and open_chunks:
            current = open_chunks.pop(n % len(open_chunks))
            durable.update(range(current.first, current.next))
            current.done()
        elif what == "stale" and stale:
            stale.pop(n % len(stale)).done()  # finishes after its assignment ended; it is not durable in this model
        elif what == "revoke":
            tracker.close()
            stale.extend(open_chunks)
            open_chunks, tracker, position = [], OffsetTracker(), committed
        if tracker.watermark is not None:
            committed = max(committed, tracker.watermark)
        assert set(range(committed)) <= durable
        assert tracker.records == sum(len(c.records) for c in open_chunks)
