"""Quarantine and follow-up events become facts in the ledger topics, and alerts for staff."""
