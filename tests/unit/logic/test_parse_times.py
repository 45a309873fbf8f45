"""Times parsed together equal the times that decoding each one alone gives."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ninezero.agents.logic.policy.parse_times import parse_times
from ninezero.schemas.events import LOOSE_TIME, Time, encode
from ninezero.schemas.times import unix_micros

OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))
USUAL = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=OFFSETS)
DIGITS = st.text("0123456789", min_size=2, max_size=2)
NEARLY = st.builds(
    "{}{}-{}-{}{}{}:{}:{}{}{}".format, st.sampled_from(["20", "00", "99"]), DIGITS, DIGITS, DIGITS, st.sampled_from(["T", "T", "t", " "]),
    DIGITS, DIGITS, DIGITS, st.sampled_from(["", ".123", ".123456", ".5", ",123"]),
    st.sampled_from(["Z", "z", "+08:00", "-00:00", "+0800", "+24:00", "+08:60", "-23:59", "", "+08;00"]),
)  # fmt: skip
ODD = st.sampled_from(["", "Z", "2026-03-01T08:00:00＋08:00", "２026-03-01T08:00:00Z", "2026+03+01T08:00:00Z", "9999-12-31T23:59:59-01:00"])  # fmt: skip


@given(st.lists(st.one_of(USUAL.map(lambda at: at.isoformat()), NEARLY, ODD), max_size=20))
def test_a_valid_time_is_the_time_that_decoding_gives(texts: list[str]) -> None:
    for text, at_us, valid in zip(texts, *(column.tolist() for column in parse_times(texts)), strict=True):
        if valid:
            assert not LOOSE_TIME.search(encode({"a": text}))
            assert unix_micros(msgspec.json.decode(encode(text), type=Time)) == at_us, text


@given(st.lists(USUAL, max_size=20))
def test_every_time_in_a_supported_form_is_valid(times: list[datetime]) -> None:
    texts = [at.isoformat(timespec=("seconds", "milliseconds", "microseconds")[n % 3]) for n, at in enumerate(times)]
    texts += [at.astimezone(UTC).isoformat().replace("+00:00", "Z") for at in times]
    assert parse_times(texts).valid.all()


@given(st.datetimes(timezones=OFFSETS))
def test_unix_micros_is_exact(time: datetime) -> None:
    assert unix_micros(time) == (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
