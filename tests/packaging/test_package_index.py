"""What a package index shows of the wheel and the sdist, rendered by the library of PyPI."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from readme_renderer import markdown
from trove_classifiers import classifiers, deprecated_classifiers

from tests.packaging.building import REPOSITORY, ROOT, run


@pytest.fixture(scope="module", params=["wheel", "sdist"])
def metadata(request: pytest.FixtureRequest, wheel: Path, sdist: Path) -> Metadata:
    """The metadata of a distribution. They are validated, as an index does before it accepts an upload."""
    if request.param == "wheel":
        return Metadata.from_email(metadata_of_wheel(wheel))
    with tarfile.open(sdist) as archive:
        found = archive.extractfile(f"{sdist.name.removesuffix('.tar.gz')}/PKG-INFO")
        assert found
        return Metadata.from_email(found.read())


def metadata_of_wheel(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name)


def rendered(text: str) -> str:
    """The long description as HTML, as an index shows it; it shows nothing if it cannot render the text."""
    html = markdown.render(text)
    assert html
    return str(html)


def test_the_metadata_name_the_repository_the_licences_and_the_versions_of_python(metadata: Metadata) -> None:
    assert set(metadata.project_urls or {}) == {"Source", "Documentation", "Changelog", "Issues"}
    assert all(url.startswith(REPOSITORY) for url in (metadata.project_urls or {}).values())
    assert (metadata.license_expression, len(metadata.license_files or [])) == ("Apache-2.0 AND MIT", 2)
    assert metadata.description_content_type == "text/markdown"
    known = set(metadata.classifiers or [])
    assert known <= classifiers - set(deprecated_classifiers)
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} | {"Typing :: Typed"} <= known


def test_every_link_and_picture_of_the_long_description_leads_to_a_file_of_the_commit(metadata: Metadata) -> None:
    html = rendered(metadata.description or "")
    commit = run("git", "rev-parse", "HEAD", cwd=ROOT).strip()
    files = set(run("git", "ls-files", cwd=ROOT).splitlines())
    targets = re.findall(r'\b(?:href|src|srcset)="((?!#user-content)[^"]+)"', html)
    assert len(targets) > 20
    for target in targets:
        form = re.fullmatch(rf"{REPOSITORY}/(blob|raw)/{commit}/([^#]+)(?:#.*)?", target)
        assert form and form[2] in files, target
        assert (form[1] == "raw") == form[2].endswith(".webp"), target
    assert f'src="{REPOSITORY}/raw/{commit}/docs/pictures/board.webp"' in html


def test_a_wheel_that_is_built_from_the_sdist_has_the_same_metadata(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    run("tar", "-xzf", sdist, "-C", tmp_path, cwd=tmp_path)  # Python 3.11.2 of Debian 12 has no filter for extractall()
    (source,) = tmp_path.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=source)
    (second,) = tmp_path.glob("*.whl")
    assert metadata_of_wheel(second) == metadata_of_wheel(wheel) and b"Project-URL: Source" in metadata_of_wheel(wheel)


@pytest.mark.parametrize(
    ("origin", "shown"),
    [
        ("git@code.example.org:health/ninezero.git", REPOSITORY),
        ("ssh://git@code.example.org/health/ninezero", REPOSITORY),
        ("https://code.example.org/health/ninezero.git", REPOSITORY),
        ("https://user:secret@code.example.org/health/ninezero.git", None),
        ("/srv/git/ninezero.git", None),
        (None, None),
    ],
)
def test_the_repository_is_the_origin_of_the_clone_and_without_one_no_link_is_broken(
    origin: str | None, shown: str | None, tmp_path: Path
) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    if origin:
        subprocess.run(["git", "remote", "add", "origin", origin], cwd=tmp_path, check=True)
    for name in ("README.md", "pyproject.toml", "hatch_build.py", "LICENSE"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    licence = "ninezero/agents/board/page/uPlot.LICENSE"
    (tmp_path / licence).parent.mkdir(parents=True)
    (tmp_path / licence).write_bytes((ROOT / licence).read_bytes())
    found = run(sys.executable, "-m", "hatchling", "metadata", cwd=tmp_path)
    assert ('"Source"' in found, REPOSITORY in found) == (shown is not None, shown is not None)
    assert "secret" not in found
    if shown is None:
        html = rendered(json.loads(found)["readme"]["text"])
        assert re.findall(r'(?:href|src|srcset)="(?!#)', html) == [] and "Quickstart" in html
