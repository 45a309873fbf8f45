"""The situation board in a real browser, over a real deployment: its figures, what it shows as unknown, and its access rules.

`make test` runs a part of it, `make browser` all.
"""

from __future__ import annotations

import http.client
import re
import shutil
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from axe_playwright_python.sync_playwright import Axe
from kafka import KafkaProducer
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from ninezero.streams import clickhouse
from ninezero.streams.local_kafka.broker import Broker
from tests.engines.clickhouse_server import ClickHouseServer, start_server
from tests.support import System, wait_for

HOSTILE = '<img src=x onerror="document.title=1">'
PATIENCE = 60_000
"""Milliseconds until an expectation fails."""


def token(n: int) -> str:
    return f"k1.{n:032x}"


class Deployment(System):
    """All roles on a ClickHouse server, and a day at four sites."""

    def __init__(self, kafka: str, server: ClickHouseServer, folder: Path) -> None:
        # In this time zone it is one in the afternoon: midnight is far, and the slot of the morning is over.
        east = 13 - datetime.now(UTC).hour
        super().__init__(kafka, server.url, folder, NINEZERO_TIMEZONE=f"Etc/GMT{-east:+d}")
        self.server = server
        self.board = f"http://127.0.0.1:{self.http + 3}/"
        self._producer = KafkaProducer(bootstrap_servers=kafka, acks="all")
        self.seq: dict[str, int] = {}

    def send(self, topic: str, value: bytes, wait: bool = True) -> None:
        sent = self._producer.send(self.prefix + topic, key=b"k", value=value)
        if wait:
            sent.get(30)

    def scan(self, site: str, person: int = 1000, temperature: float = 36.5, skip: int = 0) -> None:
        """Sends a passage of now, after `skip` sequence numbers that are lost."""
        number = self.seq[site] = self.seq.get(site, -1) + 1 + skip
        people = [
            {
                "role": "pedestrian",
                "tokens": {"id": token(person)},
                "temperature_c": temperature,
                "temperature_confirmed_c": temperature,
            }
        ]
        self.send("checkpoint-scans", orjson.dumps(
            {"device_id": f"{site}-a", "seq": number, "site_id": site, "observed_at": datetime.now(UTC), "kind": "pedestrian", "people": people}
        ))  # fmt: skip

    def push(
        self,
        name: str,
        mode: str,
        sequence: int,
        lines: list[dict[str, Any]],
        category: str = "confirmed_case",
        at: datetime | None = None,
    ) -> None:
        now = at or datetime.now(UTC)
        window = {"valid_from": now - timedelta(1), "valid_to": now + timedelta(5)}
        self.send("watchlist-pushes", orjson.dumps(
            {"batch_id": f"{name}-{sequence}", "authority": "health", "pushed_by": "desk", "list": name, "category": category, "mode": mode,
             "sequence": sequence, "issued_at": now, "legal_basis": "order-1", "purpose": "epidemic_control", "declared_lines": len(lines),
             "lines": [{"line": n, **line, **window} for n, line in enumerate(lines, 1)]}
        ))  # fmt: skip

    def day(self) -> None:
        """Sends the events that the tests expect."""
        self.push("cases", "delta", 1, [{"tokens": {"id": [token(1)]}}])
        wait_for(lambda: self.ready("screening"), 60, "screening")
        wait_for(lambda: self.query("SELECT count() AS n FROM ninezero.push_batches")[0]["n"], 60, "the receipt")
        time.sleep(2)  # a batch matches at most two seconds after its receipt
        time.sleep(2 if datetime.now(UTC).second >= 58 else 0)  # so that all scans are in one minute
        self.push("cases", "full", 2, [])
        for _ in range(7):
            self.scan("road-01")
        self.scan("road-02", person=1)
        self.scan("road-02", skip=3)
        self.scan("road-02", temperature=38.2)
        for number, stage in enumerate(("boarded", "boarded", "delivered")):
            self.send("station-arrivals", orjson.dumps(
                {"device_id": "station-1-a", "seq": number, "site_id": "station-1", "observed_at": datetime.now(UTC), "mode": "coach", "service": "C7",
                 "stage": stage, "transfer_id": "t-1", "destination": None, "person": {"role": "traveller", "tokens": {"id": token(1000)}, "temperature_c": 36.5}}
            ))  # fmt: skip
        self.send("checkpoint-scans", b"{")
        admitted = {"device_id": "q", "seq": 0, "case_id": "c." + "1" * 32, "site_id": "quarantine-1", "observed_at": datetime.now(UTC) - timedelta(days=2),
                    "type": "admitted", "slot": None, "temperature_c": None, "symptoms": None, "to_site_id": None, "term_days": 14, "reason": None}  # fmt: skip
        self.send("quarantine-events", orjson.dumps(admitted))
        opened = {"device_id": "f", "seq": 0, "case_id": "c." + "2" * 32, "district": "north", "observed_at": datetime.now(UTC) - timedelta(days=3),
                  "type": "opened", "source": "checkpoint", "batch_id": None, "visit": None, "closed": None, "term_days": 3}  # fmt: skip
        self.send("followup-events", orjson.dumps(opened))
        ill = opened | {
            "seq": 1,
            "type": "visit",
            "source": None,
            "visit": "seen_symptomatic",
            "observed_at": datetime.now(UTC),
        }
        self.send("followup-events", orjson.dumps(ill))
        wait_for(
            lambda: self.query("SELECT sum(passages) AS n FROM ninezero.screening_by_day")[0]["n"] == 10,
            60,
            "ten passages",
        )
        wait_for(
            lambda: self.query("SELECT count() AS n FROM ninezero.followups_by_day")[0]["n"], 60, "the case at home"
        )


