"""Quarantine and follow-up as pure functions: each rule by an example, then random events against an oracle."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ninezero.agents.logic.cases import followups, quarantine
from ninezero.agents.logic.cases.alarms import Alarm, alert_id
from ninezero.agents.logic.days import Days, date_range
from ninezero.schemas.rows import OPEN
from tests import case_oracle
from tests.case_events import case, facts, followup_event, quarantine_event

SHANGHAI = "Asia/Shanghai"
ZONES = {  # the start of a week; all but the first change their clocks in it, São Paulo at midnight
    SHANGHAI: datetime(2020, 2, 3, 16, tzinfo=UTC),
    "Europe/Berlin": datetime(2020, 3, 26, 23, tzinfo=UTC),
    "America/Sao_Paulo": datetime(2018, 11, 1, 3, tzinfo=UTC),
    "America/New_York": datetime(2020, 10, 30, 4, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2020, 10, 1, 13, 30, tzinfo=UTC),
}


def facts_of(events: list[dict[str, Any]]) -> list[Any]:
    """Returns the facts of one case. Its events are numbered in the given order."""
    numbered = [(1000 + n, event | {"seq": n}) for n, event in enumerate(events)]
    return facts(numbered)[case(1)]


COUNTS = {
    *("admitted", "released", "transferred_in", "transferred_out", "present", "due_am", "due_pm", "done_am", "done_pm"),
    *("misplaced", "anomalies", "opened", "visits", "reached", "closed", "overdue", "open_at_end"),
}
"""Columns of a case's row that hold a count for each of its days."""


def totals(found: Any, places: str, place: str, last: date, tail: dict[str, int]) -> case_oracle.Counts:
    """Returns the counts of a case's row. If the case is open, each day up to `last` adds the counts `tail`."""
    rows: case_oracle.Counts = defaultdict(Counter)
    for n, key in enumerate(zip(found.days, getattr(found, places), strict=True)):
        for name in COUNTS & set(found._fields):
            rows[key][name] += getattr(found, name)[n]
    for day in date_range(found.since, last) if found.closed_on == OPEN else ():
        rows[day, getattr(found, place)].update(tail)
    return {key: +row for key, row in rows.items() if +row}


def count_stay(*events: dict[str, Any], last: int = 6) -> dict[tuple[int, str], dict[str, int]]:
    found = quarantine.summarise(case(1), facts_of(list(events)), Days(SHANGHAI))
    rows = totals(found, "sites", "site_id", date(2020, 2, last), {"present": 1, "due_am": 1, "due_pm": 1})
    return {(day.day, site): dict(row) for (day, site), row in rows.items()}


def test_a_stay_counts_from_the_first_admission_to_the_release() -> None:
    assert count_stay(
        quarantine_event("admitted", "04 09:00"),
        quarantine_event("admitted", "04 10:00", "q2"),
        quarantine_event("reading", "04 11:00"),
        quarantine_event("reading", "05 15:00"),
        quarantine_event("reading", "05 16:00"),
        quarantine_event("released", "06 12:00"),
        quarantine_event("reading", "06 12:30"),
    ) == {
        (4, "q1"): {"admitted": 1, "present": 1, "due_am": 1, "due_pm": 1, "done_am": 1},
        (4, "q2"): {"anomalies": 1},
        (5, "q1"): {"present": 1, "due_am": 1, "due_pm": 1, "done_pm": 1},
        (6, "q1"): {"released": 1, "due_am": 1, "anomalies": 1},
    }


def test_an_open_case_counts_on_days_without_an_event() -> None:
    day = {"present": 1, "due_am": 1, "due_pm": 1}
    assert count_stay(quarantine_event("admitted", "04 12:00")) == {
        (4, "q1"): {"admitted": 1, "present": 1, "due_pm": 1},
        (5, "q1"): day,
        (6, "q1"): day,
    }


def test_a_transfer_counts_at_both_sites_and_the_reading_is_due_where_the_case_is_at_the_end_of_the_slot() -> None:
    assert count_stay(quarantine_event("admitted", "04 08:00"), quarantine_event("transferred", "04 13:00", to_site_id="q2"), quarantine_event("reading", "04 12:30"), last=4) == {
        (4, "q1"): {"admitted": 1, "transferred_out": 1, "due_am": 1},
        (4, "q2"): {"transferred_in": 1, "present": 1, "due_pm": 1, "done_pm": 1},
    }  # fmt: skip


def test_a_release_by_the_wrong_site_counts_there_and_is_marked() -> None:
    assert count_stay(quarantine_event("admitted", "04 08:00"), quarantine_event("released", "05 08:00", "q2")) == {
        (4, "q1"): {"admitted": 1, "present": 1, "due_am": 1, "due_pm": 1},
        (5, "q2"): {"released": 1, "misplaced": 1},
    }


def test_a_transfer_without_a_destination_leaves_the_case_where_it_is() -> None:
    rows = count_stay(quarantine_event("admitted", "04 08:00"), quarantine_event("transferred", "04 13:00"), last=5)
    assert rows[4, "q1"]["anomalies"] == rows[5, "q1"]["present"] == 1


