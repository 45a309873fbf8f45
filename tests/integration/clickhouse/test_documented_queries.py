"""Every SQL example of the pages for analysts runs, and gives the result that the page shows, on the embedded ClickHouse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from faust.types import TP

from ninezero.agents.logic.days import Days
from ninezero.agents.recording import publishing
from ninezero.agents.recording.case_tables import record_cases
from ninezero.schemas.row_block import Block
from ninezero.schemas.rows import (
    CASE_FACTS,
    FIRST_WINS,
    TABLES,
    AuditRow,
    DeadLetterRow,
    DeviceEvent,
    DispositionFact,
    FollowupFactRow,
    PolicyUseRow,
    PushReceiptRow,
    QuarantineFactRow,
    ScreeningFact,
    SiteRow,
)
from ninezero.streams import clickhouse
from ninezero.streams.clickhouse import Engine, check_read_only, progress
from ninezero.streams.clickhouse.progress import Progress

DOCS = Path(__file__).parents[3] / "docs"
PAGES = ("analysts.md", "policy.md")
ZONE = "Asia/Shanghai"
FIRST, SECOND = date(2026, 3, 1), date(2026, 3, 2)
EXAMPLE = re.compile(r"```sql\n(.*?)\n```\n\n((?:\|[^\n]*\n)+)?", re.S)


class Example(NamedTuple):
    """A query of a page and the rows that the page shows below it; None if it shows none."""

    sql: str
    columns: list[str] | None
    rows: list[list[str]] | None


def examples() -> list[Example]:
    found = []
    for match in EXAMPLE.finditer("".join((DOCS / page).read_text() for page in PAGES)):
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in (match[2] or "").splitlines()]
        found.append(Example(match[1], lines[0] if lines else None, lines[2:] if lines else None))
    return found


class Passages(NamedTuple):
    """Passages of one day at one site with one outcome, one person each."""

    day: date
    site_id: str
    kind: str
    outcome: str
    reasons: list[str]
    count: int
    direction: str = "in"
    stage: str = ""


SCREENED = [
    Passages(FIRST, "road-01", "vehicle", "clear", [], 412),
    Passages(FIRST, "road-01", "vehicle", "refer", ["fever"], 4),
    Passages(FIRST, "road-01", "vehicle", "refer", ["close_contact"], 3),
    Passages(FIRST, "road-01", "vehicle", "quarantine", ["quarantine_order"], 1),
    Passages(FIRST, "road-01", "vehicle", "hold", ["no_identity"], 2),
    Passages(FIRST, "road-01", "pedestrian", "clear", [], 58),
    Passages(FIRST, "road-02", "vehicle", "clear", [], 96, "out"),
    Passages(FIRST, "road-02", "vehicle", "turn_back", ["outside_district_without_pass"], 12),
    Passages(SECOND, "road-01", "vehicle", "clear", [], 380),
    Passages(SECOND, "road-01", "vehicle", "refer", ["fever"], 2),
    Passages(FIRST, "station-1", "rail", "clear", [], 31, stage="registered"),
    Passages(FIRST, "station-1", "rail", "clear", [], 30, stage="delivered"),
]


def at(day: date, hour: int, minute: int = 0) -> int:
    """Unix time in s of a local time in Shanghai."""
    return int(datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC).timestamp()) - 8 * 3600


def screening_facts() -> list[ScreeningFact]:
    found: list[ScreeningFact] = []
    for some in SCREENED:
        for _ in range(some.count):
            seq = len(found)
            minute = at(some.day, 9, seq % 3)
            found.append(
                ScreeningFact(some.day, minute, some.site_id, f"{some.site_id}-a", seq, some.kind, some.direction, some.stage, 1,
                              some.outcome, 0, some.reasons, "spring@1", ["spring@2"],
                              ["clear" if some.outcome == "turn_back" else some.outcome], FIRST_WINS - minute * 1000)
            )  # fmt: skip
    return found


def device_events() -> list[DeviceEvent]:
    """One device with a gap of three numbers on the second day, and one number with two contents."""
    events = [DeviceEvent(FIRST, "road-01-a", n, "road-01", n, 0, FIRST_WINS - n) for n in range(480)]
    events += [
        DeviceEvent(SECOND, "road-01-a", n, "road-01", n, int(n == 500), FIRST_WINS - n) for n in range(483, 865)
    ]
    return [*events, DeviceEvent(SECOND, "road-01-a", 600, "road-01", 1, 0, FIRST_WINS - 900)]


def dispositions() -> list[DispositionFact]:
    referred = [fact for fact in screening_facts() if fact.outcome == "refer" and fact.day == FIRST]
    actions = [("referred", "")] * 5 + [("released", "remeasured"), ("released", "document_shown")]
    return [
        DispositionFact(FIRST, "road-01-b", n, "road-01", fact.device_id, fact.seq, action, override, FIRST_WINS - n)
        for n, (fact, (action, override)) in enumerate(zip(referred, actions, strict=True))
    ]


def quarantine_facts() -> list[QuarantineFactRow]:
    """Two cases: one is released on the second day, one misses its morning reading and is then released."""
    events = [
        (1, FIRST, 9, "admitted", "", 0, ""),
        (1, FIRST, 15, "reading", "pm", 0, ""),
        (1, SECOND, 8, "reading", "am", 1, ""),
        (1, SECOND, 16, "released", "", 0, "completed"),
        (2, FIRST, 10, "admitted", "", 0, ""),
        (2, FIRST, 15, "reading", "pm", 0, ""),
        (2, SECOND, 16, "released", "", 0, "negative"),
    ]
    return [
        QuarantineFactRow(f"c.{case:032x}", at(day, hour) * 1_000_000, "quarantine-1-a", n, "quarantine-1", type_, slot, "", bool(fever), False,
                          reason, 14, FIRST_WINS - n)
        for n, (case, day, hour, type_, slot, fever, reason) in enumerate(events)
    ]  # fmt: skip


def followup_facts() -> list[FollowupFactRow]:
    """One case that came from a push, is visited after 30 hours and then closed."""
    events = [
        (FIRST, 9, "opened", "", ""),
        (SECOND, 14, "visit", "seen_well", ""),
        (SECOND, 18, "closed", "", "completed"),
    ]
    return [
        FollowupFactRow(f"c.{9:032x}", at(day, hour) * 1_000_000, "jiyang-a", n, "jiyang", type_, "push" if n == 0 else "",
                        "contacts-1" if n == 0 else "", visit, closed, 14, FIRST_WINS - n)
        for n, (day, hour, type_, visit, closed) in enumerate(events)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The example database of the page."""
    connection = clickhouse.connect(f"chdb://{tmp_path_factory.mktemp('chdb')}")
    clickhouse.migrate(connection, ZONE)
    issued = at(FIRST, 8)
    rows: dict[str, list[Any]] = {
        "site_register": [
            SiteRow("road-01", "county road", "370115", 0, 1),
            SiteRow("road-02", "motorway", "370115", 0, 1),
            SiteRow("station-1", "rail", "370115", 0, 1),
            SiteRow("quarantine-1", "quarantine", "370115", 40, 1),
        ],
        "policy_uses": [
            PolicyUseRow("spring", 1, 1, "active", at(date(2026, 2, 28), 0) * 1000, None, "mei", "jun", 1),
            PolicyUseRow("spring", 2, 1, "shadow", at(FIRST, 0) * 1000, None, "mei", "jun", 1),
            PolicyUseRow("spring", 3, 1, "proposed", None, None, "mei", "", 1),
        ],
        "screening_facts": screening_facts(),
        "device_events": device_events(),
        "disposition_facts": dispositions(),
        "quarantine_facts": quarantine_facts(),
        "followup_facts": followup_facts(),
        "push_receipts": [
            PushReceiptRow("contacts-1", "cdc-jiyang", "contacts", "close_contact", "delta", "applied", "", 40, 38, 1, 1, 0, issued, 1)
        ],
        "push_audit": [AuditRow(issued, "wang", "push", "contacts-1", "cdc-jiyang", "contacts", 40)],
        "dead_letter_facts": [DeadLetterRow(at(FIRST, 9), "checkpoint-scans", 0, n, f"{n:064x}", "schema_invalid", n) for n in range(3)],
    }  # fmt: skip
    until_ms = (at(SECOND, 23, 59) + 58) * 1000
    rows["recorder_progress"] = [
        progress.row(TP(topic, 0), "id", Progress(next_offset=1, recorded_until_ms=until_ms + n, lag=lag))
        for n, (topic, lag) in enumerate((("screening-decisions", 12), ("dispositions", 0)))
    ]
    for table, some in rows.items():
        if table not in CASE_FACTS:
            connection.insert(f"ninezero_data.{table}", TABLES[table]._fields, some)
    written = {table: Block(table, rows[table]) for table in ("quarantine_facts", "followup_facts")}
    record_cases(connection, written, Days(ZONE))
    publishing.publish(connection, SECOND, 11)
    yield connection
    connection.close()


def test_the_page_has_examples_with_results() -> None:
    assert sum(example.rows is not None for example in examples()) >= 10


@pytest.mark.parametrize("example", examples(), ids=lambda example: " ".join(example.sql.split())[:60])
def test_a_documented_query_gives_the_documented_result(engine: Engine, example: Example) -> None:
    check_read_only(example.sql)
    rows = engine.query(example.sql)
    assert rows, "an example without a result shows nothing"
    if example.rows is not None:
        assert list(rows[0]) == example.columns
        assert [["NULL" if cell is None else str(cell) for cell in row.values()] for row in rows] == example.rows
