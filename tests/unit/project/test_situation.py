"""The board's page and what it says, without a browser: texts, vendored files, issues, and what metrics are read as."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client import generate_latest

from ninezero.agents.board.server import FILES, Board
from ninezero.agents.board.situation import Moment, Part, Situation
from ninezero.agents.board.worker_health import Worker, parse
from ninezero.agents.logic import problems as issues_
from ninezero.agents.logic.policy.rules import OUTCOMES, RULES
from ninezero.agents.logic.problems import SITE_SEVERITY, Seen, issues, site_state
from ninezero.schemas.events import CATEGORIES, BatchCode, CareRule, DeadReason
from ninezero.streams import metrics, settings
from ninezero.streams.clickhouse.engines import ClickHouseError
from ninezero.streams.settings import ROLES

PAGE = Path(__file__).parents[3] / "agents" / "board" / "page"
TEXTS: dict[str, dict[str, str]] = json.loads((PAGE / "texts.json").read_text())
HTML, JS = (PAGE / "index.html").read_text(), (PAGE / "board.js").read_text()

VENDORED = {  # uPlot 1.6.32 (MIT) as the npm package has it
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "uPlot.LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}

KNOWN = dict.fromkeys(Situation(lambda sql: None, "UTC", False).parts, (True, 0.0))  # type: ignore[arg-type,return-value]  # never asked


def seen(**given: Any) -> Seen:
    """Everything checked and well, but for what is given."""
    vitals = {"workers": [], "heartbeat": 3.0, "lag": [], "sink": {"retries": 0}}
    calm: dict[str, Any] = {
        "now": 1000.0, "as_of": 1000.0, "replay": False, "sunset": 1e9, "max_list_age": 300.0, "began": 900.0, "answered": None, "parts": KNOWN,
        "data": dict.fromkeys(KNOWN), "vitals": vitals, "vitals_at": 999.0, "settled": True, "last_passage": 990.0,
    }  # fmt: skip
    return Seen(**(calm | given))


def test_every_text_is_there_in_both_languages_with_the_same_figures() -> None:
    for key, text in TEXTS.items():
        assert set(text) == {"en", "zh"} and all(text.values()), key
        assert set(re.findall(r"\{\w+\}", text["en"])) == set(re.findall(r"\{\w+\}", text["zh"])), key


def test_every_code_that_may_come_has_a_text_and_no_text_is_left_over() -> None:
    said = set(re.findall(r'data-t(?:-label)?="(\w+)"', HTML)) | set(re.findall(r'\bt\("(\w+)"', JS))
    said |= set(re.findall(r'"(\w+)"', " ".join(re.findall(r"\bt\(([^()]*\?[^()]*)\)", JS))))
    said |= {word for word in re.findall(r'"(\w+)"', JS) if word in TEXTS}
    codes = {"rule_list_stale", "role_lists", *OUTCOMES, *CATEGORIES, *get_args(DeadReason), *get_args(CareRule)} | (
        set(RULES) - {"list_stale"}
    )
    codes |= {"count_mismatch", "would_empty", "would_shrink"} & set(get_args(BatchCode))
    codes |= (
        {f"state_{state}" for state in SITE_SEVERITY} | {f"part_{part}" for part in KNOWN} | (set(ROLES) - {"lists"})
    )
    codes |= set(re.findall(r'\(\s*"(?:bad|warn)",\s*"(\w+)"', Path(issues_.__file__).read_text())) | {
        "worker_down",
        "worker_not_ready",
        "down",
        "not_ready",
    }
    assert codes | said <= TEXTS.keys(), (codes | said) - TEXTS.keys()
    assert TEXTS.keys() <= codes | said, TEXTS.keys() - codes - said


def test_the_page_needs_nothing_from_elsewhere_and_has_nothing_inline() -> None:
    for text in (HTML, JS, (PAGE / "board.css").read_text()):
        assert not re.search(r"https?://|//cdn|innerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    assert not re.search(r"<style|\sstyle=|<script(?![^>]*src=)|\son\w+=", HTML)
    assert {*re.findall(r'(?:src|href)="([^"#]+)"', HTML)} <= FILES.keys()


@pytest.mark.parametrize("name", VENDORED)
def test_what_is_vendored_is_what_was_published(name: str) -> None:
    assert hashlib.sha256((PAGE / name).read_bytes()).hexdigest() == VENDORED[name]


def test_nothing_needs_a_look_when_all_was_checked_and_is_well() -> None:
    assert issues(seen()) == []


def test_what_could_not_be_checked_is_never_well() -> None:
    gone = dict.fromkeys(KNOWN, (False, 950.0))
    assert issues(seen(answered=950.0, parts=gone)) == [
        ("bad", "clickhouse_silent", {"since": 950.0, "found_so": False})
    ]
    assert issues(seen(answered=0.0, parts=gone)) == [("bad", "clickhouse_silent", {"since": 900.0, "found_so": True})]
    assert issues(seen(parts=KNOWN | {"gaps": (False, None)})) == [
        ("bad", "part_unknown", {"part": "gaps", "since": 900.0, "found_so": True})
    ]
    assert issues(seen(vitals=None)) == [("bad", "workers_unknown", {"since": 999.0, "found_so": False})]
    for name in ("since", "silent", "gaps"):
        assert (
            site_state(990, 1000, False, 0, {"since": True, "silent": True, "gaps": True} | {name: False}) == "unknown"
        )


def test_lists_that_were_never_heard_of_are_told() -> None:
    never = {"workers": [], "heartbeat": float("inf"), "lag": [], "sink": None}
    assert issues(seen(vitals=never)) == [("bad", "heartbeat_never", {})]


def test_the_state_of_a_site() -> None:
    known = dict.fromkeys(("since", "silent", "gaps"), True)
    assert site_state(990, 1000, False, 0, known) == "ok"
    assert site_state(990, 1000, True, 3, known) == "silent"
    assert site_state(990, 1000, False, 3, known) == "gaps"
    assert site_state(10, 1000, False, 0, known) == "quiet"
    assert site_state(None, 1000, False, 0, known) == "nothing"


def test_each_problem_is_told_with_its_figures_the_worst_first() -> None:
    vitals = {
        "workers": [["screening", "a:1", "down", 5.0, False], ["lists", "a:2", "not_ready", 6.0, True], ["recording", "a:3", "ready", 7.0, True]],
        "heartbeat": 301.0, "lag": [["screening", "checkpoint-scans", 20_001]], "sink": {"retries": 2},
    }  # fmt: skip
    data: dict[str, Any] = dict.fromkeys(KNOWN) | {
        "since": {},
        "rules_hour": {"list_stale": [9, 4]},
        "lists": {
            "applied": [
                ["h", "old", "close_contact", 90_000],
                ["h", "pass", "health_pass", 9e6],
                ["h", "new", "close_contact", 5],
            ],
            "held": [["h", "old", "b-1", "would_empty", 0, 60]],
        },
        "silent": {"s": [["d-1", 31], ["d-2", 45]]},
        "gaps": {"s": 3, "u": 1},
        "quarantine": [["q-1", 10, 10, 0, 4, 2, 1, 2]],
        "followups": [["f", 9, 1, 1, 5, 0, 0, 0, 0]],
        "dead_letters": [["checkpoint-scans", "not_json", 8, 80]],
    }
    found = issues(seen(vitals=vitals, data=data, last_passage=10.0, sunset=1000.0))
    assert {code: values for _, code, values in found} == {
        "order_ended": {"since": 1000.0},
        "worker_down": {"role": "screening", "address": "a:1", "since": 5.0, "found_so": False},
        "worker_not_ready": {"role": "lists", "address": "a:2", "since": 6.0, "found_so": True},
        "heartbeat_old": {"seconds": 301},
        "lag": {"role": "screening", "topic": "checkpoint-scans", "n": 20_001},
        "sink_retries": {"n": 2},
        "list_stale": {"n": 4},
        "batch_held": {"list": "old", "authority": "h", "batch": "b-1", "code": "would_empty", "n": 0, "age": 60},
        "list_old": {"n": 1, "list": "old", "authority": "h", "age": 90_000},
        "no_passage": {"since": 10.0},
        "silent": {"n": 1, "devices": 2},
        "gaps": {"n": 4, "sites": 2},
        "readings_missed": {"n": 3},
        "beds_full": {"site": "q-1"},
        "overdue": {"n": 5},
        "dead_letters": {"n": 8},
    }
    levels = [level for level, _, _ in found]
    assert levels == sorted(levels)


def test_an_order_that_ends_soon_is_told_to_the_minute() -> None:
    assert issues(seen(sunset=1000.0 + 1800)) == [("warn", "order_ends", {"age": 1800.0})]
    assert issues(seen(sunset=1000.0 + 1800, replay=True)) == issues(seen(sunset=1000.0 + 80 * 3600)) == []


def test_a_question_that_is_given_up_is_not_asked_more_often_on_a_new_day() -> None:
    async def too_slow(*_: Any) -> Any:
        raise ClickHouseError("Code: 159. Timeout exceeded")

    part = Part("gaps", 30, too_slow)
    today, tomorrow = Moment(1_700_000_000, "UTC"), Moment(1_700_086_400, "UTC")
    for moment in (today, tomorrow):
        assert part.due(moment)
        asyncio.run(part.refresh(too_slow, moment))
        assert not part.due(moment) and not part.known(0)


def test_what_was_told_of_a_day_is_not_told_of_the_next() -> None:
    answers: list[int] = []

    async def ask(*_: Any) -> Any:
        if not answers:
            raise ClickHouseError("away")
        return answers.pop()

    part, kept = Part("arrivals", 5, ask, daily=True), Part("lists", 5, ask)
    today, tomorrow = Moment(1_700_000_000, "UTC"), Moment(1_700_086_400, "UTC")
    for one in (part, kept):
        answers.append(7)
        for moment in (today, today):  # the second time there is no answer
            asyncio.run(one.refresh(ask, moment))
        assert one.data == 7 and one.failed
        asyncio.run(one.refresh(ask, tomorrow))
    assert part.data is None and part.at and kept.data == 7


def test_a_clickhouse_of_which_nothing_is_due_is_asked_whether_it_answers() -> None:
    asked: list[str] = []

    async def ask(sql: str) -> list[Any]:
        asked.append(sql)
        return []

    situation = Situation(ask, "UTC", False)
    asyncio.run(situation.look())
    assert len(asked) > len(situation.parts) and "SELECT 1 AS n" not in asked
    asked.clear()
    asyncio.run(situation.look())
    assert asked == ["SELECT 1 AS n"]


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """Nothing is asked: a test gives the answers."""
    given = {
        "KAFKA": "127.0.0.1:1",
        "CLICKHOUSE": f"chdb://{tmp_path}/none",
        "ORDER": "O-1",
        "SUNSET": "2100-01-01T00:00:00Z",
    }
    made = settings.load({f"NINEZERO_{name}": value for name, value in given.items()})
    return Board(made, lambda sql: None, [])  # type: ignore[arg-type,return-value]  # never asked


def answered(board: Board, **parts: Any) -> dict[str, list[Any]]:
    """The rows of sites when ClickHouse has just answered with these parts, and with no other."""
    now = board._situation.answered = 1_700_000_000.0
    for name, data in parts.items():
        part = board._situation.parts[name]
        part.data, part.at = data, now
    return {site: row for site, *row in board._sites(now)}


def test_counts_that_nobody_told_are_not_zero(board: Board) -> None:
    assert answered(board, sites=["road-1"])["road-1"] == ["unknown", *[None] * 8]
    told = answered(board, since={"before": {}, "sites": {}}, silent={}, gaps={})["road-1"]
    assert told == ["nothing", 0, 0, 0, 0, 0, None, 0, []]


def test_a_house_with_a_silent_device_is_among_the_sites(board: Board) -> None:
    rows = answered(
        board, sites=["road-1"], since={"before": {}, "sites": {}}, silent={"house-1": [["q-1", 40]]}, gaps={"house-2": 3},
        quarantine=[[f"house-{n}", 9, 1, 8, 0, 0, 0, 0] for n in (1, 2, 3)],
    )  # fmt: skip
    assert {site: row[0] for site, row in rows.items()} == {"house-1": "silent", "house-2": "gaps", "road-1": "nothing"}


def test_metrics_are_read_as_they_are_written() -> None:
    metrics.lag.labels("checkpoint-scans", 3).set(12)
    metrics.alert_latency.observe(0.3)
    found = parse(generate_latest().decode())
    assert found["lag_events", (("partition", "3"), ("topic", "checkpoint-scans"))] == 12
    assert found["alert_latency_seconds_bucket", (("le", "+Inf"),)] >= 1


def test_a_counter_that_began_anew_does_not_shrink() -> None:
    worker = Worker("screening", "a:1")
    worker.take("ready", {("events", ()): 500.0})
    worker.take("ready", {("events", ()): 7.0})
    assert worker.grown("events")[0] == {(): 0.0}
    assert worker.found_so  # nobody saw it become ready
    worker.take("down", None)
    assert not worker.found_so
    assert worker.grown("events") == ({}, 0.0) and worker.state == "down"
