"""Case events for tests, written by hand or at random, and the comparison of the views with the oracle."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from ninezero.agents.logic.days import Days
from ninezero.agents.logic.policy.policy import DEFAULT
from ninezero.schemas.case_facts import followup_fact, quarantine_fact
from ninezero.schemas.events import FollowupEvent, QuarantineEvent
from ninezero.schemas.rows import FIRST_WINS
from tests import case_oracle

ZONE = "America/Sao_Paulo"
DAYS = Days(ZONE)
PLACE = {"quarantine": "site_id", "followup": "district"}

Events = list[tuple[int, dict[str, Any]]]


def case(n: int) -> str:
    return f"c.{n:032x}"


def quarantine_event(type_: str, at: str | datetime, site: str = "q1", n: int = 1, **more: Any) -> dict[str, Any]:
    """Returns a quarantine event of case n at a datetime or a local time of Shanghai, such as `04 09:30` (February 2020)."""
    when = at if isinstance(at, datetime) else datetime.fromisoformat(f"2020-02-{at}:00+08:00")
    empty = dict.fromkeys(("slot", "temperature_c", "symptoms", "to_site_id", "term_days", "reason"))
    return {
        "device_id": "d",
        "seq": 0,
        "case_id": case(n),
        "site_id": site,
        "observed_at": when.isoformat(),
        "type": type_,
        **empty,
        **more,
    }


def followup_event(type_: str, at: str | datetime, district: str = "jiyang", n: int = 1, **more: Any) -> dict[str, Any]:
    """Returns a follow-up event of case n; `at` is as for `quarantine_event`."""
    when = at if isinstance(at, datetime) else datetime.fromisoformat(f"2020-02-{at}:00+08:00")
    empty = dict.fromkeys(("source", "batch_id", "visit", "closed", "term_days"))
    return {
        "device_id": "d",
        "seq": 0,
        "case_id": case(n),
        "district": district,
        "observed_at": when.isoformat(),
        "type": type_,
        **empty,
        **more,
    }


def facts(events: Events) -> dict[str, list[Any]]:
    """Returns the facts by case of (arrival in ms, event) pairs, decoded through the wire types."""
    by_case: dict[str, list[Any]] = defaultdict(list)
    for ms, event in events:
        version = FIRST_WINS - ms
        if "site_id" in event:
            fact: Any = quarantine_fact(
                msgspec.convert(event, QuarantineEvent), version, DEFAULT.fever_c, case_oracle.TERM_DAYS
            )
        else:
            fact = followup_fact(msgspec.convert(event, FollowupEvent), version, case_oracle.TERM_DAYS)
        by_case[event["case_id"]].append(fact)
    return by_case


def today() -> date:
    return datetime.now(ZoneInfo(ZONE)).date()


def place_of(event: dict[str, Any]) -> str:
    return "site_id" if "site_id" in event else "district"


def make(rng: random.Random, days_ago: tuple[int, int] = (12, 0)) -> Events:
    """Returns (arrival in ms, event) pairs of random cases, most of them in a plausible order, all before now."""
    events: Events = []
    now = datetime.now(UTC)

    def add(kind: str, n: int, at: datetime, *more: Any) -> None:
        event = (
            quarantine_event(kind, at, *more[:1], n=n, **more[1])
            if more[2]
            else followup_event(kind, at, *more[:1], n=n, **more[1])
        )
        event |= {"device_id": rng.choice("ab"), "seq": len(events)}
        events.append((int(at.timestamp() * 1000) + len(events), event))

    for n in range(1, 13):
        quarantined = n % 2 == 0
        here = rng.choice(["q1", "q2", "q3"])
        begin = now - timedelta(days=rng.randint(*reversed(days_ago)), minutes=rng.randrange(1440) + 2880)
        steps = sorted(rng.sample(range(1, 2880), rng.randrange(2, 14)))
        add(
            "admitted" if quarantined else "opened",
            n,
            begin,
            here,
            {"term_days": rng.choice([None, 1, 2, 3, 5, 14])} | ({} if quarantined else {"batch_id": "b1"}),
            quarantined,
        )
        for step in steps:
            at = begin + timedelta(minutes=step)
            if rng.random() < 0.15:
                add("extended", n, at, here, {"term_days": rng.choice([None, 1, 2, 3, 4, 9, 21])}, quarantined)
            elif not quarantined:
                seen = rng.choice(["seen_well", "seen_symptomatic", "not_reached", "refused"])
                add("visit", n, at, here, {"visit": seen}, False)
            elif rng.random() < 0.15:
                there = rng.choice(["q1", "q2", "q3"])
                add("transferred", n, at, here, {"to_site_id": there}, True)
                here = rng.choice([there, there, "q1"])  # sometimes the next event is from the wrong site
            else:
                measured = {
                    "temperature_c": rng.choice([None, 36.5, 37.2, 37.3]),
                    "symptoms": rng.choice([None, False, True]),
                }
                add("reading", n, at, here, {"slot": rng.choice([None, "am", "pm"]), **measured}, True)
        if rng.random() < 0.6:
            at = begin + timedelta(minutes=2881)
            end = {} if quarantined else {"closed": rng.choice(["completed", "lost", "quarantined"])}
            add("released" if quarantined else "closed", n, at, here, end, quarantined)
    for number in range(5):
        ms, event = rng.choice(events)
        events.append((ms + 10**9 + number, event if rng.random() < 0.5 else event | {place_of(event): "q3"}))
    return events


def view(engine: Any, name: str, *keys: str) -> dict[Any, dict[str, Any]]:
    rows = engine.query(f"SELECT * FROM ninezero.{name}")
    found = {}
    for row in rows:
        key = tuple(date.fromisoformat(row[k]) if k == "day" else row[k] for k in keys)
        found[key] = {
            k: v if isinstance(v, str) and not v.lstrip("-").isdigit() else float(v)
            for k, v in row.items()
            if k not in keys
        }
    assert len(found) == len(rows), "a key occurs twice"
    return found


def check(engine: Any, events: Events) -> None:
    """Checks that the views equal the oracle."""
    zone, now, last = ZoneInfo(ZONE), datetime.now(UTC), today()
    first = case_oracle.first_contents(events)
    for kind, name, oracle in (
        ("quarantine", "quarantine_by_day", case_oracle.quarantine),
        ("followup", "followups_by_day", case_oracle.followups),
    ):
        of_kind = [event for event in first if PLACE[kind] in event]
        rows = oracle(of_kind, zone, last, now) if of_kind else {}
        got = view(engine, name, "day", PLACE[kind])
        beside = ("anomalies", "misplaced")
        plain = {key: {k: v for k, v in row.items() if k not in beside} for key, row in rows.items()}
        assert {key: {k: v for k, v in row.items() if v} for key, row in got.items()} == {
            k: v for k, v in plain.items() if v
        }
        anomalies = view(engine, f"{kind}_anomalies_by_day", "day", PLACE[kind])
        assert {k: v["anomalies"] for k, v in anomalies.items()} == {
            k: r["anomalies"] for k, r in rows.items() if r["anomalies"]
        }
        if kind == "quarantine":
            failing = view(engine, "quarantine_balance", "day", "site_id")
            assert {
                key: (row["present"], row["expected"], row["misplaced"]) for key, row in failing.items()
            } == case_oracle.balance(rows, last)
