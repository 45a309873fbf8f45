"""Quarantine and follow-up: from the events of a case to its state, its days and its alerts."""
