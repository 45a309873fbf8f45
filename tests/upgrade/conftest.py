"""Release N and N+1, installed once for all tests."""

from __future__ import annotations

import pytest

from .next_release import make_next_release
from .release import Releases, copy_of_checkout, copy_of_commit, install, last_release


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Release N and N+1. Until 0.1.0 is cut, N is this checkout, and N+1 is made from it."""
    folder = tmp_path_factory.mktemp("releases")
    if (given := last_release()) is not None:
        version, commit = given
        first, second = copy_of_commit(commit, folder / "first"), copy_of_checkout(folder / "second")
        return Releases(install(version, first), install("9.0.0", second))
    first, second = copy_of_checkout(folder / "first"), copy_of_checkout(folder / "second")
    make_next_release(second)
    return Releases(install("0.1.0", first), install("0.2.0", second))
