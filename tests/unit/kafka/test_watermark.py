"""The commit watermark: no interleaving commits past an unfinished chunk."""

from types import SimpleNamespace

import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from ninezero.streams.transport.consumer import MAX_BYTES_IN_FLIGHT, Chunk, Ledger

ONE = TP("t", 0)


def chunk(ledger: Ledger, first: int, count: int, value: bytes | None = b"") -> Chunk:
    return Chunk(ONE, [SimpleNamespace(offset=first + n, value=value) for n in range(count)], ledger)


def test_nothing_is_committed_before_the_first_delivery() -> None:
    assert Ledger().watermark is None


def test_the_oldest_unfinished_chunk_holds_the_watermark() -> None:
    ledger = Ledger()
    first, second = chunk(ledger, 5, 3), chunk(ledger, 8, 2)
    ledger.deliver(first)
    ledger.deliver(second)
    second.done()
    assert ledger.watermark == 5
    first.done()
    assert ledger.watermark == 10


def test_a_chunk_that_finishes_after_the_close_counts_for_nothing() -> None:
    ledger = Ledger()
    old = chunk(ledger, 0, 4)
    ledger.deliver(old)
    ledger.close()
    old.done()
    assert ledger.watermark is None


def test_a_second_delivery_under_one_assignment_is_an_error() -> None:
    ledger = Ledger()
    ledger.deliver(chunk(ledger, 0, 4))
    with pytest.raises(ValueError):
        ledger.deliver(chunk(ledger, 3, 2))


def test_a_gap_in_the_offsets_belongs_to_the_chunk_after_it() -> None:
    ledger = Ledger()
    first, second = chunk(ledger, 0, 2), chunk(ledger, 10, 2)
    ledger.deliver(first)
    ledger.deliver(second)
    assert (second.start, second.first) == (2, 10)


def test_what_is_committed_never_skips_missing_offsets_before_an_unfinished_chunk() -> None:
    ledger = Ledger()
    first, second = chunk(ledger, 0, 2), chunk(ledger, 3, 1)  # 2 is a transaction's marker
    ledger.deliver(first)
    ledger.deliver(second)
    first.done()
    assert ledger.watermark == 2
    second.done()
    assert ledger.watermark == 4


def test_a_few_large_records_leave_no_room_until_they_are_done() -> None:
    ledger = Ledger()
    large = [chunk(ledger, n, 1, bytes(MAX_BYTES_IN_FLIGHT // 2)) for n in range(2)]
    ledger.deliver(large[0])
    assert ledger.room
    ledger.deliver(large[1])
    assert not ledger.room
    large[0].done()
    assert ledger.room


def test_a_tombstone_takes_no_room() -> None:
    assert chunk(Ledger(), 0, 1, None).bytes == 0


def test_after_a_rewind_the_next_chunk_starts_where_the_rewind_went_also_over_missing_offsets() -> None:
    ledger = Ledger()
    ledger.position = 155
    made = chunk(ledger, 156, 1)  # 155 is a transaction marker, which no consumer sees
    ledger.deliver(made)
    assert made.start == ledger.watermark == 155


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["deliver", "done", "revoke", "stale"]), st.integers(0, 50)), max_size=80))
def test_committed_never_passes_what_is_unfinished(steps: list[tuple[str, int]]) -> None:
    """A model of the log: offsets 0.., all durable only when the chunk that held them is done."""
    ledger, position, committed = Ledger(), 0, 0
    durable: set[int] = set()
    open_chunks: list[Chunk] = []
    stale: list[Chunk] = []
    for what, n in steps:
        if what == "deliver":
            made = chunk(ledger, position, n % 5 + 1)
            ledger.deliver(made)
            position = made.next
            open_chunks.append(made)
        elif what == "done" and open_chunks:
            made = open_chunks.pop(n % len(open_chunks))
            durable.update(range(made.first, made.next))
            made.done()
        elif what == "stale" and stale:
            stale.pop(n % len(stale)).done()  # finishes under an assignment that is gone; not durable in this model
        elif what == "revoke":
            ledger.close()
            stale.extend(open_chunks)
            open_chunks, ledger, position = [], Ledger(), committed
        if ledger.watermark is not None:
            committed = max(committed, ledger.watermark)
        assert set(range(committed)) <= durable
        assert ledger.records == sum(len(c.records) for c in open_chunks)
