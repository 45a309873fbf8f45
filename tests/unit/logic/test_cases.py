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
    *("release_due", "term_exceeded"),
}
"""Columns of a case's row that hold a count for each of its days."""


def totals(found: Any, places: str, place: str, last: date) -> case_oracle.Counts:
    """Returns the counts of a case's row. If the case is open, each day up to `last` adds the counts of a day without an event."""
    open_day = quarantine.open_day if place == "site_id" else followups.open_day
    rows: case_oracle.Counts = defaultdict(Counter)
    for n, key in enumerate(zip(found.days, getattr(found, places), strict=True)):
        for name in COUNTS & set(found._fields):
            rows[key][name] += getattr(found, name)[n]
    for day in date_range(found.since, last) if found.closed_on == OPEN else ():
        rows[day, getattr(found, place)].update(open_day(day, found.last_day))
    return {key: +row for key, row in rows.items() if +row}


def count_stay(*events: dict[str, Any], last: int = 6) -> dict[tuple[int, str], dict[str, int]]:
    found = quarantine.summarise(case(1), facts_of(list(events)), Days(SHANGHAI))
    rows = totals(found, "sites", "site_id", date(2020, 2, last))
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


SICK = {"temperature_c": 38.5, "symptoms": True}
ADMITTED, RELEASED = quarantine_event("admitted", "04 08:00"), quarantine_event("released", "04 10:00")


@pytest.mark.parametrize(
    "events",
    [
        [ADMITTED, quarantine_event("reading", "04 15:00", **SICK)],
        [ADMITTED, RELEASED, quarantine_event("reading", "04 15:00", **SICK)],
        [quarantine_event("reading", "04 15:00", **SICK)],
        [quarantine_event("reading", "04 15:00", **SICK), quarantine_event("admitted", "04 16:00")],
        [ADMITTED, quarantine_event("released", "04 15:00", **SICK)],
        [ADMITTED, quarantine_event("admitted", "04 15:00", **SICK)],
        [ADMITTED, quarantine_event("transferred", "04 15:00", **SICK)],
        [ADMITTED, RELEASED, quarantine_event("extended", "04 15:00", **SICK)],
        [RELEASED, quarantine_event("transferred", "04 15:00", to_site_id="q2", **SICK)],
    ],
    ids=["open", "closed", "unknown", "admitted later", "release", "admitted again", "no destination", "extension", "never admitted"],
)  # fmt: skip
def test_fever_and_symptoms_raise_an_alarm_whatever_the_state_of_the_case(events: list[dict[str, Any]]) -> None:
    found = [alarm for alarm in alarms(events, "04 17:00:00") if alarm[0] != "reading_missed"]
    assert found == [("fever", 4, "pm", "q1"), ("symptoms", 4, "pm", "q1")]
    assert alarms(events, "04 15:00:00")[-2:] != [] and alarms([*events, events[-1]], "04 17:00:00") == alarms(
        events, "04 17:00:00"
    )


@pytest.mark.parametrize(
    "events", [[], [followup_event("opened", "03 09:00"), followup_event("closed", "04 09:00", closed="completed")]]
)
def test_a_symptomatic_visit_raises_an_alarm_whatever_the_state_of_the_case(events: list[dict[str, Any]]) -> None:
    seen = followup_event("visit", "04 10:00", visit="seen_symptomatic")
    assert alarms([*events, seen], "04 10:00:00") == [("symptoms", 4, None, "jiyang")]


def test_a_release_is_due_at_8_of_the_last_day_and_the_term_is_exceeded_at_8_of_each_later_day() -> None:
    events = [
        quarantine_event("admitted", "01 23:59", term_days=2),
        quarantine_event("transferred", "02 09:00", to_site_id="q2"),
    ]
    about_term = {
        now: [one for one in alarms(events, now) if one[0] != "reading_missed"]
        for now in ("03 07:59:59", "03 08:00:00", "04 07:59:59", "04 08:00:00", "06 09:00:00")
    }
    due, exceeded = ("release_due", 3, None, "q2"), [("term_exceeded", n, None, "q2") for n in (4, 5, 6)]
    assert about_term == {
        "03 07:59:59": [], "03 08:00:00": [due], "04 07:59:59": [due], "04 08:00:00": [due, *exceeded[:1]],
        "06 09:00:00": [due, *exceeded],
    }  # fmt: skip
    status = quarantine.status(facts_of(events), Days(SHANGHAI), at("06 09:00:00"))
    assert [alarm.at_us for alarm in status.alarms[-2:]] == [at("05 08:00:00"), at("06 08:00:00")]
    assert [quarantine.status(facts_of(events), Days(SHANGHAI), at(now)).next_us for now in ("03 07:00:00", "03 12:30:00", "04 00:05:00", "04 00:10:00", "06 09:00:00")] == [
        at(then) for then in ("03 08:00:00", "04 00:10:00", "04 00:10:00", "04 08:00:00", "07 08:00:00")
    ]  # fmt: skip
    missed = [one for one in alarms(events, "09 12:00:00") if one[0] == "reading_missed"]
    assert {day for _, day, _, _ in missed} == {1, 2, 3}, "nothing is due after the last day"


