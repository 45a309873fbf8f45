"""The files of the page, served from the package with an ETag, compressed where the browser accepts it."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from importlib import resources
from typing import NamedTuple

from aiohttp import web


class PageFile(NamedTuple):
    """A file in `agents/board/page/` and its content type."""

    name: str
    content_type: str


FILES = {
    "": PageFile("index.html", "text/html"),
    "board.js": PageFile("board.js", "text/javascript"),
    "charts.js": PageFile("charts.js", "text/javascript"),
    "tables.js": PageFile("tables.js", "text/javascript"),
    "texts.js": PageFile("texts.js", "text/javascript"),
    "tips.js": PageFile("tips.js", "text/javascript"),
    "board.css": PageFile("board.css", "text/css"),
    "texts.json": PageFile("texts.json", "application/json"),
    "icon.svg": PageFile("icon.svg", "image/svg+xml"),
    "uPlot.iife.min.js": PageFile("uPlot.iife.min.js", "text/javascript"),
    "uPlot.min.css": PageFile("uPlot.min.css", "text/css"),
}
"""The files of the page by URL path."""


def routes() -> Iterator[web.RouteDef]:
    """Yields a route for each file."""
    for path, file in FILES.items():
        yield web.get(f"/{path}", _handler(file))


def _handler(file: PageFile) -> Callable[[web.Request], Awaitable[web.Response]]:
    body = resources.files("ninezero.agents.board").joinpath("page", file.name).read_bytes()
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    compressed = gzip.compress(body, 9)

    async def answer(request: web.Request) -> web.Response:
        headers = {"Cache-Control": "no-cache", "ETag": tag, "Vary": "Accept-Encoding"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        gzipped = "gzip" in request.headers.get("Accept-Encoding", "")
        if gzipped:
            headers["Content-Encoding"] = "gzip"
        return web.Response(
            body=compressed if gzipped else body, content_type=file.content_type, charset="utf-8", headers=headers
        )

    return answer
