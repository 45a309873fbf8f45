"""The commit watermark: no interleaving commits past an unfinished chunk."""

from types import SimpleNamespace

import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from ninezero.streams.transport.consumer import MAX_BYTES_IN_FLIGHT, Chunk, OffsetTracker

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


def test_a_chunk_that_finishes_after_the_close_counts_for_nothing() -> None:
    tracker = OffsetTracker()
    old = chunk(tracker, 0, 4)
    tracker.deliver(old)
    tracker.close()
    old.done()
    assert tracker.watermark is None


def test_a_second_delivery_under_one_assignment_is_an_error() -> None:
    tracker = OffsetTracker()
    tracker.deliver(chunk(tracker, 0, 4))
    with pytest.raises(ValueError):
        tracker.deliver(chunk(tracker, 3, 2))


def test_a_gap_in_the_offsets_belongs_to_the_chunk_after_it() -> None:
    tracker = OffsetTracker()
    first, second = chunk(tracker, 0, 2), chunk(tracker, 10, 2)
    tracker.deliver(first)
    tracker.deliver(second)
    assert (second.start, second.first) == (2, 10)


def test_what_is_committed_never_skips_missing_offsets_before_an_unfinished_chunk() -> None:
    tracker = OffsetTracker()
    first, second = chunk(tracker, 0, 2), chunk(tracker, 3, 1)  # 2 is a transaction's marker
    tracker.deliver(first)
    tracker.deliver(second)
    first.done()
    assert tracker.watermark == 2
    second.done()
    assert tracker.watermark == 4


def test_a_few_large_records_leave_no_room_until_they_are_done() -> None:
    tracker = OffsetTracker()
    large = [chunk(tracker, n, 1, bytes(MAX_BYTES_IN_FLIGHT // 2)) for n in range(2)]
    tracker.deliver(large[0])
    assert tracker.room
    tracker.deliver(large[1])
    assert not tracker.room
    large[0].done()
    assert tracker.room


def test_a_tombstone_takes_no_room() -> None:
    assert chunk(OffsetTracker(), 0, 1, None).bytes == 0


def test_after_a_rewind_the_next_chunk_starts_where_the_rewind_went_also_over_missing_offsets() -> None:
    tracker = OffsetTracker()
    tracker.position = 155
    made = chunk(tracker, 156, 1)  # 155 is a transaction marker, which no consumer sees
    tracker.deliver(made)
    assert made.start == tracker.watermark == 155


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["deliver", "done", "revoke", "stale"]), st.integers(0, 50)), max_size=80))
def test_committed_never_passes_what_is_unfinished(steps: list[tuple[str, int]]) -> None:
    """A model of the log: offsets 0.., all durable only when the chunk that held them is done."""
    tracker, position, committed = OffsetTracker(), 0, 0
    durable: set[int] = set()
    open_chunks: list[Chunk] = []
    stale: list[Chunk] = []
    for what, n in steps:
        if what == "deliver":
            made = chunk(tracker, position, n % 5 + 1)
            tracker.deliver(made)
            position = made.next
            open_chunks.append(made)
        elif what == "done" and open_chunks:
            made = open_chunks.pop(n % len(open_chunks))
            durable.update(range(made.first, made.next))
            made.done()
        elif what == "stale" and stale:
            stale.pop(n % len(stale)).done()  # finishes under an assignment that is gone; not durable in this model
        elif what == "revoke":
            tracker.close()
            stale.extend(open_chunks)
            open_chunks, tracker, position = [], OffsetTracker(), committed
        if tracker.watermark is not None:
            committed = max(committed, tracker.watermark)
        assert set(range(committed)) <= durable
        assert tracker.records == sum(len(c.records) for c in open_chunks)
