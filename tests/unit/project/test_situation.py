"""The board without a browser: texts, vendored files, problems, states of sites and the metrics that it reads."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client import generate_latest

from ninezero.agents.board.page_files import FILES
from ninezero.agents.board.queries.moment import Moment
from ninezero.agents.board.queries.screening import COUNTS
from ninezero.agents.board.server import Board
from ninezero.agents.board.situation import Situation, SituationPart
from ninezero.agents.board.snapshot import SITE_PARTS
from ninezero.agents.board.worker_health import Worker, WorkerHealth, parse
from ninezero.agents.logic.policy.rules import OUTCOMES, RULES
from ninezero.agents.logic.problems import (
    HEARTBEAT_AHEAD_SECONDS,
    SITE_STATES,
    Observation,
    ProblemCode,
    problems,
    site_state,
)
from ninezero.agents.logic.situation_records import (
    AppliedList,
    ArrivalCounts,
    Checked,
    DeadLetterCounts,
    DeviceConflicts,
    DistrictFollowups,
    HeldBatch,
    Lag,
    MissingList,
    QuarantineSite,
    SilentDevice,
    WorkerState,
)
from ninezero.schemas.events import CATEGORIES, CareRule, DeadReason, HoldCode
from ninezero.schemas.times import MAX_AHEAD_SECONDS
from ninezero.streams import metrics, settings
from ninezero.streams.clickhouse import ClickHouseError
from ninezero.streams.settings import ROLES

PAGE = Path(__file__).parents[3] / "agents" / "board" / "page"
TEXTS: dict[str, dict[str, str]] = json.loads((PAGE / "texts.json").read_text())
HTML = (PAGE / "index.html").read_text()
JS = "".join((PAGE / f"{name}.js").read_text() for name in ("board", "charts", "tables", "texts", "tips"))

VENDORED = {  # uPlot 1.6.32 (MIT), from its npm package
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "uPlot.LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}

SITE_KNOWN = dict.fromkeys(SITE_PARTS, True)

KNOWN = dict.fromkeys(Situation(lambda sql: None, "UTC", False).parts, Checked(True, 0.0))  # type: ignore[arg-type,return-value]  # never asked


def observed(**changes: Any) -> Observation:
    """An observation without problems, with these changes."""
    workers = {
        "workers": [],
        "heartbeat": 3.0,
        "heartbeat_ahead": 0.0,
        "lag": [],
        "sink": {"retries": 0},
        "overdue": {"retention": 1.0},
        "suppressed": {},
        "missing": [],
    }
    calm: dict[str, Any] = {
        "now": 1000.0, "as_of": 1000.0, "replay": False, "sunset": 1e9, "max_list_age": 300.0, "watched_since": 900.0, "clickhouse_silent_since": None, "parts": KNOWN,
        "data": dict.fromkeys(KNOWN), "workers": workers, "workers_at": 999.0, "settled": True, "last_passage": 990.0,
    }  # fmt: skip
    return Observation(**(calm | changes))


def test_every_text_exists_in_both_languages_with_the_same_figures() -> None:
    for key, text in TEXTS.items():
        assert set(text) == {"en", "zh"} and all(text.values()), key
        assert set(re.findall(r"\{\w+\}", text["en"])) == set(re.findall(r"\{\w+\}", text["zh"])), key
        counted = re.findall(r"\{(\w+)\|[^|}]*\|[^}]*\}", text["en"])
        assert {f"{{{name}}}" for name in counted} <= set(re.findall(r"\{\w+\}", text["en"])), key


def test_every_problem_says_what_to_do_and_every_explanation_is_of_a_term() -> None:
    assert {key.removeprefix("do_") for key in TEXTS if key.startswith("do_")} == {
        *get_args(ProblemCode),
        "connection_lost",
    }
    assert {key.removeprefix("tip_") for key in TEXTS if key.startswith("tip_")} <= TEXTS.keys()


def test_every_part_belongs_to_a_panel() -> None:
    stamped = {part for stamp in re.findall(r'data-stamp="([^"]+)"', HTML) for part in stamp.split()}
    assert KNOWN.keys() - stamped == {"arrivals", "transfers"} - stamped  # these state their age beside their figures


def test_every_code_has_a_text_and_every_text_is_used() -> None:
    used = set(re.findall(r'data-t(?:-label)?="(\w+)"', HTML)) | set(re.findall(r'\bt\("(\w+)"', JS))
    used |= set(re.findall(r'"(\w+)"', " ".join(re.findall(r"\bt\(([^()]*\?[^()]*)\)", JS))))
    used |= {word for word in re.findall(r'"(\w+)"', JS) if word in TEXTS}
    codes = {"rule_list_stale", "role_lists", *OUTCOMES, *CATEGORIES, *get_args(DeadReason), *get_args(CareRule)} | (
        set(RULES) - {"list_stale"}
    )
    codes |= set(get_args(HoldCode))
    codes |= {f"state_{state}" for state in SITE_STATES} | {f"part_{part}" for part in KNOWN} | (set(ROLES) - {"lists"})
    codes |= {*get_args(ProblemCode), "down", "not_ready"}
    codes |= {key for key in TEXTS if key.startswith(("do_", "tip_"))}
    assert codes | used <= TEXTS.keys(), (codes | used) - TEXTS.keys()
    assert TEXTS.keys() <= codes | used, TEXTS.keys() - codes - used


def test_the_page_loads_nothing_from_other_servers_and_has_no_inline_code() -> None:
    for text in (HTML, JS, (PAGE / "board.css").read_text()):
        assert not re.search(r"https?://|//cdn|innerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    assert not re.search(r"<style|\sstyle=|<script(?![^>]*src=)|\son\w+=", HTML)
    assert {*re.findall(r'(?:src|href)="([^"#]+)"', HTML)} <= FILES.keys()


@pytest.mark.parametrize("name", VENDORED)
def test_vendored_files_are_unchanged(name: str) -> None:
    assert hashlib.sha256((PAGE / name).read_bytes()).hexdigest() == VENDORED[name]


def test_there_is_no_problem_when_everything_was_checked_and_is_well() -> None:
    assert problems(observed()) == []


def test_what_could_not_be_checked_is_a_problem() -> None:
    unknown = dict.fromkeys(KNOWN, Checked(False, 950.0))
    assert problems(observed(clickhouse_silent_since=950.0, parts=unknown)) == [
        ("bad", "clickhouse_silent", {"since": 950.0, "or_before": False})
    ]
    assert problems(observed(clickhouse_silent_since=0.0, parts=unknown)) == [
        ("bad", "clickhouse_silent", {"since": 900.0, "or_before": True})
    ]
    assert problems(observed(parts=KNOWN | {"gaps": Checked(False, None)})) == [
        ("bad", "part_unknown", {"part": "gaps", "since": 900.0, "or_before": True})
    ]
    assert problems(observed(workers=None)) == [("bad", "workers_unknown", {"since": 999.0, "or_before": False})]
    for name in SITE_PARTS:
        assert site_state(990, 1000, SITE_KNOWN | {name: False}) == "unknown"


def test_a_heartbeat_that_never_came_is_a_problem() -> None:
    never = {
        "workers": [],
        "heartbeat": float("inf"),
        "heartbeat_ahead": 0.0,
        "lag": [],
        "sink": None,
        "overdue": None,
        "suppressed": {},
        "missing": [],
    }
    assert problems(observed(workers=never)) == [("bad", "heartbeat_never", {})]


def test_a_heartbeat_in_the_future_is_a_problem_of_its_own() -> None:
    """A worker of the release before sets no such metric."""
    workers = {
        "workers": [],
        "heartbeat": 3.0,
        "lag": [],
        "sink": None,
        "overdue": None,
        "suppressed": {},
        "missing": [],
    }
    assert problems(observed(workers=workers | {"heartbeat_ahead": 3600.0})) == [
        ("bad", "heartbeat_ahead", {"seconds": 3600})
    ]
    assert HEARTBEAT_AHEAD_SECONDS == MAX_AHEAD_SECONDS
    for harmless in (0.0, 59.0, None):
        assert problems(observed(workers=workers | {"heartbeat_ahead": harmless})) == []


def test_the_state_of_a_site_is_its_most_severe_condition() -> None:
    assert site_state(990, 1000, SITE_KNOWN) == "ok"
    assert site_state(990, 1000, SITE_KNOWN, silent=True, conflicts=2, missing=3) == "silent"
    assert site_state(990, 1000, SITE_KNOWN, conflicts=2, missing=3) == "conflicts"
    assert site_state(990, 1000, SITE_KNOWN, missing=3, arrived=True) == "gaps"
    assert site_state(10, 1000, SITE_KNOWN, arrived=True) == "quiet"
    assert site_state(None, 1000, SITE_KNOWN, arrived=True) == "arrivals"
    assert site_state(None, 1000, SITE_KNOWN) == "nothing"


def test_each_problem_has_its_figures_and_the_bad_ones_come_first() -> None:
    workers = {
        "workers": [WorkerState("screening", "a:1", "down", 5.0, False), WorkerState("lists", "a:2", "not_ready", 6.0, True), WorkerState("recording", "a:3", "ready", 7.0, True)],
        "heartbeat": 301.0, "heartbeat_ahead": None, "lag": [Lag("screening", "checkpoint-scans", 20_001)], "sink": {"retries": 2},
        "overdue": {"retention": 2.0, "case_deletion": 3.0, "publishing": 5.0}, "suppressed": {"loss_check": 1, "retention": 4},
        "missing": [MissingList("h", "gone"), MissingList("i", "gone")],
    }  # fmt: skip
    data: dict[str, Any] = dict.fromkeys(KNOWN) | {
        "recent_today": {},
        "rules_hour": {"list_stale": [9, 4]},
        "lists": {
            "applied": [
                AppliedList("h", "old", "close_contact", 90_000),
                AppliedList("h", "pass", "health_pass", 9_000_000),
                AppliedList("h", "new", "close_contact", 5),
            ],
            "held": [HeldBatch("h", "old", "b-1", "would_empty", 0, 60)],
        },
        "silent": {"s": [SilentDevice("d-1", 31), SilentDevice("d-2", 45)]},
        "gaps": {"s": 3, "u": 1},
        "conflicts": [DeviceConflicts("d-3", "s", 5), DeviceConflicts("d-4", "t", 1), DeviceConflicts("d-3", "v", 1)],
        "quarantine": [QuarantineSite("q-1", 10, 10, 0, 4, 2, 1, 2, 3, 4)],
        "followups": [DistrictFollowups("f", open=9, visits=1, reached=1, overdue=5, term_exceeded=2)],
        "dead_letters": [DeadLetterCounts("checkpoint-scans", "not_json", 8, 80)],
    }
    found = problems(observed(workers=workers, data=data, last_passage=10.0, sunset=1000.0))
    assert {code: values for _, code, values in found} == {
        "order_ended": {"since": 1000.0},
        "worker_down": {"role": "screening", "address": "a:1", "since": 5.0, "or_before": False},
        "worker_not_ready": {"role": "lists", "address": "a:2", "since": 6.0, "or_before": True},
        "heartbeat_old": {"seconds": 301},
        "lag": {"role": "screening", "topic": "checkpoint-scans", "n": 20_001},
        "sink_retries": {"n": 2},
        "facts_kept_too_long": {"n": 2},
        "cases_kept_too_long": {"n": 3},
        "days_unpublished": {"n": 5},
        "tasks_failing": {"tasks": "loss_check, retention"},
        "list_missing": {"n": 2, "list": "gone", "authority": "h"},
        "list_stale": {"n": 4},
        "batch_held": {"list": "old", "authority": "h", "batch": "b-1", "code": "would_empty", "n": 0, "age": 60},
        "list_old": {"n": 1, "list": "old", "authority": "h", "age": 90_000},
        "no_passage": {"since": 10.0},
        "silent": {"n": 1, "devices": 2},
        "gaps": {"n": 4, "sites": 2},
        "conflicts": {"n": 7, "devices": 2, "device": "d-3", "site": "s"},
        "readings_missed": {"n": 3},
        "beds_full": {"site": "q-1"},
        "overdue": {"n": 5},
        "terms_exceeded": {"n": 6},
        "dead_letters": {"n": 8},
    }
    levels = [level for level, _, _ in found]
    assert levels == sorted(levels)


def test_an_order_that_ends_within_three_days_is_a_problem_except_in_a_replay() -> None:
    assert problems(observed(sunset=1000.0 + 1800)) == [("warn", "order_ends", {"age": 1800.0})]
    assert problems(observed(sunset=1000.0 + 1800, replay=True)) == problems(observed(sunset=1000.0 + 80 * 3600)) == []


def test_a_query_that_exceeds_its_limits_is_made_once_on_a_new_day() -> None:
    async def too_slow(*_: Any) -> Any:
        raise ClickHouseError("Code: 159. Timeout exceeded")

    part = SituationPart("gaps", 30, too_slow)
    today, tomorrow = Moment(1_700_000_000, "UTC"), Moment(1_700_086_400, "UTC")
    for moment in (today, tomorrow):
        assert part.due(moment)
        asyncio.run(part.refresh(too_slow, moment))
        assert not part.due(moment) and not part.known(0)


def test_data_of_a_day_is_dropped_when_the_day_is_over() -> None:
    answers: list[int] = []

    async def ask(*_: Any) -> Any:
        if not answers:
            raise ClickHouseError("away")
        return answers.pop()

    part, kept = SituationPart("arrivals", 5, ask, daily=True), SituationPart("lists", 5, ask)
    today, tomorrow = Moment(1_700_000_000, "UTC"), Moment(1_700_086_400, "UTC")
    for one in (part, kept):
        answers.append(7)
        for moment in (today, today):  # the second query fails
            asyncio.run(one.refresh(ask, moment))
        assert one.data == 7 and one.failed
        asyncio.run(one.refresh(ask, tomorrow))
    assert part.data is None and part.at and kept.data == 7


def test_clickhouse_is_asked_whether_it_answers_when_no_part_is_due() -> None:
    asked: list[str] = []

    async def ask(sql: str) -> list[Any]:
        asked.append(sql)
        return []

    situation = Situation(ask, "UTC", False)
    asyncio.run(situation.refresh())
    assert len(asked) > len(situation.parts) and "SELECT 1 AS n" not in asked
    asked.clear()
    asyncio.run(situation.refresh())
    assert asked == ["SELECT 1 AS n"]


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A board that asks nobody; a test sets the answers."""
    given = {
        "KAFKA": "127.0.0.1:1",
        "CLICKHOUSE": f"chdb://{tmp_path}/none",
        "ORDER": "O-1",
        "SUNSET": "2100-01-01T00:00:00Z",
    }
    loaded = settings.load({f"NINEZERO_{name}": value for name, value in given.items()})
    return Board(loaded, lambda sql: None, [], lambda at: None)  # type: ignore[arg-type,return-value]  # never asked


