"""Quarantine and follow-up events to the case ledgers and care alerts."""
