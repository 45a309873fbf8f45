"""A release of ninezero, installed beside the checkout in a light environment of its own."""

from __future__ import annotations

import compileall
import io
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ("ninezero", "agents", "schemas", "streams")
"""The folders of the distribution; `ninezero` has links to the other three."""
RELEASES = Path(__file__).with_name("releases.txt")


class Release(NamedTuple):
    """An installed release."""

    version: str
    folder: Path
    """Its source: the folder that holds `ninezero`, `agents`, `schemas` and `streams`."""

    @property
    def python(self) -> str:
        return str(self.folder / ".venv" / "bin" / "python")

    @property
    def program(self) -> str:
        """The command `ninezero` of this release."""
        return str(self.folder / ".venv" / "bin" / "ninezero")


class Releases(NamedTuple):
    """Release N and N+1."""

    first: Release
    second: Release
    made: bool
    """Whether N+1 has the changes of `next_release.py`."""


def last_release() -> tuple[str, str] | None:
    """Returns version and commit of the newest release in `releases.txt`, or None before the first."""
    lines = [line.split() for line in RELEASES.read_text().splitlines() if line and not line.startswith("#")]
    return (lines[-1][0], lines[-1][1]) if lines else None


def copy_of_checkout(folder: Path) -> Path:
    """Copies the package of this checkout to a new folder."""
    for name in PACKAGE:
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def copy_of_commit(commit: str, folder: Path) -> Path:
    """Copies the package of a commit to a new folder."""
    packed = subprocess.run(["git", "archive", commit, *PACKAGE], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="tar")
    return folder


def install(version: str, folder: Path) -> Release:
    """Makes an environment for the package in a folder.

    The environment has only that package. Everything else is read from the environment in which the test runs, so nothing is
    downloaded or copied. Its own folder is searched first, so `import ninezero` never finds the checkout.
    """
    venv.create(folder / ".venv", with_pip=False, symlinks=True)
    [packages] = (folder / ".venv" / "lib").glob("python*/site-packages")
    (packages / "a_release.pth").write_text(f"{folder}\n")
    shared = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "b_shared.pth").write_text("".join(f"{path}\n" for path in shared))
    metadata = packages / f"ninezero-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ninezero\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(
        "[faust.transports]\nchunks = ninezero.streams.transport.consumer:Transport\n"
    )
    for name in PACKAGE[1:]:
        compileall.compile_dir(folder / name, quiet=1)  # once, so that not every process compiles the package
    release = Release(version, folder)
    program = Path(release.program)
    program.write_text(f"#!{release.python}\nfrom ninezero.agents.cli.main import main\n\nmain()\n")
    program.chmod(0o755)
    return release
