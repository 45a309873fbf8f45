"""The decision table and its fast path."""
