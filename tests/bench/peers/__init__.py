"""The same job by other means: what a team would use that does not use this product. `tests/bench/comparison.py` runs them."""
