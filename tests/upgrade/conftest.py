"""Release N and N+1, installed once for all tests."""

from __future__ import annotations

import pytest

from .next_release import make_next_release
from .release import Releases, copy_of_checkout, copy_of_commit, install, last_release

NEXT = "9.0.0"
"""The version that release N+1 states."""


@pytest.fixture(scope="session", params=["made", "released"] if last_release() else ["made"])
def releases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Release N and N+1: this checkout and what `next_release.py` makes of it, and also the last release and this checkout."""
    folder = tmp_path_factory.mktemp("releases")
    second = copy_of_checkout(folder / "second")
    if request.param == "released":
        released = last_release()
        assert released is not None
        version, commit = released
        return Releases(install(version, copy_of_commit(commit, folder / "first")), install(NEXT, second), made=False)
    make_next_release(second)
    return Releases(install("0.1.0", copy_of_checkout(folder / "first")), install(NEXT, second), made=True)
