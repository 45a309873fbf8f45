"""The public package `ninezero`: its names, its types, and what importing it costs."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import ninezero
from ninezero import events

ABSENT_WITHOUT_EXTRAS = ("kafka", "phonenumbers", "openpyxl", "faust", "clickhouse_driver", "numpy", "aiokafka")
"""Packages that `pip install ninezero` alone does not bring."""

ABSENT_AT_THE_EDGE = ("faust", "mode", "aiokafka", "clickhouse_driver", "chdb", "numpy", "orjson", "uvloop", "aiohttp")
"""Packages that `pip install ninezero[edge]` does not bring."""


def run_without(packages: tuple[str, ...], code: str) -> str:
    """Runs code in a Python in which these packages are not installed, and returns what it prints."""
    absent = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""
    done = subprocess.run([sys.executable, "-c", absent + code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", ninezero.__all__)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    value = getattr(ninezero, name)
    assert name in dir(ninezero)
    if inspect.isclass(value):
        assert inspect.getdoc(value)
        methods = [m for n, m in vars(value).items() if inspect.isfunction(m) and not n.startswith("_")]
        assert all(inspect.getdoc(method) for method in methods)


def test_type_checkers_see_the_names_that_programs_get() -> None:
    tree = ast.parse(Path(ninezero.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    typed = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name != "events"
    }
    assert typed == {name: f"ninezero.{module}" for name, module in ninezero._MODULES.items()}
    assert set(ninezero.__all__) == {*typed, "events", "__version__"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        ninezero.Nothing  # noqa: B018  # the access itself is what is tested


@pytest.mark.parametrize("name", events.__all__)
def test_every_wire_type_is_the_one_of_the_schemas(name: str) -> None:
    from ninezero.schemas import events as wire_types

    assert getattr(events, name) is getattr(wire_types, name)


def test_importing_the_package_loads_nothing_else() -> None:
    loaded = run_without(
        ABSENT_WITHOUT_EXTRAS,
        "import ninezero; print([m for m in sys.modules if m.startswith(('ninezero.', 'msgspec'))])",
    )
    assert loaded == "[]"


def test_the_version_needs_no_extra() -> None:
    version = run_without(ABSENT_WITHOUT_EXTRAS, "import ninezero; print(ninezero.__version__)")
    assert version == ninezero.__version__ and version[0].isdigit()


def test_the_public_names_need_the_edge_extra_only() -> None:
    code = "import ninezero; print(len([getattr(ninezero, name) for name in ninezero.__all__]))"
    assert run_without(ABSENT_AT_THE_EDGE, code) == str(len(ninezero.__all__))


def test_the_command_states_its_version_without_any_extra() -> None:
    code = 'sys.argv = ["ninezero", "--version"]\nfrom ninezero.agents.cli.main import main\nmain()'
    assert ninezero.__version__ in run_without(ABSENT_WITHOUT_EXTRAS, code)
