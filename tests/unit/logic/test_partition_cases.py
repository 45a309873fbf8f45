"""The alerts that a worker sends about cases: by the clock and in replay mode they are those of the oracle, each once."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ninezero.agents.cases.kinds import CaseKind, follow_up_kind, quarantine_kind
from ninezero.agents.cases.partition_cases import Changes, PartitionCases
from ninezero.agents.logic.days import Days
from tests import case_oracle
from tests.case_events import facts, followup_event, quarantine_event
from tests.support import default_policies

START = datetime(2020, 3, 26, 23, tzinfo=UTC)
"""Midnight in Berlin, three days before its clocks are put forward."""
ZONE = "Europe/Berlin"
LAST = START + timedelta(days=9)
TICK = timedelta(minutes=20)
GRACE = timedelta(minutes=10)
"""Time after a slot or day within which its report may still arrive."""
KINDS = {
    "quarantine": quarantine_kind(case_oracle.TERM_DAYS, default_policies()),
    "followup": follow_up_kind(case_oracle.TERM_DAYS),
}
ORACLES = {"quarantine": case_oracle.quarantine_alerts, "followup": case_oracle.followup_alerts}

MINUTES = st.one_of(
    st.integers(0, 8 * 1440),
    st.builds(lambda day, hour, off: day * 1440 + hour * 60 + off, st.integers(0, 8), st.sampled_from([0, 7, 8, 12]), st.sampled_from([-1, 0, 1, 10])),
).filter(lambda minutes: minutes >= 0)  # fmt: skip


@st.composite
def histories(draw: st.DrawFn, kind: str) -> list[dict[str, Any]]:
    """Draws the events of two cases in the order of their times, most of them after the case has begun."""
    events = []
    make = quarantine_event if kind == "quarantine" else followup_event
    begin, end = ("admitted", "released") if kind == "quarantine" else ("opened", "closed")
    report = "reading" if kind == "quarantine" else "visit"
    for n in draw(st.sampled_from([(1,), (1, 2)])):
        first = draw(st.integers(0, 1440))
        steps = [
            (first, begin),
            *(
                (draw(MINUTES), kind_of)
                for kind_of in draw(st.lists(st.sampled_from([report, report, "extended", end]), max_size=6))
            ),
        ]
        for minutes, type_ in steps:
            more: dict[str, Any] = {"term_days": draw(st.sampled_from([None, 1, 2, 3, 4, 6]))}
            if type_ == "reading":
                more |= {"temperature_c": draw(st.sampled_from([36.5, 38.5])), "symptoms": draw(st.booleans())}
            if type_ == "visit":
                more |= {"visit": draw(st.sampled_from(["seen_well", "seen_symptomatic"]))}
            events.append(
                make(type_, START + timedelta(minutes=minutes), draw(st.sampled_from(["a", "b"])), n=n, **more)
            )
    events.sort(key=lambda event: str(event["observed_at"]))
    return [event | {"seq": n} for n, event in enumerate(events)]


def micros(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def time_of(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["observed_at"])


class Worker:
    """A worker with one partition of cases, and the alerts that it has sent."""

    def __init__(self, kind: CaseKind) -> None:
        self.cases, self.changes = PartitionCases(kind, Days(ZONE)), Changes()

    def sent(self, counts: Callable[[datetime], bool] = lambda at: True) -> case_oracle.Alerts:
        """Returns the alerts, or those about an instant that counts. None was sent twice."""
        alerts = [json.loads(message.value or b"") for message in self.changes.messages]
        assert len({alert["alert_id"] for alert in alerts}) == len(alerts)
        return {
            (a["rule"], a["case_id"], date.fromisoformat(a["day"]), a["slot"], a["site_id"] or a["district"])
            for a in alerts
            if counts(datetime.fromisoformat(a["at"]))
        }

    def replay(self, events: list[dict[str, Any]]) -> None:
        """Processes events in replay mode."""
        for event in events:
            ((case_id, (fact,)),) = facts([(1000 + event["seq"], event)]).items()
            self.cases.before_event_in_replay(fact, self.changes)
            self.cases.add(fact, self.changes)
            self.cases.after_event_in_replay(case_id, self.changes)

    def live(self, events: list[dict[str, Any]], checks: list[datetime]) -> None:
        """Processes each event at its time, and checks the cases that are due at some times."""
        agenda: list[tuple[datetime, Any]] = [(time_of(event), event) for event in events]
        for at, event in sorted(agenda + [(at, None) for at in checks], key=lambda one: one[0]):
            if event is None:
                for case_id in self.cases.due(micros(at)):
                    self.cases.check(case_id, micros(at), self.changes)
                continue
            ((case_id, (fact,)),) = facts([(1000 + event["seq"], event)]).items()
            self.cases.add(fact, self.changes)
            self.cases.after_events(case_id, micros(at), self.changes)


@pytest.mark.parametrize("kind", KINDS)
def test_the_alerts_of_a_replay_and_of_the_clock_are_those_of_the_oracle(kind: str) -> None:
    occurred = Counter[str]()
    checks = [START + TICK * n + timedelta(seconds=30) for n in range(int((LAST - START) / TICK))]

    def expected(events: list[dict[str, Any]], at: datetime) -> case_oracle.Alerts:
        return ORACLES[kind](events, ZoneInfo(ZONE), at) if events else set()

    @settings(max_examples=200, deadline=None)
    @given(events=histories(kind))
    def agree(events: list[dict[str, Any]]) -> None:
        replayed, live = Worker(KINDS[kind]), Worker(KINDS[kind])
        replayed.replay(events)
        live.live(events, checks)
        by_replay: case_oracle.Alerts = set()
        by_clock: case_oracle.Alerts = expected(events, checks[-1])
        for n, event in enumerate(events):
            at = time_of(event)
            of_case = [e for e in events if e["case_id"] == event["case_id"]]
            before = of_case[: of_case.index(event)]
            by_replay |= expected(before, at) | expected([*before, event], at)
            check = max((c for c in checks if c < at), default=START)
            by_clock |= expected([e for e in events[:n] if time_of(e) < check], check)
        assert replayed.sent() == by_replay
        assert live.sent() == by_clock
        # A replay sends nothing that the clock does not send, provided that the clock checks between two events, and between an
        # alarm and the event after it.
        times = sorted(time_of(e) for e in events)
        if all(after - before > TICK for before, after in itertools.pairwise(times)):
            judged = replayed.sent(lambda at: not any(at <= time <= at + GRACE + TICK for time in times))
            assert judged <= live.sent()
            occurred["alerts of both"] += len(judged)
        occurred.update(rule for rule, *_ in by_clock)
        occurred["extended"] += sum(e["type"] == "extended" for e in events)

    agree()
    missing = "reading_missed" if kind == "quarantine" else "visit_overdue"
    assert (
        min(
            occurred[rule]
            for rule in ("release_due", "term_exceeded", "symptoms", missing, "extended", "alerts of both")
        )
        > 10
    ), occurred
