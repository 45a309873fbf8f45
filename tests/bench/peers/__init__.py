"""Programs that do the same job without ninezero, as a team would write them. `tests/bench/comparison.py` runs them."""
