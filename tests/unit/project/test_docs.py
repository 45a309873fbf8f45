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
WITH_COMMANDS = [ROOT / "README.md", ROOT / "deploy/README.md", ROOT / "deploy/DATA-PROTECTION.md", *PAGES]


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