def test_a_case_that_was_never_admitted_counts_as_anomalies_only() -> None:
    found = quarantine.summarise(
        case(1),
        facts_of([quarantine_event("reading", "04 08:00"), quarantine_event("released", "05 09:00")]),
        Days(SHANGHAI),
    )
    assert (found.closed_on, found.anomalies) == (date(2020, 2, 5), [1, 1])


def at(local: str) -> int:
    return int(datetime.fromisoformat(f"2020-02-{local}+08:00").timestamp()) * 1_000_000


def alarms(events: list[dict[str, Any]], now: str) -> list[tuple[str, int, str | None, str]]:
    status_of = quarantine.status if "site_id" in events[0] else followups.status
    return [(a.rule, a.day.day, a.slot, a.place) for a in status_of(facts_of(events), Days(SHANGHAI), at(now)).alarms]


def test_a_reading_is_missed_ten_minutes_after_the_end_of_its_slot() -> None:
    events = [quarantine_event("admitted", "04 08:00"), quarantine_event("reading", "04 20:00")]
    assert alarms(events, "04 12:09:59") == []
    assert alarms(events, "04 12:10:00") == [("reading_missed", 4, "am", "q1")]
    assert alarms(events, "05 12:09:00") == [("reading_missed", 4, "am", "q1")]
    status_of = quarantine.status(facts_of(events), Days(SHANGHAI), at("04 12:10:00"))
    assert status_of.next_us == at("05 00:10:00")


def test_no_reading_is_missed_after_the_release() -> None:
    events = [quarantine_event("admitted", "04 08:00"), quarantine_event("released", "04 12:05")]
    assert alarms(events, "09 12:00:00") == []
    assert quarantine.status(facts_of(events), Days(SHANGHAI), at("09 12:00:00")).closed_us == at("04 12:05:00")


@pytest.mark.parametrize(("celsius", "alarmed"), [(37.2, False), (37.3, True), (41.0, True), (None, False)])
def test_a_temperature_of_37_3_or_more_is_fever(celsius: float | None, alarmed: bool) -> None:
    found = alarms(
        [quarantine_event("admitted", "04 08:00"), quarantine_event("reading", "04 09:00", temperature_c=celsius)],
        "04 09:00:01",
    )
    assert found == ([("fever", 4, "am", "q1")] if alarmed else [])


def test_symptoms_raise_an_alarm_and_events_after_the_release_do_not() -> None:
    events = [
        quarantine_event("admitted", "04 08:00"),
        quarantine_event("reading", "04 09:00", "q1", symptoms=True),
        quarantine_event("released", "04 10:00"),
        quarantine_event("reading", "04 11:00", temperature_c=39.0),
    ]
    assert alarms(events, "04 12:30:00") == [("symptoms", 4, "am", "q1")]


def test_a_follow_up_is_overdue_from_the_day_after_its_opening_and_the_first_closing_counts() -> None:
    events = [
        followup_event("opened", "04 09:00", source="push", batch_id="b1"),
        followup_event("visit", "06 10:00", visit="not_reached"),
    ]
    rows = totals(
        followups.summarise(case(1), facts_of(events), Days(SHANGHAI)),
        "districts", "district", date(2020, 2, 7), {"open_at_end": 1, "overdue": 1},
    )  # fmt: skip
    assert {day.day: dict(row) for (day, _), row in rows.items()} == {
        4: {"opened": 1, "open_at_end": 1},
        5: {"open_at_end": 1, "overdue": 1},
        6: {"visits": 1, "open_at_end": 1},
        7: {"open_at_end": 1, "overdue": 1},
    }
    assert alarms(events, "08 00:09:59") == [("visit_overdue", 5, None, "jiyang")]
    assert alarms(events, "08 00:10:00")[1:] == [("visit_overdue", 7, None, "jiyang")]
    closed = facts_of(
        [
            *events,
            followup_event("closed", "07 10:00", closed="lost"),
            followup_event("closed", "08 10:00", closed="completed"),
        ]
    )
    found = followups.summarise(case(1), closed, Days(SHANGHAI))
    assert (found.closed_as, found.closed_on) == ("lost", date(2020, 2, 7))
    assert followups.status(closed, Days(SHANGHAI), at("20 12:00:00")).alarms == []


def test_a_symptomatic_visit_raises_an_alarm() -> None:
    events = [followup_event("opened", "04 09:00"), followup_event("visit", "04 10:00", visit="seen_symptomatic")]
    assert alarms(events, "04 10:00:00") == [("symptoms", 4, None, "jiyang")]


def test_an_alert_has_one_id_for_a_case_rule_day_and_slot() -> None:
    one = Alarm("fever", date(2020, 2, 4), "am", "q1", 5)
    assert alert_id(case(1), one) == alert_id(case(1), one._replace(place="q2", at_us=7))
    others = [one._replace(rule="symptoms"), one._replace(day=date(2020, 2, 5)), one._replace(slot="pm")]
    assert len({alert_id(case(1), one), alert_id(case(2), one), *(alert_id(case(1), o) for o in others)}) == 5