def test_a_follow_up_ends_with_its_term() -> None:
    events = [followup_event("opened", "03 09:00", term_days=2)]
    assert alarms(events, "08 08:00:00") == [
        ("visit_overdue", 4, None, "jiyang"), ("visit_overdue", 5, None, "jiyang"), ("release_due", 5, None, "jiyang"),
        *(("term_exceeded", n, None, "jiyang") for n in (6, 7, 8)),
    ]  # fmt: skip
    assert alarms([*events, followup_event("closed", "05 08:00", closed="completed")], "08 08:00:00") == []


@pytest.mark.parametrize(
    ("extensions", "last"),
    [
        ([], 5),
        ([("04 10:00", 5)], 8),
        ([("04 10:00", 9), ("04 11:00", 4)], 7),  # the last one counts, also if it is shorter
        ([("04 10:00", None)], 5),
        ([("05 23:59", 2)], 5),
        ([("06 00:00", 2)], 5),  # its last day has passed
        ([("04 23:00", 1)], 4),
        ([("05 00:00", 1)], 5),
        ([("07 10:00", 6)], 9),  # after the last day of the old term
    ],
)
@pytest.mark.parametrize("kind", ["quarantine", "followup"])
def test_an_extension_states_the_new_total(kind: str, extensions: list[tuple[str, int | None]], last: int) -> None:
    make_event = quarantine_event if kind == "quarantine" else followup_event
    begin = make_event("admitted" if kind == "quarantine" else "opened", "03 09:00", term_days=2)
    facts = facts_of([begin, *(make_event("extended", when, term_days=total) for when, total in extensions)])
    summarise = quarantine.summarise if kind == "quarantine" else followups.summarise
    row: Any = summarise(case(1), facts, Days(SHANGHAI))
    assert row.last_day.day == last
    assert sum(row.anomalies) == sum(not total or 3 + total < int(when[:2]) for when, total in extensions)
    places = ("sites", "site_id") if kind == "quarantine" else ("districts", "district")
    counted = totals(row, *places, date(2020, 2, 12))
    assert {day.day for (day, _), counts in counted.items() if counts["term_exceeded"]} == {*range(last + 1, 13)}
    assert {day.day for (day, _), counts in counted.items() if counts["release_due"]} == {last}


def test_an_extension_of_a_case_that_is_not_open_is_an_anomaly() -> None:
    extended = quarantine_event("extended", "04 12:00", term_days=9)
    for events in ([extended], [ADMITTED, RELEASED, extended]):
        row = quarantine.summarise(case(1), facts_of(events), Days(SHANGHAI))
        assert sum(row.anomalies) == 1


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        (SHANGHAI, date(2020, 2, 4), "2020-02-04T00:00:00+00:00"),
        ("Europe/Berlin", date(2020, 3, 29), "2020-03-29T06:00:00+00:00"),  # the clocks were put forward at 2
        ("Europe/Berlin", date(2020, 10, 25), "2020-10-25T07:00:00+00:00"),
        ("Australia/Lord_Howe", date(2020, 10, 4), "2020-10-03T21:00:00+00:00"),
        ("Pacific/Apia", date(2011, 12, 29), "2011-12-29T18:00:00+00:00"),
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-30T10:00:00+00:00"),  # the day was left out: its end
        ("Pacific/Apia", date(2011, 12, 31), "2011-12-30T18:00:00+00:00"),
    ],
)
def test_the_morning_of_a_day_is_8_by_its_clocks(zone: str, day: date, expected: str) -> None:
    assert datetime.fromtimestamp(Days(zone).morning(day) / 1_000_000, UTC).isoformat() == expected


