"""Takes the pictures of the board in docs/pictures, from a deployment with an invented afternoon: python -m tests.pictures"""

from __future__ import annotations

import base64
import itertools
import random
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ninezero.streams.local_kafka.broker import Broker
from tests.engines.clickhouse_server import start_server
from tests.integration.operations.test_board import Deployment, token
from tests.support import wait_for

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
HOURS, PASSAGES = 5, 9_000
LISTED = {"confirmed_case": 1, "close_contact": 2, "quarantine_order": 3, "risk_region_arrival": 4}


def feed(system: Deployment, chance: random.Random) -> None:
    """Sends an afternoon: passages at nine roads and thirty villages, two quarantine sites, missed readings and visits."""
    now = datetime.now(UTC)
    for category, person in LISTED.items():
        system.push(
            category.replace("_", "-"),
            "delta",
            1,
            [{"tokens": {"id": [token(person)]}}],
            category,
            now - timedelta(hours=person * 7),
        )
    wait_for(
        lambda: system.query("SELECT count() AS n FROM ninezero.push_batches")[0]["n"] == len(LISTED),
        60,
        "the receipts",
    )
    system.push("close-contact", "full", 2, [], "close_contact", now)
    sites = [f"road-{n:02d}" for n in range(1, 10)] * 4 + [f"village-{n:04d}" for n in range(1, 31)]
    seq: dict[str, int] = {}
    for n in range(PASSAGES):
        site = chance.choice(sites)
        seq[site] = seq.get(site, -1) + 1 + (4 if site == "road-07" and n // 100 == 40 and not n % 3 else 0)
        at = now - timedelta(hours=HOURS) * (1 - (n + 1) / PASSAGES)
        fever = chance.random() < 0.0015
        person: dict[str, Any] = {"role": "driver", "tokens": {"id": token(chance.randrange(1, 5) if chance.random() < 0.002 else 1000 + n)},
                                  "temperature_c": 37.9 if fever else None if chance.random() < 0.003 else 36.4, "temperature_confirmed_c": 37.8 if fever else None,
                                  "origin": chance.choices(["370115", "370102", "US"], [600, 2, 1])[0]}  # fmt: skip
        system.send("checkpoint-scans", orjson.dumps(
            {"device_id": f"{site}-a", "seq": seq[site], "site_id": site, "observed_at": at, "kind": "vehicle", "people": [person]}
        ), wait=False)  # fmt: skip
    numbers = itertools.count()
    case: dict[str, Any] = {
        "device_id": "q-a",
        "slot": None,
        "temperature_c": None,
        "symptoms": None,
        "to_site_id": None,
        "term_days": None,
        "reason": None,
    }
    for n in range(43):
        who = case | {
            "case_id": f"c.{n:032x}",
            "site_id": f"quarantine-{n % 2 + 1}",
            "observed_at": now - timedelta(days=2),
        }
        system.send(
            "quarantine-events",
            orjson.dumps(who | {"seq": next(numbers), "type": "admitted", "term_days": 14}),
            wait=False,
        )
        for slot in range(1, 6):
            if (n, slot) not in {(7, 3), (11, 4)}:
                at = now - timedelta(days=2) + timedelta(hours=12 * (slot - 1), minutes=1)
                if at < now:
                    system.send(
                        "quarantine-events",
                        orjson.dumps(
                            who | {"seq": next(numbers), "type": "reading", "temperature_c": 36.6, "observed_at": at}
                        ),
                        wait=False,
                    )
    numbers = itertools.count()
    visit: dict[str, Any] = {
        "device_id": "f-a",
        "district": "jiyang",
        "source": None,
        "batch_id": None,
        "visit": None,
        "closed": None,
    }
    for n in range(180):
        who = visit | {"case_id": f"c.{1000 + n:032x}"}
        system.send(
            "followup-events",
            orjson.dumps(
                who | {"seq": next(numbers), "type": "opened", "source": "push", "observed_at": now - timedelta(days=4)}
            ),
            wait=False,
        )
        for day in (2, 1, 0):
            if n != 17 or day != 1:
                at = now - timedelta(days=day, minutes=9)
                system.send(
                    "followup-events",
                    orjson.dumps(
                        who | {"seq": next(numbers), "type": "visit", "visit": "seen_well", "observed_at": at}
                    ),
                    wait=False,
                )
    for value in (b"{", b"{}", b"{}"):
        system.send("checkpoint-scans", value)


def shoot(browser: Browser, board: str, name: str, width: int, height: int, **how: Any) -> None:
    """Takes one picture, as WebP."""
    page: Page = browser.new_context(viewport={"width": width, "height": height}, **how).new_page()
    page.goto(board)
    expect(page.locator("#t-sites tr").nth(8)).to_be_visible(timeout=60_000)
    page.wait_for_timeout(6_000)
    shot = page.context.new_cdp_session(page).send("Page.captureScreenshot", {"format": "webp", "quality": 82})
    (PICTURES / f"{name}.webp").write_bytes(base64.b64decode(shot["data"]))


def main() -> None:
    """Starts a deployment, sends its events and takes the pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Broker(folder / "kafka")
        broker.start()
        server = start_server(folder / "clickhouse")
        system = Deployment(broker.bootstrap, server, folder)
        try:
            system.env["NINEZERO_SUNSET"] = (datetime.now(UTC) + timedelta(days=90)).isoformat()
            system.prepare()
            register = [f"road-{n:02d},road,370115,0" for n in range(1, 10)] + [
                f"village-{n:04d},village,370115,0" for n in range(1, 31)
            ]
            (folder / "sites.csv").write_text(
                "\n".join(
                    [
                        "site_id,kind,division,capacity",
                        *register,
                        "quarantine-1,quarantine,370115,40",
                        "quarantine-2,quarantine,370115,21",
                        "",
                    ]
                )
            )
            system.run("sites", "load", str(folder / "sites.csv"))
            system.start("screening", "lists", "ledgers", "recording")
            feed(system, random.Random(7))
            wait_for(
                lambda: (
                    int(system.query("SELECT sum(passages) AS n FROM ninezero.screening_by_day")[0]["n"] or 0)
                    == PASSAGES
                ),
                60,
                "the passages",
            )
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
                shoot(browser, system.board, "board", 1440, 1180, locale="en-GB")
                shoot(browser, system.board, "board-dark", 1440, 1180, locale="en-GB", color_scheme="dark")
                shoot(browser, system.board, "board-phone", 360, 760, locale="zh-CN", device_scale_factor=2)
                browser.close()
        finally:
            system.stop()
            server.close()
            broker.stop()


if __name__ == "__main__":
    main()
