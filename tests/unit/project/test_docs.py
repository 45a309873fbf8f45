"""The documentation builds without warnings, its pages are short, and the commands that it names exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from ninezero.agents.cli.main import app
from ninezero.agents.reference.documents import DOCUMENTS

ROOT = Path(__file__).parents[3]
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if str(page.relative_to(ROOT)) not in DOCUMENTS]
WITH_COMMANDS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "deploy/README.md", "deploy/DATA-PROTECTION.md")),
    *PAGES,
]
EVERY_PAGE = [*WITH_COMMANDS, ROOT / "CHANGELOG.md", *(ROOT / page for page in DOCUMENTS if page.endswith(".md"))]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in strict mode: a broken link or a page that is missing in the navigation fails the build."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file", "mkdocs.yml", "--site-dir", folder],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_has_every_page(site: Path) -> None:
    built = {str(page.relative_to(site).with_suffix("")) for page in site.rglob("*.html")} - {"404"}
    assert built == {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in (ROOT / "docs").rglob("*.md")}


def test_the_site_loads_nothing_from_another_server(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        assert re.findall(r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//', page.read_text()) == [], page
        assert re.findall(r'<link[^>]+rel="stylesheet"[^>]+href="(?:https?:)?//', page.read_text()) == [], page


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_a_page_has_at_most_250_lines(page: Path) -> None:
    assert len(page.read_text().splitlines()) <= 250


@pytest.mark.parametrize("document", WITH_COMMANDS, ids=relative)
def test_every_command_that_a_document_names_exists_with_its_options(document: Path) -> None:
    text = document.read_text().replace("-n ninezero", "")  # the namespace of kubectl
    blocks = "\n".join(re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.M | re.S) + re.findall(r"^    \S.*", text, re.M))
    named = re.findall(r"(?:^|`|[$&|] )\s*ninezero ([a-z][^`\n#|>&)]*)", blocks, re.M)
    named += re.findall(r"`ninezero ([a-z][^`\n#|>&)]*)", text)  # in running text, commands are in backquotes
    for line in named:
        command: Any = typer.main.get_command(app)
        words = line.split()
        while hasattr(command, "commands"):
            assert words and words[0] in command.commands, f"ninezero {line}"
            command = command.commands[words.pop(0)]
            if not words:
                break
        known = {name for option in command.params for name in option.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, f"ninezero {line}"


@pytest.mark.parametrize("document", [*WITH_COMMANDS, ROOT / "CHANGELOG.md"], ids=relative)
def test_every_make_target_that_a_document_names_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    text = document.read_text()
    blocks = "\n".join(re.findall(r"^ *```(?:sh|console|bash)?\n(.*?)^ *```", text, re.M | re.S))
    named = re.findall(r"(?:^|[$&|;] )\s*make ([a-z][a-z-]*)", blocks, re.M) + re.findall(r"`make ([a-z][a-z-]*)", text)
    assert set(named) <= targets


def test_the_readme_shows_the_targets_to_begin_with() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert any(line.startswith("make run") for line in lines[:40]) and any("make test" in line for line in lines[:40])


def anchors(page: Path) -> set[str]:
    """The anchors of a page as GitHub makes them: from its headings, and those set with `id`."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.M | re.S)
    found: set[str] = set(re.findall(r'\bid="([^"]+)"', text))
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        while anchor in found:
            anchor += "-1"
        found.add(anchor)
    return found


@pytest.mark.parametrize("document", EVERY_PAGE, ids=relative)
def test_every_relative_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", document.read_text(), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href|srcset)="([^"]+)"', text)
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        page = (document.parent / path).resolve() if path else document
        assert page.exists(), f"{target} does not exist"
        assert not anchor or page.suffix != ".md" or anchor in anchors(page), f"{target}: there is no such heading"


OF_THE_PAST = {ROOT / "CHANGELOG.md", ROOT / "docs" / "upgrading.md"}


@pytest.mark.parametrize("document", [page for page in EVERY_PAGE if page not in OF_THE_PAST], ids=relative)
def test_every_path_of_the_repository_that_a_document_names_exists(document: Path) -> None:
    named = re.findall(r"`((?:agents|deploy|docs|ninezero|schemas|streams|tests)/[\w./-]*)`", document.read_text())
    of_kubectl = "deploy/ninezero-"  # a Deployment, not a path
    assert [path for path in named if not path.startswith(of_kubectl) and not (ROOT / path).exists()] == []


ENDLESS = re.compile(
    r"(ninezero (worker|device|gateway|alerts follow)\b|ninezero demo(?!.*--once)|prometheus --config|make board)"
)


@pytest.mark.parametrize("document", WITH_COMMANDS, ids=relative)
def test_a_command_that_never_ends_is_the_last_of_its_block_or_runs_in_the_background(document: Path) -> None:
    for block in re.findall(r"^ *```(?:sh|console|bash)\n(.*?)^ *```", document.read_text(), re.M | re.S):
        lines = [line for line in block.splitlines() if line.strip() and not line.strip().startswith("#")]
        blocking = [
            line
            for line in lines[:-1]
            if ENDLESS.match(line.strip()) and not re.search(r"&(?!&|>)", re.sub(r"\d>&\d", "", line))
        ]
        assert blocking == [], "the next lines would never run"