def test_a_skipped_or_repeated_8_is_the_first_instant_that_shows_8_or_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fiji skipped 02:00 to 03:00 on 3 November 2019, and repeated it on 12 January 2020."""
    monkeypatch.setattr("ninezero.agents.logic.days.MORNING_HOUR", 2)
    days = Days("Pacific/Fiji")
    for day, expected in (
        (date(2019, 11, 3), "2019-11-02T14:00:00+00:00"),
        (date(2020, 1, 12), "2020-01-11T13:00:00+00:00"),
    ):
        assert datetime.fromtimestamp(days.morning(day) / 1_000_000, UTC).isoformat() == expected


def test_a_follow_up_is_overdue_from_the_day_after_its_opening_and_the_first_closing_counts() -> None:
    events = [
        followup_event("opened", "04 09:00", source="push", batch_id="b1"),
        followup_event("visit", "06 10:00", visit="not_reached"),
    ]
    rows = totals(
        followups.summarise(case(1), facts_of(events), Days(SHANGHAI)), "districts", "district", date(2020, 2, 7)
    )
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
TERMS = st.sampled_from([1, 2, 3, 4, 5, 6, 30, None])


@st.composite
def arrivals(draw: st.DrawFn, start: datetime, kind: str) -> list[tuple[int, dict[str, Any]]]:
    """Draws (arrival, event) pairs of up to three cases in any order. Some reuse the number of another event."""
    pairs = []
    begin = quarantine_event if kind == "quarantine" else followup_event
    for n in draw(st.sets(st.integers(1, 3))):
        when = (start + timedelta(minutes=draw(st.integers(0, 1440)))).astimezone(UTC)
        event = begin("admitted" if kind == "quarantine" else "opened", when, draw(SITES), n=n, term_days=draw(TERMS))
        pairs.append((n, event | {"device_id": "begin", "seq": n}))
    for n in range(draw(st.integers(1, 25))):
        when = (start + timedelta(minutes=draw(MINUTES))).astimezone(UTC)
        who = {"n": draw(st.integers(1, 3))}
        if kind == "quarantine":
            type_ = draw(
                st.sampled_from(
                    ["admitted", "reading", "reading", "reading", "released", "transferred", "extended", "extended"]
                )
            )
            event = quarantine_event(
                type_,
                when,
                draw(SITES),
                **who,
                slot=draw(st.sampled_from([None, None, "am", "pm"])),
                to_site_id=draw(st.none() | SITES),
                term_days=draw(TERMS),
            )
        else:
            type_ = draw(st.sampled_from(["opened", "visit", "visit", "visit", "closed", "extended", "extended"]))
            visit = draw(st.sampled_from([None, "seen_well", "seen_symptomatic", "not_reached", "refused"]))
            event = followup_event(type_, when, draw(SITES), **who, visit=visit, term_days=draw(TERMS))
        event |= {"device_id": draw(st.sampled_from(["a", "b"])), "seq": n}
        pairs.append((draw(st.integers(0, 999)) * 1000 + n, event))
    for n in range(draw(st.integers(0, 5))):
        ms, event = draw(st.sampled_from(pairs))
        again = event | {"site_id": "q3"} if "site_id" in event and draw(st.booleans()) else event
        pairs.append((ms + 1_000_000 + n, again))
    return draw(st.permutations(pairs))


def compare(kind: str, zone: str, start: datetime, events: list[tuple[int, dict[str, Any]]]) -> Counter[str]:
    """Compares the counts of cases with the oracle. Returns how often each case of interest occurred."""
    days, last = Days(zone), (start + timedelta(days=9)).astimezone(ZoneInfo(zone)).date()
    now = datetime(2030, 1, 1, tzinfo=UTC)
    got: case_oracle.Counts = defaultdict(Counter)
    for case_id, some in facts(events).items():
        if kind == "quarantine":
            row: Any = quarantine.summarise(case_id, some, days)
            rows = totals(row, "sites", "site_id", last)
        else:
            row = followups.summarise(case_id, some, days)
            rows = totals(row, "districts", "district", last)
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
    begun, wrong = case_oracle.last_days(case_oracle.first_contents(events), ZoneInfo(zone))
    extensions = sum(event["type"] == "extended" for event in case_oracle.first_contents(events))
    totals_of = sum(expected.values(), Counter[str]())
    return Counter(
        release_due=totals_of["release_due"], term_exceeded=totals_of["term_exceeded"], extended=extensions - len(wrong),
        wrong_extensions=len(wrong), cases=len(begun),
    )  # fmt: skip


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("kind", ["quarantine", "followup"])
def test_any_events_in_any_order_agree_with_the_oracle(zone: str, kind: str) -> None:
    occurred = Counter[str]()

    @settings(max_examples=100, deadline=None)
    @given(events=arrivals(ZONES[zone], kind))
    def agree(events: list[tuple[int, dict[str, Any]]]) -> None:
        occurred.update(compare(kind, zone, ZONES[zone], events))

    agree()
    assert min(occurred[name] for name in ("release_due", "term_exceeded", "extended", "wrong_extensions")) > 5, (
        occurred
    )


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