@pytest.fixture(scope="module")
def deployment(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    server = start_server(tmp_path_factory.mktemp("clickhouse"))
    deployed = Deployment(kafka.bootstrap, server, tmp_path_factory.mktemp("board"))
    deployed.prepare()
    sites = deployed.folder / "sites.csv"
    sites.write_text(
        "site_id,kind,division,capacity\nroad-01,road,370115,0\nroad-02,road,370115,0\nroad-03,road,370115,0\nquarantine-1,quarantine,370115,1\n"
    )
    assert deployed.run("sites", "load", str(sites)).returncode == 0
    engine = clickhouse.connect(server.url)
    engine.insert(
        "ninezero_data.site_register",
        ("site_id", "kind", "division", "capacity", "version"),
        [(HOSTILE, "road", "370115", 0, 1)],
    )
    version = 2**43 - int((time.time() - 2400) * 1000)
    columns = ("day", "device_id", "seq", "site_id", "digest", "late", "version")
    engine.insert(
        "ninezero_data.device_events", columns, [(datetime.now(UTC).date(), "road-03-a", 0, "road-03", 1, 0, version)]
    )
    engine.close()
    deployed.start("screening", "lists", "ledgers", "recording")
    try:
        deployed.day()
        yield deployed
    finally:
        deployed.stop()
        server.close()
    assert "Traceback" not in deployed.logs()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "chromium is missing: apt-get install chromium (make engines does it)"
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, deployment: Deployment) -> Iterator[Page]:
    """The board at a desk, in English; an error or dialog in the browser fails the test."""
    errors: list[str] = []
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    opened = context.new_page()
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "console",
        lambda message: (
            errors.append(message.text) if "Content Security" in message.text or "Trusted" in message.text else None
        ),
    )
    opened.on("dialog", lambda dialog: errors.append(dialog.message))
    opened.goto(deployment.board)
    yield opened
    opened.unroute_all(behavior="wait")  # a route that is still handled must not meet a closed page
    context.close()
    assert errors == []


def row(page: Page, table: str, name: str) -> list[str]:
    """The cells of the row with this name in its first cell."""
    found = page.locator(f"#{table} tr", has=page.locator("th", has_text=name))
    expect(found).to_have_count(1, timeout=PATIENCE)
    return [text.replace("\xa0", " ") for text in found.locator("th, td").all_inner_texts()]


