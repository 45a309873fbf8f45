"""The screening policy: its rules and thresholds, and the two evaluators that apply them."""
