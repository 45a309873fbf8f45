"""Each rule gives its outcome, rules interact as documented, and no event is clear unless everything in it was checked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ninezero.agents.logic.policy.decision import Decision, alert_id
from ninezero.agents.logic.policy.reference import decide_arrival, decide_scan
from ninezero.agents.logic.policy.rules import OUTCOMES, RULES
from ninezero.agents.logic.watchlist.entries import Entry
from ninezero.agents.logic.watchlist.index import WatchlistIndex
from ninezero.schemas.events import Arrival, Scan

HOME, NOW = "370115", 1_000_000_000_000_000
CATEGORIES = ("confirmed_case", "suspected_case", "quarantine_order", "close_contact", "risk_region_arrival")


def t(n: int, key: str = "k1") -> str:
    return f"{key}.{n:032x}"


def entry(
    category: str, n: int = 1, *, at: tuple[int, int] = (NOW - 10, NOW + 10), name: str = "l", **tokens: int
) -> Entry:
    found = {kind.rstrip("_"): (t(value),) for kind, value in tokens.items()}
    return Entry("a", name, f"b:{n}", category, at[0], at[1], found, 1, "b", 1)


def lists(*entries: Entry) -> WatchlistIndex:
    index = WatchlistIndex()
    for e in entries:
        index.apply((e.authority, e.list), [e], [])
    return index


def person(**given: Any) -> dict[str, Any]:
    tokens = given.pop("tokens", {"id": t(7)})
    return {"role": "driver", "tokens": tokens, "temperature_c": 36.5, **given}


def scan(*people: dict[str, Any], **given: Any) -> Scan:
    record = {
        "device_id": "d",
        "seq": 0,
        "site_id": "s",
        "observed_at": datetime.now(UTC),
        "kind": "vehicle",
        "people": list(people) or [person()],
    }
    return msgspec.convert(record | given, Scan, strict=False)


def decide(event: Scan, watchlist: WatchlistIndex | None = None, stale: bool = False) -> Decision:
    return decide_scan(event, NOW, watchlist or lists(), HOME, stale)


def hits(decision: Decision) -> list[tuple[int | None, str]]:
    return [(hit.person, hit.rule) for hit in decision.hits]


def test_a_healthy_person_of_the_district_is_clear() -> None:
    decision = decide(scan(person(origin=HOME, health_code="green")))
    assert (decision.outcome, decision.hits, decision.people) == ("clear", [], [])


ROWS: list[tuple[str, dict[str, Any], WatchlistIndex | None]] = [
    ("no_identity", {"tokens": {"phone": t(1)}}, None),
    ("unknown_key", {"tokens": {"id": t(7), "phone": t(7, "k9")}}, lists(entry("close_contact", id=99))),
    *((category, {"tokens": {"id": t(1)}}, lists(entry(category, id=1))) for category in CATEGORIES),
    *((category, {"tokens": {"passport": t(1)}}, lists(entry(category, passport=1))) for category in CATEGORIES),
    ("weak_match", {"tokens": {"id": t(7), "phone": t(1)}}, lists(entry("confirmed_case", phone=1))),
    ("health_code_red", {"health_code": "red"}, None),
    ("health_code_yellow", {"health_code": "yellow"}, None),
    ("no_temperature", {"temperature_c": None}, None),
    ("temperature_implausible", {"temperature_c": 29.9}, None),
    ("temperature_implausible", {"temperature_confirmed_c": 45.1}, None),
    ("fever", {"temperature_confirmed_c": 37.3}, None),
    ("fever_unconfirmed", {"temperature_c": 37.3}, None),
    ("outside_province_without_pass", {"origin": "420106"}, None),
    ("outside_province_without_pass", {"origin": "HK"}, None),
    ("outside_district_without_pass", {"origin": "370102"}, None),
]


@pytest.mark.parametrize(("rule", "given", "watchlist"), ROWS)
def test_each_rule_alone_gives_its_hit_and_outcome(
    rule: str, given: dict[str, Any], watchlist: WatchlistIndex | None
) -> None:
    decision = decide(scan(person(**given)), watchlist)
    assert hits(decision) == [(0, rule)]
    assert decision.outcome == RULES[rule].outcome


def test_a_stale_list_holds_every_person() -> None:
    assert hits(decide(scan(person(), person()), stale=True)) == [(0, "list_stale"), (1, "list_stale")]


@pytest.mark.parametrize("value", [37.2, 30.0, None])
def test_temperatures_below_the_threshold_are_no_hit(value: float | None) -> None:
    assert decide(scan(person(temperature_c=value, temperature_confirmed_c=36.6))).outcome == "clear"


def test_a_plausible_confirmation_overrides_the_first_value() -> None:
    assert decide(scan(person(temperature_c=39.0, temperature_confirmed_c=36.9))).outcome == "clear"


def test_an_implausible_confirmation_leaves_fever_unconfirmed() -> None:
    decision = decide(scan(person(temperature_c=38.0, temperature_confirmed_c=50.0)))
    assert hits(decision) == [(0, "fever_unconfirmed"), (0, "temperature_implausible")]


def test_two_implausible_values_are_one_hit_and_not_no_temperature() -> None:
    assert hits(decide(scan(person(temperature_c=0.0, temperature_confirmed_c=99.0)))) == [
        (0, "temperature_implausible")
    ]


def test_the_window_is_closed_at_its_start_and_open_at_its_end() -> None:
    for window, outcome in (((NOW, NOW + 1), "refer"), ((NOW - 5, NOW), "clear"), ((NOW + 1, NOW + 5), "clear")):
        watchlist = lists(entry("confirmed_case", at=window, id=7))
        assert decide(scan(), watchlist).outcome == outcome


def test_a_strong_match_suppresses_the_weak_one() -> None:
    watchlist = lists(entry("close_contact", 1, id=7), entry("confirmed_case", 2, phone=3))
    decision = decide(scan(person(tokens={"id": t(7), "phone": t(3)})), watchlist)
    assert hits(decision) == [(0, "close_contact")]


def test_an_expired_strong_match_does_not_suppress_the_weak_one() -> None:
    watchlist = lists(entry("close_contact", 1, at=(1, 2), id=7), entry("confirmed_case", 2, phone=3))
    assert hits(decide(scan(person(tokens={"id": t(7), "phone": t(3)})), watchlist)) == [(0, "weak_match")]


def test_a_plate_match_is_a_hit_of_its_own() -> None:
    watchlist = lists(entry("close_contact", 1, id=7), entry("confirmed_case", 2, plate=5))
    decision = decide(scan(plate=t(5)), watchlist)
    assert hits(decision) == [(0, "close_contact"), (None, "weak_match")]
    assert decision.people == [0]


def test_a_token_matches_only_in_its_own_domain() -> None:
    assert decide(scan(person(tokens={"id": t(1)})), lists(entry("confirmed_case", phone=1))).outcome == "clear"


def test_an_unknown_key_of_the_plate_holds() -> None:
    decision = decide(scan(plate=t(1, "k9")), lists(entry("close_contact", id=99)))
    assert hits(decision) == [(None, "unknown_key")]


def test_a_key_that_one_list_lacks_is_unknown_and_an_empty_list_lacks_nothing() -> None:
    watchlist = lists(entry("close_contact", id=99))
    watchlist.apply(
        ("a", "other"), [Entry("a", "other", "c:1", "close_contact", 0, NOW * 2, {"id": (t(1, "k2"),)}, 1, "c", 1)], []
    )
    assert hits(decide(scan(), watchlist)) == [(0, "unknown_key")]
    watchlist.switch(("a", "other"), 1 << 62)
    assert decide(scan(), watchlist).outcome == "clear"


@pytest.mark.parametrize("tokens", [{"id": t(7)}, {"id": t(8), "pass": t(9)}])
def test_a_valid_pass_is_found_by_pass_or_id_token(tokens: dict[str, str]) -> None:
    watchlist = lists(entry("health_pass", 1, id=7), entry("health_pass", 2, pass_=9))
    assert decide(scan(person(tokens=tokens, origin="370102")), watchlist).outcome == "clear"


def test_a_pass_token_in_another_domain_is_no_pass() -> None:
    watchlist = lists(entry("health_pass", id=9))
    assert decide(scan(person(tokens={"id": t(8), "pass": t(9)}, origin="370102")), watchlist).outcome == "turn_back"


def test_a_health_pass_is_no_match() -> None:
    assert decide(scan(), lists(entry("health_pass", id=7))).outcome == "clear"


def test_the_origin_of_an_outbound_person_does_not_matter() -> None:
    assert decide(scan(person(origin="420106"), direction="out")).outcome == "clear"


def test_the_most_severe_hit_decides_and_all_hits_are_in_order() -> None:
    watchlist = lists(entry("confirmed_case", id=7))
    decision = decide(scan(person(tokens={"phone": t(2)}), person(origin="370102")), watchlist)
    assert (decision.outcome, hits(decision)) == (
        "refer",
        [(0, "no_identity"), (1, "confirmed_case"), (1, "outside_district_without_pass")],
    )


def test_each_entry_is_named_once_with_the_first_domain_that_matches() -> None:
    both = Entry("a", "l", "b:2", "close_contact", 0, NOW * 2, {"id": (t(7),), "passport": (t(8),)}, 1, "b", 1)
    other = Entry("a", "k", "b:9", "close_contact", 0, NOW * 2, {"passport": (t(8),)}, 1, "b", 1)
    decision = decide(scan(person(tokens={"id": t(7), "passport": t(8)})), lists(both, other))
    assert [(match.domain, match.entry.list) for match in decision.hits[0].matches] == [("passport", "k"), ("id", "l")]


def test_arrivals_need_no_temperature_and_have_no_plate() -> None:
    record = {"device_id": "d", "seq": 0, "site_id": "s", "observed_at": datetime.now(UTC), "mode": "rail", "service": "G1", "stage": "boarded",
              "transfer_id": None, "destination": None, "person": person(temperature_c=None, origin="420106")}  # fmt: skip
    decision = decide_arrival(msgspec.convert(record, Arrival, strict=False), NOW, lists(), HOME, False)
    assert hits(decision) == [(0, "outside_province_without_pass")]


def test_the_alert_id_depends_on_the_event_and_its_hits_only() -> None:
    decision = decide(scan(person(health_code="red")))
    assert alert_id("d", 1, decision.hits) == alert_id("d", 1, decide(scan(person(health_code="red"))).hits)
    assert alert_id("d", 1, decision.hits) != alert_id("d", 2, decision.hits)


people = st.fixed_dictionaries(
    {
        "tokens": st.dictionaries(
            st.sampled_from(["id", "passport", "phone", "pass"]),
            st.builds(t, st.integers(0, 6), st.sampled_from(["k1", "k2"])),
        ),
        "temperature_c": st.none() | st.floats(20, 50),
        "temperature_confirmed_c": st.none() | st.floats(20, 50),
        "health_code": st.sampled_from(["green", "yellow", "red", "none"]),
        "origin": st.none() | st.sampled_from(["370115", "370102", "420106", "CN", "US"]),
    }
)
entries = st.builds(
    lambda category, kind, n, late: Entry("a", "l", f"b:{n}", category, NOW + late, NOW + 5, {kind: (t(n),)}, 1, "b", 1),
    st.sampled_from([*CATEGORIES, "health_pass"]), st.sampled_from(["id", "passport", "phone", "plate", "pass"]), st.integers(0, 6), st.sampled_from([-1, 2]),
)  # fmt: skip


@given(
    st.lists(people, min_size=1, max_size=4),
    st.lists(entries, max_size=8),
    st.none() | st.builds(t, st.integers(0, 6)),
    st.booleans(),
)
def test_an_event_is_clear_only_if_everything_was_checked(
    found: list[dict[str, Any]], some: list[Entry], plate: str | None, stale: bool
) -> None:
    """A clear person has an identity under a known key, no match on a fresh list, and a plausible normal temperature."""
    watchlist = lists(*some)
    decision = decide(scan(*(person(**p) for p in found), plate=plate), watchlist, stale)
    assert decision.outcome in OUTCOMES
    assert (decision.outcome == "clear") == (decision.hits == [])
    if decision.outcome == "clear":
        assert not stale
        for p in found:
            assert {"id", "passport"} & set(p["tokens"])
            value = p["temperature_confirmed_c"] if p["temperature_confirmed_c"] is not None else p["temperature_c"]
            assert value is not None and 30 <= value < 37.3
            assert p["health_code"] in ("green", "none")
            for e in (e for e in some if e.category != "health_pass" and e.from_us <= NOW):
                assert not any(token in e.tokens.get(kind, ()) for kind, token in p["tokens"].items() if kind != "pass")