def shows(page: Page, table: str, name: str, cells: dict[int, str]) -> None:
    """Waits until the row has these cells, by column."""
    wait_for(lambda: {n: row(page, table, name)[n] for n in cells} == cells, 60, f"{name} in {table}: {cells}")


def test_the_page_shows_the_counts_of_the_views(page: Page, deployment: Deployment) -> None:
    expect(page.locator("#n-passages")).to_have_text("10", timeout=PATIENCE)
    for name, count in {
        "refer": 2,
        "clear": 8,
        "hold": 0,
        "quarantine": 0,
        "turn_back": 0,
        "people": 10,
        "fevers": 1,
    }.items():
        expect(page.locator(f"#n-{name}")).to_have_text(str(count), timeout=PATIENCE)
    expect(page.locator("#h-refer")).to_have_text("2", timeout=PATIENCE)
    moved = "1 with 2 on board: 1 delivered, 1 on the way or not delivered"
    expect(page.locator("#transfers")).to_have_text(moved, timeout=PATIENCE)
    expect(page.locator("#arrivals")).to_have_text("0 registered, 2 boarded, 1 delivered", timeout=PATIENCE)
    shows(page, "t-rules", "Confirmed case", {1: "1", 2: "1", 3: "1", 4: "road-02 1"})
    shows(page, "t-rules", "Fever", {2: "1", 3: "1", 4: "road-02 1"})
    shows(page, "t-sites", "road-01", {1: "reporting", 2: "7", 3: "0"})
    shows(page, "t-sites", "road-02", {1: "3 events missing", 2: "3", 3: "2"})
    shows(page, "t-sites", "road-03", {2: "0"})
    assert row(page, "t-sites", "road-03")[1].startswith("device silentroad-03-a for 4")
    shows(page, "t-sites", "station-1", {1: "arrivals today0 registered, 2 boarded, 1 delivered", 2: "0"})
    names = page.locator("#t-sites tr th").all_inner_texts()
    assert names[:3] == ["road-03", "road-02", "road-01"], "the faulty first, then the busiest"
    shows(page, "t-lists", "cases", {2: "Confirmed case", 3: "health"})
    shows(page, "t-held", "cases-2", {1: "cases", 2: "health", 3: "would empty the list", 4: "0"})
    shows(page, "t-beds", "quarantine-1", {1: "1", 2: "1", 3: "0", 4: "2", 5: "0", 6: "1", 7: "2", 8: "0", 9: "0"})
    shows(page, "t-home", "north", {1: "1", 2: "1", 4: "1", 5: "1", 6: "0", 7: "0", 8: "0"})
    shows(page, "t-case-alerts", "Fever", {1: "0", 2: "0", 3: ""})
    shows(page, "t-case-alerts", "Reading missed", {1: "1", 2: "2", 3: "quarantine-1 1 (yesterday 2)"})
    shows(page, "t-case-alerts", "Visit overdue", {1: "0", 2: "1", 3: "north 0 (yesterday 1)"})
    shows(page, "t-case-alerts", "Symptoms", {1: "1", 2: "0", 3: "north 1"})
    shows(page, "t-dead", "checkpoint-scans", {1: "not JSON", 2: "1", 3: "1"})
    expect(page.locator("#workers")).to_have_text(
        "Screening: readyLists: readyLedgers: readyRecording: ready", timeout=PATIENCE
    )
    page.locator("#more").click()
    for text in (
        "waits for a second person",
        "1 device has been silent for 30 minutes or more, at 1 site",
        "3 events of 1 site are missing today",
        "3 quarantine readings were missed today and yesterday",
        "1 follow-up visit was overdue at the end of yesterday",
        "quarantine-1 has no free bed",
    ):
        expect(page.locator("#problems")).to_contain_text(text, timeout=PATIENCE)
    expect(page.locator("#announce")).to_contain_text("has been silent", timeout=PATIENCE)
    deployment.scan("road-01")
    expect(page.locator("#n-passages")).to_have_text("11", timeout=PATIENCE)