def answered(board: Board, **parts: Any) -> dict[str, list[Any]]:
    """The sites when ClickHouse has just answered with these parts and no others."""
    now = board.situation.answered = 1_700_000_000.0
    for name, data in parts.items():
        part = board.situation.parts[name]
        part.data, part.at = data, now
    return {site: row for site, *row in board.snapshots.sites(now)}


def test_an_unknown_count_is_not_zero(board: Board) -> None:
    assert answered(board, sites=["road-1"])["road-1"] == ["unknown", *[None] * 10]
    known = answered(board, recent_today={"settled": {}, "recent": {}}, silent={}, gaps={}, arrivals={}, conflicts=[])[
        "road-1"
    ]
    assert known == ["nothing", 0, 0, 0, 0, 0, None, 0, [], None, 0]


def test_faulty_sites_come_first_and_then_the_busiest(board: Board) -> None:
    counts = dict.fromkeys((*COUNTS, "last"), 0)
    now = {"last": 1_700_000_000}
    board.situation.moment = Moment(1_700_000_000, "UTC")
    rows = answered(
        board,
        sites=["empty-1"],
        recent_today={"settled": {"quiet-1": counts | {"passages": 8}, "road-1": counts | now | {"passages": 900}, "gap-1": counts | now | {"passages": 2}}, "recent": {}},
        silent={"silent-1": [["s-1", 40]]}, gaps={"gap-1": 3, "twice-1": 1}, arrivals={"station-1": ArrivalCounts(29, 20, 18)},
        conflicts=[DeviceConflicts("t-1", "twice-1", 4), DeviceConflicts("t-2", "twice-1", 1)],
    )  # fmt: skip
    assert [(site, row[0]) for site, row in rows.items()] == [
        ("silent-1", "silent"), ("twice-1", "conflicts"), ("gap-1", "gaps"), ("road-1", "ok"), ("station-1", "arrivals"), ("quiet-1", "quiet"), ("empty-1", "nothing"),
    ]  # fmt: skip
    assert rows["twice-1"][10] == 5
    assert rows["station-1"][9] == (29, 20, 18) and rows["road-1"][9] is None
    assert board.snapshots.snapshot(1_700_000_000.0)["arrivals"] == (29, 20, 18)


