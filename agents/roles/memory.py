"""Settings of Python's garbage collector for a worker."""

from __future__ import annotations

import gc

_YOUNG, _MIDDLE, _OLD = 100_000, 20, 50
"""Thresholds of the collector. With Python's default of 700 a fetch of some thousand records is scanned for cycles several
times, which is half of the time that it takes to read a watchlist. Our own objects form no cycles; those of the clients'
tasks do, and are still collected."""


def tune_garbage_collector() -> None:
    """Excludes what the imports have created from collection, and collects less often. Call it once, after the imports."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