def test_a_name_with_markup_is_shown_as_text(page: Page) -> None:
    assert row(page, "t-sites", HOSTILE)[1] == "nothing today"
    assert page.locator("#t-sites img").count() == 0 and page.title() == "Situation · ninezero"


def test_no_response_contains_a_token_or_a_case(deployment: Deployment) -> None:
    for path in ("situation.json", "sites.json"):
        body = ask(deployment, path)[2].decode()
        assert "k1." not in body and "c.1111" not in body and "c.2222" not in body


@pytest.mark.browser
@pytest.mark.parametrize(
    ("width", "scheme", "locale"),
    [(1440, "light", "en-GB"), (360, "dark", "zh-CN")],
)
def test_the_page_meets_the_accessibility_rules(
    browser: Browser, deployment: Deployment, width: int, scheme: Any, locale: str
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, locale=locale, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(deployment.board)
    expect(page.locator("#n-passages")).not_to_have_text("", timeout=PATIENCE)
    expect(page.locator("#t-sites tr")).to_have_count(5, timeout=PATIENCE)
    page.locator("#minutes summary").click()
    found = Axe().run(
        page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    )
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    assert page.locator("html").get_attribute("lang") == ("zh-CN" if locale == "zh-CN" else "en")
    context.close()


@pytest.mark.browser
def test_all_problems_can_be_shown_on_a_phone(browser: Browser, deployment: Deployment) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 800}, locale="en-GB")
    page = context.new_page()
    page.goto(deployment.board)
    expect(page.locator("#more")).to_have_text(re.compile(r"^\d+ more$"), timeout=PATIENCE)
    expect(page.locator("#problems")).not_to_contain_text("was rejected")
    page.locator("#more").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#problems")).to_contain_text("was rejected")
    expect(page.locator("#more")).to_have_attribute("aria-expanded", "true")
    context.close()


@pytest.mark.browser
def test_of_20_000_sites_the_first_are_shown_and_each_can_be_found(page: Page) -> None:
    names = [f"gate-{n:05d}" for n in range(20_000)]
    rows = [[name, "nothing", 0, 0, 0, 0, 0, None, 0, [], None, 0] for name in names]

    def crowd(route: Route) -> None:
        snapshot = orjson.loads(route.fetch().body())
        snapshot["sites"] = rows if "sites.json" in route.request.url else rows[:40]
        snapshot["site_states"] = {"nothing": len(rows)}
        route.fulfill(json=snapshot)

    page.route("**/*.json", lambda route: route.continue_() if "texts" in route.request.url else crowd(route))
    expect(page.locator("#t-sites")).to_contain_text("gate-00001", timeout=PATIENCE)
    page.locator("#all").click()
    expect(page.locator("#more-sites")).to_have_text(
        "The first 2,000 of 20,000: find the others by name", timeout=PATIENCE
    )
    expect(page.locator("#t-sites tr")).to_have_count(2000)
    page.locator("#find").fill("19999")
    expect(page.locator("#t-sites tr")).to_have_count(1, timeout=PATIENCE)
    expect(page.locator("#more-sites")).to_be_hidden()


@pytest.mark.browser
def test_the_language_can_be_chosen_by_keyboard_and_is_kept(page: Page) -> None:
    expect(page.locator("h2", has_text="Checkpoints")).to_be_visible(timeout=PATIENCE)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("h2", has_text="检查点")).to_be_visible()
    page.reload()
    expect(page.locator("h2", has_text="检查点")).to_be_visible(timeout=PATIENCE)
    assert page.locator("html").get_attribute("lang") == "zh-CN" and page.context.cookies() == []


