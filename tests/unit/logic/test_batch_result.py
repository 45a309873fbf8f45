"""What follows from one chunk is cut where a record would grow too large for those who read it."""

from datetime import UTC, datetime
from functools import partial

from ninezero.agents.screening.agent import RECORD_BYTES, _values
from ninezero.schemas.events import MAX_VALUE_BYTES, Outcomes, decoder


def test_everything_is_written_once_in_order_and_no_record_is_too_large() -> None:
    everyone = list(range(80))
    outcomes = [("device", seq, "hold", everyone) for seq in range(5000)]
    values = _values(partial(Outcomes, "site", datetime.now(UTC), 1), outcomes)
    assert max(map(len, values)) <= RECORD_BYTES < MAX_VALUE_BYTES
    assert [tuple(one) for value in values for one in decoder(Outcomes).decode(value).outcomes] == outcomes


def test_a_single_event_is_one_record_whatever_its_size() -> None:
    values = _values(partial(Outcomes, "site", datetime.now(UTC), 1), [("d", 1, "hold", list(range(200_000)))])
    assert len(values) == 1