def test_a_quarantine_site_with_a_silent_device_is_among_the_sites(board: Board) -> None:
    rows = answered(
        board, sites=["road-1"], recent_today={"settled": {}, "recent": {}}, silent={"quarantine-1": [["q-1", 40]]}, gaps={"quarantine-2": 3}, arrivals={}, conflicts=[],
        quarantine=[[f"quarantine-{n}", 9, 1, 8, 0, 0, 0, 0] for n in (1, 2, 3)],
    )  # fmt: skip
    assert {site: row[0] for site, row in rows.items()} == {
        "quarantine-1": "silent",
        "quarantine-2": "gaps",
        "road-1": "nothing",
    }


def test_metrics_are_parsed_as_prometheus_client_writes_them() -> None:
    metrics.lag.labels("checkpoint-scans", 3).set(12)
    metrics.alert_latency.observe(0.3)
    found = parse(generate_latest().decode())
    assert found["lag_events", (("partition", "3"), ("topic", "checkpoint-scans"))] == 12
    assert found["alert_latency_seconds_bucket", (("le", "+Inf"),)] >= 1


def test_a_counter_that_was_reset_does_not_shrink() -> None:
    worker = Worker("screening", "a:1")
    worker.record("ready", {("events", ()): 500.0})
    worker.record("ready", {("events", ()): 7.0})
    assert worker.growth("events")[0] == {(): 0.0}
    assert worker.or_before  # it was ready when it was first asked
    worker.record("down", None)
    assert not worker.or_before
    assert worker.growth("events") == ({}, 0.0) and worker.state == "down"


