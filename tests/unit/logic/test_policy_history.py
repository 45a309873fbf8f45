"""A use of a policy that was written in part is written to its end by the same command, and nothing is written twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ninezero.agents.logic.policy.history import History, NewRecord, WrittenRecord, is_open, last_use, records_to_use
from ninezero.agents.logic.policy.policy import DEFAULT, policy_of
from ninezero.schemas.policies import PolicyRecord, PolicyUse, policy_key, use_key

T0 = datetime(2026, 1, 1, tzinfo=UTC)
T0_MS = int(T0.timestamp() * 1000)


def policy(**changes: Any) -> PolicyRecord:
    given = {
        "policy": "winter", "version": 2, "author": "li-wei", "legal_basis": "B-1", "fever_c": 37.0, "plausible_c": [30.0, 45.0],
        "max_list_age_s": 300.0, "outcomes": {}, "home": "site", "exempt_origins": [],
    } | changes  # fmt: skip
    return PolicyRecord(**given)


def use(status: Any, seconds: float, end: float | None = None, by: str = "wang") -> PolicyUse:
    return PolicyUse(status, T0 + timedelta(seconds=seconds), None if end is None else T0 + timedelta(seconds=end), by)


def shapes(records: list[NewRecord]) -> list[tuple[bytes, str]]:
    """Returns what each record states, without times that depend on when it is written."""
    return [(key, value.status if isinstance(value, PolicyUse) else "policy") for key, value in records]


SHADOW = (
    WrittenRecord(policy_key("winter", 2), policy(), T0_MS - 600_000),
    WrittenRecord(use_key("winter", 2), use("shadow", -500), T0_MS - 600_000),
)


def test_a_command_that_was_interrupted_at_any_record_writes_the_rest() -> None:
    interrupted = 0
    for before in ((), SHADOW[:1], SHADOW):
        for replay in (False, True):
            records = list(before)
            activation = use("active", 3600)
            planned = records_to_use(
                History(DEFAULT, replay, records), policy(), policy_of(policy()), activation, T0_MS
            )
            assert len(planned) == (1 if before == SHADOW[:1] else 2)
            for written in range(len(planned) + 1):
                done = [WrittenRecord(*one, T0_MS + 10) for one in planned[:written]]
                history = History(DEFAULT, replay, [*records, *done])
                rest = records_to_use(history, policy(), policy_of(policy()), activation, T0_MS + 5_000)
                assert shapes(rest) == shapes(planned[written:])
                outlook = history.after(rest, T0_MS + 5_000)
                assert outlook.refusal is None and len(outlook.timeline.uses) == (2 if before == SHADOW else 1)
                last = last_use(outlook.timeline, "winter@2")
                assert last is not None and last.status == "active" and is_open(last, T0_MS)
                interrupted += 0 < written < len(planned)
    assert interrupted == 4


def test_a_policy_of_the_same_name_with_other_content_would_be_refused() -> None:
    history = History(DEFAULT, False, SHADOW)
    other = policy(fever_c=38.0)
    refusal = history.after(records_to_use(history, other, policy_of(other), use("active", 3600), T0_MS), T0_MS).refusal
    assert refusal is not None and refusal.reason == "policy_changed" and "next version" in refusal.sentence


def test_what_would_follow_leaves_the_history_as_it_is() -> None:
    history = History(DEFAULT, False, SHADOW)
    outlook = history.after([NewRecord(use_key("winter", 2), use("active", -500))], T0_MS)
    assert outlook.refusal is not None and outlook.refusal.reason == "interval_begun"
    assert history.timeline.refused == [] and len(outlook.timeline.refused) == 1


@given(st.integers(0, 200_000))
@settings(max_examples=100, deadline=None)
def test_a_clock_that_is_behind_the_broker_does_not_allow_what_workers_refuse(ahead_ms: int) -> None:
    history = History(DEFAULT, False, [WrittenRecord(policy_key("winter", 2), policy(), T0_MS + ahead_ms)])
    planned = records_to_use(history, policy(), policy_of(policy()), use("active", 90), T0_MS)
    refusal = history.after(planned, T0_MS).refusal
    assert (refusal is not None) == (ahead_ms > 30_000)
