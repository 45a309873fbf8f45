"""A run of the tests leaves nothing behind: not in the checkout, and not in the temporary folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

CACHES = {".cache", ".venv", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".import_linter_cache", "__pycache__", ".git"}  # fmt: skip
"""Where programs may keep something in the checkout from one run to the next."""

SOURCES = {".css", ".html", ".js", ".md", ".py", ".sql", ".toml", ".yaml"}
"""Files that a developer may add meanwhile."""


class Leftovers:
    """Gives a run a temporary folder of its own, and fails a run that leaves something there or in the checkout.

    The folders of `tmp_path` are not in it: pytest removes those of tests that pass, and keeps those of the last runs that failed.
    """

    def __init__(self, checkout: Path = ROOT) -> None:
        self._checkout = checkout
        self._content = Content(checkout)
        self.found: list[str] = []
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
        self._folder = tempfile.mkdtemp(prefix="ninezero-tests-")
        os.environ["TMPDIR"] = tempfile.tempdir = self._folder

    @pytest.hookimpl(trylast=True)  # xdist has ended its workers
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fails a run that would pass otherwise."""
        added = Content(self._checkout).added_since(self._content)
        self.found = [str(path) for path in sorted({*Path(self._folder).iterdir(), *added})]
        shutil.rmtree(self._folder, ignore_errors=True)
        if self.found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Names what was left."""
        if self.found:
            terminalreporter.section("left behind: a test or a program must remove it", red=True)
            terminalreporter.write_line("\n".join(self.found))


class Content:
    """The files and folders of a checkout, without caches."""

    def __init__(self, checkout: Path) -> None:
        self.folders: set[Path] = set()
        self.files: set[Path] = set()
        for name, folders, files in os.walk(checkout):
            folders[:] = [name for name in folders if name not in CACHES]
            self.folders.add(Path(name))
            self.files.update(Path(name, file) for file in files)

    def added_since(self, before: Content) -> set[Path]:
        """Returns new files, or the new folder that they are in, and new folders without a file; not new sources."""
        files = {path for path in self.files - before.files if path.suffix not in SOURCES}
        empty = self.folders - before.folders - {folder for path in self.files for folder in path.parents}
        return {self._outermost(path, before) for path in files | empty}

    def _outermost(self, path: Path, before: Content) -> Path:
        while path.parent not in before.folders:
            path = path.parent
        return path