def test_the_time_until_which_counts_are_complete_is_unknown_until_a_worker_states_it() -> None:
    health, worker = WorkerHealth([]), Worker("recording", "127.0.0.1:6069")
    health.workers = {("recording", worker.address): worker}
    for text, until in (("NaN", None), ("1.7e+09", 1.7e9)):
        worker.record("ready", parse(f"ninezero_recorded_until_seconds {text}\n"))
        assert health.summary()["sink"]["until"] == until


def test_the_lists_that_any_worker_lacks_are_known_by_their_authorities() -> None:
    health, lacking, ready = WorkerHealth([]), Worker("screening", "a:1"), Worker("screening", "b:1")
    health.workers = {(one.role, one.address): one for one in (lacking, ready)}
    for name in ("contacts", "cases"):
        metrics.watchlist_missing.labels("cdc", name).set(1)
    lacking.record("not_ready", parse(generate_latest(metrics.watchlist_missing).decode()))
    metrics.watchlist_missing.clear()
    ready.record("ready", parse(generate_latest(metrics.watchlist_missing).decode()))
    assert health.summary()["missing"] == [MissingList("cdc", "cases"), MissingList("cdc", "contacts")]
    lacking.record("ready", parse(generate_latest(metrics.watchlist_missing).decode()))
    assert health.summary()["missing"] == []
