"""The layout of the board: nothing is cut at any width, no half of the screen is blank, tables can be sorted, terms are explained.

`make test` runs a part of it, `make browser` all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.integration.board import looks, situations
from tests.integration.board.approve import LANGUAGES, SCREENS, SHOTS, Shot
from tests.integration.board.served import ServedBoard, chromium, open_page, serve, settle

SHORT = Shot(1440, "en")
MOST_BLANK = 0.1
"""Largest blank rectangle of the first screen, as a fraction of it."""

SAME_HEIGHT, SAME_SQUARES = 24, 20
"""Pictures are the same if the heights of the pages differ by no more pixels, and no more squares differ. A page that is moved by a
pixel differs in 7 squares, one without the figures of a column in 35."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def board() -> Iterator[ServedBoard]:
    with serve() as served:
        yield served


@pytest.fixture
def page(browser: Browser, board: ServedBoard) -> Iterator[Page]:
    """The usual afternoon at a desk, in English."""
    board.situation = situations.afternoon()
    opened = open_page(browser, board, "en")
    yield opened
    opened.context.close()


def differs(found: looks.Difference) -> bool:
    return found.height > SAME_HEIGHT or found.squares > SAME_SQUARES


@pytest.mark.parametrize(
    "shot", [pytest.param(shot, marks=() if shot == SHORT else pytest.mark.browser) for shot in SHOTS], ids=str
)
def test_the_board_looks_like_its_approved_picture(
    browser: Browser, board: ServedBoard, shot: Shot, tmp_path: Path
) -> None:
    board.situation = situations.afternoon()
    page = open_page(browser, board, shot.language, width=shot.width, height=SCREENS[shot.width])
    found = looks.picture(page, whole=True)
    difference = looks.difference(found, shot.path)
    found.save(tmp_path / shot.path.name)
    page.context.close()
    assert not differs(difference), (
        f"{difference}: compare {tmp_path / shot.path.name} with {shot.path}; if the change is intended, make pictures"
    )


@pytest.mark.parametrize("column", ["Passages", "Last"])
def test_a_picture_without_a_column_is_not_the_approved_one(page: Page, column: str) -> None:
    same = looks.difference(looks.picture(page, whole=True), SHORT.path)
    page.evaluate(
        """(column) => {
          const heads = [...document.querySelectorAll("#sites thead th")], at = heads.findIndex((head) => head.textContent.startsWith(column));
          for (const row of document.querySelectorAll("#sites tr")) row.children[at].style.display = "none";
        }""",
        column,
    )
    cut = looks.difference(looks.picture(page, whole=True), SHORT.path)
    assert not differs(same) and differs(cut), (same, cut)


@pytest.mark.parametrize(
    "name", ["troubled", *(pytest.param(name, marks=pytest.mark.browser) for name in ("afternoon", "crowded", "empty"))]
)
def test_nothing_is_cut_and_no_half_is_blank_at_any_width(browser: Browser, board: ServedBoard, name: str) -> None:
    board.situation = situations.SITUATIONS[name]()
    for language in LANGUAGES:
        page = open_page(browser, board, language)
        for width, height in SCREENS.items():
            settle(page, width, height)
            assert looks.cut(page) == [], (language, width)
            blank = looks.largest_blank(looks.picture(page, whole=False))
            assert blank < MOST_BLANK, f"{blank:.0%} of the first screen is one blank area ({language}, {width} px)"
        page.context.close()


def test_a_column_that_is_cut_and_a_blank_half_are_found(page: Page) -> None:
    page.evaluate("document.querySelector('#sites table').style.minWidth = '2000px'")
    assert any("px of text in" in found for found in looks.cut(page))
    page.evaluate("document.getElementById('hour').style.visibility = 'hidden'")
    assert looks.largest_blank(looks.picture(page, whole=False)) > MOST_BLANK
    assert looks.largest_blank(Image.new("RGB", (160, 80), "white")) == 1.0