def ask(
    deployment: Deployment, path: str, method: str = "GET", role: int = 3, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", deployment.http + role, timeout=30)
    connection.request(method, f"/{path}", headers=headers)
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def test_headers_methods_paths_and_host_names_are_restricted(deployment: Deployment) -> None:
    for path in ("", "board.js", "situation.json", "nothing"):
        _, headers, _ = ask(deployment, path)
        assert (
            "default-src 'none'" in headers["content-security-policy"]
            and "unsafe" not in headers["content-security-policy"]
        )
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and "set-cookie" not in headers
    assert [ask(deployment, "situation.json", method)[0] for method in ("POST", "PUT", "DELETE", "OPTIONS")] == [
        405
    ] * 4
    assert (
        ask(deployment, "../texts.json")[0]
        == ask(deployment, "%2e%2e/board.py")[0]
        == ask(deployment, "uPlot.LICENSE")[0]
        == 404
    )
    for foreign in ("evil.example", "evil.example:6069", "127.0.0.1.evil.example", ""):
        status, _, body = ask(deployment, "situation.json", Host=foreign)
        assert status == 421 and b"problems" not in body
    for own in ("localhost", f"localhost:{deployment.http + 3}", "127.0.0.1:8080", "[::1]:80"):
        assert ask(deployment, "situation.json", Host=own)[0] == 200
    for role in range(3):
        for path in ("metrics", "healthz", "readyz"):
            status, headers, body = ask(deployment, path, role=role, Host="evil.example")
            assert status == 421 and b"ninezero_" not in body and headers["x-content-type-options"] == "nosniff"
            assert ask(deployment, path, role=role)[0] in (200, 503)
    tag = ask(deployment, "board.js")[1]["etag"]
    assert ask(deployment, "board.js", **{"If-None-Match": tag})[0] == 304


def test_many_pages_receive_the_same_snapshot(deployment: Deployment) -> None:
    began = time.monotonic()
    times = [orjson.loads(ask(deployment, "situation.json")[2])["at"] for _ in range(60)]
    assert len(set(times)) <= time.monotonic() - began + 2  # one from before, and one a second


@pytest.mark.browser
def test_a_lost_connection_is_shown(page: Page, deployment: Deployment) -> None:
    expect(page.locator("#connection")).to_have_text("Live", timeout=PATIENCE)
    expect(page.locator("#t-sites .ok")).to_have_count(2, timeout=PATIENCE)
    deployment.workers["recording"].send_signal(signal.SIGSTOP)
    try:
        expect(page.locator("#problems")).to_contain_text("lost its connection at", timeout=PATIENCE)
        expect(page.locator("#connection")).to_contain_text("No connection since")
        expect(page.locator("#t-sites .ok")).to_have_count(0)
    finally:
        deployment.workers["recording"].send_signal(signal.SIGCONT)
    expect(page.locator("#connection")).to_have_text("Live", timeout=PATIENCE)


@pytest.mark.browser
def test_clickhouse_and_workers_that_do_not_answer_are_shown_and_nothing_is_shown_as_fine(
    page: Page, deployment: Deployment
) -> None:
    expect(page.locator("#t-sites .ok")).to_have_count(2, timeout=PATIENCE)
    deployment.kill("ledgers")
    deployment.server.kill()
    expect(page.locator("#problems")).to_contain_text("ClickHouse has not answered since", timeout=PATIENCE)
    expect(page.locator("#problems")).to_contain_text("The ledgers worker", timeout=PATIENCE)
    expect(page.locator("#workers .bad")).to_contain_text("Ledgers: no answer since", timeout=PATIENCE)
    expect(page.locator("#t-sites .ok")).to_have_count(0, timeout=PATIENCE)
    expect(page.locator("#sites .stamp")).to_contain_text("not known since", timeout=PATIENCE)
    expect(page.locator("#workers")).to_contain_text("Screening: ready")
    expect(page.locator("#lag")).to_contain_text("Ledgers: not known")
    deployment.kill("lists")  # a second problem with the same code is announced too
    expect(page.locator("#announce")).to_contain_text("The lists worker", timeout=PATIENCE)
    deployment.server.start()
    expect(page.locator("#problems")).not_to_contain_text("ClickHouse", timeout=PATIENCE)
    expect(page.locator("#t-sites .ok")).to_have_count(2, timeout=PATIENCE)
