"""Outages: one notice when one begins, one when it ends, and a reminder a minute in between."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ninezero.agents.roles.logs.outages import REMINDER_SECONDS, Notice, Outage

QUIET = 10.0


def test_the_first_failure_is_noticed_and_the_next_ones_are_counted() -> None:
    outage = Outage(QUIET)
    assert outage.failed(100.0) == Notice("began", 0.0, 1)
    assert [outage.failed(100.0 + n) for n in range(1, 60)] == [None] * 59
    assert outage.failed(160.0) == Notice("continues", 60.0, 61)


def test_an_outage_ends_after_a_quiet_period_and_lasts_until_its_latest_failure() -> None:
    outage = Outage(QUIET)
    outage.failed(0.0)
    outage.failed(5.0)
    assert outage.succeeded(14.9) is None
    assert outage.succeeded(15.0) == Notice("ended", 5.0, 2)
    assert outage.succeeded(16.0) is None
    assert outage.failed(17.0) == Notice("began", 0.0, 1)


def test_an_outage_shorter_than_the_tolerated_time_gives_no_notice() -> None:
    outage = Outage(QUIET, tolerated_seconds=20.0)
    assert [outage.failed(float(n)) for n in range(20)] == [None] * 20
    assert outage.succeeded(40.0) is None
    assert not outage.ongoing
    assert [outage.failed(100.0 + n) for n in range(20)] == [None] * 20
    assert outage.failed(120.0) == Notice("began", 20.0, 21)
    assert outage.succeeded(140.0) == Notice("ended", 20.0, 21)


STEPS = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 1.0, 5.0, 9.9, 10.0, 30.0, 70.0]), st.booleans()), max_size=60)


def test_every_failure_is_in_exactly_one_outage() -> None:
    """Compares the notices with outages that are found by scanning all steps."""
    seen: Counter[str] = Counter()

    @given(steps=STEPS)
    def agree(steps: list[tuple[float, bool]]) -> None:
        outage, now = Outage(QUIET), 0.0
        notices: list[tuple[float, Notice]] = []
        expected: list[int] = []  # failures of each outage
        latest: float | None = None
        for seconds, fails in steps:
            now += seconds
            notice = outage.failed(now) if fails else outage.succeeded(now)
            if notice is not None:
                notices.append((now, notice))
            if fails:
                if latest is None:
                    expected.append(0)
                expected[-1] += 1
                latest = now
            elif latest is not None and now - latest >= QUIET:
                latest = None
        ended = [notice.failures for _, notice in notices if notice.kind == "ended"]
        assert sum(notice.kind == "began" for _, notice in notices) == len(expected)
        assert ended == (expected if latest is None else expected[:-1])
        assert outage.ongoing == (latest is not None)
        for (before, _), (at, notice) in pairwise(notices):
            assert notice.kind != "continues" or at - before >= REMINDER_SECONDS
        seen.update(notice.kind for _, notice in notices)
        seen["several outages"] += len(expected) > 1

    agree()
    assert min(seen[what] for what in ("began", "continues", "ended", "several outages")) > 5, seen
