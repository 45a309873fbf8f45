"""Serves the board with a fixed situation to a browser with a fixed clock and font."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from aiohttp import web
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from ninezero.agents.board import page_files
from ninezero.agents.roles.http.server import listen
from ninezero.streams import settings
from tests.integration.board.situations import Fixed, afternoon
from tests.support import free_port

FONT = "WenQuanYi Micro Hei"
"""It has Latin and Chinese letters, and Debian has had the same release of it for years."""

CHROMIUM = ("--no-sandbox", "--font-render-hinting=none", "--disable-lcd-text", "--force-color-profile=srgb")
PATIENCE = 60_000
SETTINGS = settings.load(
    {"NINEZERO_KAFKA": "127.0.0.1:1", "NINEZERO_ORDER": "T", "NINEZERO_SUNSET": "2100-01-01T00:00:00Z"}, edge=True
)


class ServedBoard:
    """The pages of the board at `url`, which shows `situation`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self.situation: Fixed = afternoon()

    def routes(self) -> Iterator[web.RouteDef]:
        yield from page_files.routes()
        yield web.get("/situation.json", self._situation)
        yield web.get("/sites.json", self._sites)

    async def _situation(self, _: web.Request) -> web.Response:
        return self._json(self.situation.snapshots.snapshot(self.situation.now))

    async def _sites(self, _: web.Request) -> web.Response:
        now = self.situation.now
        return self._json({"at": now, "sites": self.situation.snapshots.sites(now)})

    def _json(self, answer: Any) -> web.Response:
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


@contextmanager
def serve() -> Iterator[ServedBoard]:
    """Serves the board in a thread."""
    port = free_port()
    board, loop = ServedBoard(port), asyncio.new_event_loop()

    async def start() -> Callable[[], Coroutine[Any, Any, None]]:
        return await listen(SETTINGS, board.routes(), "127.0.0.1", port)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stop = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield board
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Opens the Chromium of the system."""
    program = shutil.which("chromium")
    assert program, "chromium is missing: apt-get install chromium (make engines does it)"
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=[*CHROMIUM])
        yield opened
        opened.close()


def open_page(
    browser: Browser,
    board: ServedBoard,
    language: str,
    *,
    width: int = 1440,
    height: int = 900,
    scheme: Any = "light",
    scale: float = 1,
) -> Page:
    """Opens the board; the clock stands still and each letter comes from the same font."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        locale={"en": "en-GB", "zh": "zh-CN"}[language],
        color_scheme=scheme,
        device_scale_factor=scale,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.clock.set_fixed_time(board.situation.now * 1000)

    def with_font(route: Route) -> None:
        style = route.fetch()
        route.fulfill(response=style, body=style.text() + f'\n* {{ font-family: "{FONT}" !important; }}')

    page.route("**/board.css", with_font)
    page.goto(board.url)
    expect(page.locator("#n-passages")).not_to_have_text("", timeout=PATIENCE)
    settle(page)
    return page


def settle(page: Page, width: int | None = None, height: int = 900) -> None:
    """Waits until the layout is complete, after the window got another size, if one is given."""
    if width is not None:
        page.set_viewport_size({"width": width, "height": height})
    # A frame for the size of the charts, and one in which they are drawn.
    page.evaluate(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50))))"
    )