MINUTES = st.one_of(
    st.integers(0, 6 * 1440),
    st.builds(lambda half, off: half * 720 + off, st.integers(0, 12), st.sampled_from([-61, -60, -1, 0, 1, 60])),
)
SITES = st.sampled_from(["q1", "q2", "q3"])


@st.composite
def arrivals(draw: st.DrawFn, start: datetime, kind: str) -> list[tuple[int, dict[str, Any]]]:
    """Draws (arrival, event) pairs of up to three cases in any order. Some reuse the number of another event."""
    pairs = []
    for n in range(draw(st.integers(1, 25))):
        when = (start + timedelta(minutes=draw(MINUTES))).astimezone(UTC)
        who = {"n": draw(st.integers(1, 3))}
        if kind == "quarantine":
            type_ = draw(
                st.sampled_from(["admitted", "reading", "reading", "reading", "released", "transferred", "extended"])
            )
            event = quarantine_event(
                type_,
                when,
                draw(SITES),
                **who,
                slot=draw(st.sampled_from([None, None, "am", "pm"])),
                to_site_id=draw(st.none() | SITES),
            )
        else:
            type_ = draw(st.sampled_from(["opened", "visit", "visit", "visit", "closed"]))
            visit = draw(st.sampled_from([None, "seen_well", "seen_symptomatic", "not_reached", "refused"]))
            event = followup_event(type_, when, draw(SITES), **who, visit=visit)
        event |= {"device_id": draw(st.sampled_from(["a", "b"])), "seq": n}
        pairs.append((draw(st.integers(0, 999)) * 1000 + n, event))
    for n in range(draw(st.integers(0, 5))):
        ms, event = draw(st.sampled_from(pairs))
        again = event | {"site_id": "q3"} if "site_id" in event and draw(st.booleans()) else event
        pairs.append((ms + 1_000_000 + n, again))
    return draw(st.permutations(pairs))


def compare(kind: str, zone: str, start: datetime, events: list[tuple[int, dict[str, Any]]]) -> None:
    days, last = Days(zone), (start + timedelta(days=9)).astimezone(ZoneInfo(zone)).date()
    now = datetime(2030, 1, 1, tzinfo=UTC)
    got: case_oracle.Counts = defaultdict(Counter)
    for case_id, some in facts(events).items():
        if kind == "quarantine":
            row: Any = quarantine.summarise(case_id, some, days)
            rows = totals(row, "sites", "site_id", last, {"present": 1, "due_am": 1, "due_pm": 1})
        else:
            row = followups.summarise(case_id, some, days)
            rows = totals(row, "districts", "district", last, {"open_at_end": 1, "overdue": 1})
        for key, counted in rows.items():
            got[key].update(counted)
    named = {
        "open_at_end": "open",
        "due_am": "readings_due",
        "due_pm": "readings_due",
        "done_am": "readings_done",
        "done_pm": "readings_done",
    }
    found: case_oracle.Counts = defaultdict(Counter)
    for key, counted in got.items():
        for name, n in counted.items():
            found[key][named.get(name, name)] += n
    expected = getattr(case_oracle, kind if kind == "quarantine" else "followups")(
        case_oracle.first_contents(events), ZoneInfo(zone), last, now
    )
    for row in expected.values():
        row.pop("readings_missed", None)
    assert dict(found) == {key: +row for key, row in expected.items() if +row}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("kind", ["quarantine", "followup"])
def test_any_events_in_any_order_agree_with_the_oracle(zone: str, kind: str) -> None:
    @settings(max_examples=60, deadline=None)
    @given(events=arrivals(ZONES[zone], kind))
    def agree(events: list[tuple[int, dict[str, Any]]]) -> None:
        compare(kind, zone, ZONES[zone], events)

    agree()


@settings(max_examples=100, deadline=None)
@given(events=arrivals(ZONES[SHANGHAI], "quarantine"), until=st.integers(0, 9 * 1440))
def test_the_alarms_of_an_open_case_do_not_depend_on_when_it_was_checked(
    events: list[tuple[int, dict[str, Any]]], until: int
) -> None:
    """Every early alarm is also among the later ones, and each missed reading is due and not done in the row of the case."""
    days = Days(SHANGHAI)
    start = int(ZONES[SHANGHAI].timestamp()) * 1_000_000
    for case_id, some in facts(events).items():
        early = quarantine.status(some, days, start + until * 60_000_000)
        late = quarantine.status(some, days, start + 10 * 1440 * 60_000_000)
        assert set(early.alarms) <= set(late.alarms)
        assert (early.next_us is None) == (early.closed_us is not None)
        row = quarantine.summarise(case_id, some, days)
        missed = Counter((a.day, a.slot) for a in late.alarms if a.rule == "reading_missed")
        for n, day in enumerate(row.days):
            for slot in ("am", "pm") if row.closed_on == OPEN else ():
                lacking = getattr(row, f"due_{slot}")[n] - getattr(row, f"done_{slot}")[n]
                assert lacking <= missed[day, slot] <= 1
