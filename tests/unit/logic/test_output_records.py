"""Records of many items are split, so that none is too large for its readers."""

from datetime import UTC, datetime
from functools import partial

from ninezero.agents.screening.output_records import RECORD_BYTES, encode_within_limit
from ninezero.schemas.events import MAX_VALUE_BYTES, Outcomes, decoder, encode


def test_every_item_is_encoded_once_in_order_and_no_record_is_too_large() -> None:
    people = list(range(80))
    outcomes = [("device", seq, "hold", people) for seq in range(5000)]
    values = encode_within_limit(encode, partial(Outcomes, "site", datetime.now(UTC), 1), outcomes)
    assert max(map(len, values)) <= RECORD_BYTES < MAX_VALUE_BYTES
    assert [tuple(one) for value in values for one in decoder(Outcomes).decode(value).outcomes] == outcomes


def test_a_single_item_is_one_record_of_any_size() -> None:
    large = [("d", 1, "hold", list(range(200_000)))]
    values = encode_within_limit(encode, partial(Outcomes, "site", datetime.now(UTC), 1), large)
    assert len(values) == 1
