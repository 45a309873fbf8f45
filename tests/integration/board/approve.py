"""Renews the approved pictures of the board, and its pictures in the documentation: `make pictures`.

Look at each picture before you commit it: a test compares the board with it from then on.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Browser

from tests.integration.board import looks, situations
from tests.integration.board.served import ServedBoard, chromium, open_page, serve

APPROVED = Path(__file__).parent / "approved"
DOCUMENTS = Path(__file__).parents[3] / "docs" / "pictures"
SCREENS = {360: 780, 390: 844, 768: 1024, 1280: 800, 1440: 900, 1920: 1080, 2560: 1440}
"""The heights of screens by width."""

APPROVED_WIDTHS, LANGUAGES = (360, 768, 1440, 2560), ("en", "zh")


class Shot(NamedTuple):
    """An approved picture: the usual afternoon at a width and in a language."""

    width: int
    language: str

    @property
    def path(self) -> Path:
        return APPROVED / f"{self.language}-{self.width}.png"


SHOTS = [Shot(width, language) for language in LANGUAGES for width in APPROVED_WIDTHS]


def approve(browser: Browser, board: ServedBoard) -> Iterator[Path]:
    """Writes each approved picture."""
    APPROVED.mkdir(exist_ok=True)
    for shot in SHOTS:
        page = open_page(browser, board, shot.language, width=shot.width, height=SCREENS[shot.width])
        looks.small(looks.picture(page, whole=True)).save(shot.path, optimize=True)
        page.context.close()
        yield shot.path


def document(browser: Browser, board: ServedBoard) -> Iterator[Path]:
    """Writes the pictures of the documentation, as WebP."""
    DOCUMENTS.mkdir(exist_ok=True)
    screens: dict[str, dict[str, Any]] = {
        "board": {"language": "en", "width": 1440, "height": 1180},
        "board-dark": {"language": "en", "width": 1440, "height": 1180, "scheme": "dark"},
        "board-phone": {"language": "zh", "width": 360, "height": 760, "scale": 2},
    }
    for name, screen in screens.items():
        page = open_page(browser, board, **screen)
        shot = page.context.new_cdp_session(page).send("Page.captureScreenshot", {"format": "webp", "quality": 82})
        path = DOCUMENTS / f"{name}.webp"
        path.write_bytes(base64.b64decode(shot["data"]))
        page.context.close()
        yield path


def main() -> None:
    """Writes all pictures and prints their names."""
    with serve() as board, chromium() as browser:
        board.situation = situations.afternoon()
        for written in (approve, document):
            for path in written(browser, board):
                print(path)


if __name__ == "__main__":
    main()
