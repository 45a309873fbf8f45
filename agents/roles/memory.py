"""How a worker's memory is kept tidy."""

from __future__ import annotations

import gc

_YOUNG, _MIDDLE, _OLD = 100_000, 20, 50
"""Python's own 700 lets a fetch of some thousand records be searched for cycles several times over: half of the time it takes
to read a watchlist. What we make has no cycles; the clients' tasks have some, and these are still found."""


def settle() -> None:
    """After the imports: what is there stays, and is not searched again; what comes is searched seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
