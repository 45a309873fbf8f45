"""The wheel, the sdist and the editable install are each built, installed in an empty environment and used."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.building import ROOT, run

SITE_PACKAGES = [path for path in sys.path if path.endswith("site-packages")]
"""The environment of the tests, whose dependencies (and build backend) the empty environments share."""

SCENARIO = """
title = "A hamlet"
first_day = 2021-07-01
days = 16
utc_offset_hours = 8
home = "990101"
neighbour = "990102"
authority = "hamlet-health"
district = "hamlet"
legal_basis = "order-2021-07"
plates = "鲁Z"
road_kinds = [{kind = "county_road", count = 1}]
stations = [{site_id = "pier-1", mode = "ferry", division = "990101"}]
[published]
vehicle_checks = 400
turned_back = 2
delivered = 9
push_batches = 5
person_times = 20
health_passes = 10
quarantined = 3
quarantine_released = 1
quarantine_remaining = 2
followed_up = 12
road_checkpoints = 1
village_checkpoints = 2
quarantine_sites = 1
[invented]
pedestrians = 50
residents = 100
vehicles = 60
"""

NOT_IN_BASE = (
    "kafka", "openpyxl", "phonenumbers",  # the extra `edge`
    "aiohttp", "aiokafka", "chdb", "clickhouse_driver", "faust", "isal", "mode", "numpy", "orjson", "prometheus_client",
    "pyarrow", "uvloop",  # the extras `worker` and `embedded`
)  # fmt: skip

BASE_ONLY = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NOT_IN_BASE!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import ninezero
from ninezero.agents.cli.main import main
sys.argv[0] = "ninezero"
main()
"""


def package_files() -> set[str]:
    """The tracked files of the package as their paths in a distribution."""
    tracked = run("git", "ls-files", "ninezero", "agents", "streams", "schemas", cwd=ROOT).splitlines()
    found = {path for path in tracked if path.startswith("ninezero/") and not (ROOT / path).is_symlink()}
    return found | {f"ninezero/{path}" for path in tracked if not path.startswith("ninezero/")}


def test_the_wheel_holds_exactly_the_tracked_files_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert len(names) == len(set(names)) == len(package_files()) and set(names) == package_files()
    assert {name.split("/")[0] for name in names} == {"ninezero"}
    assert not [name for name in names if re.search(r"/(tests?/|test_|conftest)", name)]
    for needed in (
        "py.typed", "streams/local_kafka/pom.xml", "streams/local_kafka/jars.sha256", "agents/board/page/index.html", "agents/demo/scenarios/jiyang.toml",
        "schemas/sql/001_base.sql", "schemas/divisions/gbt2260.txt", "schemas/vectors/pseudonyms.json",
    ):  # fmt: skip
        assert f"ninezero/{needed}" in names


def test_the_sdist_holds_the_package_and_what_a_build_needs(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members}
    assert all(member.isfile() for member in members), "a link would point outside the archive"
    assert {name for name in names if name.startswith("ninezero/")} == package_files()
    assert {name for name in names if not name.startswith("ninezero/")} == {
        ".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "constraints.txt", "hatch_build.py", "pyproject.toml",
    }  # fmt: skip


@pytest.fixture(scope="module", params=["wheel", "sdist", "editable"])
def installation(
    request: pytest.FixtureRequest, wheel: Path, sdist: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An environment in which ninezero is installed beside packages that own the names agents, streams and schemas."""
    return install(tmp_path_factory.mktemp(request.param), {"wheel": [wheel], "sdist": [sdist], "editable": ["-e", ROOT]}[request.param])  # fmt: skip


@pytest.fixture(scope="module")
def wheel_installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("wheel-alone"), [wheel])


def install(folder: Path, requirement: list[str | Path]) -> Path:
    """Installs ninezero in a new environment in `folder`; returns the folder of its programs."""
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "shared.pth").write_text("\n".join(SITE_PACKAGES))
    for name in ("agents", "streams", "schemas"):
        (packages / name).mkdir()
        (packages / name / "__init__.py").write_text(f"raise ModuleNotFoundError('the {name} of another project')\n")
    run(
        sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-deps",
        "--disable-pip-version-check", "--ignore-installed", "--no-build-isolation", *requirement, cwd=folder,
    )  # fmt: skip
    return folder / "bin"


def test_the_package_imports_its_own_rooms_beside_packages_of_the_same_names(
    installation: Path, tmp_path: Path
) -> None:
    code = "import ninezero, ninezero.agents.roles, ninezero.streams.settings, ninezero.schemas.events; print(ninezero.__file__)"
    where = Path(run(installation / "python", "-c", code, cwd=tmp_path).strip())
    assert where.is_relative_to(installation.parent) or where == ROOT / "ninezero" / "__init__.py"
    assert run(installation / "ninezero", "--version", cwd=tmp_path) == "ninezero 0.1.0\n"


def test_a_type_checker_reads_the_types_of_the_installed_package(
    installation: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "program.py").write_text(
        "from ninezero import Device, UserError\n\n"
        "device: Device = UserError('wrong')\n"
        "reveal_type(device.scan('vehicle', []))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", installation / "python",
         "--cache-dir", tmp_path_factory.getbasetemp() / "mypy", "program.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert 'expression has type "UserError", variable has type "Device"' in done.stdout, done.stdout + done.stderr
    assert ".Ticket" in done.stdout and "py.typed" not in done.stdout and "Found 1 error" in done.stdout


def test_the_smallest_installation_prints_its_help_and_its_version(installation: Path, tmp_path: Path) -> None:
    for argument in ("--version", "--help"):
        assert "ninezero" in run(installation / "python", "-c", BASE_ONLY, argument, cwd=tmp_path)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variable that names the user's cache folder, which is empty at first."""
    return {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture
def empty_folder(wheel_installation: Path, tmp_path: Path) -> Iterator[Path]:
    """An empty folder in which no Kafka runs afterwards."""
    folder = tmp_path / "empty"
    folder.mkdir()
    yield folder
    run(wheel_installation / "ninezero", "kafka", "stop", cwd=folder)


def test_kafka_starts_and_stops_from_the_wheel_alone(
    wheel_installation: Path, empty_folder: Path, cache: dict[str, str]
) -> None:
    program = wheel_installation / "ninezero"
    address = run(program, "kafka", "start", cwd=empty_folder, **cache).split()[-1]
    assert run(program, "kafka", "status", cwd=empty_folder, **cache) == f"Kafka answers at {address}\n"
    assert run(program, "kafka", "stop", cwd=empty_folder, **cache) == "Kafka is stopped\n"
    assert [path.name for path in empty_folder.iterdir()] == [".run"]
    assert list(Path(cache["XDG_CACHE_HOME"]).rglob("kafka-clients-*.jar")), "the jars are in the user's cache folder"


def test_the_demo_runs_from_the_wheel_alone(
    wheel_installation: Path, empty_folder: Path, cache: dict[str, str], tmp_path: Path
) -> None:
    scenario = tmp_path / "hamlet.toml"
    scenario.write_text(SCENARIO)
    command = (wheel_installation / "ninezero", "demo", "--once", "--scenario", scenario)
    report = run(*command, cwd=empty_folder, **cache)
    assert "A hamlet" in report and "differs" not in report
    assert [path.name for path in empty_folder.iterdir()] == [".run"]
    assert run(wheel_installation / "ninezero", "report", cwd=empty_folder).count("✓") == 23
