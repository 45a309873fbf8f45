"""What a reader sees of a page: text that is cut, blank areas, and the difference of a picture from the approved one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from playwright.sync_api import Page

CUT = """() => {
  const cut = [];
  if (document.documentElement.scrollWidth > innerWidth) cut.push(`the page is ${document.documentElement.scrollWidth} px wide`);
  for (const one of document.querySelectorAll("body *")) {
    const style = getComputedStyle(one), box = one.getBoundingClientRect();
    if (!box.width || style.display === "inline" || one.matches(".unseen, .skip, .chart *, #attention h2, details:not([open]) *")) continue;
    const name = `${one.tagName}${one.id && "#" + one.id} ${one.textContent.trim().slice(0, 40)}`;
    if (one.scrollWidth > one.clientWidth + 1 && one.clientWidth) cut.push(`${name}: ${one.scrollWidth} px of text in ${one.clientWidth} px`);
    if (box.right > innerWidth + 1 || box.left < -1) cut.push(`${name}: from ${box.left} to ${box.right} of ${innerWidth} px`);
  }
  const letters = document.createRange();
  for (const row of document.querySelectorAll("th, td, dt, dd, .chip, #problems p")) {
    if (!row.getClientRects().length || row.matches("details:not([open]) *")) continue;
    letters.selectNodeContents(row);
    const text = letters.getBoundingClientRect(), panel = row.closest("section, header").getBoundingClientRect();
    if (text.width && (text.right > panel.right + 1 || text.left < panel.left - 1)) cut.push(`${row.textContent.slice(0, 40)} leaves its panel`);
  }
  return cut;
}"""

CELL = 8
"""Blank areas are measured in squares of so many pixels."""


def cut(page: Page) -> list[str]:
    """Returns every element whose text does not fit, or that lies outside the page or its panel."""
    found: list[str] = page.evaluate(CUT)
    return found


def picture(page: Page, *, whole: bool) -> Image.Image:
    """Returns a picture of the first screen, or of the whole page."""
    return Image.open(io.BytesIO(page.screenshot(full_page=whole, animations="disabled"))).convert("RGB")


def largest_blank(screen: Image.Image) -> float:
    """Returns the largest rectangle of one colour, as a fraction of the screen."""
    pixels = np.asarray(screen, dtype=np.int16)
    rows, columns = pixels.shape[0] // CELL, pixels.shape[1] // CELL
    cells = pixels[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL, 3)
    blank = (cells.max(axis=(1, 3)) - cells.min(axis=(1, 3))).max(axis=2) == 0
    heights, largest = np.zeros(columns, dtype=int), 0
    for row in blank:
        heights = np.where(row, heights + 1, 0)
        largest = max(largest, _largest_under(heights.tolist()))
    return largest / (rows * columns)


def _largest_under(heights: list[int]) -> int:
    """Returns the area of the largest rectangle below a skyline."""
    largest, rising = 0, list[tuple[int, int]]()  # (first column, height)
    for at, height in enumerate([*heights, 0]):
        first = at
        while rising and rising[-1][1] >= height:
            first, top = rising.pop()
            largest = max(largest, top * (at - first))
        rising.append((first, height))
    return largest


class Difference(NamedTuple):
    """How two pictures differ: the height of the page in pixels, and the number of squares that differ."""

    height: int
    squares: int


SCALE = 2
"""Approved pictures are stored at half size, in 64 colours."""

COLOURS = 64
SQUARE = 6
"""Squares of so many pixels at half size are compared by their mean colour, so that the edge of a letter may differ."""

LEVELS = 22
"""A square differs if its mean differs by more levels, of 255."""


def small(full: Image.Image) -> Image.Image:
    """Returns a picture as it is stored."""
    half = full.resize((full.width // SCALE, full.height // SCALE), Image.Resampling.BOX)
    return half.quantize(COLOURS, dither=Image.Dither.NONE)


def difference(found: Image.Image, approved: Path) -> Difference:
    """Compares a picture with the approved one."""
    ours, theirs = small(found).convert("RGB"), Image.open(approved).convert("RGB")
    width, height = min(ours.width, theirs.width), min(ours.height, theirs.height)
    means = [_means(one.crop((0, 0, width, height))) for one in (ours, theirs)]
    differ = np.abs(means[0] - means[1]).max(axis=2) > LEVELS
    return Difference(abs(ours.height - theirs.height) * SCALE, int(differ.sum()))


def _means(one: Image.Image) -> np.ndarray:
    pixels = np.asarray(one, dtype=np.float32)
    rows, columns = pixels.shape[0] // SQUARE, pixels.shape[1] // SQUARE
    found: np.ndarray = (
        pixels[: rows * SQUARE, : columns * SQUARE].reshape(rows, SQUARE, columns, SQUARE, 3).mean(axis=(1, 3))
    )
    return found