@pytest.mark.browser
@pytest.mark.parametrize("name", situations.SITUATIONS)
def test_every_situation_meets_the_accessibility_rules(browser: Browser, board: ServedBoard, name: str) -> None:
    board.situation = situations.SITUATIONS[name]()
    for width, scheme, language in ((1440, "dark", "en"), (768, "light", "zh"), (360, "light", "en")):
        page = open_page(browser, board, language, width=width, height=SCREENS[width], scheme=scheme)
        if name == "troubled":
            page.locator("#more").click()
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})  # fmt: skip
        assert found.violations_count == 0, found.generate_report()
        page.context.close()


def names(page: Page, table: str) -> list[str]:
    return page.locator(f"#{table} tr th").all_inner_texts()


def test_a_table_is_sorted_by_a_click_or_the_keyboard_and_returns_to_its_order(page: Page) -> None:
    usual = names(page, "t-sites")
    assert usual[:4] == ["road-03", "road-07", "village-0042", "road-01"], "faulty sites first, then the busiest"
    head = page.locator("#sites thead th", has_text="Passages")
    assert head.get_attribute("aria-sort") is None
    page.get_by_role("button", name="Passages", exact=True).focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    assert names(page, "t-sites")[:3] == ["road-01", "road-02", "road-03"]
    page.keyboard.press("Space")
    expect(head).to_have_attribute("aria-sort", "ascending")
    # All 1,211 sites are sorted, not the first 40.
    expect(page.locator("#t-sites tr th").first).to_have_text("station-air")
    assert len(names(page, "t-sites")) == len(usual)
    page.get_by_role("button", name="Passages", exact=True).click()
    assert head.get_attribute("aria-sort") is None
    assert names(page, "t-sites") == usual
    page.get_by_role("button", name="District", exact=True).click()
    expect(page.locator("#home thead th[aria-sort]")).to_have_text("District")


def test_a_problem_links_to_its_place_and_says_what_to_do(page: Page) -> None:
    problem = page.locator("#problems li", has_text="silent for 30 minutes")
    expect(problem.locator(".todo")).to_contain_text("Call these sites")
    problem.get_by_role("link").click()
    assert page.evaluate("location.hash") == "#sites"
    expect(page.locator("#sites")).to_be_in_viewport()
    for link in page.locator("#problems a").all():
        assert page.locator(str(link.get_attribute("href"))).count() == 1


def test_a_term_is_explained_on_hover_and_on_focus_until_escape(page: Page) -> None:
    tip = page.locator("#tip")
    expect(tip).to_be_hidden()
    page.locator(".hold dt span").hover()
    expect(tip).to_contain_text("Not checked is never clear")
    tip.hover()
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.locator("#sites thead button", has_text="State").focus()
    expect(tip).to_contain_text("Sites that need attention come first")
    settle(page)
    expect(tip).to_be_visible()  # although the page was scrolled to the heading
    assert page.locator("#sites thead button", has_text="State").get_attribute("aria-describedby") == "tip"
    page.keyboard.press("Tab")
    expect(tip).to_be_visible()  # the passages are explained, too
    expect(tip).to_contain_text("exactly one outcome")


def test_a_station_with_arrivals_is_not_shown_as_empty(page: Page) -> None:
    station = page.locator("#t-sites tr", has_text="station-air")
    expect(station).to_contain_text("arrivals today")
    expect(station).to_contain_text("18 registered, 18 boarded, 12 delivered")


def test_a_replay_shows_ages_instead_of_times_of_another_day(browser: Browser, board: ServedBoard) -> None:
    board.situation = situations.afternoon(replay=True)
    page = open_page(browser, board, "en")
    expect(page.locator("#connection")).to_have_text("Replay: shown as of 2020-02-17 15:32:40")
    assert set(page.locator("h2 .stamp").all_inner_texts()) == {"checked 2 s ago"}
    page.context.close()
