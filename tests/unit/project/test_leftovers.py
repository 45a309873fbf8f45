"""A run of the tests that leaves something behind fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

CONFTEST = """
from pathlib import Path
from tests.leftovers import Leftovers

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Leftovers(Path(__file__).parent))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    return folder


def run(checkout: Path, code: str, *options: str) -> tuple[int, str, list[str]]:
    """Runs a test in a checkout. Returns the status, the output, and what is then in the temporary folder."""
    temporary = checkout.parent / "tmp"
    temporary.mkdir()
    (checkout / "test_it.py").write_text(
        f"import tempfile\nfrom pathlib import Path\n\ndef test_it(tmp_path):\n    {code}\n"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-o", "tmp_path_retention_policy=failed", *options],
        cwd=checkout, env={**env, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout, sorted(path.name for path in temporary.rglob("*") if not path.is_symlink())


def test_a_run_that_leaves_nothing_passes_and_leaves_only_an_empty_folder_of_pytest(checkout: Path) -> None:
    status, output, left = run(checkout, "(tmp_path / 'kept').touch(); tempfile.TemporaryFile().close()")
    assert (status, len(left)) == (0, 1), output
    assert left[0].startswith("pytest-of-") and "left behind" not in output


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["one process", "xdist"])
def test_a_folder_in_the_temporary_folder_fails_the_run_and_is_removed(
    checkout: Path, options: tuple[str, ...]
) -> None:
    status, output, left = run(checkout, "tempfile.mkdtemp(prefix='forgotten-')", *options)
    assert status == 1 and "left behind" in output and "/forgotten-" in output
    assert len(left) == 1


def test_a_file_in_the_checkout_fails_the_run(checkout: Path) -> None:
    status, output, _ = run(
        checkout,
        "Path('rejects.csv').touch(); Path('new').mkdir(); Path('new/new.py').touch(); Path('.run/deeper').mkdir(parents=True)",
    )
    lines = output.splitlines()
    assert status == 1 and str(checkout / ".run") in lines and str(checkout / "rejects.csv") in lines
    assert "new" not in output and "deeper" not in output


def test_what_a_failed_test_had_in_its_folder_is_kept(checkout: Path) -> None:
    status, _, left = run(checkout, "(tmp_path / 'clue').touch(); assert 0")
    assert status == 1 and "clue" in left
